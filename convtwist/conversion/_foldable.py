"""Whether a batch normalisation can be folded into a layer, by what is known of these two, and why not.

Book: chapter 13.  Source: new here.

A fold changes a layer's parameters and takes the normalisation away.  So both must compute what their class says, from
parameters of their own.
"""

from collections.abc import Sequence
from typing import TypeAlias

from torch import nn

from convtwist.conv_twist import ConvTwist2d
from convtwist.iso_twist import IsoTwist2d

__all__ = ["FOLDS", "Foldable", "layer_obstacle", "norm_obstacle", "rest"]

Foldable: TypeAlias = ConvTwist2d | IsoTwist2d | nn.Conv2d
FOLDS = (ConvTwist2d, IsoTwist2d, nn.Conv2d)

_LINEAR = ("Conv2dSame", "Conv2dSameExport")  # of timm: they pad, and are linear
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def layer_obstacle(layer: nn.Module) -> str | None:
    """Return why no normalisation folds into a layer, or None."""
    kind = next(kind for kind in FOLDS if isinstance(layer, kind))  # no other is asked for
    if getattr(layer, "steps", 1) != 1:
        return f"it takes steps={layer.steps} and adds its bias in each; nothing folds into it"
    methods = ["__call__", "_call_impl", "forward", *(["_conv_forward"] if kind is nn.Conv2d else [])]
    if _changed(layer, kind, methods) and not (_is_timms(layer, *_LINEAR) and "forward" not in vars(layer)):
        return f"it has a forward of its own ({type(layer).__name__}), which may do more than a {kind.__name__}"
    return _tampered(layer, ["weight", "bias", *(["twist", "center"] if kind is ConvTwist2d else [])])


def norm_obstacle(norm: nn.Module) -> str | None:
    """Return why a normalisation folds into no layer, or None."""
    if not isinstance(norm, nn.BatchNorm2d):
        return f"it is a {type(norm).__name__}, which is no BatchNorm2d"
    if rest(norm) is None:
        return f"it is a {type(norm).__name__}, which may do more than a BatchNorm2d"
    if norm.training:
        return "it must be a BatchNorm2d in evaluation; call model.eval() first"
    if norm.running_mean is None or norm.running_var is None:
        return "it has no running statistics, so what it does depends on the batch"
    return _tampered(norm, ["weight", "bias"])


def rest(norm: nn.Module) -> nn.Module | None:
    """Return what a normalisation does besides normalising, or None for a subclass that may do anything."""
    if not _changed(norm, nn.BatchNorm2d, ["__call__", "_call_impl", "forward"]):
        return nn.Identity().eval()
    if _is_timms(norm, "BatchNormAct2d") and "forward" not in vars(norm):
        if isinstance(norm.drop, nn.Module) and isinstance(norm.act, nn.Module):
            return nn.Sequential(norm.drop, norm.act).eval()
    return None


def _is_timms(module: nn.Module, *names: str) -> bool:
    return type(module).__module__.startswith("timm.") and type(module).__name__ in names


def _changed(module: nn.Module, kind: type[nn.Module], methods: Sequence[str]) -> bool:
    """Return whether a subclass, or somebody on this one module, has put something in place of these methods."""
    return any(getattr(type(module), name) is not getattr(kind, name) or name in vars(module) for name in methods)


def _tampered(module: nn.Module, keys: Sequence[str]) -> str | None:
    """Return what keeps new parameters from taking effect, or others from staying as they are, or None."""
    for key in keys:
        value = getattr(module, key, None)
        if value is not module._parameters.get(key) or type(value) not in (type(None), nn.Parameter):
            return (f"its {key} is computed from other parameters, or no plain nn.Parameter (parametrised, pruned, "
                    "quantised); make that permanent first, with remove_parametrizations or prune.remove")
    if any(vars(module)[name] for name in _HOOKS):
        return "it has hooks, which may change what passes, or would see other numbers; remove them first"
    return None
