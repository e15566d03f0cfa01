"""Other libraries' trainers and their surgery: fastai's GAN, model_constructor's blocks, YOLO's fold, peft's LoRA."""

import warnings

import foreign_models  # first: it skips this file where the libraries are missing
import numpy as np
import pytest
import torch
from fastai.vision.all import DataBlock, ImageBlock, MSELossFlat, RandomSplitter, Resize, get_image_files
from fastai.vision.gan import FixedGANSwitcher, GANLearner, basic_critic
from model_constructor import ModelConstructor
from model_constructor.layers import ConvBnAct
from model_constructor.twist import ConvTwist
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from PIL import Image
from torch import nn
from ultralytics import YOLO

from convtwist import ConvTwist2d, conversion_report, convert

torch.set_num_threads(1)


def test_a_gan_of_fastai_trains_its_generator_and_its_critic(tmp_path):
    """The generator is a U-Net, as for restoring pictures; fastai's basic one has transposed convolutions alone."""
    draw = np.random.default_rng(0)
    for k in range(8):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    block = DataBlock((ImageBlock, ImageBlock), get_items=get_image_files, get_y=lambda path: path,
                      splitter=RandomSplitter(0.5, seed=1), item_tfms=Resize(32))
    dls = block.dataloaders(tmp_path, bs=2, num_workers=0)
    generator = convert(foreign_models.build("fastai U-Net, a GAN's generator")[0].train())
    critic = convert(basic_critic(32, 3, n_features=4, n_extra_layers=1).train())
    assert len(conversion_report(critic).swapped) == 1
    learner = GANLearner(
        dls, generator, critic, lambda judged, made, wanted: judged.mean() + MSELossFlat()(made, wanted),
        lambda real, fake: real.mean() - fake.mean(), switcher=FixedGANSwitcher(1, 1), show_img=False)
    with warnings.catch_warnings(), learner.no_bar(), learner.no_logging():
        warnings.simplefilter("ignore")
        learner.fit(1, lr=1e-3)
    for model in (generator, critic):
        moved = [layer.twist.any().item() for layer in model.modules() if isinstance(layer, ConvTwist2d)]
        assert sum(moved) > len(moved) / 2


def own_convolution(in_channels, out_channels, kernel_size, **options):
    return (ConvTwist2d if kernel_size == 3 else nn.Conv2d)(in_channels, out_channels, kernel_size, **options)


class Twisted(ConvBnAct):
    convolution_module = staticmethod(own_convolution)


def test_model_constructor_builds_with_our_layer_where_its_own_twist_crashes(monkeypatch):
    monkeypatch.setattr(ConvTwist, "twist", True)
    with pytest.raises(RuntimeError, match="expanded size"):
        ConvTwist(16, 16)(torch.rand(1, 16, 8, 8))
    model = ModelConstructor(num_classes=4, stem_sizes=[16], block_sizes=[16, 32], layers=[1, 1], conv_layer=Twisted)()
    assert sum(isinstance(module, ConvTwist2d) for module in model.modules()) == 4
    model = foreign_models.settle(model)
    before = model.body.l_1.bl_0.convs.conv_1.conv.twist.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = nn.functional.cross_entropy(model(torch.randn(4, 3, 64, 64)), torch.arange(4))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert not torch.equal(model.body.l_1.bl_0.convs.conv_1.conv.twist, before)


def test_yolos_own_fold_is_noticed():
    """``predict()`` begins with it; the twists would be left as they are, and the boxes wrong."""
    model = YOLO("yolov8n.yaml")
    model.model = foreign_models.settle(convert(model.model.eval()))
    with pytest.raises(RuntimeError, match=r"use convtwist\.fold_batch_norm\(model\)"):
        model.predict(np.zeros((64, 64, 3), dtype=np.uint8), imgsz=64, verbose=False)


def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 4, 3))


@pytest.mark.parametrize("add", [lambda net, lora: get_peft_model(net, lora),
                                 lambda net, lora: inject_adapter_in_model(lora, net)], ids=["PeftModel", "injected"])
def test_a_model_with_lora_is_refused(add):
    """Its factors are convolutions, too; converted they would be merged without their twists."""
    torch.manual_seed(0)
    adapted = add(network(), LoraConfig(target_modules=["0"], r=2))
    with pytest.raises(ValueError, match=r"is a (PeftModel|BaseTunerLayer): convert first.*merge_and_unload\(\)"):
        convert(adapted)


def test_lora_added_afterwards_and_merged_first():
    torch.manual_seed(0)
    u = torch.randn(2, 3, 8, 8)
    model = convert(network())
    with pytest.raises(ValueError, match=r"Target module ConvTwist2d.* is not supported"):  # peft's own words
        get_peft_model(convert(network()), LoraConfig(target_modules=["0"]))
    adapted = get_peft_model(model, LoraConfig(target_modules=["2"], modules_to_save=["0"], r=2))
    adapted(u).square().mean().backward()
    torch.optim.SGD(adapted.parameters(), lr=0.1).step()
    reference, merged = adapted.eval()(u), adapted.merge_and_unload()
    assert merged[0].twist.any() and type(merged[2]) is nn.Conv2d
    torch.testing.assert_close(merged(u), reference)

    adapted = get_peft_model(network(), LoraConfig(target_modules=["0"], r=2, init_lora_weights=False)).eval()
    reference, model = adapted(u), convert(adapted.merge_and_unload())
    assert type(model[0]) is ConvTwist2d
    torch.testing.assert_close(model(u), reference)
