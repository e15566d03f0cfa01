"""Both layers in one step, for training: the same numbers in half the time.

Book: chapter 13.  Source: new here.

Written out plainly, a layer makes a bank of fields as large as several inputs, keeps it for the backward pass, and
mixes it into another output.  Memory takes the time, not arithmetic.  So here:

- The fields of a few images at a time are made in a buffer that stays in the cache (``blocks``); their mixture is added
  into the output.  On a GPU other hands do the same (``triton_steps``).
- Nothing but the input is kept.  The fields' transposes, applied to the incoming gradient, serve both gradients: they
  are mixed into that of the input, and multiplied with the input they give that of the mixing weights.
- The convolution of ``ConvTwist2d``, forward and backward, keeps the caller's memory layout: it decides the last bits,
  and a layer whose twist is zero shall agree with ``nn.Conv2d`` in all of them.

Every other case, and every derivative of a derivative, is left to the plain layers, which say what is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from convtwist._arguments import Coords
from convtwist._engine import blocks as on_cpu
from convtwist.operators import BY_FIELDS, plain, plain_isotropic

__all__ = ["IsoStep", "TwistStep", "empty_like_convolved", "empty_maps", "joined", "like_last", "parted"]


@dataclass(frozen=True)
class TwistStep:
    """``ConvTwist2d`` of ``(source, weight, twist, bias)``; under autocast the twist is of a wider type.

    Groups are mixed as one, with zeros in between: products that come to nothing cost less than many small ones.
    """

    padding: tuple[int, int]
    dilation: tuple[int, int]
    coords: Coords
    groups: int = 1
    stride: tuple[int, int] = (1, 1)

    @staticmethod
    def covers(padding: tuple[int, int], dilation: tuple[int, int], groups: int, width: int) -> bool:
        """Say whether a step can take these arguments, and gains by it; ``width`` is that of a group."""
        return all(p <= 2 * d for p, d in zip(padding, dilation, strict=True)) and (groups == 1 or width >= 4)

    def plain(self, source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the layer in PyTorch's own operations."""
        return plain(source, weight, twist.to(source.dtype), bias, self.stride, self.padding, self.dilation,
                     self.groups, self.coords)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the output's height and width."""
        pairs = zip((height, width), self.padding, self.dilation, self.stride, strict=True)
        rows, columns = ((side + 2 * p - 2 * d - 1) // s + 1 for side, p, d, s in pairs)
        return rows, columns

    def forward(self, source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None,
                blocks: ModuleType | None = None) -> Tensor:
        """Compute the layer."""
        output = F.conv2d(source, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        (blocks or on_cpu).add_fields(output, source, joined(twist, self.groups), BY_FIELDS[twist.shape[0]],
                                      self.stride, self.padding, self.dilation, self.coords)
        return output

    def gradient(self, slope: Tensor, source: Tensor, weight: Tensor, twist: Tensor, *, wanted: Sequence[bool],
                 blocks: ModuleType | None = None) -> tuple[Tensor | None, ...]:
        """Return the wanted gradients, and ``None`` for the others."""
        d_source, d_weight, d_bias = torch.ops.aten.convolution_backward(
            slope, source, weight, [weight.shape[0]], self.stride, self.padding, self.dilation, False, [0, 0],
            self.groups, [wanted[0], wanted[1], wanted[3]])
        d_twist = None
        if wanted[0] or wanted[2]:
            d_twist = parted((blocks or on_cpu).add_transposed(
                d_source if wanted[0] else None, slope, source, joined(twist, self.groups), wanted[2],
                BY_FIELDS[twist.shape[0]], self.stride, self.padding, self.dilation, self.coords), self.groups)
        return d_source, d_weight, d_twist if wanted[2] else None, d_bias


@dataclass(frozen=True)
class IsoStep:
    """``IsoTwist2d`` of ``(source, weight, bias)``, without groups; ``reduce`` divides both sides of the map.

    Under autocast the weight is of a wider type than the rest.
    """

    reduce: int
    coords: Coords

    @staticmethod
    def covers(source: Tensor, reduce: int, groups: int) -> bool:
        """Say whether a step can take these arguments."""
        return groups == 1 and not any(side % reduce for side in source.shape[-2:])

    def plain(self, source: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the layer in PyTorch's own operations."""
        return plain_isotropic(source, weight.to(source.dtype), bias, self.reduce, 1, self.coords)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the output's height and width."""
        return height // self.reduce, width // self.reduce

    def forward(self, source: Tensor, weight: Tensor, bias: Tensor | None, blocks: ModuleType | None = None) -> Tensor:
        """Compute the layer."""
        output = empty_like_convolved(source, weight.shape[0], *self.size(*source.shape[-2:]))
        if bias is not None:
            output.copy_(bias.view(-1, 1, 1))
        (blocks or on_cpu).add_fields(output, source, weight.movedim(2, 0), "iso", (1, 1), (1, 1), (1, 1), self.coords,
                                      keep=bias is not None, reduce=self.reduce)
        return output

    def gradient(self, slope: Tensor, source: Tensor, weight: Tensor, *, wanted: Sequence[bool],
                 blocks: ModuleType | None = None) -> tuple[Tensor | None, ...]:
        """Return the wanted gradients, and ``None`` for the others."""
        d_bias = slope.sum((0, 2, 3)) if wanted[2] else None
        slope = self.spread(slope)
        d_source = empty_like_convolved(source, *source.shape[1:]) if wanted[0] else None
        d_weight = None
        if wanted[0] or wanted[1]:
            d_weight = (blocks or on_cpu).add_transposed(
                d_source, slope, source, weight.movedim(2, 0), wanted[1], "iso", (1, 1), (1, 1), (1, 1),
                self.coords, keep=False).movedim(0, 2).contiguous()
        return d_source, d_weight if wanted[1] else None, d_bias

    def spread(self, slope: Tensor) -> Tensor:
        """Return the transpose of averaging over squares."""
        return slope if self.reduce == 1 else F.interpolate(slope, scale_factor=self.reduce) / self.reduce**2


def joined(twist: Tensor, groups: int) -> Tensor:
    """Lay the weights of groups, ``(fields, out, in / groups)``, out as one, ``(fields, out, in)``."""
    if groups == 1:
        return twist
    fields, out, width = twist.shape
    whole = twist.new_zeros(fields, groups, out // groups, groups, width)
    whole.diagonal(0, 1, 3).copy_(twist.unflatten(1, (groups, -1)).movedim(1, 3))
    return whole.flatten(3).flatten(1, 2)


def parted(whole: Tensor, groups: int) -> Tensor:
    """Return from ``(fields, out, in)`` what belongs to groups, ``(fields, out, in / groups)``."""
    if groups == 1:
        return whole
    return whole.unflatten(2, (groups, -1)).unflatten(1, (groups, -1)).diagonal(0, 1, 3).movedim(3, 1).flatten(1, 2)


def like_last(tensor: Tensor) -> bool:
    """Say whether a convolution takes a tensor for ``channels_last``, as ``Tensor::suggest_memory_format`` does."""
    least, strides = 0, tensor.stride()
    may_ask = not torch.compiler.is_dynamo_compiling()  # nobody knows yet whether a program's batch will be empty
    if strides[1] == 0:
        return False
    for axis in (1, 3, 2, 0):
        if (may_ask and tensor.shape[axis] == 0) or strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * max(tensor.shape[axis], 1)
    return True


def empty_like_convolved(source: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Return an output without content, laid out as a convolution would."""
    return empty_maps(source, like_last(source), channels, height, width)


def empty_maps(source: Tensor, last: bool, channels: int, height: int, width: int) -> Tensor:
    """Return maps without content, in ``channels_last`` or contiguous; a compiler knows this to be no work."""
    if last:
        return source.new_empty((source.shape[0], height, width, channels)).permute(0, 3, 1, 2)
    return source.new_empty((source.shape[0], channels, height, width))
