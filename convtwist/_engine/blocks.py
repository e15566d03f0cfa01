"""The fields of a layer and their transposes, a few images at a time, so that they stay in the processor's cache.

Book: chapter 13.  Source: new here.

Channels are innermost in memory (``channels_last``): a derivative is then oneDNN's depthwise convolution, and
mixing fields a plain matrix product.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from convtwist._arguments import Coords
from convtwist.kernels import laplacian
from convtwist.operators import OPERATORS, Bank, coordinate_grid, derivative_kernels

__all__ = ["add_fields", "add_mixed_first", "add_transposed"]

_BLOCK = 1 << 19  # numbers in the buffer of fields: 2 MB, so that all that is made of it fits into the caches


def add_fields(output: Tensor, source: Tensor, weights: Tensor, operators: Bank, stride: tuple[int, int],
               padding: tuple[int, int], dilation: tuple[int, int], coords: Coords, *, keep: bool = True,
               reduce: int = 1) -> None:
    """Add the fields of ``source``, mixed by ``(fields, out, channels)``, to ``output``; or replace it.

    ``operators`` is one of ``convtwist.operators.BANKS``; ``reduce`` divides both sides of the fields before that.
    """
    size = [side * reduce for side in output.shape[2:]]
    mixing = weights.transpose(1, 2).flatten(0, 1).t()
    for images, bank in _field_blocks(source, operators, size, stride, padding, dilation, coords):
        if reduce > 1:
            bank = F.avg_pool2d(bank.permute(0, 3, 1, 2), reduce).permute(0, 2, 3, 1)
        _add_mixture(output[images], mixing, bank, keep)


def add_transposed(d_source: Tensor | None, slope: Tensor, source: Tensor, weights: Tensor, wanted: bool,
                   operators: Bank, stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
                   coords: Coords, *, keep: bool = True) -> Tensor:
    """Add the transposed fields of ``slope``, mixed, to ``d_source``; or replace it.

    Return the gradient of ``weights``, ``(fields, out, in)``, if ``wanted``; ``stride``, ``padding`` and ``dilation``
    are those of the forward pass.
    """
    if stride != (1, 1):
        if d_source is not None:
            add_mixed_first(d_source, slope, weights, operators, stride, padding, dilation, coords)
        return _field_products(source, slope, weights, wanted, operators, stride, padding, dilation, coords)
    d_weights = torch.zeros_like(weights, memory_format=torch.contiguous_format)
    mixing = weights.flatten(0, 1).t()
    for images, bank in _transposed_blocks(slope, operators, source.shape[2:], padding, dilation, coords):
        if d_source is not None:
            _add_mixture(d_source[images], mixing, bank, keep)
        if wanted:
            d_weights.flatten(0, 1).addmm_(bank.flatten(0, 2).t(), _pixels(source[images]))
    return d_weights


def add_mixed_first(d_source: Tensor, slope: Tensor, weights: Tensor, operators: Bank, stride: tuple[int, int],
                    padding: tuple[int, int], dilation: tuple[int, int], coords: Coords) -> None:
    """Add the transposed fields of ``slope``, mixed, to ``d_source``: mixed where a stride has left fewer pixels."""
    fields, _, channels = weights.shape
    parts = F.conv2d(_last(slope), weights.transpose(1, 2).flatten(0, 1)[..., None, None]).chunk(fields, 1)
    x, y = coordinate_grid(*slope.shape[2:], coords=coords, dtype=slope.dtype, device=slope.device)
    if operators == "similarity":
        slopes = [x * parts[0] + y * parts[1], y * parts[0] - x * parts[1]]
    else:
        slopes = [x * along_x + y * along_y for along_x, along_y in zip(parts[::2], parts[1::2], strict=True)]
    rest = [(side + 2 * p - 2 * d - 1) % s
            for side, p, d, s in zip(d_source.shape[2:], padding, dilation, stride, strict=True)]
    for kernel, g in zip(_depthwise(d_source, operators, dilation), slopes, strict=True):
        d_source += F.conv_transpose2d(g, kernel, None, stride, padding, rest, channels, dilation)


def _field_products(source: Tensor, slope: Tensor, weights: Tensor, wanted: bool, operators: Bank,
                    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
                    coords: Coords) -> Tensor:
    """Return the products of the fields and ``slope``, shaped like ``weights``, ``(fields, out, in)``."""
    fields, out, channels = weights.shape
    products = weights.new_zeros(fields * channels, out)
    if wanted:
        for images, bank in _field_blocks(source, operators, slope.shape[2:], stride, padding, dilation, coords):
            products.addmm_(bank.flatten(0, 2).t(), _pixels(slope[images]))
    return products.view(fields, channels, out).transpose(1, 2).contiguous()


def _field_blocks(source: Tensor, operators: Bank, size: Sequence[int], stride: tuple[int, int],
                  padding: tuple[int, int], dilation: tuple[int, int],
                  coords: Coords) -> Iterator[tuple[slice, Tensor]]:
    """Yield ``(images, bank)``: a slice of the batch and its fields, ``(images, height, width, fields x channels)``.

    ``size`` is that of the fields.  The bank's memory is used again for the next.
    """
    x, y = _coordinates(source, size, coords)
    kernels = _depthwise(source, operators, dilation)
    for images, bank, out in _blocks(source, operators, size):
        u = _last(source[images])
        if operators == "iso":
            out.pop(0).copy_(u)
            out.pop(0).copy_(_stencil(u, _laplacian(u), padding, dilation))
        derivatives = [_stencil(u, kernel, padding, dilation, stride) for kernel in kernels]
        if len(out) == 2:
            dx, dy = derivatives
            torch.mul(dx, x, out=out[0]).addcmul_(dy, y)
            torch.mul(dx, y, out=out[1]).addcmul_(dy, x, value=-1)
        else:
            for k, field in enumerate(out):
                torch.mul(derivatives[k // 2], (x, y)[k % 2], out=field)
        yield images, bank


def _transposed_blocks(slope: Tensor, operators: Bank, size: Sequence[int], padding: tuple[int, int],
                       dilation: tuple[int, int], coords: Coords) -> Iterator[tuple[slice, Tensor]]:
    """Yield the same of the transposed fields: first the coordinates, then the derivatives, turned over.

    ``size`` is that of the input.
    """
    x, y = _coordinates(slope, slope.shape[-2:], coords)
    kernels = _depthwise(slope, operators, dilation)
    padding = 2 * dilation[0] - padding[0], 2 * dilation[1] - padding[1]
    for images, bank, out in _blocks(slope, operators, size):
        g = _last(slope[images])
        if operators == "iso":
            out.pop(0).copy_(g)
            out.pop(0).copy_(_stencil(g, _laplacian(g), padding, dilation))
        products = torch.cat([g * x, g * y])
        # An odd kernel turned over is its negative.
        pairs = [_stencil(products, -kernel, padding, dilation).chunk(2) for kernel in kernels]
        if len(out) == 2:
            (dx_x, dx_y), (dy_x, dy_y) = pairs
            torch.add(dx_x, dy_y, out=out[0])
            torch.sub(dx_y, dy_x, out=out[1])
        else:
            for k, field in enumerate(out):
                field.copy_(pairs[k // 2][k % 2])
        yield images, bank


def _add_mixture(maps: Tensor, mixing: Tensor, bank: Tensor, keep: bool) -> None:
    """Add a bank, mixed by ``(out, fields x channels)``, to maps of either layout, in place; or replace them."""
    if maps.is_contiguous():
        maps = maps.view(*maps.shape[:2], -1)
        maps.baddbmm_(mixing.expand(len(maps), -1, -1), bank.flatten(1, 2).transpose(1, 2), beta=int(keep))
    else:
        maps.permute(0, 2, 3, 1).view(-1, len(mixing)).addmm_(bank.flatten(0, 2), mixing.t(), beta=int(keep))


def _blocks(maps: Tensor, operators: Bank, size: Sequence[int]) -> Iterator[tuple[slice, Tensor, list[Tensor]]]:
    """Yield a slice of the images, the buffer for their fields, and each field in it as ``channels_last`` maps."""
    batch, channels = maps.shape[:2]
    length = max(1, min(batch, _BLOCK // (_count(operators) * channels * size[0] * size[1])))
    buffer = maps.new_empty(length, *size, _count(operators) * channels)
    for start in range(0, batch, length):
        bank = buffer[: min(length, batch - start)]
        yield slice(start, start + length), bank, list(bank.permute(0, 3, 1, 2).chunk(_count(operators), 1))


def _count(operators: Bank) -> int:
    return 4 if operators == "iso" else len(OPERATORS[operators])


def _coordinates(maps: Tensor, size: Sequence[int], coords: Coords) -> Iterator[Tensor]:
    """Return x and y for maps in ``channels_last``, repeated for each channel: rows of numbers, not one at a time."""
    x, y = coordinate_grid(size[0], size[1], coords=coords, dtype=maps.dtype, device=maps.device)
    return (axis.expand(1, maps.shape[1], *axis.shape).contiguous(memory_format=torch.channels_last) for axis in (x, y))


def _depthwise(maps: Tensor, operators: Bank, dilation: tuple[int, int]) -> list[Tensor]:
    count = {"similarity": 2, "affine": 2, "first_order": 4, "iso": 2}[operators]
    kernels = derivative_kernels(count, dilation, dtype=maps.dtype, device=maps.device)
    return [kernel.expand(maps.shape[1], 1, 3, 3) for kernel in kernels]


def _laplacian(maps: Tensor) -> Tensor:
    kernel = laplacian("isotropic", dtype=maps.dtype, device=maps.device)
    return kernel.expand(maps.shape[1], 1, 3, 3)


def _stencil(maps: Tensor, kernel: Tensor, padding: tuple[int, int], dilation: tuple[int, int],
             stride: tuple[int, int] = (1, 1)) -> Tensor:
    return F.conv2d(maps, kernel, None, stride, padding, dilation, len(kernel))


def _last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _pixels(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
