"""Pooling: a window slides as a kernel does, but it holds no weights, only a question put to its cells.

Book: chapter 4.
"""

import torch
from torch import Tensor

from convtwist._arguments import OneOrTwo, as_pair
from convtwist.reference.correlation import two_dimensional

__all__ = ["avg_pool2d", "max_pool2d"]


def max_pool2d(
    input: Tensor, kernel_size: OneOrTwo, *, stride: OneOrTwo | None = None, padding: OneOrTwo = 0,
    dilation: OneOrTwo = 1, ceil_mode: bool = False,
) -> Tensor:
    """Keep the largest cell of each window.

    Args:
        input: ``(height, width)``.
        kernel_size: cells of the window; here and below, one number or ``(rows, columns)``.
        stride: how far the window moves; by default its own size, so that windows tile the map.
        padding: cells added on each side that never win; at most half of ``kernel_size``.
        dilation: the distance between neighbouring cells of the window.
        ceil_mode: keep a last window that hangs over the edge, unless it would begin in the padding.

    Raises:
        ValueError: ``input`` is not two-dimensional, or the window fits nowhere.

    >>> max_pool2d(torch.tensor([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]]), 2).tolist()
    [[9, 2], [6, 3]]
    """
    rows, columns = _windows(input, kernel_size, stride, padding, dilation, ceil_mode)
    lowest = float("-inf") if input.is_floating_point() else torch.iinfo(input.dtype).min
    output = input.new_full((len(rows), len(columns)), lowest)
    for i, (row_cells, _) in enumerate(rows):
        for j, (column_cells, _) in enumerate(columns):
            if row_cells and column_cells:
                output[i, j] = input[row_cells][:, column_cells].max()
    return output


def avg_pool2d(
    input: Tensor, kernel_size: OneOrTwo, *, stride: OneOrTwo | None = None, padding: OneOrTwo = 0,
    ceil_mode: bool = False, count_include_pad: bool = True,
) -> Tensor:
    """Replace each window by its average.

    Arguments, shapes and errors are those of :func:`max_pool2d`, without dilation.  Padding cells are zeros, and
    count in the average unless ``count_include_pad=False``; cells beyond the padding never count.

    >>> avg_pool2d(torch.tensor([[1., 3., 2., 1.], [2., 9., 1., 1.], [1., 3., 2., 3.], [5., 6., 1., 2.]]), 2).tolist()
    [[3.75, 1.25], [3.75, 2.0]]
    """
    rows, columns = _windows(input, kernel_size, stride, padding, 1, ceil_mode)
    output = input.new_zeros(len(rows), len(columns))
    for i, (row_cells, height) in enumerate(rows):
        for j, (column_cells, width) in enumerate(columns):
            patch = input[row_cells][:, column_cells]
            output[i, j] = patch.sum() / (height * width if count_include_pad else patch.numel())
    return output


def _windows(input: Tensor, kernel_size: OneOrTwo, stride: OneOrTwo | None, padding: OneOrTwo, dilation: OneOrTwo,
             ceil_mode: bool) -> list[list[tuple[list[int], int]]]:
    """Return, for rows and for columns, one ``(cells inside the map, cells inside the padded map)`` per window."""
    two_dimensional(input=input)
    kernel_size = as_pair(kernel_size, "kernel_size")
    stride = kernel_size if stride is None else as_pair(stride, "stride")
    padding, dilation = as_pair(padding, "padding", 0), as_pair(dilation, "dilation")
    axes = zip(input.shape, kernel_size, stride, padding, dilation, strict=True)
    return [_axis(*numbers, ceil_mode) for numbers in axes]


def _axis(size: int, kernel_size: int, stride: int, padding: int, dilation: int,
          ceil_mode: bool) -> list[tuple[list[int], int]]:
    span = dilation * (kernel_size - 1) + 1
    if padding > kernel_size // 2:
        raise ValueError(f"padding must be at most half of kernel_size={kernel_size}, got {padding}: "
                         "a window could miss the map altogether")
    windows, start = [], -padding
    # A window must end inside the padded map; with ceil_mode one more may hang over, if it starts before the padding.
    while start + span <= size + padding or (ceil_mode and start < size and start + span - stride < size + padding):
        cells = [start + tap * dilation for tap in range(kernel_size)]
        inside = [cell for cell in cells if 0 <= cell < size]
        windows.append((inside, sum(cell < size + padding for cell in cells)))
        start += stride
    if not windows:
        raise ValueError(f"a window of kernel_size={kernel_size}, spanning {span}, does not fit in "
                         f"{size} + 2 x {padding} cells; use a smaller window")
    return windows
