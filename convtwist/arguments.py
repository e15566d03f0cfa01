"""What the layers accept, and what they say when they don't.

Book: chapter 12.  Source: the traps of the posted layers, which reset ``groups`` and swallowed ``bias`` silently.
Every refusal names the argument, what was given and what to do instead.
"""

from torch import Tensor

__all__ = ["channel_counts", "choice", "input_map", "pair", "spatial_padding", "whole"]


def whole(value, name: str, smallest: int = 1) -> int:
    """Return ``value`` if it is a whole number from ``smallest`` on.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise ValueError(f"{name} must be a whole number from {smallest}, got {value!r}")
    return value


def pair(value, name: str, smallest: int = 1) -> tuple[int, int]:
    """Return ``(rows, columns)`` from one number or two.

    Raises:
        ValueError: there are not one or two whole numbers from ``smallest`` on.
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) == 1:
        values *= 2
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, int) or v < smallest for v in values):
        raise ValueError(f"{name} must be one or two whole numbers (rows, columns) from {smallest}, got {value!r}")
    return values


def choice(value, name: str, allowed) -> str:
    """Return ``value`` if it is one of ``allowed``.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def spatial_padding(padding, stride: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """Return the padding of a 3x3 kernel in ``(rows, columns)``, with ``"same"`` and ``"valid"`` worked out.

    Raises:
        ValueError: the string is unknown, or ``"same"`` meets a stride.
    """
    if not isinstance(padding, str):
        return pair(padding, "padding", 0)
    if choice(padding, "padding", ("same", "valid")) == "valid":
        return 0, 0
    if stride != (1, 1):
        raise ValueError(f"padding='same' needs stride=1, got stride={stride}; give padding as a number instead")
    return dilation


def channel_counts(in_channels: int, out_channels: int, groups: int) -> None:
    """Check that the channels split into the groups.

    Raises:
        ValueError: a count is below 1, or ``groups`` does not divide the channels.
    """
    for value, name in ((in_channels, "in_channels"), (out_channels, "out_channels"), (groups, "groups")):
        whole(value, name)
    for value, name in ((in_channels, "in_channels"), (out_channels, "out_channels")):
        if value % groups:
            raise ValueError(f"{name}={value} must be divisible by groups={groups}; "
                             f"choose a divisor of both {in_channels} and {out_channels} as groups")


def input_map(input: Tensor, weight: Tensor, groups: int, rank: int) -> None:
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
    if not (input.is_floating_point() or input.is_complex()):
        raise TypeError(f"input must be floating point, got {input.dtype}; "
                        "for a picture use input.float() / 255, or input.to(layer.weight.dtype)")
