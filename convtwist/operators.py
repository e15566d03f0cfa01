"""First-order operators on feature maps: where a pixel sits, and what its neighbourhood does there.

Book: chapter 7.  Source: Liu Yao's ConvTwist posts, with the half-pixel offset of the coordinates mended.

The twist of a layer is a mixture of *fields*: derivatives of the input multiplied by a coordinate of the output
pixel.  A coordinate is the same for every channel, so it doesn't matter whether channels are mixed before or
after; a layer mixes a small bank of fields, which costs a 1x1 convolution instead of a second and a third 3x3 one.

``dx`` and ``dy`` are Sobel over 8, the gradient per pixel of the input.  Under dilation the taps stand further
apart and the sum is divided by the distance, so ``dx`` stays the gradient per pixel; ``dxyy`` and ``dxxy``, third
derivatives, are divided once for each order.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.types import Device

from convtwist._arguments import (
    PADDING_MODES,
    Coords,
    Factory,
    OneOrTwo,
    PaddingMode,
    as_padding,
    as_pair,
    check_choice,
    check_whole,
    is_exporting,
)
from convtwist._distributed import alike
from convtwist._tracing import as_number

__all__ = ["BANKS", "OPERATORS", "coordinate_grid", "derivative_kernels", "fields", "gradient", "isotropic_fields",
           "twist_kernels"]

Operators: TypeAlias = Literal["similarity", "affine", "first_order"]
Bank: TypeAlias = Literal["similarity", "affine", "first_order", "iso"]

OPERATORS: dict[Operators, tuple[str, ...]] = {
    "similarity": ("X dx + Y dy", "Y dx - X dy"),
    "affine": ("X dx", "Y dx", "X dy", "Y dy"),
    "first_order": ("X dx", "Y dx", "X dy", "Y dy", "X dxyy", "Y dxyy", "X dxxy", "Y dxxy"),
}
"""The fields behind each ``operators=``, in the order of the first axis of ``twist``.

