"""Folding batch normalisation into the layer in front of it, the twist included.

Book: chapter 13.  Source: ``torch.nn.utils.fuse_conv_bn_eval``, which scales ``weight`` and ``bias`` alone.

In evaluation a batch normalisation multiplies every channel by a number and adds another.  A layer that is linear in
its parameters takes both in: all its weights are multiplied, and the bias follows.
"""

import copy
import warnings

import torch
from torch import Tensor, fx, nn

from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion._candidates import check_module, shown
from convtwist.iso_twist import IsoTwist2d

__all__ = ["fold_batch_norm"]

_FOLDS = (ConvTwist2d, IsoTwist2d, nn.Conv2d)


class _Tracer(fx.Tracer):
    """Take every normalisation and every module without children for one step, whoever wrote it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.BatchNorm2d) or not m._modules or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norm(model: nn.Module, norm: nn.BatchNorm2d | None = None) -> nn.Module:
    """Return a copy in which every ``BatchNorm2d`` behind a layer is part of that layer.

    The outputs in evaluation are those of before, up to rounding.  Where a layer's output goes anywhere else, too, its
    normalisation stays.  Folded ones become ``nn.Identity``; of timm's ``BatchNormAct2d`` the activation is left.

    Args:
        model: a model in evaluation, or one ``ConvTwist2d``, ``IsoTwist2d`` or ``nn.Conv2d``.
        norm: the normalisation behind that one layer; for models that can't be traced.

    Raises:
        TypeError: ``model`` is no module, or with ``norm`` no layer of these kinds.
        ValueError: the model is in training, can't be traced, or the layer takes several steps.

    >>> model = nn.Sequential(ConvTwist2d(3, 8, padding=1, bias=False), nn.BatchNorm2d(8)).eval()
    >>> u = torch.rand(1, 3, 8, 8)
    >>> folded = fold_batch_norm(model)
    >>> folded[1], bool(torch.allclose(folded(u), model(u), atol=1e-5))
    (Identity(), True)
    """
    check_module(model)
    if norm is not None:
        if not isinstance(model, _FOLDS):
            raise TypeError(f"with norm=, model must be the layer in front of it, a ConvTwist2d, IsoTwist2d or Conv2d, "
                            f"got {type(model).__name__}")
        if isinstance(norm, nn.BatchNorm2d) and type(_rest(norm)) is not nn.Identity:
            raise ValueError(f"norm is a {type(norm).__name__}, which does more than a BatchNorm2d; an nn.Identity in "
                             "its place would lose that")
        return _folded(model, norm, "the layer")
    folded = copy.deepcopy(model)
    pairs = _pairs(folded)
    if not pairs:
        warnings.warn("nothing was folded: no BatchNorm2d follows a convolution whose output goes nowhere else",
                      stacklevel=2)
    for layer, norm_name in pairs:
        behind = folded.get_submodule(norm_name)
        rest = _rest(behind)
        assert rest is not None  # or it would be no pair
        _put(folded, layer, _folded(folded.get_submodule(layer), behind, layer))
        _put(folded, norm_name, rest)
    return folded


def _pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Return the names of layers and of the normalisations behind them, where both are called just once."""
    if model.training:
        raise ValueError("model is in training, where a batch normalisation depends on the batch; call model.eval() "
                         "first")
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # a tracer runs the model's own code
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:150]
        raise ValueError(f"model cannot be traced ({reason}); fold pair by pair: "
                         "model.conv = fold_batch_norm(model.conv, model.bn), model.bn = nn.Identity()") from error
    called = [node.target for node in graph.nodes if node.op == "call_module"]
    names = {id(module): [] for module in model.modules()}
    for name, module in model.named_modules(remove_duplicate=False):
        names[id(module)].append(name)
    found = []
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(model.get_submodule(node.target), nn.BatchNorm2d):
            continue
        before = node.args[0] if node.args else None
        if not (isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1):
            continue
        modules = [model.get_submodule(str(each.target)) for each in (before, node)]
        once = all(len(names[id(module)]) == 1 and called.count(each.target) == 1
                   for module, each in zip(modules, (before, node), strict=True))
        foldable = isinstance(modules[0], _FOLDS) and getattr(modules[0], "steps", 1) == 1
        if once and foldable and _rest(modules[1]) is not None:
            found.append((str(before.target), str(node.target)))
    return found


def _folded(layer: nn.Module, norm: nn.Module, name: str) -> nn.Module:
    assert isinstance(layer, _FOLDS)  # no other is found
    if norm.training or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"the normalisation behind {shown(name)} must be a BatchNorm2d in evaluation that has kept "
                         "its running statistics; call model.eval() first")
    if getattr(layer, "steps", 1) != 1:
        raise ValueError(f"{shown(name)} takes steps={layer.steps} and adds its bias in each; nothing folds into it")
    layer = copy.deepcopy(layer)
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


def _rest(norm: nn.Module) -> nn.Module | None:
    """Return what a normalisation does besides normalising, or None for a subclass that may do anything."""
    if type(norm).forward is nn.BatchNorm2d.forward:
        return nn.Identity()
    if type(norm).__name__ == "BatchNormAct2d" and isinstance(norm.drop, nn.Module) and isinstance(norm.act, nn.Module):
        return nn.Sequential(norm.drop, norm.act)  # timm's
    return None


def _scaled(weights: Tensor, scale: Tensor, axis: int) -> Tensor:
    return weights * scale.view([-1 if k == axis else 1 for k in range(weights.ndim)])


def _replace(layer: ConvTwist2d | IsoTwist2d | nn.Conv2d, key: str, value: Tensor) -> None:
    layer._parameters[key] = nn.Parameter(value, requires_grad=layer.weight.requires_grad)


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
