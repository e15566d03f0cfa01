"""Transposed convolution: where a convolution gathers a patch into a cell, this deals a cell out over a patch.

Book: chapter 5.
"""

import torch
from torch import Tensor

from convtwist._arguments import OneOrTwo, as_pair
from convtwist.reference.correlation import dilate, two_dimensional

__all__ = ["conv_transpose2d"]


def conv_transpose2d(input: Tensor, kernel: Tensor, *, stride: OneOrTwo = 1, padding: OneOrTwo = 0,
                     output_padding: OneOrTwo = 0, dilation: OneOrTwo = 1) -> Tensor:
    """Stamp the kernel once for each input cell, multiplied by it; where stamps overlap, add them up.

    Args:
        input: ``(height, width)``.
        kernel: ``(kernel_height, kernel_width)``.
        stride: how far apart neighbouring cells' stamps are; here and below, one number or ``(rows, columns)``.
        padding: rows and columns **cut off** each side: the padding of the convolution that this one transposes.
        output_padding: rows kept at the bottom and columns kept at the right beyond that, where no stamp need reach.
        dilation: the distance between neighbouring taps.

    Raises:
        ValueError: an argument is not two-dimensional, ``output_padding`` is neither below the stride nor below the
            dilation, or ``padding`` cuts everything off.

    >>> conv_transpose2d(torch.tensor([[1, 4], [0, 2]]), torch.tensor([[2, 2], [1, 1]])).tolist()
    [[2, 10, 8], [1, 9, 8], [0, 2, 2]]
    """
    two_dimensional(input=input, kernel=kernel)
    strides, paddings = as_pair(stride, "stride"), as_pair(padding, "padding", 0)
    extras, dilations = as_pair(output_padding, "output_padding", 0), as_pair(dilation, "dilation")
    for s, d, extra in zip(strides, dilations, extras, strict=True):
        if extra >= max(s, d):
            raise ValueError(f"output_padding must be below stride={s} or below dilation={d}, got {extra}")
    kernel = dilate(kernel, dilation)
    (down, right), (height, width) = strides, kernel.shape
    rows = (input.shape[0] - 1) * down + height + extras[0]
    columns = (input.shape[1] - 1) * right + width + extras[1]
    output = input.new_zeros(rows, columns, dtype=torch.result_type(input, kernel))
    for i in range(input.shape[0]):
        for j in range(input.shape[1]):
            output[i * down : i * down + height, j * right : j * right + width] += input[i, j] * kernel
    cut_rows, cut_columns = paddings
    if rows <= 2 * cut_rows or columns <= 2 * cut_columns:
        raise ValueError(f"padding={padding!r} cuts everything off an output of {rows}x{columns}")
    return output[cut_rows : rows - cut_rows, cut_columns : columns - cut_columns]
