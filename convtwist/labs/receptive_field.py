"""The receptive field of a stack of layers, drawn on a photograph.

Book: chapter 3.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy.typing as npt

from convtwist.labs.page import Lab, build
from convtwist.labs.still import to_data_url

__all__ = ["receptive_field"]

Kind: TypeAlias = Literal["conv", "pool"]
Layer: TypeAlias = (tuple[Kind, int] | tuple[Kind, int, int] | tuple[Kind, int, int, int]
                    | tuple[Kind, int, int, int, int])

_KINDS = ("conv", "pool")
_LIMITS = {"kernel": (1, 11), "stride": (1, 4), "dilation": (1, 8), "padding": (0, 40)}  # those of the page's fields
_MOST_LAYERS = 10
_DEFAULT: tuple[Layer, ...] = (("conv", 3), ("conv", 3), ("pool", 2), ("conv", 3))


def receptive_field(photo: npt.ArrayLike, layers: Iterable[Layer] = _DEFAULT, *,
                    alt: str = "The photograph of this chapter") -> Lab:
    """Return the lab that draws which pixels one cell of the last map depends on, with the formula and its numbers.

    The layers are only where it starts; a reader can change them all.

    Args:
        photo: the photograph it starts with, ``(H, W, 3)`` or ``(H, W)``, uint8, uint16 or floating point in
            0..1; reduced to 256 pixels on the longer side.  Readers can load their own on the page.
        layers: 1 to 10 layers, first layer first, each ``(kind, kernel)``, ``(kind, kernel, stride)``,
            ``(kind, kernel, stride, dilation)`` or ``(kind, kernel, stride, dilation, padding)``.  The kind is
            ``"conv"`` or ``"pool"``.  A convolution has stride 1 and keeps the size unless told otherwise, a pooling
            layer has its kernel's size as stride and no padding.
        alt: what the photograph shows, for readers who cannot see it.

    Raises:
        ValueError: a layer is none of these, or a number is out of range: kernel 1 to 11, stride 1 to 4, dilation
            1 to 8, padding 0 to 40.
    """
    layers = list(layers)
    if not 1 <= len(layers) <= _MOST_LAYERS:
        raise ValueError(f"layers must be 1 to {_MOST_LAYERS} layers, got {len(layers)}")
    return build(
        "receptive field",
        ("core.mjs", "widgets.mjs", "picture.mjs", "field.mjs", "field_rules.mjs", "receptive_field.mjs"),
        says="Here a lab stacks layers and draws on this photograph which pixels one cell of the last map depends on.",
        config={"layers": [_layer(number, layer) for number, layer in enumerate(layers, 1)]},
        still=(to_data_url(photo), alt),
    )


def _layer(number: int, layer: Layer) -> dict[str, str | int]:
    """Return the layer with all its numbers."""
    kind, *numbers = layer
    if kind not in _KINDS or not 1 <= len(numbers) <= 4:
        raise ValueError(f"layers must be ('conv' or 'pool', kernel, stride, dilation, padding), got {layer!r} "
                         f"as layer {number}")
    kernel = numbers[0]
    stride = numbers[1] if len(numbers) > 1 else (kernel if kind == "pool" else 1)
    dilation = numbers[2] if len(numbers) > 2 else 1
    for name, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        _check(number, name, value)
    padding = numbers[3] if len(numbers) > 3 else (dilation * (kernel - 1) // 2 if kind == "conv" else 0)
    _check(number, "padding", padding)
    return {"kind": kind, "kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


def _check(number: int, name: str, value: int) -> None:
    least, most = _LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"the {name} of layer {number} must be a whole number from {least} to {most}, got {value!r}")
