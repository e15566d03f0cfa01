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

import torch.nn.functional as F
from torch import Tensor

from convtwist import _engine
from convtwist._arguments import (
    PADDING_MODES,
    Coords,
    Known,
    OneOrTwo,
    PaddingMode,
    as_padding,
    as_pair,
    check_agreement,
    check_choice,
    check_fit,
    check_input,
    check_steps,
    check_tensors,
    check_vector,
    check_whole,
    checked,
)
from convtwist._tracing import as_number, not_traced
from convtwist.channels import Order, reorder
from convtwist.operators import OPERATORS, mixed_slopes, plain, plain_isotropic, twist_kernels

__all__ = ["conv_twist2d", "iso_twist2d"]

_FIELDS = tuple(map(len, OPERATORS.values()))


def conv_twist2d(input: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None = None,
                 stride: OneOrTwo = 1, padding: str | OneOrTwo = 0, dilation: OneOrTwo = 1, groups: int = 1, *,
                 padding_mode: PaddingMode = "zeros", center: Tensor | None = None, coords: Coords = "centered",
                 steps: int = 1, permute: Order | None = None) -> Tensor:
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
    tensors = input, weight, twist, bias, center
    known = checked(_check_twist, tensors, stride, padding, dilation, groups, padding_mode, coords, steps)
    stride, padding, dilation = known.stride, known.padding, known.dilation
    if input.dim() == 3:
        return conv_twist2d(input[None], weight, twist, bias, stride, padding, dilation, groups,
                            padding_mode=padding_mode, center=center, coords=coords, steps=steps,
                            permute=permute)[0]
    if center is not None:
        kx, ky = twist_kernels(twist, dilation)
        cx, cy = center.view(2, -1, 1, 1, 1).unbind()
        weight = weight - cx * kx - cy * ky
    if permute is not None or padding_mode != "zeros" or center is not None or steps > 1:
        known = Known()  # what comes to the engine isn't what was checked
    output = input
    for _ in range(steps):
        source = output if permute is None else _engine.laid_like(reorder(output, permute, groups), output)
        change = _layer(source, weight, twist, bias, stride, padding, dilation, groups, padding_mode, coords, known)
        if steps == 1:
            return change
        output = output + change / steps
    return output - input


def iso_twist2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, groups: int = 1, reduce: int = 1,
                coords: Coords = "centered") -> Tensor:
    """Mix u, its Laplacian, E u and R u, and if asked the length of its slope: what commutes with turns.

    Args:
        input: ``(batch, in, height, width)`` or ``(in, height, width)``; zeros lie beyond its border.
        weight: ``(out, in / groups, 4)``, for u, Laplacian u, E u = (X dx + Y dy) u, R u = (Y dx - X dy) u; or with
            a fifth column for ``|grad u|``, the length of the gradient.
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
    known = checked(_check_iso, (input, weight, bias), groups, reduce, coords)
    if input.dim() == 3:
        return iso_twist2d(input[None], weight, bias, groups=groups, reduce=reduce, coords=coords)[0]
    count = weight.shape[2]
    linear = weight if (as_number(count) if isinstance(count, Tensor) else count) == 4 else weight[..., :4]
    output = _engine.iso_twist(input, linear, bias, reduce, groups, coords, known)
    if output is None:
        output = _engine.laid_like(plain_isotropic(input, linear, bias, reduce, groups, coords), input)
    return output if linear is weight else output + mixed_slopes(input, weight[..., 4:].movedim(2, 0), reduce, groups)


def _layer(source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, stride: tuple[int, int],
           padding: tuple[int, int], dilation: tuple[int, int], groups: int, padding_mode: PaddingMode,
           coords: Coords, known: Known) -> Tensor:
    if padding_mode != "zeros" and padding != (0, 0):
        down, right = padding
        source, padding = F.pad(source, (right, right, down, down), mode=padding_mode), (0, 0)
    arguments = source, weight, twist, bias, stride, padding, dilation, groups, coords
    output = _engine.conv_twist(*arguments, known)
    return plain(*arguments) if output is None else output


@not_traced
def _check_twist(input: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, center: Tensor | None,
                 stride: OneOrTwo, padding: str | OneOrTwo, dilation: OneOrTwo, groups: int, padding_mode: PaddingMode,
                 coords: Coords, steps: int) -> Known:
    """Check the arguments of ``conv_twist2d``, and return stride, padding and dilation as pairs."""
    check_whole(groups, "groups")
    check_tensors(input=input, weight=weight, twist=twist)
    check_input(input, weight, groups, 4)
    _check_parameters(weight, twist, center)
    check_vector(bias, "bias", weight)
    check_agreement(input, weight=weight, twist=twist, bias=bias, center=center)
    check_choice(padding_mode, "padding_mode", PADDING_MODES)
    check_choice(coords, "coords", ("centered", "legacy"))
    stride, dilation = as_pair(stride, "stride"), as_pair(dilation, "dilation")
    padding = as_padding(padding, stride, dilation)
    check_fit(input, padding, dilation, padding_mode)
    check_steps(steps, weight.shape[1] * groups, weight.shape[0], stride, padding, dilation)
    return Known(stride, padding, dilation)


@not_traced
def _check_iso(input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, reduce: int, coords: Coords) -> Known:
    """Check the arguments of ``iso_twist2d``."""
    check_whole(groups, "groups")
    check_whole(reduce, "reduce")
    check_tensors(input=input, weight=weight)
    check_input(input, weight, groups, 3)
    if weight.shape[2] not in (4, 5):
        raise ValueError(f"weight must be (out, in / groups, 4), or 5 with |grad u|, got shape {tuple(weight.shape)}")
    check_vector(bias, "bias", weight)
    check_agreement(input, weight=weight, bias=bias)
    check_fit(input, (1, 1), (1, 1), "zeros")
    return Known()


def _check_parameters(weight: Tensor, twist: Tensor, center: Tensor | None) -> None:
    out, width = weight.shape[:2]
    if weight.shape[2:] != (3, 3):
        raise ValueError(f"weight must hold 3x3 kernels, (out, in / groups, 3, 3), got shape {tuple(weight.shape)}")
    if twist.dim() != 3 or len(twist) not in _FIELDS or twist.shape[1:] != (out, width):
        raise ValueError(f"twist must be (fields, {out}, {width}) with 2, 4 or 8 fields, as weight has shape "
                         f"{tuple(weight.shape)}; got shape {tuple(twist.shape)}")
    if center is not None:
        check_tensors(center=center)
    if center is not None and center.shape != (2, out):
        raise ValueError(f"center must be (2, {out}), x then y for each output channel, "
                         f"got shape {tuple(center.shape)}")
