"""Which batch normalisations of a model stand behind a layer, with nothing between and nobody else looking.

Book: chapter 13.  Source: new here.
"""

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from convtwist.conversion._copying import copied
from convtwist.conversion._foldable import FOLDS, layer_obstacle, norm_obstacle
from convtwist.conversion._held import held, holders

__all__ = ["pairs"]

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_Found = dict[tuple[str, str], str]


def pairs(model: nn.Module) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the names of layers and of the normalisations behind them, and why others behind a layer have to stay.

    Raises:
        ValueError: the model is in training, or can't be traced or copied.
    """
    if model.training:
        raise ValueError("model is in training, where a batch normalisation depends on the batch; call model.eval() "
                         "first")
    also_held = holders(model)
    # A condition such as "mask is None" is decided while tracing, so both cases are traced.
    defaults = _defaults(model)
    found = [_looked(model, also_held, given) for given in ({}, defaults)[: 1 + bool(defaults)]]
    everywhere = [pair for pair in found[0] if all(pair in each for each in found)]
    reasons = {pair: next((each[pair] for each in found if each[pair]), "") for pair in everywhere}
    return [pair for pair, reason in reasons.items() if not reason], [reason for reason in reasons.values() if reason]


class _Tracer(fx.Tracer):
    """Take every normalisation and every module without children for one step, whoever wrote it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: set[int] = set()  # the ids of all parameters and buffers that the code asked for

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _NORMS) or not m._modules or super().is_leaf_module(m, module_qualified_name)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if isinstance(attr_val, torch.Tensor):
            self.read.add(id(attr_val))
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, torch.Tensor):  # held in a list, say
            self.read.add(id(a))
        return super().create_arg(a)


def _defaults(model: nn.Module) -> dict[str, Any]:
    """Return the arguments of a model's forward that need not be given."""
    parameters = inspect.signature(type(model).forward).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def _looked(model: nn.Module, also_held: dict[int, str], defaults: dict[str, Any]) -> _Found:
    """Return each layer with the normalisation behind it, and what is against a fold, or an empty string."""
    traced = copied(model, "fold pair by pair")  # a forward pass may leave something on the model
    tracer = _Tracer()
    try:
        if "forward" in vars(model):
            raise TypeError("its forward was replaced on this model alone")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a default value was taken for granted
            graph = tracer.trace(traced, defaults or None)
    except Exception as error:  # a tracer runs the model's own code
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:150]
        raise ValueError(f"model cannot be traced ({reason}); fold pair by pair: "
                         "model.conv = fold_batch_norm(model.conv, model.bn), model.bn = nn.Identity()") from error
    called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    names: dict[int, list[str]] = {}
    for name, module in traced.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(name)
    read = tracer.read.union(*(_held_by(traced.get_submodule(name)) for name in called))
    found: _Found = {}
    for layer, norm in _neighbours(traced, graph):
        found[layer, norm] = ""
        for name, obstacle in ((norm, norm_obstacle), (layer, layer_obstacle)):
            module = traced.get_submodule(name)
            owner = also_held.get(id(model.get_submodule(name)))
            why = obstacle(module)
            if why is None and (len(names[id(module)]) > 1 or called.count(name) > 1):
                why = "it is used more than once"
            if why is None and not read.isdisjoint(map(id, (module, *module.parameters(), *module.buffers()))):
                why = "what it holds is read elsewhere, too"
            if why is None and owner is not None:
                why = f"it is also held in the plain attribute {owner!r}, which a fold would not reach"
            if why is not None:
                found[layer, norm] = f"{name}: {why}"
    return found


def _neighbours(model: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str]]:
    """Return each layer whose output goes to a batch normalisation alone, with that."""
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1:
            layer, norm = str(before.target), str(node.target)
            if isinstance(model.get_submodule(layer), FOLDS) and isinstance(model.get_submodule(norm), _NORMS):
                yield layer, norm


def _held_by(module: nn.Module) -> set[int]:
    """Return the ids of all that a module, which wasn't looked into, could read besides its own."""
    return {id(value) for _, value in held(module, ())}
