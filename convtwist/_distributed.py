"""What a layer needs so that its input may be a ``DTensor``, spread over several processes.

Book: chapter 13.  Source: new here.
"""

import torch
from torch import Tensor

__all__ = ["alike"]


def alike(numbers: Tensor, maps: Tensor) -> Tensor:
    """Return numbers, the same on every process, as a ``DTensor`` if ``maps`` are one: it goes with no others."""
    if type(maps) in (Tensor, torch.nn.Parameter) or not hasattr(maps, "device_mesh"):
        return numbers
    return type(maps).from_local(numbers, maps.device_mesh, run_check=False)  # pyright: ignore
