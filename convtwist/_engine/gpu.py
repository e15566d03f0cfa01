"""Whether the kernels for a GPU serve a layer, and in which number type.

Book: chapter 13.  Source: new here.

Triton comes with PyTorch's builds for CUDA.  It is imported at the first call on a GPU, never on a machine without.
"""

import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

__all__ = ["COMPILER_TAKES_KERNELS", "as_computed", "computed_type", "gains", "holds", "prepared", "serves",
           "show", "triton_missing", "why_not"]

_DTYPES = torch.float32, torch.float16, torch.bfloat16
_OLDEST = (3, 3)  # of Triton: before, its functions take no tuples
_CAPABILITY = (8, 0)
_SWITCH = "CONVTWIST_GPU_ENGINE"

# Before torch 2.10, Inductor can't multiply into a wider type.
COMPILER_TAKES_KERNELS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 10)


def holds(maps: Tensor) -> bool:
    """Say whether a tensor is on a GPU of the kind that the kernels are for."""
    return maps.is_cuda


def serves(tensors: Sequence[Tensor | None]) -> bool:
    """Say whether a layer of these tensors, the input first, is computed by the kernels."""
    first = tensors[0]
    if first is None or not holds(first) or not _usable(first.device.index):
        return False
    kinds = _DTYPES if torch.is_autocast_enabled(first.device.type) else (first.dtype,)
    for tensor in tensors:
        if tensor is not None and (tensor.dtype not in kinds or not holds(tensor)):
            return False
    return first.dtype in _DTYPES


def gains(channels: int, groups: int) -> bool:
    """Say whether it pays to mix groups as one, with zeros in between."""
    return groups == 1 or (channels // groups >= 4 and channels <= 512)


def computed_type(maps: Tensor) -> torch.dtype:
    """Return the number type in which ``conv2d`` would compute."""
    if maps.dtype in _DTYPES and torch.is_autocast_enabled(maps.device.type):
        return torch.get_autocast_dtype(maps.device.type)
    return maps.dtype


def as_computed(*tensors: Any) -> list[Any]:
    """Return the tensors, the input first, in the type of autocast, as ``conv2d`` would take them."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [tensor if tensor is None or tensor.dtype == dtype else tensor.to(dtype) for tensor in tensors]


def show(compute: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Let a compiler look on as a layer is computed; ``NotImplemented`` where it can't launch the kernels itself.

    It can't in Triton's interpreter, nor where sizes are left open: they decide on kernels and grids.
    """
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    if not holds(tensors[0]) or any(type(side) is not int for tensor in tensors for side in tensor.shape):
        return NotImplemented
    if _steps().INTERPRETED:
        return NotImplemented
    try:
        return compute(*arguments)
    except _steps().Unseen:
        return NotImplemented


def prepared(step: Any, source: Tensor, weights: Tensor) -> Any:
    """Return a step of ``steps`` as one of ``triton_steps``, for maps of this shape and these mixing weights."""
    return _steps().prepared(step, source.shape, weights.shape, source.dtype, source.device)


@cache
def _steps() -> ModuleType:
    from convtwist._engine import triton_steps

    return triton_steps


@cache
def why_not(index: int = 0) -> str | None:
    """Return why the kernels don't serve a CUDA device, or ``None`` if they do."""
    if torch.version.hip is not None:
        return "they have not been tried on AMD GPUs"
    missing = triton_missing()
    if missing is not None:
        return missing
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if os.environ.get(_SWITCH) == "0":
        return f"{_SWITCH}=0 says so"
    capability = torch.cuda.get_device_capability(index)
    if capability < _CAPABILITY:
        return f"{torch.cuda.get_device_name(index)} has compute capability {'.'.join(map(str, capability))}, below 8.0"
    return None


@cache
def triton_missing() -> str | None:
    """Return what is wrong with Triton here, or ``None``."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; PyTorch's builds for CUDA bring it along on Linux"
    try:
        version = importlib.metadata.version("triton")
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            return f"Triton {version} is older than {'.'.join(map(str, _OLDEST))}"
        importlib.import_module("convtwist._engine.triton_blocks")
    except (ImportError, AttributeError, ValueError) as error:
        return f"Triton can't be used ({type(error).__name__}: {str(error)[:100]})"
    return None


def _usable(index: int | None) -> bool:
    return why_not(torch.cuda.current_device() if index is None else index) is None


# torch.compiler.assume_constant_result, which would import Dynamo now
_usable._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]
