"""What the layers accept, and what they say when they don't.

Book: chapter 13.  Source: the traps of the posted layers, which reset ``groups`` and swallowed ``bias`` silently.
Every refusal names the argument, what was given and what to do instead.
"""

from collections.abc import Callable, Collection
from numbers import Integral
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

import torch
from torch import Tensor, nn
from torch.types import Device

__all__ = ["NO_SCRIPT", "PADDING_MODES", "Coords", "Factory", "Known", "OneOrTwo", "PaddingMode", "as_factory",
           "as_flag", "as_padding", "as_pair", "as_shown", "check_agreement", "check_channels", "check_choice",
           "check_fit", "check_input", "check_steps", "check_tensors", "check_vector", "check_whole", "checked",
           "is_exporting", "is_tracing"]

OneOrTwo: TypeAlias = int | tuple[int, int]
"""One number for rows and columns, or one for each, as in ``nn.Conv2d``."""

PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
Coords: TypeAlias = Literal["centered", "legacy"]

PADDING_MODES: tuple[PaddingMode, ...] = ("zeros", "reflect", "replicate", "circular")
"""What may lie beyond the border, as for ``nn.Conv2d``."""

NO_SCRIPT = ("torch.jit.script cannot compile a {}, and is deprecated; use torch.export, torch.compile or "
             "torch.jit.trace")

_Word = TypeVar("_Word", bound=str)
_Found = TypeVar("_Found")

_MOST = 2**31 - 1  # beyond it sizes overflow, in torch and in what it calls


class Factory(TypedDict):
    """Where and how a tensor is made, for ``torch.empty`` and its like."""

    device: Device
    dtype: torch.dtype | None


def check_whole(value: int, name: str, smallest: int = 1) -> int:
    """Return ``value`` if it is a whole number, Python's or NumPy's, from ``smallest`` to 2147483647.

    Raises:
        ValueError: it is not.
    """
    if not _is_whole(value) or value < smallest:
        raise ValueError(f"{name} must be a whole number from {smallest}, got {as_shown(value)}")
    if value > _MOST:
        raise ValueError(f"{name} must be at most {_MOST}, got {as_shown(value)}")
    return _as_int(value)


def as_pair(value: int | tuple[int, ...] | list[int], name: str, smallest: int = 1) -> tuple[int, int]:
    """Return ``(rows, columns)`` from one number or two.

    Raises:
        ValueError: there are not one or two whole numbers from ``smallest`` to 2147483647.
    """
    values: tuple[int, ...] = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) == 1:
        values *= 2
    if len(values) != 2 or not all(_is_whole(v) and v >= smallest for v in values):
        raise ValueError(f"{name} must be one or two whole numbers (rows, columns) from {smallest}, "
                         f"got {as_shown(value)}")
    if max(values) > _MOST:
        raise ValueError(f"{name} must be at most {_MOST}, got {as_shown(value)}")
    return _as_int(values[0]), _as_int(values[1])


def _is_whole(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, Integral))


def _as_int(value: int) -> int:
    return value if isinstance(value, int) else int(value)  # int() would fix a size that a compiler left open


