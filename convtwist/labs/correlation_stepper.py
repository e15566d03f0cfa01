"""The correlation stepper: patch, products, sum, on a grid of numbers and on a photograph.

Book: chapter 1.
"""

import math
from collections.abc import Iterable

import numpy.typing as npt

from convtwist.labs.page import Lab, build
from convtwist.labs.still import to_data_url

__all__ = ["correlation_stepper"]

_MOST_INPUT, _MOST_KERNEL = 12, 7


def _rows(name: str, values: Iterable[Iterable[float]] | None, most: int) -> list[list[float]] | None:
    """Return ``values`` as equally long lists of finite floats."""
    if values is None:
        return None
    rows = [[float(value) for value in row] for row in values]
    sides = len(rows), len(rows[0]) if rows else 0
    if not (1 <= min(sides) and max(sides) <= most and all(len(row) == sides[1] for row in rows)):
        raise ValueError(f"{name} must be a table of 1 to {most} rows and columns")
    if not all(math.isfinite(value) for row in rows for value in row):
        raise ValueError(f"{name} must hold finite numbers")
    return rows


def correlation_stepper(photo: npt.ArrayLike, *, input: Iterable[Iterable[float]] | None = None,
                        kernel: Iterable[Iterable[float]] | None = None,
                        alt: str = "The photograph of this chapter") -> Lab:
    """Return the lab in which each output number shows the patch it came from.

    Args:
        photo: the photograph it starts with, ``(H, W, 3)`` or ``(H, W)``, uint8, uint16 or floating point in
            0..1; reduced to 256 pixels on the longer side.  Readers can load their own on the page.
        input: the numbers to start with, 1 to 12 rows and columns; by default an edge from 30 to 0, six by six.
        kernel: the weights to start with, 1 to 7 rows and columns; by default three rows ``[2, 0, -2]``.
        alt: what the photograph shows, for readers who cannot see it.

    Raises:
        ValueError: a table is ragged, too large, not finite, or the kernel (the default one, too) is larger than
            the input.
    """
    grid, weights = _rows("input", input, _MOST_INPUT), _rows("kernel", kernel, _MOST_KERNEL)
    height, width = (len(grid), len(grid[0])) if grid else (6, 6)
    rows, columns = (len(weights), len(weights[0])) if weights else (3, 3)
    if rows > height or columns > width:
        raise ValueError(f"the kernel, {rows}x{columns}, is larger than the input, {height}x{width}; give both")
    return build(
        "correlation stepper",
        ("core.mjs", "widgets.mjs", "picture.mjs", "products.mjs", "correlation_stepper.mjs"),
        says="Here a lab steps a kernel over a grid of numbers and over this photograph, and writes out the products "
        "and the sum behind each number of the output.",
        config={"input": grid, "kernel": weights},
        still=(to_data_url(photo), alt),
    )
