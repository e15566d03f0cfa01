"""The fields of any layer on a GPU, in Triton: every bank, stride, padding and dilation.

Book: chapter 13.  Source: new here.

Maps are in ``channels_last``.  A program takes ``BM`` columns of pixels, which may belong to several images, and
walks down ``ROWS`` rows of them.  A row's three taps are summed up across once, and serve three rows of fields: the
sums of two rows are kept in registers, where rows are neighbours.  Sums are in ``float32``; offsets are 64 bits wide.
Coordinates are ``(2 j + x_shift) x_unit`` and ``(2 i + y_shift) y_unit``.

``TRANSPOSED`` asks for the transposed fields: the same stencil turned over, of maps multiplied by their own
coordinates first.  An odd kernel turned over is its negative, so those coordinates are negative.

The usual layers have kernels of their own, which are quicker (``triton_registers``).

Rows are blocks like columns, though all of their numbers are alike: Triton's interpreter, in which the tests run these
kernels without a GPU, can't mask a block by a single truth.  Nor can it round to ``bfloat16``, or multiply in it:
where ``WIDE`` is set numbers are rounded by their bits, and multiplied in ``float32``.
"""

# A machine without a GPU need not have Triton; its language has rules of its own, which no checker of Python knows.
# pyright: basic, reportMissingImports=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

__all__ = ["bank_kernel", "spread_kernel"]

_SIZES = ["pairs", "height", "width", "rows", "columns", "x_shift", "y_shift", "units", "bands", "SPLITS"]
"""What changes with the size of maps and batches.  No machine code is made for its values: each would take a second."""


@triton.jit
def _source_of(p, TAP: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, DILATION: tl.constexpr, size,
               TRANSPOSED: tl.constexpr):
    """Return the row or column that a tap of place ``p`` reads, and whether it is there."""
    if TRANSPOSED:
        position = p - PADDING + TAP * DILATION
        there = (position >= 0) & (position % STRIDE == 0)
        position = position // STRIDE
        there = there & (position < size)
    else:
        position = p * STRIDE - PADDING + TAP * DILATION
        there = (position >= 0) & (position < size)
    return position, there


@triton.jit
def _columns(images, j, alive, k, width, PIXEL, x_shift, x_unit, S1: tl.constexpr, P1: tl.constexpr,
             D1: tl.constexpr, TRANSPOSED: tl.constexpr):
    """Return where the three columns of taps are in memory, which of them are there, and their coordinates.

    ``images`` holds the numbers of the images' first pixels, ``PIXEL`` the distance of two pixels.
    """
    column0, there0 = _source_of(j, 0, S1, P1, D1, width, TRANSPOSED)
    column1, there1 = _source_of(j, 1, S1, P1, D1, width, TRANSPOSED)
    column2, there2 = _source_of(j, 2, S1, P1, D1, width, TRANSPOSED)
    at0 = ((images + column0) * PIXEL)[:, None] + k[None, :]
    at1 = ((images + column1) * PIXEL)[:, None] + k[None, :]
    at2 = ((images + column2) * PIXEL)[:, None] + k[None, :]
    x0 = ((2 * column0 + x_shift) * -x_unit)[:, None]
    x1 = ((2 * column1 + x_shift) * -x_unit)[:, None]
    x2 = ((2 * column2 + x_shift) * -x_unit)[:, None]
    return at0, there0 & alive, x0, at1, there1 & alive, x1, at2, there2 & alive, x2