def check_choice(value: _Word, name: str, allowed: Collection[str]) -> _Word:
    """Return ``value`` if it is one of ``allowed``.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {as_shown(value)}")
    return value


def as_flag(value: bool | None, name: str) -> bool:
    """Return whether something is switched on.

    Raises:
        ValueError: ``value`` is not True, False, 1, 0 or None; any word, even ``"no"``, would count as yes.
    """
    if value is not None and not (type(value) in (bool, int) and value in (0, 1)):
        raise ValueError(f"{name} must be True or False, got {as_shown(value)}")
    return bool(value)


def as_factory(device: Device, dtype: torch.dtype | None) -> Factory:
    """Return where and how parameters are made, for ``torch.empty``.

    Raises:
        ValueError: ``dtype`` has no fractions, or ``device`` names nothing that torch knows.
    """
    if dtype is not None:
        real = isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex)
        if not real or dtype.itemsize < 2:
            raise ValueError(f"dtype must be a floating-point or complex torch.dtype of 16 bits or more, "
                             f"got {as_shown(dtype)}")
    if device is not None:
        try:
            device = torch.device(device)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"device must be a torch.device or its name, such as 'cpu', got {as_shown(device)} "
                             f"({str(error).splitlines()[0][:100]})") from None
    return {"device": device, "dtype": dtype}


def as_padding(padding: str | int | tuple[int, ...] | list[int], stride: tuple[int, int],
               dilation: tuple[int, int]) -> tuple[int, int]:
    """Return the padding of a 3x3 kernel in ``(rows, columns)``, with ``"same"`` and ``"valid"`` worked out.

    Raises:
        ValueError: the string is unknown, or ``"same"`` meets a stride.
    """
    if not isinstance(padding, str):
        return as_pair(padding, "padding", 0)
    if check_choice(padding, "padding", ("same", "valid")) == "valid":
        return 0, 0
    if stride != (1, 1):
        raise ValueError(f"padding='same' needs stride=1, got stride={stride}; give padding as a number instead")
    return dilation


def check_channels(in_channels: int, out_channels: int, groups: int) -> tuple[int, int, int]:
    """Return the three if the channels split into the groups.

    Raises:
        ValueError: a count is below 1, or ``groups`` does not divide the channels.
    """
    groups = check_whole(groups, "groups")
    in_channels, out_channels = check_whole(in_channels, "in_channels"), check_whole(out_channels, "out_channels")
    for value, name in ((in_channels, "in_channels"), (out_channels, "out_channels")):
        if value % groups:
            raise ValueError(f"{name}={value} must be divisible by groups={groups}; "
                             f"choose a divisor of both {in_channels} and {out_channels} as groups")
    return in_channels, out_channels, groups


def check_steps(steps: int, in_channels: int, out_channels: int, stride: tuple[int, int], padding: tuple[int, int],
                dilation: tuple[int, int]) -> int:
    """Return ``steps`` if a layer can be applied to its own output so often.

    Raises:
        ValueError: ``steps`` is above 1, and the output is not shaped like the input.
    """
    steps = check_whole(steps, "steps")
    if steps == 1:
        return steps
    if in_channels != out_channels:
        raise ValueError(f"steps={steps} applies the layer to its own output and needs as many output as input "
                         f"channels, got {in_channels} and {out_channels}; use steps=1")
    if stride != (1, 1) or padding != dilation:
        raise ValueError(f"steps={steps} needs an output of the input's size: stride=1 and padding='same', which is "
                         f"padding={dilation} here; got stride={stride}, padding={padding}")
    return steps


def check_tensors(**given: object) -> None:
    """Check that each argument is a dense tensor; None is for the caller to allow or not to pass.

    Raises:
        TypeError: one is not.
    """
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}; "
                            "torch.as_tensor makes one of an array or a list of numbers")
        if value.layout is not torch.strided:
            raise TypeError(f"{name} must be a dense tensor, got layout {value.layout}; use {name}.to_dense()")


def check_vector(value: Tensor | None, name: str, weight: Tensor) -> None:
    """Check a bias.

    Raises:
        TypeError: it is no tensor.
        ValueError: it doesn't hold one number for each output channel.
    """
    if value is not None:
        check_tensors(**{name: value})
        if value.shape != weight.shape[:1]:
            raise ValueError(f"{name} must be ({len(weight)},), one number for each output channel, "
                             f"got shape {tuple(value.shape)}")


def check_agreement(input: Tensor, **parameters: Tensor | None) -> None:
    """Check that a layer's parameters lie where its input lies, and are of its type.

    Raises:
        ValueError: the devices differ; without autocast, the dtypes.
    """
    if torch.compiler.is_compiling():
        return  # it has been called before, or will fail in words of torch's own
    for name, value in parameters.items():
        if value is None:
            continue
        if value.device != input.device:
            raise ValueError(f"{name} is on {value.device}, but input is on {input.device}; move one of them: "
                             f"layer.to(input.device)")
        plain = all(type(tensor) in (Tensor, nn.Parameter) for tensor in (input, value))
        if plain and value.dtype != input.dtype and not torch.is_autocast_enabled(input.device.type):
            raise ValueError(f"{name} is {value.dtype}, but input is {input.dtype}; use input.to({value.dtype}), "
                             f"layer.to({input.dtype}), or torch.autocast")


def check_fit(input: Tensor, padding: tuple[int, int], dilation: tuple[int, int], padding_mode: str) -> None:
    """Check that a 3x3 kernel finds room in the padded input, and the padding enough pixels to copy.

    Raises:
        ValueError: it doesn't.
    """
    if torch.compiler.is_compiling() or is_tracing():
        return  # sizes are symbols there
    for side, more, apart in zip(input.shape[-2:], padding, dilation, strict=True):
        if side < 1:
            raise ValueError(f"input must have rows and columns, got shape {tuple(input.shape)}")
        if side + 2 * more < 2 * apart + 1:
            raise ValueError(f"a 3x3 kernel with dilation={dilation} does not fit into input {tuple(input.shape)} with "
                             f"padding={padding}; pad more")
        most = {"reflect": side - 1, "circular": side}.get(padding_mode, more)
        if more > most:
            raise ValueError(f"padding={padding} with padding_mode={padding_mode!r} needs more pixels than input "
                             f"{tuple(input.shape)} has; pad at most {most} on that side, or use 'replicate'")


def check_input(input: Tensor, weight: Tensor, groups: int, rank: int) -> None:
    """Check a layer's input against its ``weight``, ``(out, in / groups, ...)`` with ``rank`` axes.

    Raises:
        ValueError: the rank or the channel count is wrong, or ``groups`` does not divide the output channels.
        TypeError: the input holds whole numbers.
    """
    if weight.dim() != rank:
        raise ValueError(f"weight must have {rank} axes, (out, in / groups, ...), got shape {tuple(weight.shape)}")
    if input.dim() not in (3, 4):
        raise ValueError(f"input must be (batch, channels, height, width) or (channels, height, width), got shape "
                         f"{tuple(input.shape)}; a single grey picture needs input[None], or input[None, None]")
    channels, wanted = input.shape[-3], weight.shape[1] * groups
    if channels != wanted:
        hint = "; permute(0, 3, 1, 2) puts channels before the rows" if input.shape[-1] == wanted else ""
        raise ValueError(f"input must have {wanted} channels on axis {input.dim() - 3}, as weight "
                         f"{tuple(weight.shape)} with groups={groups} says; got shape {tuple(input.shape)}{hint}")
    if weight.shape[0] % groups:
        raise ValueError(f"groups={groups} must divide the {weight.shape[0]} output channels of weight")
    if input.is_quantized:
        raise TypeError(f"input must be floating point, got {input.dtype}; put a DeQuantStub in front of this layer, "
                        "or use input.dequantize()")
    if not (input.is_floating_point() or input.is_complex()):
        raise TypeError(f"input must be floating point, got {input.dtype}; "
                        "for a picture use input.float() / 255, or input.to(layer.weight.dtype)")


def checked(check: Callable[..., _Found], tensors: tuple[Tensor | None, ...], *options: object) -> _Found:
    """Return ``check(*tensors, *options)``; what passed once, shapes, types and all, isn't looked at again.

    A network calls its layers with the same arguments in every step, and on a GPU small layers wait for Python.
    """
    first = tensors[0]
    if type(first) is not Tensor or not (first.is_cpu or first.is_cuda):
        return check(*tensors, *options)
    if torch.compiler.is_compiling() or is_tracing() or _transformed():
        return check(*tensors, *options)
    key = check, repr(options), torch.is_autocast_enabled("cpu" if first.is_cpu else "cuda"), *(
        (type(t), t.shape, t.dtype, t.device, t.layout) if isinstance(t, Tensor) else (type(t), t is None)
        for t in tensors)
    found = _PASSED.get(key)
    if found is None:
        found = check(*tensors, *options)
        if len(_PASSED) >= 4096:
            _PASSED.clear()
        _PASSED[key] = found
    return found


_PASSED: dict[Any, Any] = {}


class Known:
    """What the arguments of a layer say, and which way they took: the engine leaves that here."""

    __slots__ = "dilation", "padding", "route", "stride"

    def __init__(self, stride: tuple[int, int] = (1, 1), padding: tuple[int, int] = (1, 1),
                 dilation: tuple[int, int] = (1, 1)) -> None:
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.route: Any = None


def _transformed() -> bool:
    return torch._C._are_functorch_transforms_active()


def is_tracing() -> bool:
    """Say whether ``torch.jit.trace`` is at work."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def is_exporting() -> bool:
    """Say whether ``torch.export`` is at work, whose programs are for all sizes that were left open."""
    return torch.compiler.is_compiling() and (not torch.compiler.is_dynamo_compiling() or _dynamo_exports())


def _dynamo_exports() -> bool:
    # Before torch 2.12 ``is_exporting`` is True in all code that Dynamo traces.
    from torch._dynamo.symbolic_convert import InstructionTranslator

    return getattr(torch.compiler, "is_exporting", bool)() or InstructionTranslator.current_tx().output.export


# torch.compiler.assume_constant_result, which would import Dynamo now
_dynamo_exports._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def as_shown(value: object) -> str:
    """Return what was given, cut short, whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:190]} ... ({len(text)} characters)"
