"""Noticing where another program folds a batch normalisation into a ConvTwist2d and forgets the twist.

Book: chapter 13.  Source: ``torch.nn.utils.fuse_conv_bn_eval``, and what other libraries made of it.

Such a program multiplies each output channel of the weight by a number, and replaces or adds the bias next.  Whether
it wrote the new numbers into the old weight can't be seen, so a bias that is added is taken for its work, too.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["check_registered", "no_fold"]

_multiplied: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # the layers whose weight is a multiple of what it was
_renewed: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # those whose twist was replaced after they were built
_loading: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@contextmanager
def no_fold(layer: nn.Module) -> Iterator[None]:
    """Say that what is replaced within is no fold: a checkpoint is loaded."""
    _loading.add(layer)
    try:
        yield
    finally:
        _loading.discard(layer)
        _multiplied.discard(layer)


def check_registered(layer: nn.Module, name: str, new: nn.Parameter | None) -> None:
    """Look at a parameter that is about to be registered.

    Raises:
        RuntimeError: it is a bias, the weight was multiplied before or there was no bias, and the twist is neither zero
            nor was replaced.
    """
    twist = getattr(layer, "twist", None)
    if new is None or twist is None or layer in _loading:
        return
    if name in ("twist", "twist_orig"):
        _multiplied.discard(layer)
        _renewed.add(layer)
    elif name == "weight":
        _renewed.discard(layer)
        _multiplied.discard(layer)
        if _is_multiple(new, layer._parameters.get("weight")):
            _multiplied.add(layer)
    elif name == "bias" and (what := _folded_in(layer)) and (twist.is_meta or bool(twist.detach().ne(0).any())):
        raise RuntimeError(
            f"{what}, but not its twist: this is how other programs fold a batch normalisation, and the outputs would "
            "be wrong; use convtwist.fold_batch_norm(model), or if this is no fold, replace the twist before the bias: "
            "layer.twist = nn.Parameter(layer.twist.detach().clone())")


def _folded_in(layer: nn.Module) -> str | None:
    """Return what a new bias completes, or None."""
    if layer in _multiplied:
        return "weight and bias of a ConvTwist2d were replaced, the weight by a multiple of itself"
    if "bias" in layer._parameters and layer._parameters["bias"] is None and layer not in _renewed:
        return "a ConvTwist2d without a bias was given one"
    return None


@torch.no_grad()
def _is_multiple(new: Tensor, old: Tensor | None) -> bool:
    """Return whether each output channel is a multiple of what it was, and some by another factor than 1."""
    if type(old) is not nn.Parameter or type(new) is not nn.Parameter or old.shape != new.shape:
        return False
    if old.is_meta or new.is_meta or not old.numel():
        return False
    wide = torch.promote_types(torch.promote_types(old.dtype, new.dtype), torch.float32)
    rounding = torch.finfo(new.dtype).eps + 16 * torch.finfo(wide).eps  # of the new weights, and of the factors here
    before, after = (weight.detach().to(new.device, wide).flatten(1) for weight in (old, new))
    factor = (before.conj() * after).sum(1, keepdim=True) / (before.conj() * before).sum(1, keepdim=True)
    factor = torch.where(before.ne(0).any(1, keepdim=True), factor, torch.ones_like(factor))
    fits = (after - factor * before).abs() <= rounding * after.abs().amax(1, keepdim=True)
    return bool(fits.all()) and bool(((factor - 1).abs() > rounding).any())
