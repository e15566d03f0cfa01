"""Swapping the 3x3 convolutions of a model that exists, and swapping them back.

Book: chapter 13.  Source: the forum thread's "it can replace any 3x3 convolutional layer in your model".

``convert`` starts with a zero twist, so a pretrained model computes what it did, bit for bit.  It hands the same
``weight`` and ``bias`` on to the new layer: ties, frozen flags, gradients and optimizer state stay with them.
What cannot be swapped without losing something is left alone, and ``conversion_report`` says why.
"""

import difflib
import fnmatch
import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _WrappedHook
from typing_extensions import Unpack  # torch needs this package; Python has the name from 3.11 on

from convtwist._arguments import Coords, as_flag
from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion._candidates import (
    Swappable,
    blank,
    check_module,
    held_elsewhere,
    irreversible,
    layers,
    obstacle,
    own_attributes,
    shown,
    successor,
)
from convtwist.conversion._copying import copied
from convtwist.conversion._held import MODULE_STATE, holders
from convtwist.conversion._traced import traced
from convtwist.conversion.report import conversion_report, passed_over
from convtwist.operators import Operators

__all__ = ["convert", "revert"]

_Model = TypeVar("_Model", bound=nn.Module)
_Filter = Callable[[str, nn.Conv2d], bool]
_Names = str | Sequence[str]


class LayerOptions(TypedDict, total=False):
    """The arguments of ``ConvTwist2d`` that :func:`convert` hands on."""

    operators: Operators
    twist_init: Literal["normal", "zeros"]
    centers: bool
    coords: Coords


_OPTIONS = ("operators", "twist_init", "centers", "coords")
_MERGE = "convert first and add the adapter afterwards, or take it in first with merge_and_unload()"
_WRAPPERS = {
    "DistributedDataParallel": "convert first, wrap afterwards: the wrapper would never see the new parameters",
    "FullyShardedDataParallel": "convert first, shard afterwards",
    "FSDPModule": "convert first, shard afterwards",
    "ScriptModule": "convert first, script or trace afterwards",
    "PeftModel": _MERGE,
    "BaseTunerLayer": _MERGE,
}
_OWN_STATE = {"training", "_parameters", "_buffers", "_non_persistent_buffers_set", "_modules"}


@overload
def convert(  # type: ignore[overload-overlap]  # a bare layer turns into another, every other module stays what it is
    model: nn.Conv2d, *, inplace: bool = False, include: _Names | None = None, exclude: _Names | None = None,
    filter_fn: _Filter | None = None, **layer_options: Unpack[LayerOptions],
) -> ConvTwist2d | nn.Conv2d: ...


@overload
def convert(
    model: _Model, *, inplace: bool = False, include: _Names | None = None, exclude: _Names | None = None,
    filter_fn: _Filter | None = None, **layer_options: Unpack[LayerOptions],
) -> _Model: ...


def convert(
    model: nn.Module, *, inplace: bool = False, include: _Names | None = None, exclude: _Names | None = None,
    filter_fn: _Filter | None = None, **layer_options: Unpack[LayerOptions],
) -> nn.Module:
    """Return the model with its 3x3 ``nn.Conv2d`` layers swapped for ``ConvTwist2d`` with a zero twist.

    The outputs are those of before, bit for bit.  Device, dtype, ``training``, ``requires_grad`` (a frozen layer
    gets a frozen twist), hooks, attributes of your own, shared layers and tied weights are kept.  Converting
    twice changes nothing.  Convert before you compile, wrap for several devices or build the optimizer.

    Args:
        model: any module; a bare ``nn.Conv2d`` is returned as a ``ConvTwist2d``.
        inplace: change ``model`` itself rather than a deep copy of it.  Take the returned module either way: a
            bare layer cannot turn into another in place.
        include: only layers whose name matches one of these; ``"layer3"`` means that module and all inside
            it, ``"*.conv2"`` whatever ends so.
        exclude: no layer whose name matches one of these.
        filter_fn: called as ``filter_fn(name, layer)`` for each layer left; swap it if the answer is true.
        **layer_options: ``operators``, ``centers``, ``coords`` and ``twist_init`` of ``ConvTwist2d``.  Any
            ``twist_init`` but ``"zeros"`` changes the outputs; it is for training from scratch.  ``"normal"``
            starts in proportion to the layer's own weights, whoever drew them.

    Raises:
        TypeError: ``model`` is no module, or an argument is unknown or of the wrong type.
        ValueError: a pattern matches no module, an option is out of range, or the model is already wrapped, holds
            itself or can't be copied.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1))
    >>> convert(model)[0].twist.abs().max().item(), type(model[0]).__name__
    (0.0, 'Conv2d')
    """
    _check_model(model)
    inplace = as_flag(inplace, "inplace")
    options = _layer_options(layer_options)
    if filter_fn is not None and not callable(filter_fn):
        raise TypeError(f"filter_fn must be called as filter_fn(name, layer), got {type(filter_fn).__name__}")
    included, excluded = _patterns(model, include, "include"), _patterns(model, exclude, "exclude")
    also_held = holders(model)
    kept = {names[0]: reason for names, layer in layers(model) if (reason := held_elsewhere(layer, also_held))}
    if not inplace:
        model = copied(model, "pass inplace=True")
        also_held = holders(model)
    swaps: dict[int, nn.Module] = {}
    twists: dict[tuple[int, int], ConvTwist2d] = {}
    for names, layer in layers(model):
        if not isinstance(layer, nn.Conv2d) or obstacle(layer, also_held):
            continue
        # A function's closure isn't copied with the model, and would still hold the layer of the original.
        reason = kept.get(names[0]) or _passed(names, layer, included, excluded, filter_fn)
        if reason:
            passed_over[layer] = reason
            continue
        # Everything is built before anything is replaced, so that an error leaves the model whole.
        swaps[id(layer)] = _twisted(layer, options, twists)
    if not swaps and not any(isinstance(module, ConvTwist2d) for module in model.modules()):
        found = Counter(record.reason for record in conversion_report(model).skipped)
        why = "; ".join(f"{reason} ({count})" for reason, count in found.most_common()) or "it has no convolutions"
        warnings.warn(f"no layer was swapped: {why}", stacklevel=2)
    return _replace(model, swaps)


