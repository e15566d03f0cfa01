"""The size calculator: what padding, stride and dilation do to the size of a map, cell by cell.

Book: chapter 3; chapters 4 and 5 use it for pooling and transposed convolution.
"""

import base64
from typing import Literal

from convtwist._arguments import OneOrTwo
from convtwist.arithmetic import output_size, transposed_output_size
from convtwist.labs.page import Lab, build

__all__ = ["size_calculator"]

_OPERATIONS = ("convolution", "transposed", "pooling", "average")
_MOST_DRAWN = 64  # cells along a side of the still picture; more would only be grey


def _both(name: str, value: OneOrTwo, least: int) -> list[int]:
    """Return ``value`` as ``[vertical, horizontal]``."""
    sides = list(value) if isinstance(value, tuple | list) else [value, value]
    if len(sides) != 2 or any(isinstance(side, bool) or int(side) != side or side < least for side in sides):
        raise ValueError(f"{name} must be a whole number of at least {least}, or two of them, got {value!r}")
    return [int(side) for side in sides]


def size_calculator(
    input: OneOrTwo = 6,
    kernel: OneOrTwo = 3,
    stride: OneOrTwo = 1,
    padding: OneOrTwo = 0,
    dilation: OneOrTwo = 1,
    output_padding: OneOrTwo = 0,
    *,
    operation: Literal["convolution", "transposed", "pooling", "average"] = "convolution",
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
        operation: ``"convolution"``, ``"transposed"``, ``"pooling"`` (maximum) or ``"average"`` (pooling by the mean,
            which has no dilation).
        transposed: short for ``operation="transposed"``.
        ceil_mode: pooling only: round the number of windows up.

    Raises:
        ValueError: a value is no whole number, too small, or the operation is unknown.
    """
    if transposed:
        operation = "transposed"
    if operation not in _OPERATIONS:
        raise ValueError(f"operation must be one of {', '.join(_OPERATIONS)}, got {operation!r}")
    if operation == "average" and _both("dilation", dilation, 1) != [1, 1]:
        raise ValueError(f"dilation must be 1 for average pooling, which has none in PyTorch, got {dilation!r}")
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
        still=_still(config),
    )


def _still(config: dict) -> tuple[str, str] | None:
    """Return the picture of both grids and its words; ``None`` if no output fits or it is too large to draw."""
    sides = []
    for axis in range(2):
        size, kernel = config["input"][axis], config["kernel"][axis]
        rest = {"stride": config["stride"][axis], "padding": config["padding"][axis],
                "dilation": config["dilation"][axis]}
        try:
            if config["operation"] == "transposed":
                sides.append(transposed_output_size(size, kernel, output_padding=config["outputPadding"][axis], **rest))
            else:
                sides.append(output_size(size, kernel, ceil_mode=config["ceilMode"], **rest))
        except ValueError:
            return None
    if max(*sides, *config["input"]) > _MOST_DRAWN:
        return None
    (height, width), (rows, columns) = config["input"], sides
    text = f"An input of {height} by {width} cells, and the output of {rows} by {columns} beside it"
    return _drawn(height, width, rows, columns), text


def _drawn(height: int, width: int, rows: int, columns: int) -> str:
    """Return an SVG data URL: the grid of the input, an arrow, the grid of the output."""

    def grid(left: int, top: float, rows: int, columns: int) -> str:
        lines = [f"M{left} {top + row}h{columns}" for row in range(rows + 1)]
        lines += [f"M{left + column} {top}v{rows}" for column in range(columns + 1)]
        return f'<path d="M{left} {top}h{columns}v{rows}h-{columns}z" fill="#e4e7ec"/><path d="{"".join(lines)}"/>'

    tall, wide = max(height, rows), width + 3 + columns
    middle, cell = tall / 2, 24 if wide < 24 else 10
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide * cell + cell}" height="{tall * cell + cell}" '
           f'viewBox="-0.5 -0.5 {wide + 1} {tall + 1}" fill="none" stroke="#56606c" stroke-width="0.08">'
           f'<path d="M-0.5 -0.5h{wide + 1}v{tall + 1}h-{wide + 1}z" fill="#fff" stroke="none"/>'
           f"{grid(0, middle - height / 2, height, width)}{grid(width + 3, middle - rows / 2, rows, columns)}"
           f'<path d="M{width + 0.8} {middle}h1.4m-0.4 -0.4l0.4 0.4l-0.4 0.4" stroke-width="0.12"/></svg>')
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
