"""The fields of a layer, or their transposes, on a GPU: mixed into maps, and multiplied with maps, by Triton's kernels.

Book: chapter 13.  Source: new here.

There are two ways.  With few channels the fields are made in registers in front of the product, and no bank exists.
With more, a bank of fields is written, and cuBLAS mixes it into the output, which it adds up in place.  A layer with
a stride makes the fields of its output's pixels only; towards its input it mixes first, where there are few pixels.
Neither waits for the device, and every sum has one order.

In ``float16`` a field is held no larger than its map can be, and its weights so much larger: by a power of two, and no
more than needed, for small gradients have few bits there already.

On small maps Python takes longer than the GPU.  So what depends on shapes and options alone is found once, and kept.
"""

# A machine without a GPU need not have Triton.
# pyright: reportMissingImports=false

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from convtwist._arguments import Coords
from convtwist._engine import triton_kernels, triton_registers
from convtwist._engine import triton_tiles as tiles
from convtwist._engine.triton_launch import Launcher, interpreted
from convtwist.operators import OPERATORS, Bank

__all__ = ["Walk", "in_last"]

_Pair = tuple[int, int]
_HELD: dict[str, tuple[float, ...]] = {"similarity": (1 / 2,) * 2, "affine": (1.0,) * 4, "first_order": (1 / 4,) * 8,
                                       "iso": (1.0, 1 / 8, 1 / 2, 1 / 2)}
_WIDE_PRODUCTS = "out_dtype" in (torch.mm.__doc__ or "")  # from torch 2.8


