"""The fields of a layer and their transposes on a GPU: what ``blocks`` does on a CPU, by the kernels in Triton.

Book: chapter 13.  Source: new here.

There are two ways.  With few channels the fields are made in registers in front of the product, and no bank exists.
With more, a bank of fields is written, and cuBLAS mixes it into the output, which it adds up in place.  A layer with
a stride makes the fields of its output's pixels only; towards its input it mixes first, where there are few pixels.
Neither waits for the device, and every sum has one order.

``float16`` holds an eighth of a field, and eight times the weights: a field is at most eight times as large as its map.
"""

# A machine without a GPU need not have Triton.
# pyright: reportMissingImports=false

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from convtwist._arguments import Coords
from convtwist._engine import triton_kernels as kernels
from convtwist._engine import triton_tiles as tiles
from convtwist.operators import OPERATORS, Bank

__all__ = ["add_fields", "add_transposed"]


def add_fields(output: Tensor, source: Tensor, mixing: Tensor, operators: Bank, stride: tuple[int, int],
               padding: tuple[int, int], dilation: tuple[int, int], coords: Coords, *, keep: bool = True,
               reduce: int = 1) -> None:
    """Do what ``blocks.add_fields`` does."""
    source = _last(source)
    target = output if _is_last(output) else torch.empty_like(output, memory_format=torch.channels_last)
    size = [side * reduce for side in target.shape[2:]]
    walk = _Walk(operators, source, size, coords, stride, padding, dilation, reduce=reduce)
    with _device(source):
        walk.mix(target, mixing.t().contiguous(), keep and target is output)
        if target is not output:
            output.add_(target) if keep else output.copy_(target)


def add_transposed(d_source: Tensor | None, slope: Tensor, source: Tensor, weights: Tensor, wanted: bool,
                   operators: Bank, stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
                   coords: Coords, *, keep: bool = True) -> Tensor:
    """Do what ``blocks.add_transposed`` does."""
    slope, source, weights = _last(slope), _last(source), weights.contiguous()
    forward = _Walk(operators, source, slope.shape[2:], coords, stride, padding, dilation)
    target = d_source
    if d_source is not None and not _is_last(d_source):
        target = torch.empty_like(d_source, memory_format=torch.channels_last)
        if keep:
            target.copy_(d_source)
    with _device(source):
        if stride != (1, 1):
            if target is not None:
                forward.spread(target, slope, weights)
            products = forward.products(slope).transpose(1, 2) if wanted else None
        else:
            turned = (2 * dilation[0] - padding[0], 2 * dilation[1] - padding[1])
            back = _Walk(operators, slope, source.shape[2:], coords, stride, turned, dilation, transposed=True)
            mixing = weights.flatten(0, 1)
            if wanted and forward.in_registers(slope.shape[1]):
                products = forward.products(slope).transpose(1, 2)
                if target is not None:
                    back.mix(target, mixing, keep)
            else:  # one bank for both
                products = back.mix(target, mixing, keep, source if wanted else None)
        if target is not None and d_source is not None and target is not d_source:
            d_source.copy_(target)
    return torch.zeros_like(weights) if products is None else products.to(weights.dtype).contiguous()


