"""What a tracer leaves of the layers: torch.fx, torch.export and torch.jit keep their parameters, not their class.

Book: chapter 13.  Source: new here.
"""

from torch import fx, nn

from convtwist._parts import part_of
from convtwist.conv_twist import ConvTwist2d

__all__ = ["is_traced", "traced"]

_LAYERS, _FUNCTIONS = ("ConvTwist2d", "IsoTwist2d"), ("conv_twist2d", "iso_twist2d")


def is_traced(module: nn.Module) -> bool:
    """Return whether a module holds the parameters of a ConvTwist2d without being one."""
    if isinstance(module, ConvTwist2d):
        return False
    own = {part: parameter for name, parameter in module.named_parameters() if (part := part_of(name))}
    if not {"weight", "twist"} <= own.keys():
        return False
    if "parametrizations" in module._modules:  # whose shapes are those of the parametrization
        return True
    weight, twist = own["weight"], own["twist"]
    return weight.shape[2:] == (3, 3) and twist.ndim == 3 and twist.shape[1:] == weight.shape[:2]


def traced(model: nn.Module) -> str | None:
    """Return the name of the first traced module that has such a layer in it, or None."""
    for name, module in model.named_modules():
        if is_traced(module) or getattr(module, "original_name", None) in _LAYERS:
            return name
        if isinstance(module, fx.GraphModule) and any(map(_calls, module.graph.nodes)):
            return name
    return None


def _calls(node: fx.Node) -> bool:
    """Return whether a node is a call of our functions, or comes from one of our layers."""
    if node.op != "call_function":  # a layer that a tracer was told to keep
        return False
    above = node.meta.get("nn_module_stack") or {}
    kinds = (kind if isinstance(kind, str) else getattr(kind, "__name__", "") for _, kind in above.values())
    return getattr(node.target, "__name__", "") in _FUNCTIONS or any(k.rpartition(".")[2] in _LAYERS for k in kinds)