@triton.jit
def _row(maps, columns, i, TAP: tl.constexpr, inside, height, width, PIXEL, y_shift, y_unit, S0: tl.constexpr,
         P0: tl.constexpr, D0: tl.constexpr, TRANSPOSED: tl.constexpr):
    """Return the sums across a row of taps: differences, 1 2 1 and 1 -2 1, each times X and times Y.

    They are multiplied by a coordinate here if they are transposed, and otherwise in ``_sums``.
    """
    at0, there0, x0, at1, there1, x1, at2, there2, x2 = columns
    row, there = _source_of(i, TAP, S0, P0, D0, height, TRANSPOSED)
    start = maps + (row.to(tl.int64) * width * PIXEL)[:, None]
    a = tl.load(start + at0, mask=(there0 & there)[:, None] & inside, other=0.0).to(tl.float32)
    b = tl.load(start + at1, mask=(there1 & there)[:, None] & inside, other=0.0).to(tl.float32)
    c = tl.load(start + at2, mask=(there2 & there)[:, None] & inside, other=0.0).to(tl.float32)
    sides = a + c
    difference_y = c - a
    smooth_y = sides + 2 * b
    bend_y = sides - 2 * b
    if TRANSPOSED:
        xa = x0 * a
        xb = x1 * b
        xc = x2 * c
        difference_x = xc - xa
        smooth_x = xa + xc + 2 * xb
        bend_x = xa + xc - 2 * xb
        y = ((2 * row + y_shift) * -y_unit)[:, None]
        difference_y = y * difference_y
        smooth_y = y * smooth_y
        bend_y = y * bend_y
    else:
        difference_x = difference_y
        smooth_x = smooth_y
        bend_x = bend_y
    return difference_x, smooth_x, bend_x, difference_y, smooth_y, bend_y


@triton.jit
def _sums(row0, row1, row2, i, j, x_shift, y_shift, x_unit, y_unit, D0: tl.constexpr, D1: tl.constexpr,
          TRANSPOSED: tl.constexpr):
    """Return what all fields are sums of: X dx, Y dx, X dy, Y dy, X dxyy, Y dxyy, X dxxy, Y dxxy.

    The compiler drops what a bank doesn't use.
    """
    dx: tl.constexpr = 1 / (8 * D1)
    dy: tl.constexpr = 1 / (8 * D0)
    dxyy: tl.constexpr = 1 / (2 * D1 * D0 * D0)
    dxxy: tl.constexpr = 1 / (2 * D0 * D1 * D1)
    if TRANSPOSED:
        x = tl.full((1, 1), 1.0, tl.float32)
        y = tl.full((1, 1), 1.0, tl.float32)
    else:
        x = ((2 * j + x_shift) * x_unit)[:, None]
        y = ((2 * i + y_shift) * y_unit)[:, None]
    sides_x = row0[0] + row2[0]
    sides_y = row0[3] + row2[3]
    return ((sides_x + 2 * row1[0]) * (x * dx), (sides_y + 2 * row1[3]) * (y * dx),
            (row2[1] - row0[1]) * (x * dy), (row2[4] - row0[4]) * (y * dy),
            (sides_x - 2 * row1[0]) * (x * dxyy), (sides_y - 2 * row1[3]) * (y * dxyy),
            (row2[2] - row0[2]) * (x * dxxy), (row2[5] - row0[5]) * (y * dxxy))


@triton.jit
def _field(K: tl.constexpr, BANK: tl.constexpr, sums):
    """Return field ``K`` of a bank, in the order of ``convtwist.operators``."""
    if BANK == "similarity":
        field = sums[0] + sums[3] if K == 0 else sums[1] - sums[2]
    else:
        field = sums[K]
    return field


@triton.jit
def _rounded(numbers, dtype: tl.constexpr, WIDE: tl.constexpr):
    """Return ``float32`` numbers in a type, rounded to the nearest."""
    if WIDE:
        bits = numbers.to(tl.int32, bitcast=True)
        numbers = (bits + 0x7FFF + ((bits >> 16) & 1)).to(tl.float32, bitcast=True)
    return numbers.to(dtype)


@triton.jit
def _add_product(total, field, factor, WIDE: tl.constexpr):
    """Return ``total`` plus the matrix product, of numbers of the factor's type, summed in ``float32``."""
    field = _rounded(field, factor.dtype, WIDE)
    if WIDE:
        field = field.to(tl.float32)
        factor = factor.to(tl.float32)
    return tl.dot(field, factor, total, input_precision="ieee")


