"""Folding batch normalisation into the layer in front of it, the twist included.

Book: chapter 13.  Source: ``torch.nn.utils.fuse_conv_bn_eval``, which scales ``weight`` and ``bias`` alone.

In evaluation a batch normalisation multiplies every channel by a number and adds another.  A layer that is linear in
its parameters takes both in: all its weights are multiplied, and the bias follows.
"""

import warnings

import torch
from torch import Tensor, nn

from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion._candidates import check_module
from convtwist.conversion._copying import copied
from convtwist.conversion._foldable import FOLDS, Foldable, layer_obstacle, norm_obstacle, rest
from convtwist.conversion._pairs import pairs

__all__ = ["fold_batch_norm"]


def fold_batch_norm(model: nn.Module, norm: nn.BatchNorm2d | None = None) -> nn.Module:
    """Return a copy in which every ``BatchNorm2d`` behind a layer is part of that layer.

    What ``forward`` returns in evaluation is what it returned before, up to rounding.  Where a layer's output goes
    anywhere else, too, its normalisation stays.  It also stays, with a warning, where a fold might be wrong: behind a
    layer whose weights are computed, hooked or read elsewhere, or a subclass with a ``forward`` of its own.  Folded
    ones become ``nn.Identity``; of timm's ``BatchNormAct2d`` the activation is left.

    Args:
        model: a model in evaluation, or one ``ConvTwist2d``, ``IsoTwist2d`` or ``nn.Conv2d``.
        norm: the normalisation behind that one layer; for models that can't be traced.

    Raises:
        TypeError: ``model`` is no module, or with ``norm`` no layer of these kinds.
        ValueError: the model is in training, or can't be traced or copied; with ``norm``, the two can't be folded.

    >>> model = nn.Sequential(ConvTwist2d(3, 8, padding=1, bias=False), nn.BatchNorm2d(8)).eval()
    >>> u = torch.rand(1, 3, 8, 8)
    >>> folded = fold_batch_norm(model)
    >>> folded[1], bool(torch.allclose(folded(u), model(u), atol=1e-5))
    (Identity(), True)
    """
    check_module(model)
    if norm is not None:
        if not isinstance(model, FOLDS):
            raise TypeError(f"with norm=, model must be the layer in front of it, a ConvTwist2d, IsoTwist2d or Conv2d, "
                            f"got {type(model).__name__}")
        _check_pair(model, norm)
        return _folded(copied(model, "fold another copy"), norm)
    found, left = pairs(model)
    folded = copied(model, "fold pair by pair")
    for layer, name in found:
        behind = folded.get_submodule(name)
        _folded(folded.get_submodule(layer), behind)
        _put(folded, name, behind)
    if not found or left:
        why = "; ".join(left) or "no BatchNorm2d follows a convolution whose output goes nowhere else"
        warnings.warn(f"{'some normalisations stay' if found else 'nothing was folded'}: {why}", stacklevel=2)
    return folded


def _check_pair(layer: Foldable, norm: nn.Module) -> None:
    """Check that a normalisation that the caller names can be folded into a layer.

    Raises:
        ValueError: it can't.
    """
    if isinstance(norm, nn.BatchNorm2d) and type(rest(norm)) is not nn.Identity:
        raise ValueError(f"norm is a {type(norm).__name__}, which does more than a BatchNorm2d; an nn.Identity in "
                         "its place would lose that")
    for name, reason in (("norm", norm_obstacle(norm)), ("model", layer_obstacle(layer))):
        if reason:
            raise ValueError(f"{name} cannot be folded: {reason}")
    if norm.num_features != len(layer.weight):
        raise ValueError(f"norm has {norm.num_features} channels, but model has {len(layer.weight)} output channels; "
                         "give the normalisation behind this layer")


def _folded(layer: nn.Module, norm: nn.Module) -> nn.Module:
    """Change a layer so that it computes what the normalisation behind it made of its output."""
    assert isinstance(layer, FOLDS) and isinstance(norm, nn.BatchNorm2d)  # no others are found
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    with torch.no_grad():
        for key, value in (("weight", _scaled(layer.weight, scale, 0)),
                           ("bias", shift if layer.bias is None else layer.bias * scale + shift)):
            _replace(layer, key, value.to(layer.weight.dtype))
        if isinstance(layer, ConvTwist2d):
            _replace(layer, "twist", _scaled(layer.twist, scale, 1).to(layer.weight.dtype))
    return layer


def _scaled(weights: Tensor, scale: Tensor, axis: int) -> Tensor:
    return weights * scale.view([-1 if k == axis else 1 for k in range(weights.ndim)])


def _replace(layer: Foldable, key: str, value: Tensor) -> None:
    # Not the numbers in place: another layer may share them.
    layer._parameters[key] = nn.Parameter(value, requires_grad=layer.weight.requires_grad)


def _put(model: nn.Module, name: str, norm: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    model.get_submodule(parent)._modules[child] = rest(norm)
