"""Layers on paper: how large the output is, how far a stack of layers sees, what it stores and what it computes.

Book: chapters 2 to 5.  Sizes go one axis at a time; rows and columns follow the same rule independently.
"""

from collections.abc import Iterable

from convtwist._arguments import OneOrTwo, as_pair, check_channels, check_whole
from convtwist.matrix import convolution_matrix

__all__ = [
    "conv_multiply_adds",
    "conv_parameters",
    "convolution_matrix",
    "full_padding",
    "linear_parameters",
    "output_size",
    "overlap_count",
    "receptive_field",
    "same_padding",
    "span",
    "transposed_output_size",
    "unread",
]


def span(kernel_size: int, dilation: int = 1) -> int:
    """Return how many input cells a kernel reaches across, gaps included: ``dilation (k - 1) + 1``.

    >>> span(3), span(3, dilation=2)
    (3, 5)
    """
    _whole(kernel_size=kernel_size, dilation=dilation)
    return dilation * (kernel_size - 1) + 1


def output_size(
    input_size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """Return ``floor((n + 2p - d(k - 1) - 1) / s) + 1``, the number of places where the kernel fits.

    With ``ceil_mode``, which only pooling has, round up instead: a last window may hang over the right edge.  PyTorch
    then leaves out a window that would begin in the right padding.

    Raises:
        ValueError: a number is too small, or the kernel fits nowhere.

    >>> output_size(128, 5), output_size(128, 5, padding=2), output_size(3, 2, padding=1, stride=2)
    (124, 128, 2)
    >>> output_size(6, 3, stride=2), output_size(6, 3, stride=2, ceil_mode=True)
    (2, 3)
    >>> output_size(5, 2, stride=2, padding=1), output_size(5, 2, stride=2, padding=1, ceil_mode=True)
    (3, 3)
    """
    _whole(input_size=input_size, stride=stride)
    check_whole(padding, "padding", 0)
    room = input_size + 2 * padding - span(kernel_size, dilation)
    if room < (1 - stride if ceil_mode else 0):
        raise ValueError(f"a kernel spanning {span(kernel_size, dilation)} does not fit in "
                         f"{input_size} + 2 x {padding} cells; pad more or use a smaller kernel")
    if not ceil_mode:
        return room // stride + 1
    places = -(-room // stride) + 1
    return places - 1 if (places - 1) * stride >= input_size + padding else places


def transposed_output_size(
    input_size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """Return ``s(n - 1) - 2p + d(k - 1) + 1 + output_padding``, the size after a transposed convolution.

    Several input sizes share one :func:`output_size` when the stride is above 1; ``output_padding`` says which of
    them to return to.

    Raises:
        ValueError: a number is too small, ``output_padding`` is neither below the stride nor below the dilation, or
            ``padding`` cuts everything off.

    >>> transposed_output_size(2, 2), transposed_output_size(2, 2, stride=2)
    (3, 4)
    >>> [transposed_output_size(4, 3, stride=2, padding=1, output_padding=o) for o in (0, 1)]
    [7, 8]
    >>> [output_size(n, 3, stride=2, padding=1) for n in (7, 8)]
    [4, 4]
    """
    _whole(input_size=input_size, stride=stride)
    reach = span(kernel_size, dilation)
    check_whole(padding, "padding", 0)
    check_whole(output_padding, "output_padding", 0)
    if output_padding >= max(stride, dilation):
        raise ValueError(f"output_padding must be below stride={stride} or below dilation={dilation}, "
                         f"got {output_padding}")
    stamped = stride * (input_size - 1) + reach + output_padding
    if stamped <= 2 * padding:
        raise ValueError(f"padding={padding} cuts off 2 x {padding} cells of only {stamped}; use less")
    return stamped - 2 * padding


def overlap_count(
    input_size: int, kernel_size: int, stride: int = 1, *, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> list[int]:
    """Return how many input cells of a transposed convolution reach each output cell, along one axis.

    These are the column sums of the convolution it transposes, ``A'1``, for a kernel of ones.  Uneven counts away
    from the ends print a checkerboard; they are even exactly if the stride divides the kernel size (at dilation 1).

    Arguments and errors are those of :func:`transposed_output_size`.

    >>> overlap_count(4, 3, 2)
    [1, 1, 2, 1, 2, 1, 2, 1, 1]
    >>> overlap_count(4, 4, 2)
    [1, 1, 2, 2, 2, 2, 2, 2, 1, 1]
    """
    size = transposed_output_size(input_size, kernel_size, stride=stride, padding=padding,
                                  output_padding=output_padding, dilation=dilation)
    counts = [0] * size
    for cell in range(input_size):
        for tap in range(kernel_size):
            reached = cell * stride + tap * dilation - padding
            if 0 <= reached < size:
                counts[reached] += 1
    return counts


def same_padding(kernel_size: int, dilation: int = 1) -> int:
    """Return the padding that keeps the size at stride 1: half of what the kernel spans beyond one cell.

    Raises:
        ValueError: the span is even, so the two sides would need different amounts.

    >>> same_padding(3), same_padding(5), same_padding(3, dilation=3)
    (1, 2, 3)
    """
    reach = span(kernel_size, dilation)
    if reach % 2 == 0:
        raise ValueError(f"kernel_size={kernel_size} with dilation={dilation} spans {reach} cells, an even number: "
                         "no equal padding on both sides keeps the size; use an odd span or pad one side by hand")
    return reach // 2


def full_padding(kernel_size: int, dilation: int = 1) -> int:
    """Return the padding under which every overlap counts, if only by a corner: ``span - 1``.

    >>> full_padding(3), full_padding(2)
    (2, 1)
    """
    return span(kernel_size, dilation) - 1


def unread(input_size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> list[int]:
    """Return the input cells that no output reads, as indices from 0.

    >>> unread(8, 3, stride=2)
    [7]
    >>> unread(6, 2, dilation=3, stride=4)
    [1, 2, 4, 5]
    """
    places = output_size(input_size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    read = {i * stride - padding + tap * dilation for i in range(places) for tap in range(kernel_size)}
    return [cell for cell in range(input_size) if cell not in read]


def receptive_field(layers: Iterable[tuple[int, int] | tuple[int, int, int]]) -> int:
    """Return how many input cells one output cell of a stack depends on, along one axis.

    ``layers`` lists ``(kernel_size, stride)`` or ``(kernel_size, stride, dilation)``, first layer first.

    >>> receptive_field([(3, 1), (3, 1)]), receptive_field([(3, 2), (3, 1)]), receptive_field([(3, 1, 3)])
    (5, 7, 7)
    """
    field, step = 1, 1
    for kernel_size, stride, *dilation in layers:
        _whole(stride=stride)
        field += (span(kernel_size, *dilation) - 1) * step
        step *= stride
    return field


def linear_parameters(in_features: int, out_features: int, *, bias: bool = True) -> int:
    """Return how many numbers a fully connected layer learns: one for each pair, and one bias for each output.

    >>> linear_parameters(100, 30)
    3030
    """
    _whole(in_features=in_features, out_features=out_features)
    return in_features * out_features + (out_features if bias else 0)


def conv_parameters(in_channels: int, out_channels: int, kernel_size: OneOrTwo, *, groups: int = 1,
                    bias: bool = True) -> int:
    """Return how many numbers a convolution layer learns; the size of the map plays no part.

    ``kernel_size`` is one number or ``(rows, columns)``.

    Raises:
        ValueError: a number is too small, or ``groups`` does not divide the channels.

    >>> conv_parameters(3, 7, 5), conv_parameters(3, 8, 5, bias=False), conv_parameters(64, 64, 3, groups=64)
    (532, 600, 640)
    """
    check_channels(in_channels, out_channels, groups)
    height, width = as_pair(kernel_size, "kernel_size")
    return out_channels * (in_channels // groups * height * width + (1 if bias else 0))


def conv_multiply_adds(in_channels: int, out_channels: int, kernel_size: OneOrTwo, output_size: OneOrTwo, *,
                       groups: int = 1) -> int:
    """Return the multiplications of a convolution, each with its addition: the weights, once for every output pixel.

    ``kernel_size`` and ``output_size`` are one number or ``(rows, columns)``; the bias is not counted.

    Raises:
        ValueError: a number is too small, or ``groups`` does not divide the channels.

    >>> conv_multiply_adds(64, 16, 3, 28)
    7225344
    >>> conv_multiply_adds(64, 4, 1, 28), conv_multiply_adds(4, 16, 3, 28)
    (200704, 451584)
    """
    rows, columns = as_pair(output_size, "output_size")
    return conv_parameters(in_channels, out_channels, kernel_size, groups=groups, bias=False) * rows * columns


def _whole(**numbers: int) -> None:
    for name, value in numbers.items():
        check_whole(value, name)
