"""Cross-correlation, one output cell at a time, and the padding and dilation that go with it.

Book: chapters 1 and 3.
"""

import torch
from torch import Tensor

from convtwist._arguments import OneOrTwo, PaddingMode, as_pair

__all__ = ["conv2d", "corr2d", "dilate", "pad2d"]


def corr2d(input: Tensor, kernel: Tensor, *, stride: OneOrTwo = 1, padding: OneOrTwo = 0,
           dilation: OneOrTwo = 1) -> Tensor:
    """Cross-correlate one map with one kernel: lay it down, multiply, add up, move on.

    Args:
        input: ``(height, width)``.
        kernel: ``(kernel_height, kernel_width)``.
        stride: how far the kernel moves between two output cells; a number or ``(rows, columns)``.
        padding: zeros added on each side; a number or ``(rows, columns)``.
        dilation: the distance between neighbouring taps; a number or ``(rows, columns)``.

    Raises:
        ValueError: an argument is not two-dimensional, or the kernel fits nowhere.

    >>> corr2d(torch.arange(9.).view(3, 3), torch.tensor([[0., 1.], [2., 3.]])).tolist()
    [[19.0, 25.0], [37.0, 43.0]]
    """
    two_dimensional(input=input, kernel=kernel)
    padded = pad2d(input, padding)
    kernel = dilate(kernel, dilation)
    (down, right), (height, width) = as_pair(stride, "stride"), kernel.shape
    rows = (padded.shape[0] - height) // down + 1
    columns = (padded.shape[1] - width) // right + 1
    if rows < 1 or columns < 1:
        raise ValueError(f"a kernel spanning {height}x{width} does not fit in {padded.shape[0]}x{padded.shape[1]}; "
                         "pad more, dilate less or use a smaller kernel")
    output = padded.new_zeros(rows, columns, dtype=torch.result_type(padded, kernel))
    for i in range(rows):
        for j in range(columns):
            patch = padded[i * down : i * down + height, j * right : j * right + width]
            output[i, j] = (patch * kernel).sum()
    return output


def conv2d(input: Tensor, kernel: Tensor, *, stride: OneOrTwo = 1, padding: OneOrTwo = 0,
           dilation: OneOrTwo = 1) -> Tensor:
    """Convolve in the mathematician's sense: turn the kernel by 180 degrees, then cross-correlate.

    Arguments, shapes and errors are those of :func:`corr2d`.
    """
    return corr2d(input, kernel.flip(0, 1), stride=stride, padding=padding, dilation=dilation)


def dilate(kernel: Tensor, dilation: OneOrTwo = 2) -> Tensor:
    """Spread a kernel's taps apart and fill the gaps with zeros.

    >>> dilate(torch.tensor([[1., 2.]]), 3).tolist()
    [[1.0, 0.0, 0.0, 2.0]]
    """
    down, right = as_pair(dilation, "dilation")
    height, width = kernel.shape
    spread = kernel.new_zeros((height - 1) * down + 1, (width - 1) * right + 1)
    spread[::down, ::right] = kernel
    return spread


def pad2d(input: Tensor, padding: OneOrTwo = 1, mode: PaddingMode = "zeros") -> Tensor:
    """Add ``padding`` rows and columns on each side of a ``(height, width)`` map.

    ``mode`` is ``"zeros"``, ``"replicate"`` (repeat the edge), ``"reflect"`` (mirror, edge not repeated)
    or ``"circular"`` (continue on the opposite side).

    >>> pad2d(torch.tensor([[1., 2., 3.]]), (0, 2), "reflect").tolist()
    [[3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]]
    """
    down, right = as_pair(padding, "padding", 0)
    height, width = input.shape
    output = input.new_zeros(height + 2 * down, width + 2 * right)
    for i in range(output.shape[0]):
        for j in range(output.shape[1]):
            row, column = _source(i - down, height, mode), _source(j - right, width, mode)
            if row is not None and column is not None:
                output[i, j] = input[row, column]
    return output


def _source(index: int, size: int, mode: PaddingMode) -> int | None:
    """Return the cell inside that fills cell ``index`` of the frame, or None for a zero."""
    if mode not in ("zeros", "replicate", "reflect", "circular"):
        raise ValueError(f"mode must be 'zeros', 'replicate', 'reflect' or 'circular', got {mode!r}")
    if 0 <= index < size:
        return index
    if mode == "zeros":
        return None
    if mode == "replicate":
        return min(max(index, 0), size - 1)
    inside = -index if index < 0 else 2 * (size - 1) - index
    inside = index % size if mode == "circular" else inside
    beyond = index < -size or index >= 2 * size if mode == "circular" else not 0 <= inside < size
    if beyond:
        raise ValueError(f"{mode} padding is wider than the {size} cells it copies from; pad less")
    return inside


def two_dimensional(**maps: Tensor) -> None:
    """Check that each named map has rows and columns, and nothing else.

    Raises:
        ValueError: one has not.
    """
    for name, value in maps.items():
        if value.ndim != 2:
            raise ValueError(f"{name} must be two-dimensional, (height, width), got shape {tuple(value.shape)}")
