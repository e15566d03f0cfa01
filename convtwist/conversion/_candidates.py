"""Which layers of a model can be swapped, and what would be lost with those that can't.

Book: chapter 13.  Source: new here; see ``convtwist.conversion``, which does the swapping.
"""

import functools
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias, TypeVar

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized
from torch.types import Device

from convtwist._arguments import as_pair
from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion._traced import is_traced

__all__ = ["blank", "check_module", "held_elsewhere", "irreversible", "layers", "obstacle", "own_attributes", "shown",
           "successor"]

Swappable: TypeAlias = nn.Conv2d | ConvTwist2d
_Kind = TypeVar("_Kind", nn.Conv2d, ConvTwist2d)


def layers(model: nn.Module) -> list[tuple[list[str], nn.Module]]:
    """Return ``(names, layer)`` for each convolution of any kind, traced ones with twists, too.

    A shared one comes once, with all its names.
    """
    found: dict[int, tuple[list[str], nn.Module]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        leaf = not module._modules
        named = leaf and "conv" in type(module).__name__.lower()
        if named or isinstance(module, (_ConvNd, ConvTwist2d)) or is_traced(module):
            found.setdefault(id(module), ([], module))[0].append(name)
    return list(found.values())


def obstacle(layer: nn.Module, holders: Mapping[int, str]) -> str | None:
    """Return why a layer cannot be swapped without losing something, or None.

    ``holders`` says, by id, which layers a plain attribute holds, too.
    """
    kind = type(layer).__name__
    if not isinstance(layer, nn.Conv2d):
        if isinstance(layer, _ConvTransposeNd):
            return "transposed convolution"
        return "not two-dimensional" if isinstance(layer, _ConvNd) else f"{kind} is not an nn.Conv2d"
    if tuple(layer.kernel_size) != (3, 3):
        return f"kernel is {'x'.join(map(str, layer.kernel_size))}, a twist needs 3x3"
    if is_parametrized(layer):
        return _parametrised(layer)
    if any(map(is_lazy, layer.parameters())):
        return "lazy, its channels are unknown; run one batch through the model first"
    if type(layer) is not nn.Conv2d:
        kind = f"{type(layer).__module__}.{kind}" if kind == "Conv2d" else kind  # the name of torch's quantised ones
        return f"{kind} is a subclass of Conv2d, and what it adds would be lost"
    return _modified(layer, ConvTwist2d, ("weight", "bias")) or held_elsewhere(layer, holders) or _refused(layer)


def irreversible(layer: ConvTwist2d, holders: Mapping[int, str]) -> str | None:
    """Return why a ConvTwist2d cannot become a Conv2d, twist or no twist, or None."""
    if is_parametrized(layer):
        return _parametrised(layer)
    if type(layer) is not ConvTwist2d:
        return f"{type(layer).__name__} is a subclass of ConvTwist2d, and what it adds would be lost"
    if layer.steps != 1:
        return f"steps={layer.steps} iterates the layer, which no single Conv2d does"
    if layer.permute is not None:
        return "permute reorders the input channels, which no Conv2d does"
    return _modified(layer, nn.Conv2d, ("weight", "bias", "twist", "center")) or held_elsewhere(layer, holders)


def _parametrised(layer: nn.Module) -> str:
    what = ", ".join(name for name, _ in layer.get_submodule("parametrizations").named_children())
    return f"{what} is parametrised; call torch.nn.utils.parametrize.remove_parametrizations first"


def _modified(layer: Swappable, target: type[Swappable], parameters: Collection[str]) -> str | None:
    """Return what was done to a layer that its successor could not carry on, or None."""
    fresh = blank(type(layer))
    if set(layer._parameters) != set(parameters):
        return (f"its parameters are {', '.join(layer._parameters)} (weight norm, spectral norm or pruning?); "
                "remove that first")
    for name, parameter in layer._parameters.items():
        if parameter is not None and type(parameter) is not nn.Parameter:
            return f"its {name} is a {type(parameter).__name__}"
    if layer._modules.keys() != fresh._modules.keys() or layer._buffers.keys() != fresh._buffers.keys():
        return "it has modules or buffers of its own"
    for name in own_attributes(layer, fresh):
        if hasattr(type(layer), name) or hasattr(target, name) or name in vars(blank(target)):
            return f"its attribute {name!r} was replaced on this layer alone"
    return None


def own_attributes(layer: nn.Module, fresh: nn.Module) -> list[str]:
    """Return the attributes that were put on this one layer by its user."""
    return [name for name in vars(layer) if name not in vars(fresh)]


def held_elsewhere(layer: nn.Module, holders: Mapping[int, str]) -> str | None:
    """Return which plain attribute also holds the layer, where a swap would leave the old one in use, or None."""
    owner = holders.get(id(layer))
    return None if owner is None else f"also held in the plain attribute {owner!r}, which a swap would not reach"


def _refused(layer: nn.Conv2d) -> str | None:
    """Return what ConvTwist2d has against a layer's arguments, or None."""
    try:
        successor(ConvTwist2d, layer, device="meta")
    except (ValueError, TypeError) as error:
        return str(error)
    return None


@functools.cache
def blank(kind: type[Swappable]) -> Swappable:
    return kind(1, 1, 3, device="meta")


def successor(kind: type[_Kind], layer: Swappable, device: Device, **options: Any) -> _Kind:
    """Return a layer of another kind with the same arguments."""
    padding = layer.padding if isinstance(layer.padding, str) else as_pair(layer.padding, "padding", 0)
    return kind(
        layer.in_channels, layer.out_channels, as_pair(layer.kernel_size, "kernel_size"),
        as_pair(layer.stride, "stride"), padding, as_pair(layer.dilation, "dilation"), layer.groups,
        layer.bias is not None, layer.padding_mode, device=device, dtype=layer.weight.dtype, **options,
    )


def check_module(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    above: set[int] = set()
    seen: set[int] = set()

    def look(module: nn.Module, name: str) -> None:
        if id(module) in above:
            raise ValueError(f"model holds itself: {shown(name)} is a module above it; hold a parent in a tuple or a "
                             "weak reference, which are no children")
        if id(module) in seen:
            return
        seen.add(id(module))
        above.add(id(module))
        for key, child in module._modules.items():
            if child is not None:
                look(child, f"{name}.{key}".lstrip("."))
        above.remove(id(module))

    look(model, "")


def shown(name: str) -> str:
    return name or "(the model itself)"
