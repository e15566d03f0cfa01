"""Both layers under ``torch.compile``: one operator each, into which the compiler looks on a GPU only.

Book: chapter 13.  Source: new here.

Left to itself, the compiler writes the whole bank of fields to memory and reads it back to mix it.  These operators
take the steps of training without a compiler (``steps``), with the fields made and mixed by C++ (``cpp``), or on a GPU
by the same kernels as there.

On a GPU launching takes the time.  So where the sizes of the maps are known, the compiler is shown what an operator
does, and its program launches the same kernels itself (``_shown``).

Layout: a program sees maps come out as ``nn.Conv2d`` would put them, so that a view works behind either.  Inside a
network the compiler may lay them out otherwise, as it does around convolutions: whatever layout the input then has in
memory, the output gets.
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.functional_tensor import FunctionalTensorMode

from convtwist._arguments import Coords, is_exporting
from convtwist._engine import cpp, gpu
from convtwist._engine.steps import IsoStep, TwistStep, empty_maps, like_last

__all__ = ["allowed", "iso", "transformed", "twist"]


# Not torch.library.custom_op, which takes 0.1 ms a call.  Whoever imports the package anew gets new operators.
_namespace = vars(torch.ops.convtwist)
if "library" in _namespace:
    _namespace["library"]._destroy()
_LIBRARY = _namespace["library"] = torch.library.Library("convtwist", "DEF")

# PyTorch keeps compiled programs on disk, and knows an operator by its name and arguments alone.  This one tells each
# state of this code from every other.
_FILES = *Path(__file__).parent.glob("*.*p*"), *Path(__file__).parents[1].glob("operators.py")
_BUILD = sha256(b"".join(file.read_bytes() for file in sorted(_FILES))).hexdigest()[:16]


def allowed(source: Tensor) -> bool:
    """Say whether the operators can stand in the program that is being made.

    An exported program is to consist of PyTorch's own operators, and transforms see through no others.  A batch may
    turn out to be empty; maps without a pixel are refused elsewhere.
    """
    if source.shape[2] == 0 or source.shape[3] == 0:
        return False
    return torch.compiler.is_dynamo_compiling() and not is_exporting() and not transformed()


def transformed() -> bool:
    """Say whether ``vmap``, ``grad`` or the like is at work."""
    return torch._C._are_functorch_transforms_active()


# Dynamo keeps a guard of its own on the transforms around it.
transformed._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def twist(source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, padding: tuple[int, int],
          dilation: tuple[int, int], coords: Coords, groups: int, stride: tuple[int, int]) -> Tensor:
    """Compute ``ConvTwist2d``."""
    last = like_last(source) or like_last(weight)
    return torch.ops.convtwist.conv_twist(_laid(source, last), weight, twist, bias, last, _BUILD, padding,
                                          dilation, coords, groups, stride)


def iso(source: Tensor, weight: Tensor, bias: Tensor | None, reduce: int, coords: Coords) -> Tensor:
    """Compute ``IsoTwist2d`` without groups."""
    last = like_last(source)
    return torch.ops.convtwist.iso_twist(_laid(source, last), weight, bias, last, _BUILD, reduce, coords)


def _laid(maps: Tensor, last: bool) -> Tensor:
    if last and _by_strides_last(maps):
        return maps
    return maps.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _by_strides_last(maps: Tensor) -> bool:
    """Say whether maps are in ``channels_last``.  PyTorch first asks if they are empty: nobody may know yet."""
    _, channels, height, width = maps.shape
    return maps.stride() == (height * width * channels, 1, width * channels, channels)


def _is_last(maps: Tensor, last: bool) -> bool:
    """Say whether maps are in ``channels_last`` now; ``last`` decides where both layouts are the same."""
    if _by_strides_last(maps):
        return last if maps.shape[1] == 1 or maps.shape[2] * maps.shape[3] == 1 else True
    is_last = maps.is_contiguous(memory_format=torch.channels_last)
    return last if is_last and maps.is_contiguous() else is_last


def _weights(tensors: Sequence[Tensor | None], last: bool) -> list[Any]:
    """Return weights that leave contiguous maps contiguous; Inductor's are ``channels_last`` and would not."""
    return [tensor if last or tensor is None else tensor.contiguous() for tensor in tensors]


