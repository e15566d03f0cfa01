"""The channel sum: three kernels on three channels, and the sum of their responses.

Book: chapter 2.
"""

import math
from collections.abc import Iterable

import numpy.typing as npt

from convtwist.labs.page import Lab, build
from convtwist.labs.still import to_data_url

__all__ = ["channel_sum"]


def channel_sum(photo: npt.ArrayLike, *, kernels: Iterable[Iterable[Iterable[float]]] | None = None,
                alt: str = "The photograph of this chapter") -> Lab:
    """Return the lab that shows how one filter of three kernels makes one map of a photograph's three channels.

    The kernels are only where it starts; a reader can change them.  No border is added, as with ``padding=0``.

    Args:
        photo: the photograph it starts with, ``(H, W, 3)`` or ``(H, W)``, uint8, uint16 or floating point in
            0..1; reduced to 256 pixels on the longer side.  Readers can load their own on the page.
        kernels: three kernels of three rows of three numbers, for red, green and blue, as in one row of
            ``Conv2d(3, 1, 3).weight``; by default the same edge kernel three times.
        alt: what the photograph shows, for readers who cannot see it.

    Raises:
        ValueError: the kernels are not 3x3x3 finite numbers.
    """
    flat = None
    if kernels is not None:
        nested = [[[float(weight) for weight in row] for row in kernel] for kernel in kernels]
        flat = [[weight for row in kernel for weight in row] for kernel in nested]
        shapes = [[len(row) for row in kernel] for kernel in nested]
        if shapes != [[3, 3, 3]] * 3 or not all(math.isfinite(weight) for nine in flat for weight in nine):
            raise ValueError(f"kernels must be three kernels of 3x3 finite numbers, got rows of lengths {shapes}")
    return build(
        "channel sum",
        ("core.mjs", "widgets.mjs", "picture.mjs", "products.mjs", "channel_sum.mjs"),
        says="Here a lab applies one kernel to each of the three channels of this photograph, and adds the three "
        "responses up to one map, with the numbers of any pixel.",
        config={"kernels": flat},
        still=(to_data_url(photo), alt),
    )
