"""The checkerboard: how often a transposed convolution stamps each cell, and what that does to a photograph.

Book: chapter 5.
"""

from typing import Literal

import numpy.typing as npt

from convtwist._arguments import check_choice, check_whole
from convtwist.labs.page import Lab, build
from convtwist.labs.still import to_data_url

__all__ = ["checkerboard"]

_MOST = {"kernel": 9, "stride": 6, "padding": 8, "input": 8}  # also the limits of the fields on the page


def checkerboard(
    photo: npt.ArrayLike,
    kernel: int = 3,
    stride: int = 2,
    padding: int = 0,
    *,
    input: int = 6,
    weights: Literal["ones", "bilinear", "random"] = "ones",
    resize: Literal["nearest", "bilinear"] = "nearest",
    alt: str = "The photograph of this chapter",
) -> Lab:
    """Return the lab that counts the stamps on each output cell and shows the pattern they print.

    The numbers are only where it starts; a reader can change them all but ``input``.

    Args:
        photo: the photograph it starts with, ``(H, W, 3)`` or ``(H, W)``, uint8, uint16 or floating point in
            0..1; reduced to 256 pixels on the longer side.  Readers can load their own on the page.
        kernel: taps of the kernel along each axis, 1 to 9.
        stride: how far apart neighbouring stamps are, 1 to 6.
        padding: cells cut off each end, 0 to 8.
        input: cells of the input along each axis for the counts, 1 to 8; more are drawn where the counts need them
            to repeat, and the photograph has its own.
        weights: of the kernel: ``"ones"``, ``"bilinear"``, or ``"random"``, a random column times a random row.
        resize: how the cure enlarges, ``"nearest"`` or ``"bilinear"``.
        alt: what the photograph shows, for readers who cannot see it.

    Raises:
        ValueError: a value is no whole number within its range, the padding leaves no output, or a name is unknown.
    """
    numbers = {"kernel": kernel, "stride": stride, "padding": padding, "input": input}
    for name, value in numbers.items():
        if check_whole(value, name, 0 if name == "padding" else 1) > _MOST[name]:
            raise ValueError(f"{name} must be at most {_MOST[name]} to be drawn, got {value}")
    stamped = stride * (max(input, -(-kernel // stride) + 2) - 1) + kernel
    if stamped <= 2 * padding:
        raise ValueError(f"padding={padding} cuts everything off an output of {stamped} cells; use less")
    check_choice(weights, "weights", ("ones", "bilinear", "random"))
    check_choice(resize, "resize", ("nearest", "bilinear"))
    return build(
        "checkerboard",
        ("core.mjs", "widgets.mjs", "picture.mjs", "checkerboard_rules.mjs", "checkerboard.mjs"),
        says="Here a lab counts how many input cells of a transposed convolution reach each output cell, and shows "
        "the pattern that uneven counts print on this photograph, beside resizing followed by a convolution.",
        config=numbers | {"weights": weights, "resize": resize},
        still=(to_data_url(photo), alt),
    )
