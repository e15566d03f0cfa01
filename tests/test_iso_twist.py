"""IsoTwist2d: shapes, starts, and the symmetry that it was made for."""

import math

import pytest
import torch
from scorecard import record
from torch import nn

from convtwist import ConvTwist2d, IsoTwist2d
from convtwist.functional import iso_twist2d
from convtwist.operators import coordinate_grid, gradient

torch.set_num_threads(1)


def network(layer=IsoTwist2d, **options):
    """Three blocks, two reductions, global average pooling: nearly any classifier of small pictures."""
    torch.manual_seed(0)

    def block(wide, out, reduce):
        if layer is IsoTwist2d:
            return [layer(wide, out, reduce=reduce, **options), nn.BatchNorm2d(out), nn.ReLU()]
        return [layer(wide, out, 3, stride=reduce, padding=1), nn.BatchNorm2d(out), nn.ReLU()]

    blocks = [*block(2, 8, 1), *block(8, 8, 2), *block(8, 16, 1), *block(16, 16, 2)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).double()


@pytest.mark.parametrize("fifth", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (15, 15), (13, 18), (7, 7), (5, 4)])
def test_a_network_is_exactly_invariant_under_quarter_turns(size, fifth):
    model = network(gradient=fifth).eval()
    u = torch.randn(3, 2, *size, dtype=torch.float64, generator=torch.manual_seed(1))
    answer = model(u)
    for turns in (1, 2, 3):
        error = ((model(u.rot90(turns, (2, 3))) - answer).abs().max() / answer.abs().max()).item()
        assert error < 1e-12
        record("IsoTwist2d network under quarter turns: largest relative change", error)


def test_in_training_mode_too_and_a_convolution_is_not():
    u = torch.randn(3, 2, 16, 16, dtype=torch.float64, generator=torch.manual_seed(1))
    model = network().train()
    torch.testing.assert_close(model(u.rot90(1, (2, 3))), model(u), rtol=1e-10, atol=1e-10)
    for other in (nn.Conv2d, ConvTwist2d):
        model = network(other).eval()
        assert (model(u.rot90(1, (2, 3))) - model(u)).abs().max() > 1e-3


def test_legacy_coordinates_give_the_symmetry_up():
    model = network(coords="legacy").eval()
    u = torch.randn(3, 2, 16, 16, dtype=torch.float64, generator=torch.manual_seed(1))
    assert (model(u.rot90(1, (2, 3))) - model(u)).abs().max() > 1e-5  # and not 1e-16


