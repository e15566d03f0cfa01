"""The layers as functions of their input and their weights; the modules only hold parameters.

Book: chapter 9.  Source: the announcement notebook of ConvTwist (version 1: centres) and the forum thread
(version 2: zoom and rotation, several steps, groups in a cycle).

For every output pixel at (x, y)::

    output = weight * input + bias  +  (x - center_x) (Kx * input) + (y - center_y) (Ky * input)

where ``*`` is cross-correlation and Kx, Ky are mixtures of odd kernels, first-order operators.  Three identities
make it cheap.  Coordinates commute with mixing channels, so the twist is a 1x1 product over a bank of fields.
The centres are an ordinary convolution, so they are subtracted from ``weight``.  And a permutation of channels
is a copy of the input, never a widened kernel.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from convtwist import compiled
from convtwist.arguments import (
    agreement,
    choice,
    input_map,
    maps_fit,
    order,
    pair,
    spatial_padding,
    tensors,
    vector,
    whole,
)
from convtwist.fused import IsoStep, TwistStep, applies, mixed, plain
from convtwist.linear import apply_step
from convtwist.operators import OPERATORS, isotropic_fields, twist_kernels

__all__ = ["conv_twist2d", "iso_twist2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_FIELDS = tuple(map(len, OPERATORS.values()))


def conv_twist2d(input: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None = None, stride=1, padding=0,
                 dilation=1, groups: int = 1, *, padding_mode: str = "zeros", center: Tensor | None = None,
                 coords: str = "centered", steps: int = 1,
                 permute: str | Sequence[int] | Tensor | None = None) -> Tensor:
    """Convolve with a twist: a 3x3 convolution plus first-order operators that depend on the position.

    Args:
        input: ``(batch, in, height, width)`` or ``(in, height, width)``.
        weight: ``(out, in / groups, 3, 3)``, the ordinary part.
        twist: ``(fields, out, in / groups)``.  2 fields mean ``"similarity"``, 4 ``"affine"`` and 8
            ``"first_order"``; their meaning and order are listed in ``convtwist.operators.OPERATORS``.
        bias: ``(out,)``.
        stride: as for ``conv2d``, like the next three.
        padding: a number, ``(rows, columns)``, ``"same"`` or ``"valid"``.
        dilation: distance between the taps; the derivatives remain per pixel.
        groups: splits the channels as in ``conv2d``.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        center: ``(2, out)``, x then y of the point where each output channel has no twist, in the unit of
            ``coords``; the middle of the map if absent.
        coords: ``"centered"`` or ``"legacy"``, see ``convtwist.operators.coordinate_grid``.
        steps: with L the layer, compute ``(1 + L / steps) ** steps - 1`` instead of L: as many small steps of the
            flow that L generates.  The bias belongs to L and is added in every step.
        permute: reorders the input channels in front of the groups: ``"cycle"``, ``"4-cycle"``, ``"shuffle"``
            (see ``convtwist.channels``) or each channel's number once, in the order in which they are read.

    Returns:
        ``(batch, out, height', width')``, sized and typed as ``conv2d`` would.

    Raises:
        ValueError: shapes or arguments do not fit together; the message names the argument.
        TypeError: ``input`` holds whole numbers, or one of the tensors is none, or sparse.

    >>> import torch
    >>> u = torch.rand(1, 3, 8, 8)
    >>> weight, twist = torch.rand(5, 3, 3, 3), torch.zeros(2, 5, 3)
    >>> bool((conv_twist2d(u, weight, twist) == F.conv2d(u, weight)).all())
    True
    """
    whole(groups, "groups")
    tensors(input=input, weight=weight, twist=twist)
    input_map(input, weight, groups, 4)
    _check_parameters(weight, twist, center)
    vector(bias, "bias", weight)
    agreement(input, weight=weight, twist=twist, bias=bias, center=center)
    choice(padding_mode, "padding_mode", _PADDING_MODES)
    choice(coords, "coords", ("centered", "legacy"))
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    padding = spatial_padding(padding, stride, dilation)
    maps_fit(input, padding, dilation, padding_mode)
    if whole(steps, "steps") > 1:
        _check_steps(steps, weight.shape[1] * groups, weight.shape[0], stride, padding, dilation)
    if input.dim() == 3:
        return conv_twist2d(input[None], weight, twist, bias, stride, padding, dilation, groups,
                            padding_mode=padding_mode, center=center, coords=coords, steps=steps,
                            permute=permute)[0]
    if center is not None:
        kx, ky = twist_kernels(twist, dilation)
        cx, cy = center.view(2, -1, 1, 1, 1)
        weight = weight - cx * kx - cy * ky
    output = input
    for _ in range(steps):
        source = _permuted(output, permute, groups)
        change = _layer(source, weight, twist, bias, stride, padding, dilation, groups, padding_mode, coords)
        if steps == 1:
            return change
        output = output + change / steps
    return output - input


def iso_twist2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, groups: int = 1, reduce: int = 1,
                coords: str = "centered") -> Tensor:
    """Mix u, its Laplacian, E u and R u: what commutes with turns and zooms about the centre.

    Args:
        input: ``(batch, in, height, width)`` or ``(in, height, width)``; zeros lie beyond its border.
        weight: ``(out, in / groups, 4)``, for u, Laplacian u, E u = (X dx + Y dy) u, R u = (Y dx - X dy) u.
        bias: ``(out,)``.
        groups: as for ``conv2d``.
        reduce: average the result over squares of this side, about the middle.
        coords: ``"centered"``, or ``"legacy"``, which gives up the symmetry by half a pixel.

    Returns:
        ``(batch, out, height // reduce, width // reduce)``, sides at least 1.

    Raises:
        ValueError: shapes or arguments do not fit together; the message names the argument.
        TypeError: ``input`` holds whole numbers, or one of the tensors is none, or sparse.

    >>> import torch
    >>> u, weight = torch.rand(1, 3, 8, 8), torch.rand(5, 3, 4)
    >>> turned = iso_twist2d(u.rot90(1, (2, 3)), weight)
    >>> bool((turned - iso_twist2d(u, weight).rot90(1, (2, 3))).abs().max() < 1e-5)
    True
    """
    whole(groups, "groups")
    whole(reduce, "reduce")
    tensors(input=input, weight=weight)
    input_map(input, weight, groups, 3)
    if weight.shape[2] != 4:
        raise ValueError(f"weight must be (out, in / groups, 4), got shape {tuple(weight.shape)}")
    vector(bias, "bias", weight)
    agreement(input, weight=weight, bias=bias)
    choice(coords, "coords", ("centered", "legacy"))
    maps_fit(input, (1, 1), (1, 1), "zeros")
    if input.dim() == 3:
        return iso_twist2d(input[None], weight, bias, groups=groups, reduce=reduce, coords=coords)[0]
    if IsoStep.covers(input, reduce, groups):
        if applies(input, weight, bias):
            return apply_step(IsoStep(reduce, coords), input, weight, bias)
        if compiled.applies(input, weight, bias):
            return compiled.iso(input, weight, bias, reduce, coords)
    return mixed(isotropic_fields(input, reduce=reduce, coords=coords), weight.movedim(2, 0), bias, groups)


def _layer(source, weight, twist, bias, stride, padding, dilation, groups, padding_mode, coords):
    if padding_mode != "zeros" and padding != (0, 0):
        down, right = padding
        source, padding = F.pad(source, (right, right, down, down), mode=padding_mode), (0, 0)
    if TwistStep.covers(padding, dilation, groups, weight.shape[1]):
        if applies(source, weight, twist, bias):
            return apply_step(TwistStep(padding, dilation, coords, groups, stride), source, weight, twist, bias)
        if compiled.applies(source, weight, twist, bias):
            return compiled.twist(source, weight, twist, bias, padding, dilation, coords, groups, stride)
    return plain(source, weight, twist, bias, stride, padding, dilation, groups, coords)


def _permuted(source, permute, groups):
    if permute is None:
        return source
    count = source.shape[1]
    if isinstance(permute, str):
        choice(permute, "permute", ("cycle", "4-cycle", "shuffle"))
        if permute == "cycle":
            return source.roll(count // groups, 1)
        if permute == "shuffle":
            return source.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
        if groups % 4:
            raise ValueError(f"permute='4-cycle' needs groups divisible by 4, got groups={groups}; use 'cycle'")
        return source.unflatten(1, (groups // 4, 4, -1)).roll(1, 2).flatten(1, 3)
    if not isinstance(permute, Tensor):
        permute = torch.tensor(order(permute, count), device=source.device)
    elif permute.shape != (count,) or permute.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"permute must hold {count} channel numbers, got {permute.dtype} "
                         f"shaped {tuple(permute.shape)}")
    elif type(permute) is Tensor and permute.device.type == "cpu" and not (
            torch.compiler.is_compiling() or torch.jit.is_tracing()):
        order(permute.tolist(), count)  # elsewhere, looking would mean waiting for the device
    return source.index_select(1, permute)


def _check_parameters(weight, twist, center):
    out, width = weight.shape[:2]
    if weight.shape[2:] != (3, 3):
        raise ValueError(f"weight must hold 3x3 kernels, (out, in / groups, 3, 3), got shape {tuple(weight.shape)}")
    if twist.dim() != 3 or len(twist) not in _FIELDS or twist.shape[1:] != (out, width):
        raise ValueError(f"twist must be (fields, {out}, {width}) with 2, 4 or 8 fields, as weight has shape "
                         f"{tuple(weight.shape)}; got shape {tuple(twist.shape)}")
    if center is not None:
        tensors(center=center)
    if center is not None and center.shape != (2, out):
        raise ValueError(f"center must be (2, {out}), x then y for each output channel, "
                         f"got shape {tuple(center.shape)}")


def _check_steps(steps, in_channels, out_channels, stride, padding, dilation):
    if in_channels != out_channels:
        raise ValueError(f"steps={steps} applies the layer to its own output and needs as many output as input "
                         f"channels, got {in_channels} and {out_channels}; use steps=1")
    if stride != (1, 1) or padding != dilation:
        raise ValueError(f"steps={steps} needs an output of the input's size: stride=1 and padding='same', which is "
                         f"padding={dilation} here; got stride={stride}, padding={padding}")