``X dx + Y dy`` is the generator E of zooms about the centre, ``Y dx - X dy`` the generator R of turns.
"""

BANKS: tuple[Bank, ...] = (*OPERATORS, "iso")
"""What :func:`fields` can be asked for; ``"iso"`` is the bank of ``IsoTwist2d``: u, Laplacian u, E u, R u."""

BY_FIELDS: dict[int, Operators] = {len(bank): name for name, bank in OPERATORS.items()}
"""The name of a bank by the length of ``twist``, its number of fields."""


def coordinate_grid(height: int, width: int, *, coords: Coords = "centered", dtype: torch.dtype | None = None,
                    device: Device = None) -> tuple[Tensor, Tensor]:
    """Return ``(x, y)``, shaped ``(1, width)`` and ``(height, 1)``: the coordinates of every pixel's centre.

    ``"centered"`` measures from the middle of the map, in units of half its longer side, so that a circle stays a
    circle: ``(2 j + 1 - width) / max(height, width)``.  ``"legacy"`` is the posted layers' ``2 j / width - 1``,
    half a pixel off and with a unit of its own on each axis; it is there to reproduce them.  ``y`` grows downward.

    The division is done in ``float32`` at least and rounded to ``dtype`` last: in ``bfloat16`` alone, numbers
    above 256 are no longer told from their neighbours.

    Raises:
        ValueError: a side is below 1, or ``coords`` is unknown.

    >>> [t.tolist() for t in coordinate_grid(2, 4)]
    [[[-0.75, -0.25, 0.25, 0.75]], [[-0.25], [0.25]]]
    """
    check_choice(coords, "coords", ("centered", "legacy"))
    traced = isinstance(height, Tensor) or isinstance(width, Tensor)  # sizes of every map, as yet unknown
    if not traced and (height < 1 or width < 1):
        raise ValueError(f"sides must be at least 1, got {height}x{width}")
    dtype = dtype or torch.get_default_dtype()
    working = torch.promote_types(dtype, torch.float32)
    # Counted in whole numbers: before torch 2.5 the length of a range of fractions is no size that can be left open.
    column = torch.arange(width, device=device).to(working)
    row = torch.arange(height, device=device).to(working)
    if coords == "legacy":
        x, y = 2 * column / width - 1, 2 * row / height - 1
    else:
        options: Factory = {"dtype": working, "device": device}
        longer = _larger(height, width, options) if traced or torch.compiler.is_compiling() else max(height, width)
        x, y = (2 * column + (1 - width)) / longer, (2 * row + (1 - height)) / longer
    return x.to(dtype).view(1, -1), y.to(dtype).view(-1, 1)


def gradient(input: Tensor, *, padding_mode: PaddingMode = "zeros") -> tuple[Tensor, Tensor]:
    """Return ``(dx, dy)``, each shaped like ``input``: the slope per pixel to the right and downward.

    Args:
        input: ``(..., height, width)``.
        padding_mode: what lies beyond the border, as for ``nn.Conv2d``.

    Raises:
        ValueError: ``input`` has fewer than two axes, or ``padding_mode`` is unknown.

    >>> dx, dy = gradient(torch.arange(5.).expand(3, 5), padding_mode="replicate")
    >>> dx[1].tolist(), dy[1].tolist()
    ([0.5, 1.0, 1.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    if input.dim() < 2:
        raise ValueError(f"input must end in (height, width), got shape {tuple(input.shape)}")
    check_choice(padding_mode, "padding_mode", PADDING_MODES)
    maps = input.reshape(1, prod(input.shape[:-2]), *input.shape[-2:])
    taps = Taps(maps.to(torch.promote_types(input.dtype, torch.float32)), (1, 1), (1, 1), (1, 1), padding_mode)
    return taps.dx().to(input.dtype).view(input.shape), taps.dy().to(input.dtype).view(input.shape)


def fields(input: Tensor, operators: Bank = "similarity", *, stride: OneOrTwo = 1, padding: str | OneOrTwo = 1,
           dilation: OneOrTwo = 1, padding_mode: PaddingMode = "zeros", coords: Coords = "centered") -> Tensor:
    """Return the bank of fields, ``(batch, fields, channels, height', width')``.

    Args:
        input: ``(batch, channels, height, width)``.
        operators: ``"similarity"`` (2 fields), ``"affine"`` (4), ``"first_order"`` (8), named in
            :data:`OPERATORS`, or ``"iso"`` (4: u, Laplacian u, E u, R u).
        stride: distance between the pixels where the fields are taken.
        padding: pixels added on each side; with the other arguments it gives the size of a 3x3 ``nn.Conv2d``.
        dilation: distance between the taps; the derivatives remain per pixel.
        padding_mode: what is added, as for ``nn.Conv2d``.
        coords: see :func:`coordinate_grid`; coordinates are those of the *output* pixel.

    Raises:
        ValueError: an argument is out of range, or the 3x3 kernel does not fit into the padded input.

    >>> ramp = torch.arange(4.).expand(1, 1, 4, 4)
    >>> fields(ramp, "affine", padding=0)[0, 0, 0].tolist()  # X dx
    [[-0.5, 0.5], [-0.5, 0.5]]
    """
    check_choice(operators, "operators", BANKS)
    check_choice(padding_mode, "padding_mode", PADDING_MODES)
    if input.dim() != 4:
        raise ValueError(f"input must be (batch, channels, height, width), got shape {tuple(input.shape)}")
    stride, dilation = as_pair(stride, "stride"), as_pair(dilation, "dilation")
    return _bank(input, operators, stride, as_padding(padding, stride, dilation), dilation, padding_mode, coords)


def _bank(input: Tensor, operators: Bank, stride: tuple[int, int], padding: tuple[int, int],
          dilation: tuple[int, int], padding_mode: PaddingMode, coords: Coords, shrink: int = 1) -> Tensor:
    """Return :func:`fields` divided by ``shrink``; they are summed up in ``float32`` at least."""
    working = torch.promote_types(input.dtype, torch.float32)
    taps = Taps(input.to(working), stride, padding, dilation, padding_mode)
    height, width = taps.size
    if not isinstance(height, Tensor) and (height < 1 or width < 1):
        raise ValueError(f"a 3x3 kernel with dilation={dilation} does not fit into input {tuple(input.shape)} with "
                         f"padding={padding}; pad more")
    x, y = coordinate_grid(height, width, coords=coords, device=input.device,
                           dtype=working.to_real() if working.is_complex else working)
    if type(input) is not Tensor:
        x, y = alike(x, input), alike(y, input)
    found = each_field(taps, x, y, operators)
    if shrink != 1:
        found = (field / shrink for field in found)
    return torch.stack([field.to(input.dtype) for field in found], 1)


def isotropic_fields(input: Tensor, *, reduce: int = 1, coords: Coords = "centered") -> Tensor:
    """Return u, Laplacian u, E u, R u, ``(batch, 4, channels, height', width')``, averaged over squares.

    Args:
        input: ``(batch, channels, height, width)``; zeros lie beyond its border.
        reduce: side of the squares; sides shrink to ``size // reduce``, at least 1.
        coords: see :func:`coordinate_grid`.

    Averaging keeps the middle in the middle, where striding would move it by half a pixel.  Where ``reduce``
    doesn't divide a side, neighbouring squares overlap, alike from both ends, for the same reason.
    """
    check_whole(reduce, "reduce")
    return averaged(fields(input, "iso", coords=coords), reduce)


def averaged(bank: Tensor, reduce: int) -> Tensor:
    """Average a bank, ``(batch, fields, channels, height, width)``, over squares, about the middle."""
    if reduce == 1:
        return bank
    flat, (height, width) = bank.flatten(1, 2), bank.shape[-2:]
    tracing = isinstance(height, Tensor)
    # A program for every size cannot hold the questions below, and ONNX has no windows of changing size.
    if is_exporting() or (tracing and torch.onnx.is_in_onnx_export()):
        flat = _windows_averaged(_windows_averaged(flat, 2, reduce), 3, reduce)
    elif tracing:
        flat = F.adaptive_avg_pool2d(flat, (_windows(height, reduce), _windows(width, reduce)))
    elif height % reduce == 0 and width % reduce == 0:
        flat = F.avg_pool2d(flat, reduce)
    else:
        flat = F.adaptive_avg_pool2d(flat, (max(height // reduce, 1), max(width // reduce, 1)))
    return flat.unflatten(1, bank.shape[1:3])


def _windows_averaged(maps: Tensor, axis: int, reduce: int) -> Tensor:
    """Average one axis over the windows of ``adaptive_avg_pool2d``, as differences of running sums."""
    side = maps.shape[axis]
    count = _windows(side, reduce)
    window = torch.arange(count, device=maps.device)
    start, end = window * side // count, ((window + 1) * side + count - 1) // count
    sums = F.pad(maps.double().cumsum(axis), (0, 0, 1, 0) if axis == 2 else (1, 0))
    totals = sums.index_select(axis, end) - sums.index_select(axis, start)
    return (totals / (end - start).view((-1, 1) if axis == 2 else (-1,))).to(maps.dtype)


def _windows(side: int | Tensor, reduce: int) -> Any:
    """Return how many windows a side has, where a program is made for every size."""
    count = side // reduce
    return count.clamp(1) if isinstance(count, Tensor) else torch.sym_max(count, 1)


def plain(source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, stride: tuple[int, int],
          padding: tuple[int, int], dilation: tuple[int, int], groups: int, coords: Coords) -> Tensor:
    """Convolve and add the twist, in PyTorch's own operations; the padding is of zeros."""
    source, shrink = _as_cast(source)
    bank = _bank(source, BY_FIELDS[as_number(twist.shape[0])], stride, padding, dilation, "zeros", coords, shrink)
    output = F.conv2d(source, weight, bias, stride, padding, dilation, groups)
    return output + mixed(bank, twist if shrink == 1 else twist * shrink, None, groups)


def plain_isotropic(source: Tensor, weight: Tensor, bias: Tensor | None, reduce: int, groups: int,
                    coords: Coords) -> Tensor:
    """Mix the isotropic fields, in PyTorch's own operations."""
    source, shrink = _as_cast(source)
    bank = averaged(_bank(source, "iso", (1, 1), (1, 1), (1, 1), "zeros", coords, shrink), reduce)
    return mixed(bank, (weight if shrink == 1 else weight * shrink).movedim(2, 0), bias, groups)


def mixed_slopes(source: Tensor, weights: Tensor, reduce: int, groups: int) -> Tensor:
    """Mix the lengths of the gradients, ``|grad u|``, with ``weights``, ``(1, out, in / groups)``."""
    source, shrink = _as_cast(source)
    working = torch.promote_types(source.dtype, torch.float32)
    taps = Taps(source.to(working), (1, 1), (1, 1), (1, 1), "zeros")
    squares = taps.dx().square() + taps.dy().square()
    flat = squares == 0  # where a root has no derivative, zero is taken for it
    length = torch.where(flat, 0, torch.where(flat, 1, squares).sqrt()) / shrink
    bank = averaged(length.to(source.dtype)[:, None], reduce)
    return mixed(bank, weights if shrink == 1 else weights * shrink, None, groups)


def _as_cast(source: Tensor) -> tuple[Tensor, int]:
    """Return the source, of the 16 bits that autocast knows, and by what fields are divided and weights multiplied.

    So ``float16`` holds what the source holds: a field is at most eight times as large as the input, by its taps.
    """
    device = source.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        if source.dtype in (torch.float16, torch.bfloat16):
            source = source.to(torch.get_autocast_dtype(device))  # or torch.stack refuses the other type
        return source, 8
    return source, 8 if source.dtype == torch.float16 else 1


def mixed(bank: Tensor, weights: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Mix a bank, ``(batch, fields, in, ...)``, with ``weights``, ``(fields, out, in / groups)``."""
    if torch.compiler.is_dynamo_compiling() and (groups > 1 or bank.shape[1] == 1) and not is_exporting():
        # Inductor fails at such a convolution where maps are channels_last and their sides left open.
        parts = weights.unflatten(1, (groups, -1))
        output = torch.einsum("nfgiyx,fgoi->ngoyx", bank.unflatten(2, (groups, -1)), parts).flatten(1, 2)
        return output if bias is None else output + bias.to(output.dtype).view(-1, 1, 1)
    if groups > 1:
        bank = bank.unflatten(2, (groups, -1)).transpose(1, 2).flatten(1, 2)
    return F.conv2d(bank.flatten(1, 2), weights.transpose(0, 1).flatten(1)[..., None, None], bias, groups=groups)


def twist_kernels(twist: Tensor, dilation: OneOrTwo = 1) -> tuple[Tensor, Tensor]:
    """Return the kernels ``(Kx, Ky)`` that X and Y multiply, each ``(out, in / groups, 3, 3)``.

    ``twist`` is ``(fields, out, in / groups)`` with 2, 4 or 8 fields.  The taps are those of the dilated kernel.

    >>> Kx, Ky = twist_kernels(torch.tensor([0., 8.]).view(2, 1, 1))  # the generator of turns: Y dx - X dy
    >>> Kx[0, 0].int().tolist(), Ky[0, 0].int().tolist()
    ([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    """
    factors = twist[..., None, None].unbind()
    kernels = derivative_kernels(max(len(factors) // 2, 2), dilation, dtype=twist.dtype, device=twist.device)
    if type(twist) is not Tensor:
        kernels = alike(kernels, twist)
    if len(factors) == 2:
        (zoom, turn), (dx, dy) = factors, kernels.unbind()
        return zoom * dx - turn * dy, zoom * dy + turn * dx
    # No einsum, whose numbers autocast would take down to 16 bits.
    kx, ky = ((twist[axis::2, ..., None, None] * kernels[:, None, None]).sum(0) for axis in (0, 1))
    return kx, ky


def derivative_kernels(count: int, dilation: OneOrTwo = 1, *, dtype: torch.dtype | None = None,
                       device: Device = None) -> Tensor:
    """Return the first ``count`` of dx, dy, dxyy and dxxy per pixel, as taps of the dilated kernel.

    >>> (8 * derivative_kernels(2)[1]).int().tolist()
    [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
    """
    down, right = as_pair(dilation, "dilation")
    # Counted on the device: numbers that are copied to it would be waited for.
    line = torch.arange(-1, 2, device=device).to(dtype or torch.get_default_dtype())
    blur, bend = 2 - line.abs(), 3 * line.abs() - 2  # 1 2 1 and 1 -2 1
    kernels = [torch.outer(blur, line) / (8 * right), torch.outer(line, blur) / (8 * down)]
    if count > 2:
        kernels += [torch.outer(bend, line) / (2 * right * down**2), torch.outer(line, bend) / (2 * right**2 * down)]
    return torch.stack(kernels[:count])


def each_field(taps: "Taps", x: Tensor, y: Tensor, operators: Bank) -> Iterator[Tensor]:
    """Yield the fields one by one, in the order of OPERATORS."""
    dx, dy = taps.dx(), taps.dy()
    if operators in ("similarity", "iso"):
        if operators == "iso":
            yield taps.middle()
            yield taps.laplacian()
        yield x * dx + y * dy
        yield y * dx - x * dy
        return
    derivatives = [dx, dy]
    if operators == "first_order":
        derivatives += [taps.dxyy(), taps.dxxy()]
    for derivative in derivatives:
        yield x * derivative
        yield y * derivative


class Taps:
    """The nine taps of a 3x3 kernel as slices of the padded input; sums along one axis first, then the other."""

    stride: tuple[int, int]
    dilation: tuple[int, int]
    size: tuple[int, int]
    padded: Tensor

    def __init__(self, input: Tensor, stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
                 padding_mode: PaddingMode) -> None:
        (down, right), (height, width) = padding, input.shape[-2:]
        self.stride, self.dilation = stride, dilation
        self.size = ((height + 2 * down - 2 * dilation[0] - 1) // stride[0] + 1,
                     (width + 2 * right - 2 * dilation[1] - 1) // stride[1] + 1)
        if down or right:
            mode = "constant" if padding_mode == "zeros" else padding_mode
            input = F.pad(input, (right, right, down, down), mode=mode)
        self.padded = input

    # Ends are counted from the far side, so that they stay inside for every size and a trace needs no proof.

    def rows(self, source: Tensor, k: int) -> Tensor:
        start, end = k * self.dilation[0], (k - 2) * self.dilation[0]
        return source[..., start : end or None : self.stride[0], :]

    def columns(self, source: Tensor, k: int) -> Tensor:
        start, end = k * self.dilation[1], (k - 2) * self.dilation[1]
        return source[..., start : end or None : self.stride[1]]

    def across_rows(self, a: int, b: int, c: int) -> Tensor:
        """Combine three rows; columns remain those of the padded input."""
        return _combine([self.rows(self.padded, k) for k in range(3)], (a, b, c))

    def across_columns(self, a: int, b: int, c: int) -> Tensor:
        return _combine([self.columns(self.padded, k) for k in range(3)], (a, b, c))

    def horizontal(self, source: Tensor, scale: float) -> Tensor:
        return (self.columns(source, 2) - self.columns(source, 0)) * scale

    def vertical(self, source: Tensor, scale: float) -> Tensor:
        return (self.rows(source, 2) - self.rows(source, 0)) * scale

    def dx(self) -> Tensor:
        return self.horizontal(self.across_rows(1, 2, 1), 1 / (8 * self.dilation[1]))

    def dy(self) -> Tensor:
        return self.vertical(self.across_columns(1, 2, 1), 1 / (8 * self.dilation[0]))

    def dxyy(self) -> Tensor:
        return self.horizontal(self.across_rows(1, -2, 1), 1 / (2 * self.dilation[1] * self.dilation[0] ** 2))

    def dxxy(self) -> Tensor:
        return self.vertical(self.across_columns(1, -2, 1), 1 / (2 * self.dilation[0] * self.dilation[1] ** 2))

    def middle(self) -> Tensor:
        return self.columns(self.rows(self.padded, 1), 1)

    def laplacian(self) -> Tensor:
        """Return the isotropic Laplacian, corners 1/6, edges 4/6, middle -20/6."""
        # 1 4 1 down each column, over 6, then 1 4 1 across: 1 4 1, 4 16 4, 1 4 1; take 36 from the middle.
        tall = self.across_rows(1, 4, 1)
        return _combine([self.columns(tall, k) for k in range(3)], (1, 4, 1)) / 6 - 6 * self.middle()


def _larger(height: int | Tensor, width: int | Tensor, options: Factory) -> Tensor:
    """Return the larger of two sides, where a program is made for every size: symbols, or in a trace tensors."""
    # Not torch.sym_max: up to torch 2.7 it takes one of two symbols for the larger, silently, and up to 2.11 Dynamo
    # refuses to take it of numbers.
    return torch.maximum(*(side.to(**options) if isinstance(side, Tensor) else torch.scalar_tensor(side, **options)
                           for side in (height, width)))


def _combine(parts: list[Tensor], weights: tuple[int, int, int]) -> Tensor:
    (first, middle, last), (a, b, c) = parts, weights
    assert a == c == 1
    return first + last + b * middle
