"""IsoTwist2d, the layer that commutes with turns of its input about the centre.

Book: chapter 9.  Source: new here.  Among the operators of first order with linear coefficients, E and R span
those that commute with every turn about the centre; among ordinary kernels only the identity and the Laplacian
do.  A layer made of these four has the symmetry built in and needs 4 weights where a convolution has 9.  It does not
commute with zooms: a zoom by f makes the Laplacian f^2 times smaller.  Not linear, but true to turns as well, is the
length of the gradient; with it the layer learned turned pictures better (chapter 12).
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.types import Device

from convtwist._arguments import NO_SCRIPT, Coords, as_factory, as_flag, check_channels, check_choice, check_whole
from convtwist.functional import iso_twist2d

__all__ = ["IsoTwist2d"]

torch.fx.wrap("iso_twist2d")


class IsoTwist2d(nn.Module):
    """Mixes u, its Laplacian, E u and R u; turns with its input about the centre of the map.

    Quarter turns come out exactly; other angles up to the error of the grid.  Zooms do not: the Laplacian of a
    picture zoomed by f is f^2 times smaller.  There are zeros beyond the border, so the output is as large as the
    input.

    Args:
        in_channels, out_channels: channels read and made.
        bias: add a learned constant to every output channel.
        groups: as for ``nn.Conv2d``.
        reduce: average the result over squares of this side.  It takes the place of a stride, which would move
            the centre by half a pixel.
        gradient: mix in a fifth field, ``|grad u|``, the length of the slope.  The layer is then no longer linear in
            its input.
        coords: ``"centered"``; ``"legacy"`` has its centre half a pixel off, and the symmetry with it.
        device, dtype: as for ``nn.Conv2d``.

    Attributes:
        weight: ``(out, in / groups, 4)``, for u, Laplacian u, E u = (X dx + Y dy) u, R u = (Y dx - X dy) u; with
            ``gradient`` ``(out, in / groups, 5)``.
        bias: ``(out,)`` or ``None``.

    Shape:
        ``(batch, in, height, width)`` or ``(in, height, width)`` to ``(..., out, height // reduce,
        width // reduce)``, sides at least 1.

    Raises:
        ValueError: an argument is out of range.
        RuntimeError: torch has no memory for the weights.

    >>> IsoTwist2d(16, 32, reduce=2)(torch.rand(1, 16, 28, 28)).shape
    torch.Size([1, 32, 14, 14])
    """

    in_channels: int
    out_channels: int
    groups: int
    reduce: int
    gradient: bool
    coords: Coords
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, *, groups: int = 1, reduce: int = 1,
                 gradient: bool = False, coords: Coords = "centered", device: Device = None,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__()
        in_channels, out_channels, groups = check_channels(in_channels, out_channels, groups)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.groups = groups
        self.reduce = check_whole(reduce, "reduce")
        self.gradient = as_flag(gradient, "gradient")
        self.coords = check_choice(coords, "coords", ("centered", "legacy"))
        options = as_factory(device, dtype)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, 4 + self.gradient, **options))
        with_bias = as_flag(bias, "bias")
        self.register_parameter("bias", nn.Parameter(torch.empty(out_channels, **options)) if with_bias else None)
        self.reset_parameters()

    if TYPE_CHECKING:  # nn.Module declares that a call returns anything

        def __call__(self, input: Tensor) -> Tensor: ...

    def reset_parameters(self) -> None:
        """Draw new parameters, so that on white noise every field brings an equal share of ``nn.Conv2d``'s variance."""
        width, count = self.weight.shape[1:]
        # Variance of a field on white noise: the sum of its squared taps, times the mean of X^2 + Y^2 = 2/3.
        # Both slopes together have 24/64, here as its mean square.
        for k, variance in enumerate((1, 13, 12 / 64 * 2 / 3, 12 / 64 * 2 / 3, 24 / 64)[:count]):
            bound = math.sqrt(1 / (count * width * variance))
            nn.init.uniform_(self.weight[..., k], -bound, bound)
        if self.bias is not None:
            bound = 1 / math.sqrt(9 * width)
            nn.init.uniform_(self.bias, -bound, bound)

    def __prepare_scriptable__(self) -> nn.Module:  # torch.jit.script asks for what it should compile
        raise NotImplementedError(NO_SCRIPT.format("IsoTwist2d"))

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer; see :func:`convtwist.functional.iso_twist2d`."""
        return iso_twist2d(input, self.weight, self.bias, groups=self.groups, reduce=self.reduce, coords=self.coords)

    def extra_repr(self) -> str:
        """Name the channels, and of the rest what differs from the default."""
        parts = [f"{self.in_channels}, {self.out_channels}"]
        if self.bias is None:
            parts.append("bias=False")
        for name, default in {"groups": 1, "reduce": 1, "gradient": False, "coords": "centered"}.items():
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)!r}")
        return ", ".join(parts)
