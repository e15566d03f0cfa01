"""The fields of a layer, made and mixed strip by strip in C++; where that can't be compiled, in blocks.

Book: chapter 13.  Source: new here.

Where a compiled layer runs, a C++ compiler is at hand: ``torch.compile`` uses it, and so does this module, by the
same way, which keeps the result on disk.  If anything is missing, ``blocks`` computes the same.
"""

import ctypes
import warnings
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from convtwist._arguments import Coords
from convtwist._engine import blocks
from convtwist.operators import Bank, coordinate_grid

__all__ = ["add_fields", "add_transposed"]

_STRIP = 1 << 17  # numbers in a thread's fields: half a megabyte, so that they stay in its own cache
_BANKS: dict[Bank, tuple[int, int]] = {"similarity": (0, 2), "affine": (1, 4), "first_order": (2, 8), "iso": (3, 4)}


def add_fields(output: Tensor, source: Tensor, weights: Tensor, operators: Bank, stride: tuple[int, int],
               padding: tuple[int, int], dilation: tuple[int, int], coords: Coords, *, keep: bool = True,
               reduce: int = 1) -> None:
    """Do what ``blocks.add_fields`` does."""
    if reduce > 1 or not (_ready() and _alike(source, output)):
        blocks.add_fields(output, source, weights, operators, stride, padding, dilation, coords, keep=keep,
                          reduce=reduce)
        return
    _mix(source, operators, False, output.shape[2:], stride, padding, dilation, coords,
         weights.transpose(1, 2).flatten(0, 1), output, keep=keep)


def add_transposed(d_source: Tensor | None, slope: Tensor, source: Tensor, weights: Tensor, wanted: bool,
                   operators: Bank, stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
                   coords: Coords, *, keep: bool = True) -> Tensor:
    """Do what ``blocks.add_transposed`` does."""
    if not (_ready() and _alike(slope, source, *([] if d_source is None else [d_source]))):
        return blocks.add_transposed(d_source, slope, source, weights, wanted, operators, stride, padding, dilation,
                                     coords, keep=keep)
    weights = weights.contiguous()
    if stride != (1, 1):
        if d_source is not None:
            blocks.add_mixed_first(d_source, slope, weights, operators, stride, padding, dilation, coords)
        if wanted:
            products = _mix(source, operators, False, slope.shape[2:], stride, padding, dilation, coords, factor=slope)
            return products.unflatten(0, (len(weights), -1)).transpose(1, 2).contiguous()
    else:
        turned = [2 * d - p for d, p in zip(dilation, padding, strict=True)]
        products = _mix(slope, operators, True, source.shape[2:], stride, turned, dilation, coords,
                        weights.flatten(0, 1), d_source, source if wanted else None, keep)
        if wanted:
            return products.contiguous().view(weights.shape)
    return torch.zeros_like(weights)


