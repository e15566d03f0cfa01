"""Deep copies of models, and what stands in the way of one.

Book: chapter 13.  Source: new here.
"""

import copy
from typing import TypeVar

import torch
from torch import nn

from convtwist.conversion._held import held

__all__ = ["copied"]

_Model = TypeVar("_Model", bound=nn.Module)


def copied(model: _Model, instead: str) -> _Model:
    """Return a deep copy, or say what stands in the way and what can be done instead.

    Raises:
        ValueError: the model holds what cannot be copied, most often a tensor that was computed from its parameters.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # copying runs the code of whatever the model holds
        children = {id(module) for module in model.modules()}
        computed = {f"{path}.{name}".lstrip("."): None for path, module in model.named_modules()
                    for name, value in held(module, children)
                    if isinstance(value, torch.Tensor) and value.grad_fn is not None}
        if not computed:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:150]
            raise ValueError(f"model cannot be copied ({reason}); {instead}") from error
        raise ValueError(
            f"model cannot be copied, since {', '.join(computed)} is computed from other parameters (by pruning, by "
            "torch.nn.utils.weight_norm or spectral_norm of old, or kept from a forward pass); make pruning and norms "
            f"permanent and delete what was kept, or {instead}") from error