def _like(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return a gradient laid out as its weight is, or as that would be without gaps."""
    if gradient.stride() == weight.stride() or gradient.stride() == torch.empty_like(weight).stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)


def _quick(step: TwistStep | IsoStep, method: str, source: Tensor, weights: Tensor) -> Callable[..., Any]:
    """Return a method of the step, on a GPU for maps of this shape, else with the fields in C++."""
    if source.shape[0] == 0:  # a batch that turned out to be empty
        return getattr(step, method)
    if gpu.holds(source):
        return getattr(gpu.prepared(step, source, weights), method)
    return partial(getattr(step, method), blocks=cpp)


def _register(name: str, make_step: Callable[..., TwistStep | IsoStep], weights: Sequence[str], options: str) -> None:
    """Register ``convtwist::name`` and its gradient: code, shapes and derivatives.

    The option ``last`` says that the program's maps are ``channels_last``; otherwise they are contiguous.
    Each gradient of a weight is laid out as the weight is.
    """
    inputs = ", ".join(f"Tensor {tensor}" for tensor in ("source", *weights))
    count = 1 + len(weights)
    options = f"bool last, str build, {options}"
    outputs = ", ".join(["Tensor"] * (count + 1))
    _define(name, f"({inputs}, Tensor? bias, {options}) -> Tensor")
    _define(f"{name}_gradient", f"(Tensor slope, {inputs}, {options}, bool[] wanted) -> ({outputs})")

    def layer(source, *rest):
        last, _, *arguments = rest[count:]
        last = _is_last(source, last)
        weights = _weights(rest[:count], last)
        forward = _quick(make_step(*arguments), "forward", source, weights[-2])
        return _laid(forward(_laid(source, last), *weights), last)

    def fake_layer(source, weight, *rest):
        last, _, *arguments = rest[count - 1 :]
        height, width = make_step(*arguments).size(*source.shape[2:])
        return empty_maps(source, _is_last(source, last), weight.shape[0], height, width)

    def gradient(slope, source, *rest):
        last, _, *arguments, wanted = rest[count - 1 :]
        last = _is_last(source, last)
        maps = _laid(slope, last), _laid(source, last)
        weights = _weights(rest[: count - 1], last)
        found = _quick(make_step(*arguments), "gradient", source, weights[-1])(*maps, *weights, wanted=wanted)
        found = [tensor if want else slope.new_empty(0) for tensor, want in zip(found, wanted, strict=True)]
        if wanted[0]:
            found[0] = _laid(found[0], last)
        for k, weight in enumerate(rest[: count - 1], 1):
            if wanted[k]:
                found[k] = _like(found[k], weight)
        return tuple(found)

    def fake_gradient(slope, source, *rest):
        *_, wanted = rest
        first = empty_maps(source, _is_last(source, rest[count - 1]), *source.shape[1:])
        found = first, *map(torch.empty_like, rest[: count - 1]), slope.new_empty(slope.shape[1])
        return tuple(tensor if want else slope.new_empty(0) for tensor, want in zip(found, wanted, strict=True))

    def keep(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:count])
        ctx.options = inputs[count + 1 :]

    def backward(ctx, slope):
        wanted = ctx.needs_input_grad[: count + 1]
        found = gradient_op(_laid(slope, ctx.options[0]), *ctx.saved_tensors, *ctx.options, list(wanted))
        found = (tensor if want else None for tensor, want in zip(found, wanted, strict=True))
        return *found, *(None for _ in ctx.options)

    for op, compute, fake in ((name, layer, fake_layer), (f"{name}_gradient", gradient, fake_gradient)):
        _LIBRARY.impl(op, compute, "CompositeExplicitAutograd")
        torch.library.register_fake(f"convtwist::{op}", fake, lib=_LIBRARY)
        if gpu.COMPILER_TAKES_KERNELS:
            torch.library.register_torch_dispatch(f"convtwist::{op}", FunctionalTensorMode, partial(_shown, compute),
                                                  lib=_LIBRARY)
    gradient_op = getattr(torch.ops.convtwist, f"{name}_gradient").default
    torch.library.register_autograd(f"convtwist::{name}", backward, setup_context=keep, lib=_LIBRARY)


def _shown(compute: Callable[..., Any], mode: Any, operator: Any, types: Any, arguments: Any, options: Any) -> Any:
    """Show a compiler what an operator does, if it can do the same: then its program has the parts in its place."""
    with mode:
        found = gpu.show(compute, arguments)
    return mode.__torch_dispatch__(operator, types, arguments, options) if found is NotImplemented else found


def _define(name: str, schema: str) -> None:
    tags = [torch.Tag.pt2_compliant_tag]
    if hasattr(torch.Tag, "flexible_layout"):
        tags.append(torch.Tag.flexible_layout)
    _LIBRARY.define(name + schema, tags=tags)


_register("conv_twist", lambda padding, dilation, coords, groups, stride: TwistStep(
    tuple(padding), tuple(dilation), coords, groups, tuple(stride)), ("weight", "twist"),
    "int[] padding, int[] dilation, str coords, int groups, int[] stride")
_register("iso_twist", IsoStep, ("weight",), "int reduce, str coords")
