"""The fields of a layer, made and mixed strip by strip in a few lines of C++; where they can't be compiled, in blocks.

Book: chapter 12.  Source: new here.

Where a compiled layer runs, a C++ compiler is at hand: ``torch.compile`` uses it, and so does this module, by the
same way, which keeps the result on disk.  If anything is missing, ``convtwist.blocks`` computes the same.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch

from convtwist import blocks
from convtwist.operators import coordinate_grid

__all__ = ["add_fields", "add_transposed"]

_STRIP = 1 << 17  # numbers in a thread's fields: half a megabyte, so that they stay in its own cache
_BANKS = {"similarity": (0, 2), "affine": (1, 4), "first_order": (2, 8), "iso": (3, 4)}


def add_fields(output, source, mixing, operators, padding, dilation, coords, *, keep=True, reduce=1):
    """Do what ``convtwist.blocks.add_fields`` does."""
    if reduce > 1 or not (_kernel() and _last(source) and _last(output)):
        return blocks.add_fields(output, source, mixing, operators, padding, dilation, coords, keep=keep, reduce=reduce)
    _mix(source, operators, False, output.shape[2:], padding, dilation, coords, mixing.t().contiguous(), output,
         keep=keep)


def add_transposed(d_source, slope, source, weights, wanted, operators, padding, dilation, coords, *, keep=True):
    """Do what ``convtwist.blocks.add_transposed`` does."""
    if not (_kernel() and _last(slope) and _last(source) and (d_source is None or _last(d_source))):
        return blocks.add_transposed(d_source, slope, source, weights, wanted, operators, padding, dilation, coords,
                                     keep=keep)
    padding = [2 * d - p for d, p in zip(dilation, padding, strict=True)]
    products = _mix(slope, operators, True, source.shape[2:], padding, dilation, coords,
                    weights.flatten(0, 1).contiguous(), d_source, source if wanted else None, keep)
    return products.view(weights.shape) if wanted else torch.zeros_like(weights)


class _Plan(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64 * count) for name, count in (
        ("bank", 1), ("transposed", 1), ("threads", 1), ("strip", 1), ("maps", 4), ("size", 2), ("padding", 2),
        ("dilation", 2), ("mixed", 1), ("factors", 1), ("keep", 1))]


def _mix(maps, operators, transposed, size, padding, dilation, coords, mixing, mixture, factor=None, keep=True):
    """Mix the fields of maps into ``mixture``; return their products with ``factor``.  Either may be ``None``."""
    bank, count = _BANKS[operators]
    images, channels, height, width = maps.shape
    threads, wide = torch.get_num_threads(), count * channels
    x, y = (axis.flatten().contiguous() for axis in coordinate_grid(
        *(maps.shape[2:] if transposed else size), coords=coords, dtype=maps.dtype, device=maps.device))
    # Strips fit into the cache, are alike in height, and keep all threads busy.
    strips = max(1, -(-size[0] * size[1] * wide // _STRIP), -(-threads // images))
    strip = max(1, -(-size[0] // strips))
    scratch = maps.new_empty(threads, strip * size[1] * wide)
    factors = 0 if factor is None else factor.shape[1]
    products = maps.new_zeros(threads, wide, factors)
    plan = _Plan(*((value,) for value in (bank, transposed, threads, strip)), (images, height, width, channels),
                 tuple(size), tuple(padding), tuple(dilation), (mixing.shape[1],), (factors,), (keep,))
    zeros = maps.new_zeros(channels)
    _kernel()(ctypes.byref(plan), *map(_pointer, (maps, zeros, x, y, mixing, mixture, factor, products, scratch)))
    return products.sum(0)


@cache
def _kernel():
    """Return the compiled function with PyTorch's own matrix product as its first argument, or ``None``."""
    try:
        from torch._inductor.codecache import CppCodeCache

        mix = CppCodeCache.load(Path(__file__).with_suffix(".cpp").read_text(encoding="utf-8")).mix
        folder = Path(torch.__file__).parent / "lib"
        (library,) = (ctypes.CDLL(str(path)) for path in folder.glob("libtorch_cpu.*"))
        gemm = ctypes.cast(library.sgemm_, ctypes.c_void_p)
    except Exception:  # whatever a machine may lack
        return None
    mix.restype = None
    return lambda plan, *pointers: mix(plan, gemm, *pointers)


def _pointer(tensor):
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _last(maps):
    return maps.is_contiguous(memory_format=torch.channels_last)
