"""The networks: published sizes, any layer in them, and the thread's groups where it had them."""

import pytest
import torch
from torch import nn

import convtwist
from convtwist.train.layers import LAYERS
from convtwist.train.networks import NETWORKS, build


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("network", "count"), [("resnet18", 11_689_512), ("resnet50", 25_557_032)])
def test_sizes_as_published(network, count):
    with torch.device("meta"):
        assert parameters(build(network, classes=1000)) == count


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("network", "stem"), [("resnet18", "small"), ("resnet50", "imagenet"),
                                               ("bottleneck", "deep")])
def test_any_layer_in_any_network(network, stem, layer):
    """On odd sides too, where a stride rounds up and IsoTwist2d down."""
    model = build(network, layer, classes=5, channels=1, depths=(1, 1), stem=stem)
    out = model(torch.randn(2, 1, 29, 37))
    assert out.shape == (2, 5)
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    left = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert bool(left) == (layer in ("conv2d", "coord_conv"))


@pytest.mark.parametrize("width", [8, 4])
def test_the_threads_network_has_its_groups_and_permutations(width):
    model = build("bottleneck", "similarity", group_width=width, layer_options={"permute": "4-cycle"})
    twists = [m for m in model.modules() if isinstance(m, convtwist.ConvTwist2d)]
    assert len(twists) == 3 + 28  # the stem's, without groups, and one for each block of 4 + 6 + 8 + 10
    assert [(m.groups, m.permute) for m in twists[:3]] == [(1, None)] * 3
    assert all(m.in_channels // m.groups == width and m.permute == "4-cycle" for m in twists[3:])


def test_a_block_of_the_threads_network_starts_as_its_shortcut():
    block = build("bottleneck", depths=(2,), stem="small")[4].eval()
    u = torch.rand(1, 256, 6, 6)
    torch.testing.assert_close(block(u), nn.functional.mish(u))


def test_an_isotropic_network_turns_with_its_input():
    """Without a stem's pooling nothing but the layer decides: a quarter turn leaves the answer alone."""
    torch.manual_seed(0)
    model = build("resnet18", "iso_twist", stem="small", channels=1, depths=(1, 1, 1)).eval().double()
    u = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(model(u), model(u.rot90(1, (2, 3))))
    plain = build("resnet18", "conv2d", stem="small", channels=1, depths=(1, 1, 1)).eval().double()
    assert (plain(u) - plain(u.rot90(1, (2, 3)))).abs().max() > 1e-3


def test_refusals():
    with pytest.raises(ValueError, match="network must be one of 'resnet18'"):
        build("vgg")
    with pytest.raises(ValueError, match=r"group_width must divide 64.* got 5"):
        build("bottleneck", group_width=5)
    with pytest.raises(ValueError, match="stem must be one of"):
        build("resnet18", stem="large")
    assert set(NETWORKS) == {"resnet18", "resnet50", "bottleneck"}
