"""The fields of the usual layers on a GPU, in Triton: made in registers, for a product there or for a bank.

Book: chapter 13.  Source: new here.

These kernels are for zoom and rotation, and for ``IsoTwist2d``, where taps are neighbours and there is no stride.  A
program takes ``BM`` columns of pixels, which may belong to several images, and walks down ``ROWS`` rows of them.  Each
row of the map is read once: it belongs to the fields above, beside and below it, so two unfinished rows of fields are
kept.  The next row is fetched while this one is worked on.

What ``TRANSPOSED`` and ``WIDE`` mean, and the coordinates, is said in ``triton_kernels``.  Derivatives are sums of
eight here; an eighth is in the coordinates.
"""

# A machine without a GPU need not have Triton; its language has rules of its own, which no checker of Python knows.
# pyright: basic, reportMissingImports=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportAssignmentType=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

from convtwist._engine.triton_kernels import _SIZES, _add_product, _rounded

__all__ = ["fields_kernel", "near_bank_kernel"]


@triton.jit
def _columns(image, j, k, alive, inside, height, width, channels, x_shift, x_unit, P1: tl.constexpr,
             TRANSPOSED: tl.constexpr):
    """Return where the middle taps of columns are in memory, which of the three are there, and their coordinates."""
    middle = j - P1 + 1
    at = ((image * height * width + middle) * channels)[:, None] + k[None, :]
    left = (alive & (middle > 0) & (middle <= width))[:, None] & inside
    beside = (alive & (middle >= 0) & (middle < width))[:, None] & inside
    right = (alive & (middle >= -1) & (middle < width - 1))[:, None] & inside
    if TRANSPOSED:
        x = ((2 * middle + x_shift) * -x_unit)[:, None]
    else:
        x = ((2 * j + x_shift) * x_unit)[:, None]
    return at, left, beside, right, x


@triton.jit
def _fetch(maps, columns, s, height, width, channels):
    """Return the three taps of row ``s``."""
    at, left, beside, right, _x = columns
    there = ((s >= 0) & (s < height))[:, None]
    start = maps + (s.to(tl.int64) * width * channels)[:, None]
    return (tl.load(start + at - channels, mask=left & there, other=0.0),
            tl.load(start + at, mask=beside & there, other=0.0),
            tl.load(start + at + channels, mask=right & there, other=0.0))


@triton.jit
def _take(taps, unfinished, x, x_unit, y, TRANSPOSED: tl.constexpr):
    """Take up a row of taps: return the finished fields, and what is unfinished.

    The fields are those of the row above the taps: zoom, rotation, six times the Laplacian, the map.
    """
    p, q, v, w, f, g, before = unfinished
    left, middle, right = taps
    a, b, c = left.to(tl.float32), middle.to(tl.float32), right.to(tl.float32)
    sides = a + c
    smooth = sides + 2 * b
    across = c - a
    ring = sides + 4 * b
    laplacian = f + ring
    f = g + (4 * ring - 36 * b)
    if TRANSPOSED:  # the coordinates are those of the taps
        xa = (x + 2 * x_unit) * a
        xc = (x - 2 * x_unit) * c
        x_across = xc - xa
        x_smooth = xa + xc + 2 * x * b
        zoom = p + x_across + y * smooth
        rotation = v + y * across - x_smooth
        p = q + 2 * x_across
        q = x_across - y * smooth
        v = w + 2 * y * across
        w = y * across + x_smooth
    else:
        dx = p + across
        dy = v + smooth
        zoom = x * dx + y * dy
        rotation = y * dx - x * dy
        p = q + 2 * across
        q = across
        v = -w  # not w, for Triton fetches ahead only in loops that compute all they hand on
        w = smooth
    return (zoom, rotation, laplacian, before), (p, q, v, w, f, ring, middle)


@triton.jit
def _begin(maps, columns, i, height, width, channels, y_shift, x_unit, y_unit, P0: tl.constexpr,
           TRANSPOSED: tl.constexpr, AHEAD: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr):
    """Take up the first two rows of taps of a walk; return the last row that was fetched, and what is unfinished."""
    x = columns[4]
    nothing = tl.full((BM, BK), 0.0, tl.float32)
    s = i - P0
    row = _fetch(maps, columns, s, height, width, channels)
    y = _height(s, i, y_shift, y_unit, TRANSPOSED)
    _f, rest = _take(row, (nothing, nothing, nothing, nothing, nothing, nothing, row[1]), x, x_unit, y, TRANSPOSED)
    row = _fetch(maps, columns, s + 1, height, width, channels)
    y = _height(s + 1, i, y_shift, y_unit, TRANSPOSED)
    _f, rest = _take(row, rest, x, x_unit, y, TRANSPOSED)
    if AHEAD:
        row = _fetch(maps, columns, s + 2, height, width, channels)
    return row, rest


