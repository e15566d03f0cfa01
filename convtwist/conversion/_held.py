"""What a model's modules hold besides their children: layers in lists, plain objects, functions and hooks.

Book: chapter 13.  Source: new here.

A swap reaches children only.  A layer that is held in another way as well would go on being used as it was.
"""

import gc
import types
import weakref
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

__all__ = ["MODULE_STATE", "held", "holders"]

MODULE_STATE = frozenset(vars(nn.Module()))  # what every module has: its parameters, children and hooks
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")  # which run in each call, and may call a layer themselves
# What leads nowhere, or to all that a program has.
_CLOSED = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType, types.FrameType, types.GeneratorType,
           types.TracebackType, str, bytes, int, float, complex)


def held(module: nn.Module, reached: Collection[int]) -> Iterator[tuple[str, object]]:
    """Return ``(attribute, object)`` for each tensor and module that a module's plain attributes lead to.

    The modules whose ids are in ``reached`` are named, but not looked into.
    """
    seen: set[int] = set()
    for name, value in list(vars(module).items()):
        if name in MODULE_STATE and name not in _HOOKS:
            continue
        waiting = [value]
        while waiting:
            found = waiting.pop()
            kind = type(found)  # isinstance would ask the object, which may be a proxy of something gone
            if id(found) in seen or issubclass(kind, _CLOSED):
                continue
            seen.add(id(found))
            if issubclass(kind, (Tensor, nn.Module)):
                yield name, found
            if not issubclass(kind, Tensor) and id(found) not in reached:
                waiting.extend(_parts(found))


def _parts(value: Any) -> Iterable[object]:
    """Return what an object holds: items, attributes, slots, arguments; of a function what it closes over."""
    if issubclass(type(value), weakref.ref):
        return [value()]
    if issubclass(type(value), types.FunctionType):  # its global names are no part of it
        return [value.__defaults__, value.__kwdefaults__, value.__closure__, vars(value)]
    return gc.get_referents(value)


def holders(model: nn.Module) -> dict[int, str]:
    """Return, by id, the modules that a plain attribute holds, each with that attribute's name."""
    children = {id(module) for module in model.modules()}
    found: dict[int, str] = {}
    for path, owner in model.named_modules():
        for name, value in held(owner, children):
            if isinstance(value, nn.Module):
                found.setdefault(id(value), f"{path}.{name}".lstrip("."))
    return found