@overload
def revert(  # type: ignore[overload-overlap]
    model: ConvTwist2d, *, drop_twist: bool = False, inplace: bool = False,
) -> nn.Conv2d: ...


@overload
def revert(model: _Model, *, drop_twist: bool = False, inplace: bool = False) -> _Model: ...


def revert(model: nn.Module, *, drop_twist: bool = False, inplace: bool = False) -> nn.Module:
    """Return the model with every ``ConvTwist2d`` back as ``nn.Conv2d``, with the same weights.

    Where the twist is zero, the outputs are those of before, bit for bit.

    Args:
        model: any module.
        drop_twist: throw away twists that are not zero, which changes the outputs.
        inplace: change ``model`` itself rather than a deep copy of it.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: a twist is not zero, or a layer does what no ``nn.Conv2d`` can or was traced; the layers are named.
            Or the model can't be copied.

    >>> type(revert(convert(nn.Conv2d(3, 8, 3)))).__name__
    'Conv2d'
    """
    _check_model(model)
    drop_twist, inplace = as_flag(drop_twist, "drop_twist"), as_flag(inplace, "inplace")
    twisted = [(names, layer) for names, layer in layers(model) if isinstance(layer, ConvTwist2d)]
    also_held = holders(model)
    stuck = [(names[0], reason) for names, layer in twisted if (reason := irreversible(layer, also_held))]
    gone = traced(model)
    if gone is not None:
        stuck.append((gone, "it was traced (torch.fx, torch.export or torch.jit); revert first, trace afterwards"))
    if stuck:
        listed = "; ".join(f"{shown(name)}: {reason}" for name, reason in stuck)
        raise ValueError(f"cannot go back to Conv2d. {listed}")
    # A twist on the meta device has no numbers to look at; one that is NaN is not zero.
    alive = [names[0] for names, layer in twisted if layer.twist.is_meta or bool((layer.twist != 0).any())]
    if alive and not drop_twist:
        raise ValueError(f"the twist is not zero in {', '.join(map(shown, alive))}; "
                         "pass drop_twist=True to throw it away")
    if not inplace:
        model = copied(model, "pass inplace=True")
    plain: dict[int, nn.Module] = {
        id(layer): _untwisted(layer) for _, layer in layers(model) if isinstance(layer, ConvTwist2d)
    }
    return _replace(model, plain)


def _check_model(model: nn.Module) -> None:
    check_module(model)
    for name, module in model.named_modules():
        for base in type(module).__mro__:
            if base.__name__ in _WRAPPERS:
                raise ValueError(f"{shown(name)} is a {base.__name__}: {_WRAPPERS[base.__name__]}")


def _layer_options(given: LayerOptions) -> LayerOptions:
    """Check the options on a layer without memory, before any model is touched."""
    for name in given:
        if name in ("steps", "permute"):
            raise TypeError(f"{name} changes what a layer computes, and a swapped layer must compute the same; "
                            f"put ConvTwist2d(..., {name}=...) where you want it by hand")
        if name not in _OPTIONS:
            raise TypeError(f"unknown option {name!r}; convert takes {', '.join(_OPTIONS)}, and the rest is as in "
                            "the layer that is swapped")
    options: LayerOptions = {"twist_init": "zeros", **given}
    ConvTwist2d(1, 1, device="meta", **options)
    return options


