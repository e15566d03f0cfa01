"""The size calculator: what padding, stride and dilation do to the size of a map, cell by cell.

Book: chapter 3; chapters 4 and 5 use it for pooling and transposed convolution.
"""

from convtwist.labs.page import Lab, build

__all__ = ["size_calculator"]

_OPERATIONS = ("convolution", "transposed", "pooling")


def _both(name: str, value, least: int) -> list[int]:
    """Return ``value`` as ``[vertical, horizontal]``."""
    sides = list(value) if isinstance(value, tuple | list) else [value, value]
    if len(sides) != 2 or any(isinstance(side, bool) or int(side) != side or side < least for side in sides):
        raise ValueError(f"{name} must be a whole number of at least {least}, or two of them, got {value!r}")
    return [int(side) for side in sides]


def size_calculator(
    input: int | tuple[int, int] = 6,
    kernel: int | tuple[int, int] = 3,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    output_padding: int | tuple[int, int] = 0,
    *,
    operation: str = "convolution",
    transposed: bool = False,
    ceil_mode: bool = False,
) -> Lab:
    """Return the lab that shows the output size, its formula, and which input cells feed which output cells.

    The arguments are only where it starts; a reader can change them all.

    Args:
        input: cells of the input; here and below, one number for both sides or ``(height, width)``.
        kernel: taps of the kernel.
        stride: cells between one place of the kernel and the next.
        padding: cells added at each end.
        dilation: cells from one tap to the next.
        output_padding: cells added at one end of a transposed convolution's output.
        operation: ``"convolution"``, ``"transposed"`` or ``"pooling"``.
        transposed: short for ``operation="transposed"``.
        ceil_mode: pooling only: round the number of windows up.

    Raises:
        ValueError: a value is no whole number, too small, or the operation is unknown.
    """
    if transposed:
        operation = "transposed"
    if operation not in _OPERATIONS:
        raise ValueError(f"operation must be one of {', '.join(_OPERATIONS)}, got {operation!r}")
    config = {
        "input": _both("input", input, 1),
        "kernel": _both("kernel", kernel, 1),
        "stride": _both("stride", stride, 1),
        "padding": _both("padding", padding, 0),
        "dilation": _both("dilation", dilation, 1),
        "outputPadding": _both("output_padding", output_padding, 0),
        "operation": operation,
        "ceilMode": bool(ceil_mode),
    }
    return build(
        "size calculator",
        ("core.mjs", "widgets.mjs", "size_rules.mjs", "size_calculator.mjs"),
        says="Here a lab computes the size of the output from input, kernel, stride, padding and dilation, draws "
        "both grids, and shows which input cells feed which output cells.",
        config=config,
        pruned=True,
    )
