"""Short types, layouts and repeated runs of both layers; what holds for every kind is in test_transformations.py."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian, jacobian
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from variants import LAYERS, build, draw, gradients

from convtwist import ConvTwist2d, IsoTwist2d

torch.set_num_threads(1)


@pytest.mark.parametrize("operators", ["similarity", "affine", "first_order", "isotropic"])
def test_float16_is_finite_wherever_conv2d_is(operators):
    """Taps of 20,000 add up beyond what float16 holds, and a twist of zero times infinity would be no number."""
    torch.manual_seed(0)
    layer = IsoTwist2d(4, 6) if operators == "isotropic" else ConvTwist2d(4, 6, padding=1, operators=operators)
    conv, u = nn.Conv2d(4, 6, 3, padding=1).half(), 20_000 * torch.randint(-1, 2, (2, 4, 12, 12)).half()
    with torch.no_grad():
        for parameter in (*layer.parameters(), *conv.parameters()):
            parameter.mul_(0.02)
    assert conv(u).isfinite().all()
    expected = layer.double()(u.double())
    error = layer.half()(u).double() - expected
    assert error.norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 6e-4), (torch.bfloat16, 5e-3)])
def test_short_types_are_as_good_as_rounding(dtype, most):
    for layer in (ConvTwist2d(16, 16, padding=1), IsoTwist2d(16, 16)):
        u = draw(2, 16, 20, 20).to(dtype)
        ours = layer.to(dtype)(u).double()
        assert (ours - layer.double()(u.double())).norm() < most * ours.norm()


@pytest.mark.parametrize("name", ["similarity", "first_order, centres, stride", "isotropic"])
def test_channels_last_is_kept(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    expected = layer(u)
    output = layer(u.to(memory_format=torch.channels_last))
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    assert expected.is_contiguous()
    half_way = layer.to(memory_format=torch.channels_last)
    torch.testing.assert_close(half_way(u), expected, rtol=1e-4, atol=1e-5)
    ours, plain = [gradients(layer, layer, v)[1:] for v in (u, u.to(memory_format=torch.channels_last))]
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_conv_and_batch_norm_fusion_leaves_the_twist_alone():
    from torch.fx.experimental.optimization import fuse

    layer = build("similarity")
    model = nn.Sequential(layer, nn.BatchNorm2d(6)).eval()
    model[1].running_mean.normal_()
    u = draw(2, 4, 8, 8)
    torch.testing.assert_close(fuse(model)(u), model(u))


def test_deterministic_algorithms_and_repeated_runs_agree_bit_for_bit():
    layer, u = build("similarity"), draw(2, 4, 8, 8)
    torch.use_deterministic_algorithms(True)
    try:
        first, second = gradients(layer, layer, u), gradients(layer, layer, u)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["similarity", "isotropic", "isotropic, slope", "depthwise, replicate, no bias"])
@pytest.mark.parametrize("given, cast", [(torch.float16, torch.bfloat16), (torch.bfloat16, torch.float16)])
def test_autocast_takes_an_input_of_the_other_short_type(name, given, cast):
    layer, u = build(name), draw(2, 4, 8, 8)
    with torch.autocast("cpu", cast):
        output = layer(u.to(given))
    assert output.dtype == cast
    torch.testing.assert_close(output.float(), layer(u), rtol=0.05, atol=0.1)


@pytest.mark.skipif(not hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks"), reason="torch 2.4 can't tell")
@pytest.mark.parametrize("name", LAYERS)
def test_a_checkpoint_may_be_watched_at_one_time_and_not_at_another(name):
    """By a FLOP counter in the forward pass, in the backward pass, or in both: as many tensors are kept each time."""
    layer, u, counted = build(name), draw(2, 4, 8, 8), []
    expected = gradients(layer, layer, u)
    for before, after in ((True, False), (False, True), (True, True)):
        layer.zero_grad()
        v = u.clone().requires_grad_()
        with FlopCounterMode(display=False) if before else nullcontext():
            loss = checkpoint(layer, v, use_reentrant=False).square().sum()
        with FlopCounterMode(display=False) if after else nullcontext() as counter:
            loss.backward()
        counted.append(counter.get_total_flops() if after else 0)
        for ours, other in zip((v.grad, *(p.grad for p in layer.parameters())), expected[1:], strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-4)
    with FlopCounterMode(display=False) as alone:
        loss = layer(u.clone().requires_grad_()).square().sum()
    with FlopCounterMode(display=False) as back:
        loss.backward()
    assert counted[2] <= alone.get_total_flops() + back.get_total_flops()


@pytest.mark.parametrize("name", ["similarity", "isotropic"])
@pytest.mark.filterwarnings("ignore:We failed to")
def test_jacobians_and_hessians_of_many_directions_at_once(name):
    """Of the forward mode with ``vectorize=True``, whose batches few operations of PyTorch's know."""
    layer, u = build(name), draw(1, 4, 2, 3)
    names, parameters = zip(*((key, p.detach()) for key, p in layer.named_parameters()), strict=True)

    def output(v, *changed):
        return torch.func.functional_call(layer, dict(zip(names, changed, strict=True)), (v,))

    def loss(*given):
        return output(*given).pow(3).sum()

    given = u, *parameters
    ways = {"vectorize": True, "strategy": "forward-mode"}, {}
    for ours, expected in zip(*(jacobian(output, given, **way) for way in ways), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    ways = {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}, {}
    ours, expected = (hessian(lambda v: loss(v, *parameters), u, **way) for way in ways)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)