class Walk:
    """A walk over the pixels where fields are taken, of maps of one shape, for ``out`` channels.

    What it launches is kept; the maps come with each call.
    """

    def __init__(self, operators: Bank, shape: Sequence[int], size: Sequence[int], out: int, dtype: torch.dtype,
                 device: torch.device, coords: Coords, stride: _Pair, padding: _Pair, dilation: _Pair,
                 transposed: bool, reduce: int) -> None:
        self.images, self.channels, *self.sides = shape
        rows, columns = size
        self.operators: Bank = operators
        self.size, self.out, self.dtype, self.device, self.reduce = (rows, columns), out, dtype, device, reduce
        self.coords, self.stride, self.padding, self.dilation = coords, stride, padding, dilation
        self.transposed = transposed
        self.fields = 4 if operators == "iso" else len(OPERATORS[operators])
        self.near = operators in ("similarity", "iso") and stride == (1, 1) and dilation == (1, 1)
        self.large = tiles.is_large(device)
        self.fused = reduce == 1 and self.near and tiles.in_registers(operators, self.channels, out, dtype, self.large)
        self.held = _HELD[operators] if dtype == torch.float16 else (1.0,) * self.fields
        parts = -(-self.fields * self.channels * rows * columns * self.images // tiles.BANK_LIMIT)
        self.batch = max(1, -(-self.images // parts))
        self.launchers: dict[tuple[object, ...], Launcher] = {}

    def mix(self, maps: Tensor, target: Tensor, weights: Tensor, keep: bool) -> None:
        """Mix the fields by ``(fields, out, channels)`` into ``target``."""
        if self.fused:
            field, n, k = weights.stride()
            self._in_registers(maps, weights, (field, k, n), target, keep, None)
            return
        mixing = self._mixing(weights.transpose(1, 2))
        for some, bank in self._banks(maps):
            _mix(bank, mixing, target if some is None else target[some], keep)

    def mix_back(self, maps: Tensor, target: Tensor | None, weights: Tensor, keep: bool,
                 factor: Tensor | None) -> Tensor | None:
        """Mix the fields by ``(fields, channels, out)`` into ``target``; return their products with ``factor``."""
        if target is None and factor is None:
            return None
        if self.fused:
            return self._in_registers(maps, weights, weights.stride(), target, keep, factor)
        mixing = None if target is None else self._mixing(weights)
        products = None
        for some, bank in self._banks(maps):
            if target is not None and mixing is not None:
                _mix(bank, mixing, target if some is None else target[some], keep)
            if factor is not None:
                found = _product(bank.t(), _pixels(factor if some is None else factor[some]), weights.dtype)
                products = found if products is None else products.float() + found
        return None if products is None else self._enlarged(products).view(self.fields, self.channels, self.out)

    def products(self, maps: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the products of ``factor`` and the fields, ``(fields, out, channels)``, in that type if possible."""
        products = None
        for some, bank in self._banks(maps):
            found = _product(_pixels(factor if some is None else factor[some]).t(), bank, dtype)
            products = found if products is None else products.float() + found
        assert products is not None
        return self._enlarged(products).view(self.out, self.fields, self.channels).transpose(0, 1)

    def spread(self, target: Tensor, slope: Tensor, weights: Tensor) -> None:
        """Add the transposed fields of ``slope``, mixed by ``(fields, out, channels)`` first, to ``target``."""
        mixing = weights.transpose(0, 1).reshape(self.out, -1).to(slope.dtype)
        for start in range(0, self.images, self.batch):
            some = slice(start, start + self.batch)
            self._spread(_product(_pixels(slope[some]), mixing, slope.dtype), target[some])

    def _banks(self, maps: Tensor) -> Iterable[tuple[slice | None, Tensor]]:
        """Return the fields of all images, ``(images x height x width, fields x channels)``, or of some at a time."""
        if self.batch >= self.images:
            return ((None, self._averaged(self._bank(maps))),)
        parts = (slice(start, start + self.batch) for start in range(0, self.images, self.batch))
        return ((some, self._averaged(self._bank(maps[some]))) for some in parts)

    def _bank(self, maps: Tensor) -> Tensor:
        images = maps.shape[0]
        dtype = torch.float32 if self.reduce > 1 else maps.dtype  # to be averaged first, and rounded then
        bank = maps.new_empty((images * self.size[0] * self.size[1], self.fields * self.channels), dtype=dtype)
        launcher = self.launchers.get(("bank", images))
        if launcher is None:
            pairs = images * self.size[1]
            blocks = (tiles.near_tiles if self.near else tiles.bank_tiles)(self.channels, self.size[0])
            grid = -(-pairs // blocks["BM"]), -(-self.size[0] // blocks["ROWS"]), -(-self.channels // blocks["BK"])
            numbers = [pairs, *self.sides, self.channels, *self.size, *self._axes()]
            constants = {"TRANSPOSED": self.transposed, "BANK": self.operators, "SCALE": self.held[-1],
                         "WIDE": interpreted(dtype), **blocks}
            if self.near:
                kernel = triton_registers.near_bank_kernel
                constants.update(P0=self.padding[0], P1=self.padding[1], CURVED=self.held[1])
            else:
                kernel = triton_kernels.bank_kernel
                constants.update(self._stencil(), COUNT=self.fields)
            launcher = self.launchers["bank", images] = Launcher(kernel, grid, self.device, numbers, constants, (1,))
        launcher(maps, bank)
        return bank

    def _in_registers(self, maps: Tensor, weights: Tensor, strides: tuple[int, ...], target: Tensor | None, keep: bool,
                      factor: Tensor | None) -> Tensor | None:
        multiply = factor is not None
        key = weights.dtype, strides, target is None, keep, multiply
        launcher = self.launchers.get(key)
        if launcher is None:
            given = self.channels, self.out, self.size[0]
            blocks = tiles.back_tiles(*given, self.large) if multiply else tiles.mix_tiles(self.operators, *given)
            pairs, bands = self.images * self.size[1], -(-self.size[0] // blocks["ROWS"])
            units = -(-pairs // blocks["BM"]) * bands
            blocks["SPLITS"] = min(blocks["SPLITS"], units)
            numbers = [pairs, *self.sides, self.channels, *self.size, self.out, *self._axes(), units, bands,
                       *strides]
            constants = {"P0": self.padding[0], "P1": self.padding[1], "TRANSPOSED": self.transposed,
                         "BANK": self.operators, "SCALE": self.held[-1], "CURVED": self.held[1],
                         "MIX": target is not None, "KEEP": keep, "MULTIPLY": multiply,
                         "WIDE": interpreted(self.dtype), **blocks}
            writes = [k for k, written in ((2, target is not None), (4, multiply)) if written]
            grid = blocks["SPLITS"], -(-self.out // blocks["BN"]), 1
            launcher = self.launchers[key] = Launcher(triton_registers.fields_kernel, grid, self.device, numbers,
                                                      constants, writes)
        sums = maps
        if multiply:
            sums = maps.new_empty((launcher.grid[0], self.fields, self.channels, self.out), dtype=torch.float32)
        launcher(maps, weights, maps if target is None else target, maps if factor is None else factor, sums)
        return sums.sum(0) if multiply else None

    def _spread(self, parts: Tensor, target: Tensor) -> None:
        images = target.shape[0]
        launcher = self.launchers.get(("spread", images))
        if launcher is None:
            (height, width), pairs = self.sides, images * self.sides[1]
            blocks = tiles.spread_tiles(self.channels, height)
            grid = -(-pairs // blocks["BM"]), -(-height // blocks["ROWS"]), -(-self.channels // blocks["BK"])
            numbers = [pairs, *self.size, self.channels, height, width, *self._axes()]
            turned = {f"P{axis}": 2 * self.dilation[axis] - self.padding[axis] for axis in (0, 1)}
            constants = {**self._stencil(), **turned, "BANK": self.operators, "COUNT": self.fields,
                         "WIDE": interpreted(self.dtype), **blocks}
            launcher = self.launchers["spread", images] = Launcher(triton_kernels.spread_kernel, grid, self.device,
                                                                   numbers, constants, (1,))
        launcher(parts, target)

    def _mixing(self, weights: Tensor) -> Tensor:
        """Return ``(fields, channels, out)`` as a matrix for the bank."""
        if weights.dtype is not self.dtype:
            weights = weights.to(self.dtype, memory_format=torch.contiguous_format)
        return self._enlarged(weights.reshape(-1, self.out))

    def _enlarged(self, numbers: Tensor) -> Tensor:
        """Return ``(fields x channels, out)`` so much larger as the fields are held smaller."""
        if self.dtype is not torch.float16:
            return numbers
        if self.operators != "iso":
            return numbers / self.held[0]
        parts = numbers.view(self.fields, -1)
        own, curved, slopes = parts[:1], parts[1:2] / self.held[1], parts[2:] / self.held[2]
        return torch.cat((own, curved, slopes)).view_as(numbers)

    def _averaged(self, bank: Tensor) -> Tensor:
        """Average over squares of side ``reduce``: as in ``blocks``, where the fewest pixels are mixed."""
        if self.reduce == 1:
            return bank
        maps = bank.view(-1, *self.size, bank.shape[1]).permute(0, 3, 1, 2)
        return _pixels(in_last(F.avg_pool2d(maps, self.reduce).to(self.dtype)))

    def _stencil(self) -> dict[str, int]:
        pairs = {"S": self.stride, "P": self.padding, "D": self.dilation}
        return {f"{letter}{axis}": pair[axis] for letter, pair in pairs.items() for axis in (0, 1)}

    def _axes(self) -> tuple[int, int, float, float]:
        """Return the coordinates' shifts and units: those of the output's pixels in either direction."""
        rows, columns = self.sides if self.transposed else self.size
        if self.coords == "legacy":
            return -columns, -rows, 1 / columns, 1 / rows
        return 1 - columns, 1 - rows, 1 / max(rows, columns), 1 / max(rows, columns)


def _mix(bank: Tensor, mixing: Tensor, target: Tensor, keep: bool) -> None:
    rows = _pixels(target)
    if keep:
        rows.addmm_(bank, mixing)
    else:
        torch.mm(bank, mixing, out=rows)


def _product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    if _WIDE_PRODUCTS and dtype is torch.float32 and a.dtype is not dtype and a.is_cuda:
        return torch.mm(a, b, out_dtype=dtype)
    return torch.mm(a, b, out=a.new_empty((a.shape[0], b.shape[1])))


def in_last(maps: Tensor) -> Tensor:
    """Return maps in ``channels_last``."""
    return maps.contiguous(memory_format=torch.channels_last)


def _pixels(maps: Tensor) -> Tensor:
    """Return maps in ``channels_last`` as ``(images x height x width, channels)``."""
    if type(maps) is Tensor:  # quicker; a compiler takes it for other memory
        images, channels, height, width = maps.shape
        return maps.as_strided((images * height * width, channels), (channels, 1))
    return maps.permute(0, 2, 3, 1).view(-1, maps.shape[1])
