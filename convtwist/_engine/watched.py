"""What a layer does before those who look at PyTorch's operations, and as its activations are checkpointed as well.

Book: chapter 13.  Source: new here.

Whoever looks on, as ``FlopCounterMode`` does, is shown the plain layer, whose operations tell it all.  That keeps its
fields for the backward pass, and a step keeps none.  A checkpoint computes the layer twice, perhaps with nobody looking
the second time, and wants as many tensors kept as before.  So there the plain layer is computed like a step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

__all__ = ["Shown", "is_kept_elsewhere", "is_watched"]

_PROGRAMS = tuple(torch._C._TorchDispatchModeKey.__members__.values())  # modes that make programs of operations
_AUTOGRAD: Any = getattr(torch._C, "_autograd")  # noqa: B009
_hooks = getattr(_AUTOGRAD, "_top_saved_tensors_default_hooks", None)  # torch 2.4 doesn't tell


def is_watched() -> bool:
    """Say whether somebody looks at PyTorch's operations."""
    return torch._C._len_torch_dispatch_stack() > 0


def is_kept_elsewhere() -> bool:
    """Say whether somebody takes what is kept for the backward pass, as a checkpoint does, and makes no program."""
    return (_hooks is not None and _hooks(True) is not None and not torch._C._are_functorch_transforms_active()
            and all(torch._C._get_dispatch_mode(key) is None for key in _PROGRAMS))


class Shown:
    """The plain layer of a step, which keeps for the backward pass what the step keeps."""

    def __init__(self, plain: Callable[..., Tensor]) -> None:
        self.plain = self.forward = plain

    def gradient(self, slope: Tensor, *tensors: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """Return the wanted gradients, and ``None`` for the others; the layer, shown before, isn't shown again."""
        bias = slope.new_empty(slope.shape[1])  # no gradient depends on it
        leaves = [tensor.detach().requires_grad_(want) for tensor, want in zip((*tensors, bias), wanted, strict=True)]
        with torch.enable_grad(), _disable_current_modes():
            output = self.plain(*leaves)
        found = iter(torch.autograd.grad(output, [leaf for leaf in leaves if leaf.requires_grad], slope))
        return tuple(next(found) if want else None for want in wanted)
