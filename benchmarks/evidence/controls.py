"""The layers of the second plan: what a twist is compared with, so that one sees what its gain is due to.

Book: chapter 12.  Source: ``plan_2.md``.  The log-polar warp is arXiv 1612.09508 and 1709.01889.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convtwist import ConvTwist2d, IsoTwist2d
from convtwist.operators import coordinate_grid, fields, gradient

__all__ = ["LAYERS", "OtherFields", "OtherTwist", "PolarConv2d", "Pose", "SlopedConv2d"]

MEAN_SQUARE = 1 / 3  # of X, and of Y, over a square picture
PAIRS = {  # what takes the place of the twist's two fields; a and b are the slopes to the right and downward
    "flat": lambda x, y, a, b: (math.sqrt(MEAN_SQUARE) * (a + b), math.sqrt(MEAN_SQUARE) * (a - b)),
    "corner": lambda x, y, a, b: ((x + 1) * a + (y + 1) * b, (y + 1) * a - (x + 1) * b),
    "hyperbolic": lambda x, y, a, b: (x * a - y * b, y * a + x * b),
}
# The second moment of each field on white noise, for the start.
MOMENTS = {"u": 1, "laplacian": 13, "zoom": 12 / 64 * 2 / 3, "rotation": 12 / 64 * 2 / 3, "size": 2 * 12 / 64,
           "r2_laplacian": 13 * (2 / 5 + 2 / 9)}


class OtherTwist(ConvTwist2d):
    """A twist layer with another pair of fields: ``flat``, ``corner`` or ``hyperbolic``; same start, same decay."""

    def __init__(self, in_channels: int, out_channels: int, pair: str):
        super().__init__(in_channels, out_channels, 3, 1, 1, bias=False)
        self.pair = pair

    def forward(self, u: Tensor) -> Tensor:
        x, y = coordinate_grid(*u.shape[-2:])
        bank = torch.cat(PAIRS[self.pair](x, y, *gradient(u)), 1)
        mixed = F.conv2d(bank, torch.cat([*self.twist], 1)[..., None, None])
        return F.conv2d(u, self.weight, padding=1) + mixed


class SlopedConv2d(nn.Conv2d):
    """A convolution that starts with as much first order as a twist has, on average over the picture."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)
        slope = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
        deviation = 8 / math.sqrt(3 * 9 * in_channels) * math.sqrt(2 * MEAN_SQUARE)
        with torch.no_grad():
            for kernel in (slope, slope.T):
                self.weight += deviation * torch.randn(out_channels, in_channels, 1, 1) * kernel


class OtherFields(IsoTwist2d):
    """A 1x1 convolution over chosen fields of :data:`MOMENTS`; ``size`` is the length of the gradient."""

    def __init__(self, in_channels: int, out_channels: int, names: tuple[str, ...]):
        super().__init__(in_channels, out_channels, bias=False)
        self.names = names
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, len(names)))
        for k, name in enumerate(names):
            bound = math.sqrt(1 / (len(names) * in_channels * MOMENTS[name]))
            nn.init.uniform_(self.weight.data[..., k], -bound, bound)

    def forward(self, u: Tensor) -> Tensor:
        found = dict(zip(("u", "laplacian", "zoom", "rotation"), fields(u, "iso").unbind(1), strict=True))
        if "size" in self.names:
            a, b = gradient(u)
            found["size"] = (a.square() + b.square() + 1e-6).sqrt()
        if "r2_laplacian" in self.names:
            x, y = coordinate_grid(*u.shape[-2:])
            found["r2_laplacian"] = (x.square() + y.square()) * found["laplacian"]
        bank = torch.cat([found[name] for name in self.names], 1)
        return F.conv2d(bank, torch.cat([*self.weight.unbind(2)], 1)[..., None, None])


class PolarConv2d(nn.Conv2d):
    """A convolution on a log-polar map: its rows are angles, and go around."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=(0, 1), bias=False)

    def forward(self, u: Tensor) -> Tensor:
        return super().forward(F.pad(u, (0, 0, 1, 1), mode="circular"))


class Pose(nn.Module):
    """A spatial transformer (arXiv 1506.02025) that can turn, zoom and move; at the start it leaves pictures alone."""

    def __init__(self):
        super().__init__()
        self.look = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
                                  nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 4))
        nn.init.zeros_(self.look[-1].weight)
        with torch.no_grad():
            self.look[-1].bias.copy_(torch.tensor([1.0, 0, 0, 0]))

    def forward(self, u: Tensor) -> Tensor:
        a, b, right, down = self.look(u).unbind(1)
        back = torch.stack([torch.stack([a, -b, right], 1), torch.stack([b, a, down], 1)], 1)
        return F.grid_sample(u, F.affine_grid(back, list(u.shape), align_corners=False), align_corners=False)


def _fields(*names):
    return lambda in_channels, out_channels: OtherFields(in_channels, out_channels, names)


LAYERS = {
    "sloped": SlopedConv2d, "polar": PolarConv2d,
    **{pair: lambda in_channels, out_channels, pair=pair: OtherTwist(in_channels, out_channels, pair)
       for pair in PAIRS},
    "laplacian": _fields("u", "laplacian"), "size": _fields("u", "laplacian", "size"),
    "iso_size": _fields("u", "laplacian", "zoom", "rotation", "size"),
    "iso_r2": _fields("u", "r2_laplacian", "zoom", "rotation"),
}
