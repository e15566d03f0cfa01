"""What an optimizer should know of a model with twists: which weights to decay, and how fast twists may learn.

Book: chapter 13.  Source: new here.
"""

import math
from numbers import Real
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convtwist._parts import part_of
from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion._candidates import check_module
from convtwist.conversion._traced import is_traced

__all__ = ["param_groups"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []))


def param_groups(
    model: nn.Module,
    *,
    lr: float | torch.Tensor | None = None,
    weight_decay: float = 0.01,
    twist_lr_scale: float = 1.0,
    twist_weight_decay: float = 0.0,
) -> list[dict[str, Any]]:
    """Split a model's trainable parameters into groups for an optimizer, each in exactly one.

    ``"decay"`` holds the weights; ``"no_decay"`` biases, the parameters of normalisation layers and everything
    one-dimensional; ``"twist"`` the twists and centres, which may learn at a pace of their own.  A twist is not
    decayed by default: its zero is an ordinary convolution, and nothing says that this is where it should end.
    Frozen parameters and empty groups are left out.

    Most schedulers of PyTorch scale the groups alike.  Those that are told a learning rate, such as ``OneCycleLR``,
    ``CyclicLR`` and ``CosineAnnealingLR`` with an ``eta_min``, need one for each group, or all groups get the same:
    ``OneCycleLR(optimizer, [g["lr"] for g in optimizer.param_groups], total_steps=1000)``.  ``eta_min`` takes one
    number only; leave it at 0.

    Args:
        model: any module, converted or not, traced or not.
        lr: learning rate; None leaves it to the optimizer.
        weight_decay: for the group ``"decay"``.
        twist_lr_scale: the twist learns at ``lr * twist_lr_scale``.
        twist_weight_decay: for the group ``"twist"``.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: a number is negative or none, the twist has a pace of its own but ``lr`` is missing, or a lazy layer
            has not seen a batch yet.

    >>> from convtwist import convert
    >>> layer = convert(nn.Conv2d(3, 8, 3))
    >>> [(g["name"], len(g["params"]), g["weight_decay"]) for g in param_groups(layer, weight_decay=0.05)]
    [('decay', 1, 0.05), ('no_decay', 1, 0.0), ('twist', 1, 0.0)]
    """
    check_module(model)
    numbers = {"lr": lr, "weight_decay": weight_decay, "twist_lr_scale": twist_lr_scale,
               "twist_weight_decay": twist_weight_decay}
    for name, value in numbers.items():
        if (value is None and name == "lr") or (isinstance(value, torch.Tensor) and value.numel() == 1 and value >= 0):
            continue
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise ValueError(f"{name} must not be negative, and a number, got {value!r}")
    if lr is None and twist_lr_scale != 1:
        raise ValueError(f"twist_lr_scale={twist_lr_scale} scales the learning rate; give lr as well")
    twists = _twists(model)
    groups: dict[str, list[nn.Parameter]] = {"decay": [], "no_decay": [], "twist": []}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            if is_lazy(parameter):
                raise ValueError(f"{prefix}.{name} has no shape yet; run one batch through the model first")
            seen.add(id(parameter))
            if id(parameter) in twists:
                groups["twist"].append(parameter)
            elif parameter.ndim <= 1 or isinstance(module, _NORMS):
                groups["no_decay"].append(parameter)
            else:
                groups["decay"].append(parameter)
    decays = {"decay": weight_decay, "no_decay": 0.0, "twist": twist_weight_decay}
    paces = {} if lr is None else {"decay": lr, "no_decay": lr, "twist": lr * twist_lr_scale}
    return [
        {"name": name, "params": params, "weight_decay": decays[name], **({"lr": paces[name]} if paces else {})}
        for name, params in groups.items() if params
    ]


def _twists(model: nn.Module) -> set[int]:
    """Return which parameters make up twists and centres, as they are or parametrised, normalised, pruned, traced."""
    return {id(parameter) for layer in model.modules() if isinstance(layer, ConvTwist2d) or is_traced(layer)
            for name, parameter in layer.named_parameters() if part_of(name) in ("twist", "center")}
