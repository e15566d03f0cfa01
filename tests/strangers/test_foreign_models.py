"""Other libraries' models through all that a practitioner does to them: same numbers, twists kept."""

import copy

import pytest
import torch
from foreign_models import MODELS, build, fold_blocks, leaves, outputs, settle
from safetensors.torch import load_model, save_model
from torch import nn

from convtwist import ConvTwist2d, convert, fold_batch_norm, revert

torch.set_num_threads(1)
EVERY = pytest.mark.parametrize("name", MODELS)


def layers(model):
    return [module for module in model.modules() if isinstance(module, ConvTwist2d)]


def same(one, two, atol=None):
    """Whether two lists of tensors are equal bit for bit, or up to ``atol`` times the largest number."""
    assert len(one) == len(two) > 0
    if atol is None:
        return all(map(torch.equal, one, two))
    return all((a - b).abs().max() <= atol * max(1, b.abs().max()) for a, b in zip(one, two, strict=True))


@EVERY
def test_there_and_back_bit_for_bit(name):
    before, u = build(name)
    expected = [m for m in before.modules() if type(m) is nn.Conv2d and m.kernel_size == (3, 3)]
    after = convert(before)
    assert len(layers(after)) == len(expected) == MODELS[name].layers
    with torch.no_grad():
        reference = outputs(name, before, u)
        assert same(outputs(name, after, u), reference)
        assert same(outputs(name, revert(after), u), reference)
        assert not same(outputs(name, settle(copy.deepcopy(after)), u), reference), "the twists have no say"


@EVERY
def test_a_training_step_moves_the_twists(name):
    before, u = build(name)
    before.train()
    after = convert(before)
    for model in (before, after):
        sum(each.square().mean() for each in outputs(name, model, u) if each.requires_grad).backward()
    grads = {key: p.grad for key, p in after.named_parameters()}
    assert all(torch.equal(p.grad, grads[key]) for key, p in before.named_parameters() if p.grad is not None)
    twists = [layer.twist for layer in layers(after) if layer.twist.grad is not None and layer.twist.grad.any()]
    # Behind a classifier's last downsampling a map may have one pixel, where every field is zero.
    assert len(twists) > len(layers(after)) / 2
    torch.optim.SGD(after.parameters(), lr=0.1).step()
    assert all(twist.any() for twist in twists)


@EVERY
def test_the_fold_is_exact(name):
    model, u = build(name)
    model = settle(convert(model))
    with torch.no_grad():
        reference = outputs(name, model, u)
        if MODELS[name].folds == "traced":
            folded = fold_batch_norm(model)
            count, kept = (sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (model, folded))
            assert kept == MODELS[name].norms_kept
        else:
            folded = copy.deepcopy(model)
            count = fold_blocks(folded)
        assert (count > 3) == (MODELS[name].folds != "no")
        assert same(outputs(name, folded, u), reference, atol=1e-4)


@EVERY
def test_saved_and_loaded_bit_for_bit(name, tmp_path):
    model, u = build(name)
    model = settle(convert(model))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    save_model(model, str(tmp_path / "model.safetensors"))
    with torch.no_grad():
        reference = outputs(name, model, u)
        fresh = convert(MODELS[name].build()).eval()
        fresh.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True), strict=True)
        assert same(outputs(name, fresh, u), reference)
        fresh = convert(MODELS[name].build()).eval()
        load_model(fresh, str(tmp_path / "model.safetensors"), strict=True)
        assert same(outputs(name, fresh, u), reference)


class Viewed(nn.Module):
    """A model with a ``.view`` behind it, which needs the layout that a plain one returns."""

    def __init__(self, name, model):
        super().__init__()
        self.arguments, self.model = MODELS[name].arguments, model

    def forward(self, u):
        return [each.view(each.size(0), -1) for each in leaves(self.model(u, *self.arguments))]


MACHINE_CODE = "transformers ResNet"  # the smallest; the others stop short of it


@EVERY
def test_compiled_with_a_view_behind(name):
    before, u = build(name)
    model = settle(convert(before))
    backend = "inductor" if name == MACHINE_CODE else "eager"
    torch._dynamo.reset()
    with torch.no_grad():
        if not MODELS[name].compiles:
            with pytest.raises(RecursionError):
                torch.compile(Viewed(name, before).eval(), backend=backend)(u)
            return
        reference = outputs(name, model, u)
        compiled = torch.compile(Viewed(name, model).eval(), backend=backend)(u)
        assert same([each.view(each.size(0), -1) for each in reference], compiled, atol=1e-4)