def test_the_layer_turns_with_its_input_at_any_angle_up_to_the_grid():
    """layer(turned u) against turned layer(u) at 20 random angles, both sampled from formulas."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(2)
    size, worst = 96, 0.0
    weight = torch.randn(1, 1, 4, generator=generator, dtype=torch.float64) * torch.tensor([1, 50, 20, 20])
    waves = torch.randn(8, 2, generator=generator, dtype=torch.float64) * 3

    def picture(x, y):
        wave = torch.cos(waves[:, 0, None, None] * x + waves[:, 1, None, None] * y).sum(0)
        return wave * torch.exp(-12 * (x**2 + y**2))

    x, y = coordinate_grid(size, size, dtype=torch.float64)

    def layer(c, s):
        return iso_twist2d(picture(c * x - s * y, s * x + c * y)[None, None], weight)[0, 0]

    for _ in range(20):
        angle = float(torch.rand((), generator=generator)) * 2 * math.pi
        c, s = math.cos(angle), math.sin(angle)
        turned = layer(c, s)
        # The upright answer at the turned positions, by a fine bicubic lookup far from the border.
        grid = torch.stack([c * x - s * y, s * x + c * y], -1)[None]
        upright = nn.functional.grid_sample(layer(1.0, 0.0)[None, None], grid, mode="bicubic", align_corners=False)
        inside = x**2 + y**2 < 0.8
        error = ((turned - upright[0, 0])[inside].norm() / turned[inside].norm()).item()
        worst = max(worst, error)
    assert worst < 0.01
    record("IsoTwist2d at 20 random angles: largest relative error", worst)


@pytest.mark.parametrize("reduce", [1, 2, 3])
def test_shapes_and_parameter_count(reduce):
    layer = IsoTwist2d(8, 12, groups=4, reduce=reduce)
    assert layer.weight.shape == (12, 2, 4) and layer.bias.shape == (12,)
    assert layer(torch.zeros(2, 8, 9, 7)).shape == (2, 12, 9 // reduce, 7 // reduce)
    assert layer(torch.zeros(8, 1, 2)).shape == (12, 1, max(2 // reduce, 1))
    plain = IsoTwist2d(8, 12, bias=False)
    assert plain.bias is None
    assert plain.weight.numel() / nn.Conv2d(8, 12, 3).weight.numel() == pytest.approx(4 / 9)


def test_reducing_is_averaging_afterwards():
    layer = IsoTwist2d(3, 5)
    reduced = IsoTwist2d(3, 5, reduce=2)
    reduced.load_state_dict(layer.state_dict())
    u = torch.randn(2, 3, 10, 8)
    torch.testing.assert_close(reduced(u), nn.functional.avg_pool2d(layer(u), 2), rtol=1e-4, atol=1e-5)


def test_starts_with_the_variance_of_conv2d_a_quarter_from_each_field():
    torch.manual_seed(0)
    u = torch.randn(4, 16, 64, 64)
    inner = (..., slice(1, -1), slice(1, -1))
    conv = nn.Conv2d(16, 256, 3, padding=1, bias=False)(u)[inner].var().item()
    layer = IsoTwist2d(16, 256, bias=False)
    assert layer(u)[inner].var().item() == pytest.approx(conv, rel=0.1)
    for k in range(4):
        only = torch.zeros_like(layer.weight)
        only[..., k] = layer.weight[..., k].detach()
        assert iso_twist2d(u, only)[inner].var().item() == pytest.approx(conv / 4, rel=0.15)


def test_module_equals_function_and_repr():
    layer = IsoTwist2d(4, 6, groups=2, reduce=2)
    u = torch.randn(2, 4, 8, 8)
    assert torch.equal(layer(u), iso_twist2d(u, layer.weight, layer.bias, groups=2, reduce=2))
    assert repr(layer) == "IsoTwist2d(4, 6, groups=2, reduce=2)"
    assert repr(IsoTwist2d(1, 2, False)) == "IsoTwist2d(1, 2, bias=False)"


@pytest.mark.parametrize(("options", "message"), [
    ({"groups": 3}, "in_channels=4 must be divisible by groups=3"),
    ({"reduce": 0}, "reduce must be a whole number from 1"),
    ({"coords": "pixels"}, "coords must be one of"),
    ({"out_channels": -1}, "out_channels must be"),
])
def test_what_is_refused_says_why(options, message):
    with pytest.raises(ValueError, match=message):
        IsoTwist2d(**{"in_channels": 4, "out_channels": 4, **options})


@pytest.mark.parametrize("groups, reduce", [(1, 1), (2, 1), (1, 3)])
def test_the_fifth_field_is_the_length_of_the_slope(groups, reduce):
    """Against NumPy-like loops over the definition; its derivative agrees with finite differences."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(2, 4, 6, 9, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, 5, generator=generator, dtype=torch.float64)
    slopes = [slope.square() for slope in gradient(u)]
    length = nn.functional.avg_pool2d((slopes[0] + slopes[1]).sqrt(), reduce)
    fifth = nn.functional.conv2d(length, weight[..., 4][..., None, None], groups=groups)
    expected = iso_twist2d(u, weight[..., :4], groups=groups, reduce=reduce) + fifth
    torch.testing.assert_close(iso_twist2d(u, weight, groups=groups, reduce=reduce), expected)
    leaves = u.requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda *t: iso_twist2d(*t, groups=groups, reduce=reduce), leaves, fast_mode=True)


def test_the_length_of_no_slope_has_a_derivative_and_a_large_one_fits_into_float16():
    layer = IsoTwist2d(1, 1, gradient=True)
    u = torch.zeros(1, 1, 6, 6, requires_grad=True)
    layer(u).sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (u, *layer.parameters()))
    layer = layer.half()
    nn.init.constant_(layer.weight, 0.01)
    checks = torch.full((1, 1, 4, 4), 60000.0, dtype=torch.float16)
    checks[..., 2:] *= -1
    assert layer(checks).isfinite().all()


def test_the_five_fields_start_with_equal_shares_of_a_convolutions_variance():
    torch.manual_seed(0)
    layer, u = IsoTwist2d(64, 64, bias=False, gradient=True), torch.randn(4, 64, 32, 32)
    plain = nn.Conv2d(64, 64, 3, bias=False)(u)[..., 2:-2, 2:-2]
    for k in range(5):
        only = torch.zeros_like(layer.weight)
        only[..., k] = layer.weight.detach()[..., k]
        share = iso_twist2d(u, only)[..., 1:-1, 1:-1].square().mean() / plain.square().mean()
        assert 0.15 < share < 0.27, k
    assert "gradient=True" in repr(layer) and layer.weight.shape == (64, 64, 5)