@triton.jit(do_not_specialize=_SIZES)
def bank_kernel(maps, bank, pairs, height, width, channels, rows, columns, x_shift, y_shift, x_unit, y_unit,
                S0: tl.constexpr, S1: tl.constexpr, P0: tl.constexpr, P1: tl.constexpr, D0: tl.constexpr,
                D1: tl.constexpr, TRANSPOSED: tl.constexpr, BANK: tl.constexpr, COUNT: tl.constexpr,
                SCALE: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr):
    """Write the fields, ``(images x rows x columns, fields x channels)``."""
    NEAR: tl.constexpr = S0 == 1 and D0 == 1
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    k = tl.program_id(2) * BK + tl.arange(0, BK)
    alive = m < pairs
    inside = (k < channels)[None, :]
    image, j = (m // columns).to(tl.int64), m % columns
    i = tl.program_id(1) * ROWS + 0 * m
    x_unit, y_unit = tl.cast(x_unit, tl.float32), tl.cast(y_unit, tl.float32)  # float64 from compiled programs
    taps = _columns(image * height * width, j, alive, k, width, channels, x_shift, x_unit, S1, P1, D1,
                    TRANSPOSED)
    row0 = _row(maps, taps, i, 0, inside, height, width, channels, y_shift, y_unit, S0, P0, D0, TRANSPOSED)
    row1 = _row(maps, taps, i, 1, inside, height, width, channels, y_shift, y_unit, S0, P0, D0, TRANSPOSED)
    for _ in range(ROWS):
        if not NEAR:
            row0 = _row(maps, taps, i, 0, inside, height, width, channels, y_shift, y_unit, S0, P0, D0, TRANSPOSED)
            row1 = _row(maps, taps, i, 1, inside, height, width, channels, y_shift, y_unit, S0, P0, D0, TRANSPOSED)
        row2 = _row(maps, taps, i, 2, inside, height, width, channels, y_shift, y_unit, S0, P0, D0, TRANSPOSED)
        sums = _sums(row0, row1, row2, i, j, x_shift, y_shift, x_unit, y_unit, D0, D1, TRANSPOSED)
        pixel = (image * rows + i) * columns + j
        at = bank + (pixel * COUNT * channels)[:, None] + k[None, :]
        keep = (alive & (i < rows))[:, None] & inside
        for K in tl.static_range(COUNT):
            field = _field(K, BANK, sums) * SCALE
            tl.store(at + K * channels, _rounded(field, bank.dtype.element_ty, WIDE), mask=keep)
        row0 = row1
        row1 = row2
        i += 1


@triton.jit(do_not_specialize=_SIZES)
def spread_kernel(parts, output, pairs, height, width, channels, rows, columns, x_shift, y_shift, x_unit, y_unit,
                  S0: tl.constexpr, S1: tl.constexpr, P0: tl.constexpr, P1: tl.constexpr, D0: tl.constexpr,
                  D1: tl.constexpr, BANK: tl.constexpr, COUNT: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr,
                  BM: tl.constexpr, BK: tl.constexpr):
    """Add to ``output`` the transposed field ``K`` of part ``K``, for all of them; a stride spreads the parts out.

    ``parts`` is ``(images x height x width, fields x channels)``: what has been mixed where a stride left few pixels.
    """
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    k = tl.program_id(2) * BK + tl.arange(0, BK)
    alive = m < pairs
    inside = (k < channels)[None, :]
    image, j = (m // columns).to(tl.int64), m % columns
    i = tl.program_id(1) * ROWS + 0 * m
    wide = COUNT * channels
    x_unit, y_unit = tl.cast(x_unit, tl.float32), tl.cast(y_unit, tl.float32)
    taps = _columns(image * height * width, j, alive, k, width, wide, x_shift, x_unit, S1, P1, D1, True)
    for _ in range(ROWS):
        pixel = (image * rows + i) * columns + j
        at = output + (pixel * channels)[:, None] + k[None, :]
        keep = (alive & (i < rows))[:, None] & inside
        total = tl.load(at, mask=keep, other=0.0).to(tl.float32)
        for K in tl.static_range(COUNT):
            part = parts + K * channels
            row0 = _row(part, taps, i, 0, inside, height, width, wide, y_shift, y_unit, S0, P0, D0, True)
            row1 = _row(part, taps, i, 1, inside, height, width, wide, y_shift, y_unit, S0, P0, D0, True)
            row2 = _row(part, taps, i, 2, inside, height, width, wide, y_shift, y_unit, S0, P0, D0, True)
            total += _field(K, BANK, _sums(row0, row1, row2, i, j, x_shift, y_shift, x_unit, y_unit, D0, D1, True))
        tl.store(at, _rounded(total, output.dtype.element_ty, WIDE), mask=keep)
        i += 1