class _Walk:
    """A walk over the pixels where fields are taken: their stencil, their coordinates, and the kernels' arguments."""

    def __init__(self, operators: Bank, maps: Tensor, size: Sequence[int], coords: Coords, stride: tuple[int, int],
                 padding: tuple[int, int], dilation: tuple[int, int], *, transposed: bool = False,
                 reduce: int = 1) -> None:
        self.maps, self.size, self.coords, self.reduce, self.transposed = maps, size, coords, reduce, transposed
        self.operators: Bank = operators
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.channels = maps.shape[1]
        self.fields = 4 if operators == "iso" else len(OPERATORS[operators])
        self.shrink = 8 if maps.dtype == torch.float16 else 1
        self.first = 1 if operators == "iso" else 0  # IsoTwist2d's first field is the map itself, and needs no bank

    def in_registers(self, out: int) -> bool:
        """Say which of the two ways is taken to ``out`` channels."""
        return tiles.in_registers(self.fields, self.channels, out, self.maps.dtype)

    def mix(self, target: Tensor | None, mixing: Tensor, keep: bool, factor: Tensor | None = None) -> Tensor | None:
        """Mix the fields by ``(fields x channels, out)`` into ``target``; return their products with ``factor``."""
        if target is None and factor is None:
            return None
        if target is not None and factor is None and self.reduce == 1 and self.in_registers(target.shape[1]):
            self._mix_in_registers(target, self._enlarged(mixing), keep)
            return None
        own, others = mixing.split([self.first * self.channels, len(mixing) - self.first * self.channels])
        others = self._enlarged(others)
        sums = None
        for images in self._batches(self.fields - self.first):
            maps = self.maps[images]
            pairs = [(self._averaged(self._bank(maps)), others)]
            if self.first:
                pairs.append((self._averaged(_pixels(maps)), own))
            if target is not None:
                rows = _pixels(target[images])
                for k, (bank, weights) in enumerate(pairs):
                    if keep or k:
                        rows.addmm_(bank, weights)
                    else:
                        torch.mm(bank, weights, out=rows)
            if factor is not None:
                found = self._products_with(factor[images], [bank for bank, _ in pairs])
                sums = found if sums is None else sums.float() + found
        return sums

    def products(self, slope: Tensor) -> Tensor:
        """Return the products of the fields and ``slope``, ``(fields, channels, out)``."""
        out = slope.shape[1]
        if not self.in_registers(out):
            found = self.mix(None, slope.new_empty(self.fields * self.channels, 0), False, slope)
            assert found is not None
            return found
        blocks = tiles.product_tiles(self.channels, out, self.size[0])
        bands = -(-self.size[0] // blocks["ROWS"])
        units = -(-self._pairs(self.maps) // blocks["BM"]) * bands
        blocks["SPLITS"] = min(blocks["SPLITS"], units)
        sums = slope.new_empty(blocks["SPLITS"], self.fields, self.channels, out, dtype=torch.float32)
        _launch(kernels.products_kernel, (blocks["SPLITS"], -(-out // blocks["BN"])), self.maps, slope, sums,
                self._pairs(self.maps), *self.maps.shape[2:], self.channels, *self.size, out, *self._axes(), units,
                bands, **self._stencil(), BANK=self.operators, COUNT=self.fields, SCALE=1 / self.shrink,
                WIDE=_interpreted(slope), **blocks)
        return self._enlarged(sums.sum(0))

    def _products_with(self, factor: Tensor, banks: list[Tensor]) -> Tensor:
        found = [bank.t() @ _pixels(factor) for bank in banks]
        found[0] = self._enlarged(found[0])
        joined = torch.cat(found[::-1]) if self.first else found[0]
        return joined.view(self.fields, self.channels, -1)

    def spread(self, target: Tensor, slope: Tensor, weights: Tensor) -> None:
        """Add the transposed fields of ``slope``, mixed by ``(fields, out, channels)`` first, to ``target``."""
        fields, out, channels = weights.shape
        mixing = weights.transpose(0, 1).reshape(out, fields * channels)
        blocks = tiles.spread_tiles(channels, target.shape[2])
        turned = {f"P{axis}": 2 * self.dilation[axis] - self.padding[axis] for axis in (0, 1)}
        for images in self._batches(fields):
            parts, there = _pixels(slope[images]) @ mixing, target[images]
            pairs = len(there) * there.shape[3]
            grid = -(-pairs // blocks["BM"]), -(-there.shape[2] // blocks["ROWS"]), -(-channels // blocks["BK"])
            _launch(kernels.spread_kernel, grid, parts, there, pairs, *slope.shape[2:], channels, *there.shape[2:],
                    *self._axes(), **{**self._stencil(), **turned}, BANK=self.operators, COUNT=fields,
                    WIDE=_interpreted(there), **blocks)

    def _mix_in_registers(self, target: Tensor, mixing: Tensor, keep: bool) -> None:
        out, pairs = target.shape[1], self._pairs(self.maps)
        blocks = tiles.add_tiles(self.channels, out, self.size[0])
        grid = -(-pairs // blocks["BM"]), -(-self.size[0] // blocks["ROWS"]), -(-out // blocks["BN"])
        _launch(kernels.add_kernel, grid, self.maps, mixing, target, pairs, *self.maps.shape[2:], self.channels,
                *self.size, out, *self._axes(), **self._stencil(), TRANSPOSED=self.transposed, BANK=self.operators,
                COUNT=self.fields, SCALE=1 / self.shrink, KEEP=keep, WIDE=_interpreted(target), **blocks)

    def _bank(self, maps: Tensor) -> Tensor:
        """Return the fields, from the first that is needed, ``(images x height x width, fields x channels)``."""
        (rows, columns), pairs = self.size, self._pairs(maps)
        dtype = torch.float32 if self.reduce > 1 else maps.dtype  # to be averaged first, and rounded then
        bank = maps.new_empty(pairs * rows, (self.fields - self.first) * self.channels, dtype=dtype)
        blocks = tiles.bank_tiles(self.channels, rows)
        grid = -(-pairs // blocks["BM"]), -(-rows // blocks["ROWS"]), -(-self.channels // blocks["BK"])
        _launch(kernels.bank_kernel, grid, maps, bank, pairs, *maps.shape[2:], self.channels, rows, columns,
                *self._axes(), **self._stencil(), TRANSPOSED=self.transposed, BANK=self.operators, FIRST=self.first,
                COUNT=self.fields, SCALE=1 / self.shrink, WIDE=_interpreted(bank), **blocks)
        return bank

    def _enlarged(self, numbers: Tensor) -> Tensor:
        return numbers if self.shrink == 1 else numbers * self.shrink

    def _averaged(self, bank: Tensor) -> Tensor:
        """Average over squares of side ``reduce``: as in ``blocks``, where the fewest pixels are mixed."""
        if self.reduce == 1:
            return bank
        maps = bank.view(-1, *self.size, bank.shape[1]).permute(0, 3, 1, 2)
        return _pixels(_last(F.avg_pool2d(maps, self.reduce).to(self.maps.dtype)))

    def _pairs(self, maps: Tensor) -> int:
        return len(maps) * self.size[1]

    def _batches(self, fields: int) -> Iterator[slice]:
        length = max(1, tiles.BANK_LIMIT // (fields * self.channels * self.size[0] * self.size[1]))
        return (slice(start, start + length) for start in range(0, len(self.maps), length))

    def _stencil(self) -> dict[str, int]:
        pairs = {"S": self.stride, "P": self.padding, "D": self.dilation}
        return {f"{letter}{axis}": pair[axis] for letter, pair in pairs.items() for axis in (0, 1)}

    def _axes(self) -> tuple[int, int, float, float]:
        """Return the coordinates' shifts and units: those of the output's pixels in either direction."""
        rows, columns = self.maps.shape[2:] if self.transposed else self.size
        if self.coords == "legacy":
            return -columns, -rows, 1 / columns, 1 / rows
        return 1 - columns, 1 - rows, 1 / max(rows, columns), 1 / max(rows, columns)


def _launch(kernel: Any, grid: tuple[int, ...], *given: Any, **constants: Any) -> None:
    kernel[grid](*given, **constants)


def _interpreted(maps: Tensor) -> bool:
    return maps.dtype == torch.bfloat16 and not isinstance(kernels.add_kernel, triton.runtime.JITFunction)


def _device(maps: Tensor) -> AbstractContextManager[Any]:
    return torch.cuda.device(maps.device) if maps.is_cuda else nullcontext()  # Triton launches where torch is


def _last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _is_last(maps: Tensor) -> bool:
    return maps.is_contiguous(memory_format=torch.channels_last)


def _pixels(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).view(-1, maps.shape[1])
