"""Short types, layouts and repeated runs of both layers; what holds for every kind is in test_transformations.py."""

import pytest
import torch
from torch import nn
from variants import build, draw, gradients

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
