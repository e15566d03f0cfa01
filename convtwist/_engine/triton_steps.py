"""Both layers in one step on a GPU: what ``steps`` does on a CPU, for maps of one shape.

Book: chapter 13.  Source: new here.

On small maps Python takes longer than the GPU.  So what depends on shapes and options alone is found once, and kept.
Under autocast the mixing weights come in a wider type than the maps, and are rounded where they are read.  Whatever
autocast says during the backward pass, the types are those of the maps: operations with ``out`` don't ask it.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from convtwist._engine.steps import IsoStep, TwistStep, empty_like_convolved, joined, parted
from convtwist._engine.triton_blocks import Walk, in_last
from convtwist._engine.triton_launch import INTERPRETED, Unseen
from convtwist.operators import BY_FIELDS

__all__ = ["INTERPRETED", "IsoOnGPU", "TwistOnGPU", "Unseen", "prepared"]

_LAST = torch.channels_last
_convolution_backward = torch.ops.aten.convolution_backward.default


class TwistOnGPU:
    """``TwistStep`` for maps of one shape."""

    def __init__(self, step: TwistStep, shape: torch.Size, weights: torch.Size, dtype: torch.dtype,
                 device: torch.device) -> None:
        self.plain, self.groups, self.stride, self.dtype = step.plain, step.groups, step.stride, dtype
        self.convolved = step.stride, step.padding, step.dilation
        operators, size, (out, channels) = BY_FIELDS[weights[0]], step.size(*shape[2:]), (weights[1], shape[1])
        fixed = dtype, device, step.coords, step.stride
        self.ahead = Walk(operators, shape, size, out, *fixed, step.padding, step.dilation, False, 1)
        turned = 2 * step.dilation[0] - step.padding[0], 2 * step.dilation[1] - step.padding[1]
        self.back = Walk(operators, (shape[0], out, *size), shape[2:], channels, *fixed, turned, step.dilation, True, 1)

    def forward(self, source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the layer."""
        output = torch.conv2d(source, weight, bias, *self.convolved, self.groups)
        if self.groups > 1:
            twist = joined(twist, self.groups)
        if output.is_contiguous(memory_format=_LAST):
            self.ahead.mix(in_last(source), output, twist, True)
        else:
            change = torch.empty_like(output, memory_format=_LAST)
            self.ahead.mix(in_last(source), change, twist, False)
            output += change
        return output

    def gradient(self, slope: Tensor, source: Tensor, weight: Tensor, twist: Tensor, *,
                 wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """Return the wanted gradients, and ``None`` for the others."""
        d_source, d_weight, d_bias = _convolution_backward(
            slope, source, weight, [weight.shape[0]], *self.convolved, False, [0, 0], self.groups,
            [wanted[0], wanted[1], wanted[3]])
        d_twist = None
        if wanted[0] or wanted[2]:
            mixing = twist if self.groups == 1 else joined(twist, self.groups)
            d_twist = self._through_fields(in_last(slope), in_last(source), d_source if wanted[0] else None, mixing,
                                           wanted[2])
            if d_twist is not None:
                d_twist = parted(d_twist, self.groups)
                d_twist = d_twist if d_twist.dtype is twist.dtype else d_twist.to(twist.dtype)
        return d_source, d_weight, d_twist, d_bias

    def _through_fields(self, slope: Tensor, source: Tensor, d_source: Tensor | None, mixing: Tensor,
                        wanted: bool) -> Tensor | None:
        target = d_source
        if d_source is not None and not d_source.is_contiguous(memory_format=_LAST):
            target = d_source.contiguous(memory_format=_LAST)
        if self.stride == (1, 1):
            found = self.back.mix_back(slope, target, mixing, True, source if wanted else None)
        else:
            if target is not None:
                self.ahead.spread(target, slope, mixing)
            found = self.ahead.products(source, slope, mixing.dtype) if wanted else None
        if target is not d_source and target is not None and d_source is not None:
            d_source.copy_(target)
        return found


class IsoOnGPU:
    """``IsoStep`` for maps of one shape."""

    def __init__(self, step: IsoStep, shape: torch.Size, weights: torch.Size, dtype: torch.dtype,
                 device: torch.device) -> None:
        self.plain, self.spread, self.size, self.dtype = step.plain, step.spread, step.size(*shape[2:]), dtype
        (images, channels), out, sides, one = shape[:2], weights[0], shape[2:], (1, 1)
        fixed = dtype, device, step.coords, one, one, one
        self.ahead = Walk("iso", shape, sides, out, *fixed, False, step.reduce)
        self.back = Walk("iso", (images, out, *sides), sides, channels, *fixed, True, 1)

    def forward(self, source: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the layer."""
        output = empty_like_convolved(source, weight.shape[0], *self.size)
        last = output.is_contiguous(memory_format=_LAST)
        target = output if last else torch.empty_like(output, memory_format=_LAST)
        if bias is not None:
            target.copy_(bias.view(-1, 1, 1))
        self.ahead.mix(in_last(source), target, weight.movedim(2, 0), bias is not None)
        return output if last else output.copy_(target)

    def gradient(self, slope: Tensor, source: Tensor, weight: Tensor, *,
                 wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """Return the wanted gradients, and ``None`` for the others."""
        d_bias = slope.sum((0, 2, 3)) if wanted[2] else None
        slope = self.spread(slope)
        d_source = empty_like_convolved(source, *source.shape[1:]) if wanted[0] else None
        d_weight = None
        if wanted[0] or wanted[1]:
            target = d_source
            if d_source is not None and not d_source.is_contiguous(memory_format=_LAST):
                target = torch.empty_like(d_source, memory_format=_LAST)
            d_weight = self.back.mix_back(in_last(slope), target, weight.movedim(2, 0), False,
                                          in_last(source) if wanted[1] else None)
            if target is not d_source and target is not None and d_source is not None:
                d_source.copy_(target)
            if d_weight is not None:
                d_weight = d_weight.movedim(0, 2).to(weight.dtype, memory_format=torch.contiguous_format).contiguous()
        return d_source, d_weight, d_bias


@lru_cache(maxsize=1024)
def prepared(step: TwistStep | IsoStep, shape: torch.Size, weights: torch.Size, dtype: torch.dtype,
             device: torch.device) -> TwistOnGPU | IsoOnGPU:
    """Return a step for maps of a shape; ``weights`` is the shape of the mixing weights."""
    if isinstance(step, IsoStep):
        return IsoOnGPU(step, shape, weights, dtype, device)
    return TwistOnGPU(step, shape, weights, dtype, device)
