"""Sizes on paper: how large the output is, how much to pad, how far a stack of layers sees.

Book: chapter 3. One axis at a time; rows and columns follow the same rule independently.
"""

__all__ = ["full_padding", "output_size", "receptive_field", "same_padding", "span", "unread"]


def span(kernel_size: int, dilation: int = 1) -> int:
    """Return how many input cells a kernel reaches across, gaps included: ``dilation (k - 1) + 1``.

    >>> span(3), span(3, dilation=2)
    (3, 5)
    """
    _check(kernel_size=kernel_size, dilation=dilation)
    return dilation * (kernel_size - 1) + 1


def output_size(input_size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Return ``floor((n + 2p - d(k - 1) - 1) / s) + 1``, the number of places where the kernel fits.

    Raises:
        ValueError: a number is too small, or the kernel fits nowhere.

    >>> output_size(128, 5), output_size(128, 5, padding=2), output_size(3, 2, padding=1, stride=2)
    (124, 128, 2)
    """
    _check(input_size=input_size, stride=stride)
    _check(0, padding=padding)
    room = input_size + 2 * padding - span(kernel_size, dilation)
    if room < 0:
        raise ValueError(f"a kernel spanning {span(kernel_size, dilation)} does not fit in "
                         f"{input_size} + 2 x {padding} cells; pad more or use a smaller kernel")
    return room // stride + 1


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


def receptive_field(layers) -> int:
    """Return how many input cells one output cell of a stack depends on, along one axis.

    ``layers`` lists ``(kernel_size, stride)`` or ``(kernel_size, stride, dilation)``, first layer first.

    >>> receptive_field([(3, 1), (3, 1)]), receptive_field([(3, 2), (3, 1)]), receptive_field([(3, 1, 3)])
    (5, 7, 7)
    """
    field, step = 1, 1
    for kernel_size, stride, *dilation in layers:
        _check(stride=stride)
        field += (span(kernel_size, *dilation) - 1) * step
        step *= stride
    return field


def _check(smallest=1, **numbers):
    for name, value in numbers.items():
        if not isinstance(value, int) or value < smallest:
            raise ValueError(f"{name} must be a whole number from {smallest}, got {value!r}")
