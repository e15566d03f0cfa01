"""The layers that can take the place of a 3x3 convolution without bias, each by its name.

Book: chapter 11.  Source: CoordConv is arXiv 1807.03247, permuted groups the forum thread; the others are this
package's own.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.types import Device

from convtwist import ConvTwist2d, IsoTwist2d, channels
from convtwist._arguments import check_channels, check_choice
from convtwist.channels import Order
from convtwist.operators import OPERATORS, Operators, coordinate_grid

__all__ = ["LAYERS", "CoordConv2d", "PermutedConv2d", "builder"]


class CoordConv2d(nn.Module):
    """A convolution that reads two more channels in every group, the coordinates of the input pixel."""

    groups: int
    conv: nn.Conv2d

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1,
                 device: Device = None) -> None:
        super().__init__()
        check_channels(in_channels, out_channels, groups)
        self.groups = groups
        self.conv = nn.Conv2d(in_channels + 2 * groups, out_channels, 3, stride, 1, groups=groups, bias=False,
                              device=device)

    def forward(self, u: Tensor) -> Tensor:
        """Take ``(batch, in, height, width)`` to ``(batch, out, ceil(height / stride), ceil(width / stride))``."""
        batch, _, height, width = u.shape
        x, y = coordinate_grid(height, width, dtype=u.dtype, device=u.device)
        grid = torch.stack([x.expand(height, width), y.expand(height, width)])
        parts = u.unflatten(1, (self.groups, -1))
        return self.conv(torch.cat([parts, grid.expand(batch, self.groups, 2, height, width)], 2).flatten(1, 2))


class PermutedConv2d(nn.Module):
    """A grouped convolution whose groups read channels of others, in the order of ``channels.permutation``."""

    order: Tensor
    conv: nn.Conv2d

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int, permute: Order) -> None:
        super().__init__()
        self.register_buffer("order", channels.permutation(permute, in_channels, groups), persistent=False)
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        """Take ``(batch, in, height, width)`` to ``(batch, out, ceil(height / stride), ceil(width / stride))``."""
        return self.conv(u.index_select(1, self.order))


def _conv2d(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, *,
            permute: Order | None = None) -> nn.Module:
    if permute is not None and groups > 1:
        return PermutedConv2d(in_channels, out_channels, stride, groups, permute)
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False)


def _coord_conv(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return CoordConv2d(in_channels, out_channels, stride, groups)


def _iso_twist(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return IsoTwist2d(in_channels, out_channels, bias=False, groups=groups, reduce=stride)


def _twist(operators: Operators) -> Callable[..., nn.Module]:
    def build(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, *, permute: Order | None = None,
              twist_init: Literal["normal", "zeros"] = "normal", centers: bool = False) -> nn.Module:
        return ConvTwist2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False, operators=operators,
                           permute=permute if groups > 1 else None, twist_init=twist_init, centers=centers)
    return build


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "conv2d": _conv2d, "coord_conv": _coord_conv, **{name: _twist(name) for name in OPERATORS}, "iso_twist": _iso_twist}
_OPTIONS = {"conv2d": ("permute",), "coord_conv": (), "iso_twist": (),
            **dict.fromkeys(OPERATORS, ("permute", "twist_init", "centers"))}


def builder(layer: str, **options: Any) -> Callable[..., nn.Module]:
    """Return what builds one layer: called as ``(in_channels, out_channels, stride=1, groups=1)``.

    Every layer takes ``(batch, in, height, width)`` to ``(batch, out, height / stride, width / stride)``, sides
    rounded up; ``"iso_twist"``, which averages instead of striding, rounds them down.

    Args:
        layer: ``"conv2d"``, ``"coord_conv"``, ``"similarity"``, ``"affine"``, ``"first_order"`` (which are
            ``ConvTwist2d``) or ``"iso_twist"``.
        options: for ``ConvTwist2d`` ``twist_init``, ``centers`` and ``permute``; for ``"conv2d"`` ``permute``.  A
            permutation, by its name, joins groups, and does nothing to a layer that has only one.

    Raises:
        ValueError: no layer has that name, or an option or its value is none of the layer's.

    >>> builder("similarity", twist_init="zeros", permute="4-cycle")(64, 64, groups=8)
    ConvTwist2d(64, 64, kernel_size=(3, 3), stride=(1, 1), bias=False, padding=(1, 1), groups=8, permute='4-cycle')
    """
    build = LAYERS[check_choice(layer, "layer", LAYERS)]
    for option in options:
        if option not in _OPTIONS[layer]:
            known = ", ".join(_OPTIONS[layer]) or "no options"
            raise ValueError(f"{option} is no option of the layer {layer!r}, which takes {known}")

    def build_layer(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Module:
        return build(in_channels, out_channels, stride, groups, **options)

    with torch.random.fork_rng(devices=[]):  # a network built next draws what it would have drawn
        build_layer(64, 64, groups=4)  # a wrong value is found now rather than deep in a network
    return build_layer
