"""What ``torch.jit.trace`` is to see of a layer, and ``torch.onnx.export(dynamo=False)``, which traces as well.

Book: chapter 13.  Source: new here.

While it looks on, every size is a tensor.  What is computed from it stands in the traced program, which is then right
for maps of every size.  A size that is made a number is that of the example for good, and PyTorch warns of it: right
for sizes of weights and for counts of channels, and for what is only checked.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from convtwist._arguments import is_tracing

__all__ = ["as_number", "not_traced", "untraced"]

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def untraced(function: Callable[_Given, _Found], *arguments: _Given.args, **options: _Given.kwargs) -> _Found:
    """Return ``function(*arguments, **options)``, computed from numbers and unseen by a trace."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return function(*arguments, **options)
    finally:
        torch._C._set_tracing_state(state)  # pyright: ignore[reportAttributeAccessIssue]


def as_number(size: int) -> int:
    """Return the size of a weight or a count of channels as a number, also where a trace makes a tensor of it."""
    return untraced(int, size) if isinstance(size, Tensor) else size


def not_traced(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """Let a function be computed from numbers and unseen, where a trace is made."""

    @wraps(function)
    def either(*arguments: _Given.args, **options: _Given.kwargs) -> _Found:
        if is_tracing():
            return untraced(function, *arguments, **options)
        return function(*arguments, **options)

    return either