def _patterns(model: nn.Module, given: _Names | None, argument: str) -> tuple[str, ...] | None:
    """Return the patterns as a tuple, or None; each must match some module of the model."""
    if given is None:
        return None
    patterns = (given,) if isinstance(given, str) else given
    if not isinstance(patterns, Sequence) or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(f"{argument} must be a name pattern or a list of them, got {given!r}")
    names = [name for name, _ in model.named_modules(remove_duplicate=False)]
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            named = [name for name in names if name]
            near = difflib.get_close_matches(pattern, named, 3, 0.5) or named[:3]
            others = " and others" if len(near) < len(named) else ""
            hint = f"; the model has {', '.join(map(repr, near))}{others}" if near else ""
            raise ValueError(f"{argument}={pattern!r} matches no module{hint}")
    return tuple(patterns)


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatch.fnmatchcase(".".join(parts[: i + 1]), pattern) for i in range(len(parts)))


def _passed(names: Sequence[str], layer: nn.Conv2d, include: Sequence[str] | None, exclude: Sequence[str] | None,
            filter_fn: _Filter | None) -> str | None:
    """Return why the caller's choice passes over a layer, or None."""
    for pattern in exclude or ():
        if any(_matches(name, pattern) for name in names):
            return f"exclude={pattern!r}"
    if include is not None and not any(_matches(name, pattern) for name in names for pattern in include):
        return "no pattern of include matches"
    if filter_fn is not None and not filter_fn(names[0], layer):
        return "filter_fn said no"
    return None


def _twisted(conv: nn.Conv2d, options: LayerOptions, twists: dict[tuple[int, int], ConvTwist2d]) -> ConvTwist2d:
    # A zero twist draws no random numbers: the state of the generator stays as it is.
    zero = options.get("twist_init") == "zeros"
    layer = successor(ConvTwist2d, conv, "meta" if zero else conv.weight.device, **options)
    if zero:
        for name in ("twist", "center"):
            empty = getattr(layer, name)
            if empty is not None:
                setattr(layer, name, nn.Parameter(torch.zeros_like(empty, device=conv.weight.device)))
    else:
        _in_proportion(layer, conv.weight)
    # Layers that share a weight were meant to do the same, so they share the twist too.
    shared = twists.setdefault((id(conv.weight), conv.groups), layer)
    for name in ("twist", "center"):
        parameter = getattr(shared, name)
        setattr(layer, name, parameter)
        if parameter is not None:
            parameter.requires_grad_(conv.weight.requires_grad)
    _inherit(layer, conv)
    return layer


def _in_proportion(layer: ConvTwist2d, weight: Tensor) -> None:
    """Scale a new twist from the weights that the layer drew for itself to those it will have."""
    if weight.is_meta:
        return
    with torch.no_grad():
        deviation = weight.detach().to(torch.promote_types(weight.dtype, torch.float32)).std(correction=0)
        layer.twist.mul_((deviation * math.sqrt(3 * weight[0].numel())).to(layer.twist.dtype))


def _untwisted(layer: ConvTwist2d) -> nn.Conv2d:
    conv = successor(nn.Conv2d, layer, "meta")
    _inherit(conv, layer)
    return conv


def _inherit(new: Swappable, old: Swappable) -> None:
    """Hand on the very parameters, the hooks with their handles, the mode and the user's own attributes."""
    new._parameters.update(weight=old._parameters["weight"], bias=old._parameters["bias"])
    new.train(old.training)
    for name in own_attributes(old, blank(type(old))):
        setattr(new, name, vars(old)[name])
    for name in MODULE_STATE - _OWN_STATE:
        # The same dictionary, not a copy: handle.remove() goes on working.
        vars(new)[name] = vars(old)[name]
    for key, hook in new._load_state_dict_pre_hooks.items():
        # torch ties such a hook to its module by a weak reference, which would now lead to the old layer.
        if isinstance(hook, _WrappedHook) and hook.with_module:
            new._load_state_dict_pre_hooks[key] = _WrappedHook(hook.hook, new)


def _replace(model: nn.Module, swaps: Mapping[int, nn.Module]) -> nn.Module:
    """Put each new layer wherever its old one was."""
    if id(model) in swaps:
        return swaps[id(model)]
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if id(child) in swaps:
                parent._modules[name] = swaps[id(child)]
    return model
