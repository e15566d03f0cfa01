"""Every layer of the registry takes the place of a 3x3 convolution, grouped or not, and says what it refuses."""

import pytest
import torch
from torch import nn

from convtwist.train.layers import LAYERS, builder

WEIGHTS = {"conv2d": 9, "coord_conv": 9, "similarity": 11, "affine": 13, "first_order": 17, "iso_twist": 4}


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_takes_the_place_of_a_convolution(name, stride, groups):
    layer = builder(name)(8, 16, stride, groups)
    u = torch.randn(2, 8, 10, 12, requires_grad=True)
    out = layer(u)
    assert out.shape == (2, 16, 10 // stride, 12 // stride)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    inputs = 8 // groups + (2 if name == "coord_conv" else 0)
    assert sum(p.numel() for p in layer.parameters()) == WEIGHTS[name] * 16 * inputs


def test_groups_of_a_coord_conv_stay_apart_and_see_the_coordinates():
    layer = builder("coord_conv")(4, 4, groups=2)
    u = torch.randn(1, 4, 5, 6)
    changed = u.clone()
    changed[:, 2:] += 1
    before, after = layer(u), layer(changed)
    assert torch.equal(before[:, :2], after[:, :2]) and not torch.equal(before[:, 2:], after[:, 2:])
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.conv.weight[:, 2, 1, 1] = 1  # each group's first coordinate
    expected = (2 * torch.arange(6) + 1 - 6) / 6
    torch.testing.assert_close(layer(u), expected.expand(1, 4, 5, 6))


def test_a_permuted_convolution_is_the_twist_without_twist():
    plain = builder("conv2d", permute="4-cycle")(16, 16, groups=8)
    twist = builder("similarity", permute="4-cycle", twist_init="zeros")(16, 16, groups=8)
    twist.weight.data.copy_(plain.conv.weight)
    u = torch.randn(2, 16, 6, 6)
    torch.testing.assert_close(plain(u), twist(u))
    assert isinstance(builder("conv2d", permute="4-cycle")(16, 16), nn.Conv2d)  # one group: nothing to permute


def test_options_reach_the_layer():
    layer = builder("first_order", centers=True, twist_init="zeros")(8, 8)
    assert layer.center.shape == (2, 8) and not layer.twist.any()


@pytest.mark.parametrize(("name", "options", "message"), [
    ("conv", {}, "must be one of 'conv2d', 'coord_conv'"),
    ("iso_twist", {"permute": "cycle"}, "permute is no option of the layer 'iso_twist', which takes no options"),
    ("similarity", {"twist_init": "ones"}, "twist_init"),
    ("conv2d", {"permute": "5-cycle"}, "5-cycle"),
])
def test_refusals_come_early(name, options, message):
    with pytest.raises(ValueError, match=message):
        builder(name, **options)
