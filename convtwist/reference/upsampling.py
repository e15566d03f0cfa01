"""Upsampling: each output cell looks back at the place of the input it came from.

Book: chapter 5.
"""

import math

from torch import Tensor

from convtwist._arguments import OneOrTwo, as_pair
from convtwist.reference.correlation import two_dimensional

__all__ = ["upsample_bilinear", "upsample_nearest"]


def upsample_nearest(input: Tensor, scale: OneOrTwo) -> Tensor:
    """Repeat cells: output cell ``i`` copies input cell ``floor(i / scale)``.

    Args:
        input: ``(height, width)``.
        scale: how many times larger the output is, a whole number or ``(rows, columns)``.

    Raises:
        ValueError: ``input`` is not two-dimensional, or ``scale`` is no whole number from 1.

    >>> import torch
    >>> upsample_nearest(torch.tensor([[20, 45], [10, 43]]), 2).tolist()
    [[20, 20, 45, 45], [20, 20, 45, 45], [10, 10, 43, 43], [10, 10, 43, 43]]
    """
    two_dimensional(input=input)
    down, right = as_pair(scale, "scale")
    output = input.new_zeros(input.shape[0] * down, input.shape[1] * right)
    for i in range(output.shape[0]):
        for j in range(output.shape[1]):
            output[i, j] = input[i // down, j // right]
    return output


def upsample_bilinear(input: Tensor, scale: OneOrTwo, *, align_corners: bool = False) -> Tensor:
    """Mix the four input cells around each place, the nearer ones more.

    Args:
        input: ``(height, width)``, floating point.
        scale: how many times larger the output is, a whole number or ``(rows, columns)``.
        align_corners: False treats cells as small squares whose outer edges coincide; True treats them as points and
            lets the corner points coincide.

    Raises:
        ValueError: ``input`` is not two-dimensional or holds whole numbers, or ``scale`` is no whole
            number from 1.

    >>> import torch
    >>> upsample_bilinear(torch.tensor([[20., 45.], [10., 43.]]), 2)[:2].tolist()
    [[20.0, 26.25, 38.75, 45.0], [17.5, 24.25, 37.75, 44.5]]
    """
    two_dimensional(input=input)
    if not input.is_floating_point():
        raise ValueError(f"input must be floating point, since cells are mixed in fractions, got {input.dtype}")
    axes = zip(input.shape, as_pair(scale, "scale"), strict=True)
    rows, columns = [_between(*axis, align_corners) for axis in axes]
    output = input.new_zeros(len(rows), len(columns))
    for i, (top, bottom, low) in enumerate(rows):
        for j, (left, right, far) in enumerate(columns):
            above = (1 - far) * input[top, left] + far * input[top, right]
            below = (1 - far) * input[bottom, left] + far * input[bottom, right]
            output[i, j] = (1 - low) * above + low * below
    return output


def _between(size: int, scale: int, align_corners: bool) -> list[tuple[int, int, float]]:
    """Return, for each output cell of one axis, the two input cells around it and the share of the second."""
    places = []
    for cell in range(size * scale):
        if align_corners:
            place = cell * (size - 1) / max(size * scale - 1, 1)
        else:
            place = (cell + 0.5) / scale - 0.5  # the middle of a cell is half a cell from its edge
        place = min(max(place, 0.0), size - 1)  # beyond the outermost middles, the outermost cell alone
        first = math.floor(place)
        places.append((first, min(first + 1, size - 1), place - first))
    return places
