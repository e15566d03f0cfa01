"""Models as other libraries build them, small and untrained, for the tests beside this file.

They need an environment of their own, which ``python tools/strangers.py`` makes.
"""

from dataclasses import dataclass
from importlib.util import find_spec

import pytest

NEEDED = ("torchvision", "timm", "segmentation_models_pytorch", "fastai", "ultralytics", "diffusers", "transformers",
          "model_constructor", "peft", "safetensors")
MISSING = [name for name in NEEDED if not find_spec(name)]
if MISSING:
    pytest.skip(f"{', '.join(MISSING)} not installed; `python tools/strangers.py` makes an environment that has all "
                "and runs these tests in it", allow_module_level=True)

import diffusers  # noqa: E402
import model_constructor  # noqa: E402
import segmentation_models_pytorch as smp  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402
from fastai.vision.learner import create_unet_model  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402
from ultralytics.nn.modules import Conv as UltralyticsConv  # noqa: E402
from ultralytics.nn.tasks import DetectionModel  # noqa: E402

from convtwist import fold_batch_norm  # noqa: E402

__all__ = ["MODELS", "Foreign", "build", "fold_blocks", "leaves", "outputs", "settle"]


@dataclass(frozen=True)
class Foreign:
    """How to build a model, what it takes, and what is known of it."""

    build: object
    shape: tuple[int, ...]
    layers: int  # 3x3 convolutions
    arguments: tuple = ()  # further ones of a call
    folds: str = "traced"  # or "by blocks", where torch.fx can't trace the model, or "no", without batch normalisation
    norms_kept: int = 0  # by fold_batch_norm
    compiles: bool = True


MODELS = {
    "torchvision ResNet-18": Foreign(lambda: torchvision.models.resnet18(num_classes=4), (2, 3, 32, 48), 16),
    "timm ResNet-14t": Foreign(lambda: timm.create_model("resnet14t", num_classes=4), (2, 3, 32, 48), 7),
    # The normalisations that RepVGG has beside its convolutions stay: one in each block that keeps its input's shape.
    "timm RepVGG-A0": Foreign(lambda: timm.create_model("repvgg_a0", num_classes=4), (2, 3, 32, 48), 22, norms_kept=17),
    "transformers ResNet": Foreign(lambda: transformers.ResNetForImageClassification(transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4)), (2, 3, 32, 48), 4,
        folds="by blocks"),
    "model_constructor ResNet": Foreign(lambda: model_constructor.ModelConstructor(
        num_classes=4, stem_sizes=[8], block_sizes=[8, 16], layers=[1, 1])(), (2, 3, 32, 48), 4),
    "smp U-Net": Foreign(lambda: smp.Unet("resnet18", encoder_weights=None, classes=2), (1, 3, 32, 64), 27,
                         folds="by blocks"),
    "YOLOv8n detection": Foreign(lambda: DetectionModel("yolov8n.yaml", ch=3, nc=2, verbose=False), (1, 3, 64, 96), 39,
                                 folds="by blocks"),
    "fastai U-Net, a GAN's generator": Foreign(lambda: create_unet_model(
        torchvision.models.resnet18, 3, (32, 32), pretrained=False), (2, 3, 32, 32), 28, folds="by blocks",
        compiles=False),  # fastai's own class of tensors stops torch.compile
    "diffusers U-Net": Foreign(lambda: diffusers.UNet2DModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D")),
        (1, 3, 16, 24), 20, arguments=(3,), folds="no"),
}


def build(name):
    """Return the model in evaluation and an input, the same each time."""
    torch.manual_seed(0)
    foreign = MODELS[name]
    # Some libraries start the last normalisation of each block at zero, which would hide what is in front of it.
    return settle(foreign.build().eval()), torch.randn(foreign.shape, generator=torch.Generator().manual_seed(1))


def outputs(name, model, u):
    """Return all tensors that a call returns."""
    torch.manual_seed(2)  # dropout draws the same mask each time
    return leaves(model(u, *MODELS[name].arguments))


def leaves(returned):
    """Return the tensors in whatever a model returns."""
    return [leaf for leaf in tree_leaves(dict(returned) if hasattr(returned, "keys") else returned)
            if isinstance(leaf, torch.Tensor)]


def settle(model, seed=3):
    """Give twists and batch normalisations numbers of their own, as after a training."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in [*model.named_parameters(), *model.named_buffers()]:
            if key.endswith(".twist"):
                value.normal_(0, 0.05, generator=draw)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for numbers in (module.weight, module.running_var):
                    numbers.uniform_(0.8, 1.25, generator=draw)
                for numbers in (module.bias, module.running_mean):
                    numbers.normal_(0, 0.1, generator=draw)
    return model


def fold_blocks(model):
    """Fold pair by pair, in the blocks of the libraries whose models can't be traced; return how many were folded."""
    count = 0
    for block in model.modules():
        if isinstance(block, UltralyticsConv) and hasattr(block, "bn"):
            block.conv = fold_batch_norm(block.conv, block.bn)
            block.forward = block.forward_fuse
            del block.bn
            count += 1
        for one, two in (("convolution", "normalization"), ("conv1", "bn1"), ("conv2", "bn2"), ("0", "1")):
            conv, norm = getattr(block, one, None), getattr(block, two, None)
            if isinstance(conv, nn.Module) and isinstance(norm, nn.BatchNorm2d) and hasattr(conv, "kernel_size"):
                setattr(block, one, fold_batch_norm(conv, norm))
                setattr(block, two, nn.Identity())
                count += 1
    return count