def _mix(maps: Tensor, operators: Bank, transposed: bool, size: Sequence[int], stride: Sequence[int],
         padding: Sequence[int], dilation: Sequence[int], coords: Coords, mixing: Tensor | None = None,
         mixture: Tensor | None = None, factor: Tensor | None = None, keep: bool = True) -> Tensor:
    """Mix the fields of maps into ``mixture``, and return their products with ``factor``: one of them, or both.

    ``mixing`` is ``(fields x channels, out)``.  The maps are alike in their layout.
    """
    bank, count = _BANKS[operators]
    images, channels, height, width = maps.shape
    threads, wide = torch.get_num_threads(), count * channels
    x, y = _axes(*((height, width) if transposed else size), coords)
    share = -(-images * size[0] // threads)  # rows for each thread, in strips that fit into the cache and are alike
    strip = -(-share // -(-share * size[1] * wide // _STRIP))
    zeros, scratch = maps.new_zeros(channels), maps.new_empty(threads, strip * size[1] * wide)
    last = _last(maps, *(other for other in (mixture, factor) if other is not None))
    read = min((strip - 1) * stride[0] + 2 * dilation[0] + 1, height)
    turned = maps.new_empty(0 if last else threads * read * width * channels)
    factors = 0 if factor is None else factor.shape[1]
    products = maps.new_empty(threads, wide, factors)
    plan = _Plan(bank, transposed, threads, strip, images, height, width, channels, *size, *stride, *padding, *dilation,
                 0 if mixing is None else mixing.shape[1], factors, keep, last)
    if mixing is not None:
        mixing = (mixing if last else mixing.t()).contiguous()
    tensors = maps, zeros, x, y, mixing, mixture, factor, products, scratch, turned
    kernel = _kernel()
    assert kernel is not None  # _ready was asked
    kernel(plan, *(tensor if tensor is None else tensor.data_ptr() for tensor in tensors))
    products = products.sum(0)
    return products if last else products.view(factors, wide).t()


_Plan = ctypes.c_int64 * 20


@lru_cache(maxsize=64)  # a dozen small operations, for each layer at each step
def _axes(height: int, width: int, coords: Coords) -> list[Tensor]:
    grid = coordinate_grid(height, width, coords=coords, dtype=torch.float32, device="cpu")
    return [axis.flatten().contiguous() for axis in grid]


def _ready() -> bool:
    if _kernel() is None:
        _announce()
        return False
    return True


def why_not() -> str | None:
    """Return why there is no compiled function, or ``None`` if there is one; compiles it, unless it is on disk."""
    return _loaded()[1]


def _kernel() -> Callable[..., None] | None:
    return _loaded()[0]


@cache
def _loaded() -> tuple[Callable[..., None] | None, str | None]:
    """Return the compiled function with PyTorch's own matrix product as its first argument, and why it is missing."""
    try:
        from torch._inductor.codecache import CppCodeCache
        from torch._inductor.exc import CppCompileError, InvalidCxxCompiler
    except ImportError as error:
        return None, f"torch {torch.__version__} has no compiler of C++ where it is looked for ({error})"
    gemm = _matrix_product()
    if gemm is None:
        return None, f"torch {torch.__version__} has no sgemm of its own to call: it was built without MKL"
    try:
        mix = CppCodeCache.load(Path(__file__).with_name("fields.cpp").read_text(encoding="utf-8")).mix
    except (InvalidCxxCompiler, OSError) as error:
        return None, f"no C++ compiler works here; install g++, or name one in CXX ({_first_line(error)})"
    except ImportError as error:  # torch 2.4 needs setuptools to compile, and doesn't ask for it
        missing = f"; pip install {error.name}" if error.name else ""
        return None, f"torch {torch.__version__} can't compile C++ here ({_first_line(error)}{missing})"
    except CppCompileError as error:
        return None, f"the C++ compiler refused fields.cpp ({_first_line(error)})"
    mix.restype, mix.argtypes = None, [_Plan] + [ctypes.c_void_p] * 11
    return lambda plan, *pointers: mix(plan, gemm, *pointers), None


def _matrix_product() -> ctypes.c_void_p | None:
    libraries = list((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"))
    try:
        return ctypes.cast(ctypes.CDLL(str(libraries[0])).sgemm_, ctypes.c_void_p)
    except (IndexError, OSError, AttributeError):
        return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__


@cache
def _announce() -> None:
    """Say once that compiled layers do without the C++."""
    warnings.warn(f"compiled ConvTwist layers run without their C++: {why_not()}. The numbers are the same, the time "
                  "is longer; convtwist.show_config() says what runs", RuntimeWarning, stacklevel=3)


def _alike(*maps: Tensor) -> bool:
    """Say whether maps are all ``channels_last``, or all contiguous."""
    return _last(*maps) or all(each.is_contiguous() for each in maps)


def _last(*maps: Tensor) -> bool:
    return all(each.is_contiguous(memory_format=torch.channels_last) for each in maps)