@triton.jit(do_not_specialize=_SIZES)
def fields_kernel(maps, weights, output, factor, products, pairs, height, width, channels, rows, columns, out, x_shift,
                  y_shift, x_unit, y_unit, units, bands, stride_f, stride_k, stride_n, P0: tl.constexpr,
                  P1: tl.constexpr, TRANSPOSED: tl.constexpr, BANK: tl.constexpr, SCALE: tl.constexpr,
                  CURVED: tl.constexpr, MIX: tl.constexpr, KEEP: tl.constexpr, MULTIPLY: tl.constexpr,
                  SPLITS, WIDE: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
                  BN: tl.constexpr, AHEAD: tl.constexpr, STAGES: tl.constexpr):
    """Add the fields, mixed by ``weights``, to ``output``, and write their products with ``factor``.

    ``weights`` is ``(fields, channels, out)``, with these strides; ``output`` and ``factor`` are
    ``(images x rows x columns, out)``, ``products`` ``(SPLITS, fields, channels, out)``.  Without ``KEEP`` the output
    is replaced.  Zoom and rotation are held times ``SCALE``, the Laplacian times ``CURVED``.

    The weights are read before the walk, and a program takes each ``SPLITS``th band of pixels, so that every sum has
    one order.
    """
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    inside = (k < channels)[None, :]
    within = (n < out)[None, :]
    ISO: tl.constexpr = BANK == "iso"
    FIRST: tl.constexpr = 2 if ISO else 0
    if MIX:
        at_w = weights + (k * stride_k)[:, None] + (n * stride_n)[None, :]
        here = (k < channels)[:, None] & within
        w_zoom = _weight(at_w + FIRST * stride_f, here, SCALE, WIDE, maps.dtype.element_ty)
        w_rotation = _weight(at_w + (FIRST + 1) * stride_f, here, SCALE, WIDE, maps.dtype.element_ty)
        if ISO:
            w_map = _weight(at_w, here, 1.0, WIDE, maps.dtype.element_ty)
            w_laplacian = _weight(at_w + stride_f, here, CURVED, WIDE, maps.dtype.element_ty)
    if MULTIPLY:
        by_zoom = tl.full((BK, BN), 0.0, tl.float32)
        by_rotation = tl.full((BK, BN), 0.0, tl.float32)
        if ISO:
            by_map = tl.full((BK, BN), 0.0, tl.float32)
            by_laplacian = tl.full((BK, BN), 0.0, tl.float32)
    x_unit = tl.cast(x_unit, tl.float32) * (SCALE / 8)  # compiled programs hand it over in float64
    y_unit = tl.cast(y_unit, tl.float32) * (SCALE / 8)
    for unit in range(tl.program_id(0), units, SPLITS):
        m = (unit // bands) * BM + tl.arange(0, BM)
        alive = m < pairs
        image, j = (m // columns).to(tl.int64), m % columns
        i = (unit % bands) * ROWS + 0 * m
        taps = _columns(image, j, k, alive, inside, height, width, channels, x_shift, x_unit, P1, TRANSPOSED)
        row, rest = _begin(maps, taps, i, height, width, channels, y_shift, x_unit, y_unit, P0, TRANSPOSED, AHEAD, BM,
                           BK)
        for _ in tl.range(ROWS, num_stages=STAGES):
            s = i - P0 + 2
            if AHEAD:
                now = row
                row = _fetch(maps, taps, s + 1, height, width, channels)
            else:
                now = _fetch(maps, taps, s, height, width, channels)
            at = (((image * rows + i) * columns + j) * out)[:, None] + n[None, :]
            keep = (alive & (i < rows))[:, None] & within
            if MIX:
                if KEEP:
                    total = tl.load(output + at, mask=keep, other=0.0).to(tl.float32)
                else:
                    total = tl.full((BM, BN), 0.0, tl.float32)
            if MULTIPLY:
                u = tl.load(factor + at, mask=keep, other=0.0)
            y = _height(s, i, y_shift, y_unit, TRANSPOSED)
            fields, rest = _take(now, rest, taps[4], x_unit, y, TRANSPOSED)
            zoom, rotation, laplacian, before = fields
            laplacian *= CURVED / 6
            if MIX:
                total = _add_product(total, zoom, w_zoom, WIDE)
                total = _add_product(total, rotation, w_rotation, WIDE)
                if ISO:
                    total = _add_product(total, before.to(tl.float32), w_map, WIDE)
                    total = _add_product(total, laplacian, w_laplacian, WIDE)
                tl.store(output + at, _rounded(total, output.dtype.element_ty, WIDE), mask=keep)
            if MULTIPLY:
                by_zoom = _add_product(by_zoom, tl.trans(zoom), u, WIDE)
                by_rotation = _add_product(by_rotation, tl.trans(rotation), u, WIDE)
                if ISO:
                    by_map = _add_product(by_map, tl.trans(before.to(tl.float32)), u, WIDE)
                    by_laplacian = _add_product(by_laplacian, tl.trans(laplacian), u, WIDE)
            i += 1
    if MULTIPLY:
        FIELDS: tl.constexpr = 4 if ISO else 2
        at_p = products + ((tl.program_id(0).to(tl.int64) * FIELDS * channels + k) * out)[:, None] + n[None, :]
        here = (k < channels)[:, None] & within
        tl.store(at_p + FIRST * channels * out, by_zoom / SCALE, mask=here)
        tl.store(at_p + (FIRST + 1) * channels * out, by_rotation / SCALE, mask=here)
        if ISO:
            tl.store(at_p, by_map, mask=here)
            tl.store(at_p + channels * out, by_laplacian / CURVED, mask=here)


@triton.jit
def _weight(at, here, SCALE: tl.constexpr, WIDE: tl.constexpr, kind: tl.constexpr):
    """Load weights of fields that are held ``SCALE`` times as large as they are, and give them the maps' type."""
    weight = tl.load(at, mask=here, other=0.0)
    if weight.dtype != kind or SCALE != 1.0:
        weight = _rounded(weight.to(tl.float32) * (1 / SCALE), kind, WIDE)
    return weight


@triton.jit
def _height(s, i, y_shift, y_unit, TRANSPOSED: tl.constexpr):
    """Return the coordinate of a row: that of the taps if transposed, and otherwise of the fields."""
    if TRANSPOSED:
        y = ((2 * s + y_shift) * -y_unit)[:, None]
    else:
        y = ((2 * i + y_shift) * y_unit)[:, None]
    return y


@triton.jit(do_not_specialize=_SIZES)
def near_bank_kernel(maps, bank, pairs, height, width, channels, rows, columns, x_shift, y_shift, x_unit, y_unit,
                     P0: tl.constexpr, P1: tl.constexpr, TRANSPOSED: tl.constexpr, BANK: tl.constexpr,
                     SCALE: tl.constexpr, CURVED: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr,
                     BM: tl.constexpr, BK: tl.constexpr,
                     AHEAD: tl.constexpr, STAGES: tl.constexpr):
    """Write the fields, ``(images x rows x columns, fields x channels)``."""
    ISO: tl.constexpr = BANK == "iso"
    FIRST: tl.constexpr = 2 if ISO else 0
    k = tl.program_id(2) * BK + tl.arange(0, BK)
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = (k < channels)[None, :]
    alive = m < pairs
    image, j = (m // columns).to(tl.int64), m % columns
    i = tl.program_id(1) * ROWS + 0 * m
    x_unit = tl.cast(x_unit, tl.float32) * (SCALE / 8)  # compiled programs hand it over in float64
    y_unit = tl.cast(y_unit, tl.float32) * (SCALE / 8)
    taps = _columns(image, j, k, alive, inside, height, width, channels, x_shift, x_unit, P1, TRANSPOSED)
    row, rest = _begin(maps, taps, i, height, width, channels, y_shift, x_unit, y_unit, P0, TRANSPOSED, AHEAD, BM, BK)
    for _ in tl.range(ROWS, num_stages=STAGES):
        s = i - P0 + 2
        if AHEAD:
            now = row
            row = _fetch(maps, taps, s + 1, height, width, channels)
        else:
            now = _fetch(maps, taps, s, height, width, channels)
        at = bank + (((image * rows + i) * columns + j) * (FIRST + 2) * channels)[:, None] + k[None, :]
        keep = (alive & (i < rows))[:, None] & inside
        y = _height(s, i, y_shift, y_unit, TRANSPOSED)
        fields, rest = _take(now, rest, taps[4], x_unit, y, TRANSPOSED)
        zoom, rotation, laplacian, before = fields
        if ISO:
            tl.store(at, _rounded(before.to(tl.float32), bank.dtype.element_ty, WIDE), mask=keep)
            tl.store(at + channels, _rounded(laplacian * (CURVED / 6), bank.dtype.element_ty, WIDE), mask=keep)
        tl.store(at + FIRST * channels, _rounded(zoom, bank.dtype.element_ty, WIDE), mask=keep)
        tl.store(at + (FIRST + 1) * channels, _rounded(rotation, bank.dtype.element_ty, WIDE), mask=keep)
        i += 1
