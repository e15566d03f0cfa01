"""The layers that are timed side by side, each in the place of one 3x3 convolution without bias.

Book: chapters 9 and 13.  Source: the forum thread's version 2, written anew from its formula, and CoordConv
(arXiv 1807.03247).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convtwist import ConvTwist2d, IsoTwist2d
from convtwist.train.layers import CoordConv2d

__all__ = ["CONTENDERS", "Contender", "ThreeConvolutions"]


def _legacy_grid(output: Tensor) -> tuple[Tensor, Tensor]:
    height, width = output.shape[-2:]
    options = {"dtype": output.dtype, "device": output.device}
    return (torch.arange(width, **options) * (2 / width) - 1).view(1, width), \
        (torch.arange(height, **options) * (2 / height) - 1).view(height, 1)


class ThreeConvolutions(nn.Module):
    """``W*u + X . (Kx*u) + Y . (Ky*u)`` with ``Kx = a Dx + b Dy`` and ``Ky`` its quarter turn, taken literally."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, device=None):
        super().__init__()
        self.stride, self.groups = stride, groups
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False, device=device)
        deviation = self.conv.weight.std().item()
        self.a, self.b = (nn.Parameter(deviation * torch.randn(out_channels, in_channels // groups, 1, 1,
                                                               device=device)) for _ in range(2))
        self.register_buffer("dx", torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=device))

    def kernels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return W, Kx and Ky, ``(out, in / groups, 3, 3)`` each."""
        kernel_x = self.a * self.dx - self.b * self.dx.t()  # the post's second Sobel points up
        return self.conv.weight, kernel_x, kernel_x.transpose(2, 3).flip(3)

    def forward(self, u: Tensor) -> Tensor:
        """Take ``(batch, in, height, width)`` to ``(batch, out, height / stride, width / stride)``."""
        plain, along_x, along_y = (F.conv2d(u, kernel, stride=self.stride, padding=1, groups=self.groups)
                                   for kernel in self.kernels())
        x, y = _legacy_grid(plain)
        return plain + x * along_x + y * along_y


@dataclass(frozen=True)
class Contender:
    """A layer to time: how to build it, and its weights for each pair of input and output channel."""

    build: Callable[..., nn.Module]
    weights: int
    extra_inputs: int = 0

    def multiply_adds(self, batch: int, in_channels: int, out_channels: int, pixels: int) -> int:
        """Return those of the forward pass that mix channels.

        Stencils and coordinates are left out: they cost per channel, not per pair of channels.
        """
        return batch * pixels * out_channels * (in_channels + self.extra_inputs) * self.weights


def _twist(operators):
    return lambda i, o, stride=1, device=None: ConvTwist2d(i, o, 3, stride, 1, bias=False, operators=operators,
                                                           device=device)


CONTENDERS = {
    "Conv2d": Contender(lambda i, o, stride=1, device=None: nn.Conv2d(i, o, 3, stride, 1, bias=False, device=device),
                        9),
    "posted version 2": Contender(ThreeConvolutions, 27),
    "CoordConv": Contender(CoordConv2d, 9, extra_inputs=2),
    "ConvTwist similarity": Contender(_twist("similarity"), 11),
    "ConvTwist affine": Contender(_twist("affine"), 13),
    "ConvTwist first_order": Contender(_twist("first_order"), 17),
    "IsoTwist2d": Contender(lambda i, o, stride=1, device=None: IsoTwist2d(i, o, False, reduce=stride, device=device),
                            4),
}
