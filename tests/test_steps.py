"""The step that eager training takes against the plain one: values, gradients, transforms, layouts, memory."""

import itertools
from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from convtwist import ConvTwist2d, IsoTwist2d, _engine
from convtwist._engine import blocks, steps
from convtwist._engine.autograd import apply_step
from convtwist.functional import conv_twist2d
from convtwist.operators import plain as plain_twist

torch.set_num_threads(1)

SAME = steps.TwistStep((1, 1), (1, 1), "centered")
FIELDS = {"similarity": 2, "affine": 4, "first_order": 8}


def draw(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def tensors(fields=2, size=(6, 5), batch=3, dtype=torch.float32):
    return [draw(1, batch, 3, *size, dtype=dtype), draw(2, 4, 3, 3, 3, dtype=dtype),
            draw(3, fields, 4, 3, dtype=dtype), draw(4, 4, dtype=dtype)]


def both(arguments, padding=(1, 1), dilation=(1, 1), coords="centered", stride=(1, 1)):
    """Return outputs and gradients of the fused step and of the plain one."""
    for layer in (lambda *t: apply_step(steps.TwistStep(padding, dilation, coords, 1, stride), *t),
                  lambda *t: plain_twist(*t, stride, padding, dilation, 1, coords)):
        leaves = [tensor.detach().requires_grad_() for tensor in arguments]
        output = layer(*leaves)
        slope = draw(5, *output.shape).to(memory_format=torch.channels_last)
        yield [output.detach(), *torch.autograd.grad(output, leaves, slope)]


@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("block", [1, 400, 1 << 20])
def test_agrees_with_the_plain_layer(operators, block, monkeypatch):
    """In blocks of one image, of some with a rest, and of all."""
    monkeypatch.setattr(blocks, "_BLOCK", block)
    for padding, dilation, stride, coords, layout, size in itertools.product(
            ((1, 1), (0, 2)), ((1, 1), (2, 1)), ((1, 1), (2, 3)), ("centered", "legacy"), (False, True),
            ((6, 5), (5, 9))):
        arguments = tensors(FIELDS[operators], size)
        if layout:
            arguments[0] = arguments[0].to(memory_format=torch.channels_last)
        assert steps.TwistStep.covers(padding, dilation, 1, 3) and _engine._suits(*arguments)
        (ours, *_), (expected, *_) = pairs = list(both(arguments, padding, dilation, coords, stride))
        assert ours.stride() == expected.stride()
        for ours, expected in zip(*pairs, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("operators", FIELDS)
def test_groups_agree_with_the_plain_layer(operators):
    """Both layouts, every part wanted or not, groups of four and of five channels."""
    for channels, layout in itertools.product((8, 10), (torch.contiguous_format, torch.channels_last)):
        source = draw(1, 3, channels, 6, 5).to(memory_format=layout)
        given = source, draw(2, 6, channels // 2, 3, 3), draw(3, FIELDS[operators], 6, channels // 2), draw(4, 6)
        step, results = steps.TwistStep((1, 1), (1, 1), "centered", 2), []
        for layer in (partial(apply_step, step), step.plain):
            leaves = [t.clone().requires_grad_() for t in given]
            output = layer(*leaves)
            results.append([output.detach(), *torch.autograd.grad(output, leaves, draw(5, *output.shape))])
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize("wanted", [w for w in itertools.product((False, True), repeat=4) if any(w)])
def test_any_part_may_be_frozen(wanted, stride):
    arguments = tensors()
    leaves = [tensor.clone().requires_grad_(want) for tensor, want in zip(arguments, wanted, strict=True)]
    apply_step(steps.TwistStep((1, 1), (1, 1), "centered", 1, stride), *leaves).sum().backward()
    expected = [tensor.clone().requires_grad_() for tensor in arguments]
    plain_twist(*expected, stride, (1, 1), (1, 1), 1, "centered").sum().backward()
    for leaf, reference, want in zip(leaves, expected, wanted, strict=True):
        assert (leaf.grad is not None) == want
        if want:
            torch.testing.assert_close(leaf.grad, reference.grad, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("bias, stride", [(True, (1, 1)), (False, (1, 1)), (True, (2, 1))])
def test_derivatives_of_first_and_second_order(operators, bias, stride):
    leaves = [t.requires_grad_() for t in tensors(FIELDS[operators], (3, 4), 2, torch.float64)]

    def layer(*given):
        step = steps.TwistStep((1, 1), (1, 1), "centered", 1, stride)
        return apply_step(step, *given, *(() if bias else (None,)))

    leaves = leaves if bias else leaves[:3]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert gradcheck(layer, leaves, fast_mode=True, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(layer, leaves, fast_mode=True, check_fwd_over_rev=True, check_batched_grad=True)


def test_transforms_of_transforms():
    """A Hessian in both ways, and per-sample gradients, against those of the plain layer."""
    u, weight, twist, bias = tensors(size=(3, 3), batch=2)

    def loss(layer, *last):
        return lambda *given: layer(*given, *last).pow(3).sum()

    ours = loss(partial(apply_step, SAME))
    plain = loss(plain_twist, (1, 1), (1, 1), (1, 1), 1, "centered")
    for transform in (torch.func.hessian, lambda f, argnums: torch.func.jacrev(torch.func.jacrev(f, argnums), argnums)):
        got, expected = (transform(f, argnums=2)(u, weight, twist, bias) for f in (ours, plain))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-2)
    for in_dims in ((0, None, None, None), (None, 0, 0, None)):
        stacked = [torch.stack([t, 2 * t]) if dim == 0 else t
                   for t, dim in zip((u, weight, twist, bias), in_dims, strict=True)]
        got, expected = (torch.func.vmap(torch.func.grad(f, argnums=(0, 1, 2, 3)), in_dims)(*stacked)
                         for f in (ours, plain))
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-2)


def test_nothing_but_the_input_is_kept():
    """Input and parameters are saved for the backward pass; no field is."""
    kept = []
    layer, u = ConvTwist2d(3, 4, 3, padding=1), draw(1, 2, 3, 8, 8).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(u)
    owners = {t.data_ptr() for t in (u, *layer.parameters())}
    assert {t.data_ptr() for t in kept} <= owners


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_without_a_twist_output_and_gradients_are_those_of_conv2d_bit_for_bit(layout, stride):
    conv = nn.Conv2d(8, 12, 3, stride, padding=1)
    layer = ConvTwist2d(8, 12, 3, stride, padding=1, twist_init="zeros")
    layer.load_state_dict(conv.state_dict(), strict=False)
    u = draw(1, 2, 8, 10, 9).to(memory_format=layout)
    slope = draw(2, *conv(u).shape)
    results = []
    for module in (conv, layer):
        v = u.clone().requires_grad_()
        output = module(v)
        output.backward(slope)
        results.append((output, v.grad, module.weight.grad, module.bias.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert layer.twist.grad.abs().max() > 0


def test_other_cases_take_the_plain_way():
    source, *parameters = tensors()
    assert _engine._suits(source, *parameters) and _engine._suits(source, *parameters[:2], None)
    assert not _engine._suits(source, *parameters[:2], parameters[2].to("meta"))
    assert not _engine._suits(source, parameters[0].double())
    with torch.autocast("cpu"):
        assert not _engine._suits(source, *parameters)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not _engine._suits(source, *parameters)
    assert steps.TwistStep.covers((2, 4), (1, 2), 1, 1) and steps.TwistStep.covers((1, 1), (1, 1), 2, 4)
    for arguments in (((1, 1), (1, 1), 2, 3), ((3, 0), (1, 1), 1, 4)):
        assert not steps.TwistStep.covers(*arguments)
    assert steps.IsoStep.covers(draw(1, 2, 3, 8, 6), 2, 1)
    assert not steps.IsoStep.covers(draw(1, 2, 3, 8, 7), 2, 1) and not steps.IsoStep.covers(draw(1, 2, 4, 8, 8), 1, 2)


def test_a_slope_of_any_strides_and_a_padding_beyond_the_adjoint():
    arguments = tensors()
    leaves = [t.clone().requires_grad_() for t in arguments]
    conv_twist2d(*leaves, padding=1).sum().backward()  # its gradient has strides of 0
    again = [t.clone().requires_grad_() for t in arguments]
    (conv_twist2d(*again, padding=1) * torch.ones(())).sum().backward()
    for a, b in zip(leaves, again, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-4)
    wide = conv_twist2d(*arguments, padding=4)
    torch.testing.assert_close(wide[..., 3:-3, 3:-3].shape, conv_twist2d(*arguments, padding=1).shape)


@pytest.mark.parametrize("reduce", [1, 2])
@pytest.mark.parametrize("block", [1, 400, 1 << 20])
def test_the_isotropic_layer_agrees_with_the_plain_one(reduce, block, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", block)
    weight, bias = draw(2, 5, 3, 4), draw(4, 5)
    for layout, coords, wanted in itertools.product((torch.contiguous_format, torch.channels_last),
                                                    ("centered", "legacy"),
                                                    [w for w in itertools.product((0, 1), repeat=3) if any(w)]):
        source = draw(1, 3, 3, 6, 8).to(memory_format=layout)
        step, results = steps.IsoStep(reduce, coords), []
        for layer in (partial(apply_step, step), step.plain):
            given = [t.clone().requires_grad_(bool(w)) for t, w in zip((source, weight, bias), wanted, strict=True)]
            output = layer(*given)
            slope = draw(5, *output.shape)
            found = torch.autograd.grad(output, [t for t in given if t.requires_grad], slope)
            results.append((output.detach(), *found))
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=5e-5)
        assert results[0][0].is_contiguous(memory_format=layout)
    odd = draw(6, 3, 3, 8, 12).transpose(2, 3)[..., ::2]  # strides that are neither layout's
    torch.testing.assert_close(apply_step(step, odd, weight, None), step.plain(odd, weight, None), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: ConvTwist2d(2, 3, padding=1), lambda: IsoTwist2d(2, 3)])
def test_a_bias_may_change_before_the_backward_pass(make):
    """As that of ``nn.Conv2d`` may: no gradient depends on it."""
    layer, u = make(), draw(1, 1, 2, 5, 5).requires_grad_()
    (expected,) = torch.autograd.grad(layer(u).square().sum(), u)
    output = layer(u).square().sum()
    with torch.no_grad():
        layer.bias.add_(1)
    assert torch.equal(torch.autograd.grad(output, u)[0], expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reduce", [1, 2])
def test_derivatives_of_the_isotropic_layer(bias, reduce):
    leaves = [draw(k, *shape, dtype=torch.float64).requires_grad_()
              for k, shape in enumerate(((2, 3, 4, 2), (4, 3, 4), (4,)))][: 3 if bias else 2]

    def layer(*given):
        return apply_step(steps.IsoStep(reduce, "centered"), *given, *(() if bias else (None,)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert gradcheck(layer, leaves, fast_mode=True, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(layer, leaves, fast_mode=True, check_fwd_over_rev=True, check_batched_grad=True)
