"""Launching one kernel again and again with the same numbers, on other maps.

Book: chapter 13.  Source: new here.

A call of a kernel of Triton's looks through all of its arguments to find the machine code that fits.  It takes longer
than many a kernel runs.  A launcher looks once, and then hands over the pointers.  Before a compiler it launches
nothing, and leaves it to the compiled program.
"""

# A machine without a GPU need not have Triton.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportPrivateImportUsage=false

from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
from torch import Tensor
from torch._subclasses.functional_tensor import FunctionalTensor

from convtwist._engine import triton_kernels

__all__ = ["INTERPRETED", "Launcher", "Unseen", "interpreted"]

INTERPRETED = not isinstance(triton_kernels.bank_kernel, triton.runtime.JITFunction)


class Unseen(Exception):
    """PyTorch is mistaken about what a kernel writes: this Triton is not the one that it was made for."""


class Launcher:
    """A kernel with all of its arguments but the tensors, which come first; it writes to those of ``writes``."""

    def __init__(self, kernel: Any, grid: tuple[int, int, int], device: torch.device, numbers: Sequence[float],
                 constants: dict[str, Any], writes: Sequence[int]) -> None:
        self.kernel, self.grid, self.device, self.numbers, self.writes = kernel, grid, device, numbers, writes
        self.shown = constants
        self.constants = {**constants, "enable_fp_fusion": True}  # which Triton 3.10 won't do unasked
        self._run: Callable[..., None] | None = None
        names = getattr(kernel, "arg_names", constants)  # in the order of the signature
        self._rest = (*numbers, *(constants[name] for name in names if name in constants))

    def __call__(self, *tensors: Tensor) -> None:
        """Launch the kernel where PyTorch launches its own, on the tensors' device."""
        if type(tensors[-1]) is FunctionalTensor:
            self._show(tensors)
            return
        run = self._run
        if run is not None:
            driver = triton.runtime.driver.active
            pointers = [tensor.data_ptr() for tensor in tensors]
            if not _low_bits(pointers) and driver.get_current_device() == self.device.index:
                run(*pointers, *self._rest, stream=driver.get_current_stream(self.device.index))
                return
        if self.device.type == "cpu":  # Triton's interpreter
            self.kernel[self.grid](*tensors, *self.numbers, **self.constants)
            return
        with torch.cuda.device(self.device):
            compiled = self.kernel[self.grid](*tensors, *self.numbers, **self.constants)
        if compiled is not None and not _low_bits([tensor.data_ptr() for tensor in tensors]):
            self._run = compiled[self.grid]

    def _show(self, tensors: Sequence[Tensor]) -> None:
        before = [_content(tensor) for tensor in tensors]
        torch.library.wrap_triton(self.kernel)[self.grid](*tensors, *self.numbers, **self.shown)
        written = [_content(tensor) is not old for tensor, old in zip(tensors, before, strict=True)]
        if written != [k in self.writes for k in range(len(tensors))]:
            raise Unseen


def _content(tensor: Any) -> Tensor:
    tensor.sync()  # writes that were put off
    return torch._from_functional_tensor(tensor.elem)


def _low_bits(pointers: Sequence[int]) -> int:
    """Return nothing but zero for pointers to multiples of 16 bytes: Triton compiles apart for others."""
    bits = 0
    for pointer in pointers:
        bits |= pointer
    return bits & 15


def interpreted(dtype: torch.dtype) -> bool:
    """Say whether the kernels run in Triton's interpreter, and on a type that it can't round to."""
    return dtype == torch.bfloat16 and INTERPRETED
