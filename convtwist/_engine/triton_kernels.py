"""The fields of a layer on a GPU, in Triton: written to a bank, or made in registers in front of a product.

Book: chapter 12.  Source: new here.

Maps are in ``channels_last``.  A program takes ``BM`` columns of pixels, which may belong to several images, and
walks down ``ROWS`` rows of them, so that of nine taps six are found in the cache.  Sums are in ``float32``.
Coordinates are ``(2 j + x_shift) x_unit`` and ``(2 i + y_shift) y_unit``.  Offsets of images are 64 bits wide.

``TRANSPOSED`` asks for the transposed fields: the same stencil turned over, of maps multiplied by their own
coordinates first; an odd kernel turned over is its negative, and the Laplacian is itself.
"""

import triton
import triton.language as tl

__all__ = ["add_kernel", "bank_kernel", "products_kernel", "spread_kernel"]


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
def _row_of_taps(maps, row, there, left, left_there, middle, middle_there, right, right_there, channels, width, PIXEL):
    """Return three neighbours in a row as ``float32``, with zeros beyond the border."""
    start = maps + (row.to(tl.int64) * width * PIXEL)[:, None]
    a = tl.load(start + left, mask=(left_there & there)[:, None] & channels, other=0.0).to(tl.float32)
    b = tl.load(start + middle, mask=(middle_there & there)[:, None] & channels, other=0.0).to(tl.float32)
    c = tl.load(start + right, mask=(right_there & there)[:, None] & channels, other=0.0).to(tl.float32)
    return a, b, c


@triton.jit
def _derivatives(a0, b0, c0, a1, b1, c1, a2, b2, c2, DOWN: tl.constexpr, RIGHT: tl.constexpr):
    """Return dx, dy, dxyy and dxxy from nine taps, per pixel."""
    h0 = c0 - a0
    h1 = c1 - a1
    h2 = c2 - a2
    dx = (h0 + h2 + 2 * h1) * (1 / (8 * RIGHT))
    dy = (a2 + c2 + 2 * b2 - (a0 + c0 + 2 * b0)) * (1 / (8 * DOWN))
    dxyy = (h0 + h2 - 2 * h1) * (1 / (2 * RIGHT * DOWN * DOWN))
    dxxy = (a2 + c2 - 2 * b2 - (a0 + c0 - 2 * b0)) * (1 / (2 * DOWN * RIGHT * RIGHT))
    return dx, dy, dxyy, dxxy


@triton.jit
def _products(maps, images, i, j, alive, k, height, width, channels, PIXEL, x_shift, y_shift, x_unit, y_unit,
              S0: tl.constexpr, S1: tl.constexpr, P0: tl.constexpr, P1: tl.constexpr, D0: tl.constexpr,
              D1: tl.constexpr, TRANSPOSED: tl.constexpr, REDUCE: tl.constexpr):
    """Return what all fields are sums of, for rows ``i`` and columns ``j``, added up over squares of side ``REDUCE``.

    These are X dx, Y dx, X dy, Y dy, X dxyy, Y dxyy, X dxxy, Y dxxy, the Laplacian, and the pixel itself; the compiler
    drops what is not used.  ``images`` holds the offsets of the images, ``PIXEL`` the distance of two pixels.  Rows are
    blocks, as columns are, though all alike: the interpreter can't mask a block by one truth.
    """
    inside = (k < channels)[None, :]
    none = tl.full((images.shape[0], k.shape[0]), 0.0, tl.float32)
    x_dx, y_dx, x_dy, y_dy = none, none, none, none
    x_dxyy, y_dxyy, x_dxxy, y_dxxy = none, none, none, none
    laplacian, itself = none, none
    for u in tl.static_range(REDUCE):
        for v in tl.static_range(REDUCE):
            p = i * REDUCE + u
            q = j * REDUCE + v
            row0, up = _source_of(p, 0, S0, P0, D0, height, TRANSPOSED)
            row1, level = _source_of(p, 1, S0, P0, D0, height, TRANSPOSED)
            row2, down = _source_of(p, 2, S0, P0, D0, height, TRANSPOSED)
            column0, left = _source_of(q, 0, S1, P1, D1, width, TRANSPOSED)
            column1, middle = _source_of(q, 1, S1, P1, D1, width, TRANSPOSED)
            column2, right = _source_of(q, 2, S1, P1, D1, width, TRANSPOSED)
            left = left & alive
            middle = middle & alive
            right = right & alive
            at0 = (images + column0 * PIXEL)[:, None] + k[None, :]
            at1 = (images + column1 * PIXEL)[:, None] + k[None, :]
            at2 = (images + column2 * PIXEL)[:, None] + k[None, :]
            a0, b0, c0 = _row_of_taps(maps, row0, up, at0, left, at1, middle, at2, right, inside, width, PIXEL)
            a1, b1, c1 = _row_of_taps(maps, row1, level, at0, left, at1, middle, at2, right, inside, width, PIXEL)
            a2, b2, c2 = _row_of_taps(maps, row2, down, at0, left, at1, middle, at2, right, inside, width, PIXEL)
            if TRANSPOSED:
                xa = ((2 * column0 + x_shift) * -x_unit)[:, None]  # negative, since turned over
                xb = ((2 * column1 + x_shift) * -x_unit)[:, None]
                xc = ((2 * column2 + x_shift) * -x_unit)[:, None]
                y0 = ((2 * row0 + y_shift) * -y_unit)[:, None]
                y1 = ((2 * row1 + y_shift) * -y_unit)[:, None]
                y2 = ((2 * row2 + y_shift) * -y_unit)[:, None]
                dx, dy, dxyy, dxxy = _derivatives(xa * a0, xb * b0, xc * c0, xa * a1, xb * b1, xc * c1,
                                                  xa * a2, xb * b2, xc * c2, D0, D1)
                x_dx += dx
                x_dy += dy
                x_dxyy += dxyy
                x_dxxy += dxxy
                dx, dy, dxyy, dxxy = _derivatives(y0 * a0, y0 * b0, y0 * c0, y1 * a1, y1 * b1, y1 * c1,
                                                  y2 * a2, y2 * b2, y2 * c2, D0, D1)
                y_dx += dx
                y_dy += dy
                y_dxyy += dxyy
                y_dxxy += dxxy
            else:
                x = ((2 * q + x_shift) * x_unit)[:, None]
                y = ((2 * p + y_shift) * y_unit)[:, None]
                dx, dy, dxyy, dxxy = _derivatives(a0, b0, c0, a1, b1, c1, a2, b2, c2, D0, D1)
                x_dx += x * dx
                y_dx += y * dx
                x_dy += x * dy
                y_dy += y * dy
                x_dxyy += x * dxyy
                y_dxyy += y * dxyy
                x_dxxy += x * dxxy
                y_dxxy += y * dxxy
            # 1 4 1 across and down, over 6: 1 4 1, 4 16 4, 1 4 1; 36 is taken from the middle.
            laplacian += (a0 + c0 + 4 * b0 + a2 + c2 + 4 * b2 + 4 * (a1 + c1 + 4 * b1)) * (1 / 6) - 6 * b1
            itself += b1
    return x_dx, y_dx, x_dy, y_dy, x_dxyy, y_dxyy, x_dxxy, y_dxxy, laplacian, itself


@triton.jit
def _field(K: tl.constexpr, BANK: tl.constexpr, SCALE: tl.constexpr, x_dx, y_dx, x_dy, y_dy, x_dxyy, y_dxyy, x_dxxy,
           y_dxxy, laplacian, itself):
    """Return field ``K`` of a bank, times ``SCALE``; the order is that of ``convtwist.operators``."""
    if BANK == "similarity":
        field = x_dx + y_dy if K == 0 else y_dx - x_dy
    elif BANK == "iso":
        if K < 2:
            field = itself if K == 0 else laplacian
        else:
            field = x_dx + y_dy if K == 2 else y_dx - x_dy
    else:
        if K < 4:
            if K < 2:
                field = x_dx if K == 0 else y_dx
            else:
                field = x_dy if K == 2 else y_dy
        else:
            if K < 6:
                field = x_dxyy if K == 4 else y_dxyy
            else:
                field = x_dxxy if K == 6 else y_dxxy
    return field * SCALE


@triton.jit
def bank_kernel(maps, bank, pairs, height, width, channels, rows, columns, x_shift, y_shift, x_unit, y_unit,
                S0: tl.constexpr, S1: tl.constexpr, P0: tl.constexpr, P1: tl.constexpr, D0: tl.constexpr,
                D1: tl.constexpr, TRANSPOSED: tl.constexpr, REDUCE: tl.constexpr, BANK: tl.constexpr,
                FIRST: tl.constexpr, COUNT: tl.constexpr, SCALE: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr,
                BK: tl.constexpr):
    """Write the fields from ``FIRST`` on, ``(images x rows x columns, fields x channels)``."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    k = tl.program_id(2) * BK + tl.arange(0, BK)
    alive = m < pairs
    image, j = (m // columns).to(tl.int64), m % columns
    top = tl.program_id(1) * ROWS + 0 * m
    for step in range(ROWS):
        i = top + step
        p = _products(maps, image * height * width * channels, i, j, alive & (i < rows), k, height, width, channels,
                      channels, x_shift, y_shift, x_unit, y_unit, S0, S1, P0, P1, D0, D1, TRANSPOSED, REDUCE)
        pixel = image * rows * columns + i * columns + j
        at = bank + (pixel * (COUNT - FIRST) * channels)[:, None] + k[None, :]
        keep = (alive & (i < rows))[:, None] & (k < channels)[None, :]
        for K in tl.static_range(FIRST, COUNT):
            field = _field(K, BANK, SCALE, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
            tl.store(at + (K - FIRST) * channels, field.to(bank.dtype.element_ty), mask=keep)


@triton.jit
def add_kernel(maps, weights, output, pairs, height, width, channels, rows, columns, out, x_shift, y_shift, x_unit,
               y_unit, S0: tl.constexpr, S1: tl.constexpr, P0: tl.constexpr, P1: tl.constexpr, D0: tl.constexpr,
               D1: tl.constexpr, TRANSPOSED: tl.constexpr, REDUCE: tl.constexpr, BANK: tl.constexpr,
               COUNT: tl.constexpr, SCALE: tl.constexpr, KEEP: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr,
               BK: tl.constexpr, BN: tl.constexpr):
    """Add the fields, mixed by ``weights``, ``(fields x channels, out)``, to ``output``; or replace it."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(2) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    alive = m < pairs
    image, j = (m // columns).to(tl.int64), m % columns
    top = tl.program_id(1) * ROWS + 0 * m
    for step in range(ROWS):
        i = top + step
        pixel = image * rows * columns + i * columns + j
        at = output + (pixel * out)[:, None] + n[None, :]
        keep = (alive & (i < rows))[:, None] & (n < out)[None, :]
        if KEEP:
            total = tl.load(at, mask=keep, other=0.0).to(tl.float32)
        else:
            total = tl.full((BM, BN), 0.0, tl.float32)
        p = _products(maps, image * height * width * channels, i, j, alive & (i < rows), k, height, width, channels,
                      channels, x_shift, y_shift, x_unit, y_unit, S0, S1, P0, P1, D0, D1, TRANSPOSED, REDUCE)
        for K in tl.static_range(COUNT):
            field = _field(K, BANK, SCALE, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
            w = tl.load(weights + ((K * channels + k) * out)[:, None] + n[None, :],
                        mask=(k < channels)[:, None] & (n < out)[None, :], other=0.0)
            total = tl.dot(field.to(w.dtype), w, total, input_precision="ieee")
        tl.store(at, total.to(output.dtype.element_ty), mask=keep)


@triton.jit
def products_kernel(maps, factor, sums, pairs, height, width, channels, rows, columns, out, x_shift, y_shift, x_unit,
                    y_unit, units, bands, S0: tl.constexpr, S1: tl.constexpr, P0: tl.constexpr, P1: tl.constexpr,
                    D0: tl.constexpr, D1: tl.constexpr, BANK: tl.constexpr, COUNT: tl.constexpr, SCALE: tl.constexpr,
                    SPLITS: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr):
    """Write the products of the fields and ``factor``, summed over the pixels in ``SPLITS`` parts.

    ``factor`` is ``(images x rows x columns, out)``, what comes out ``(SPLITS, fields, channels, out)``, for up to four
    fields.  Which part a pixel goes to is fixed, and so is every bit.
    """
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    sum0 = tl.full((BK, BN), 0.0, tl.float32)
    sum1 = tl.full((BK, BN), 0.0, tl.float32)
    sum2 = tl.full((BK, BN), 0.0, tl.float32)
    sum3 = tl.full((BK, BN), 0.0, tl.float32)
    for unit in range(tl.program_id(0), units, SPLITS):
        m = (unit // bands) * BM + tl.arange(0, BM)
        alive = m < pairs
        image, j = (m // columns).to(tl.int64), m % columns
        top = (unit % bands) * ROWS + 0 * m
        for step in range(ROWS):
            i = top + step
            p = _products(maps, image * height * width * channels, i, j, alive & (i < rows), k, height, width,
                          channels, channels, x_shift, y_shift, x_unit, y_unit, S0, S1, P0, P1, D0, D1, False, 1)
            pixel = image * rows * columns + i * columns + j
            g = tl.load(factor + (pixel * out)[:, None] + n[None, :],
                        mask=(alive & (i < rows))[:, None] & (n < out)[None, :], other=0.0)
            field = _field(0, BANK, SCALE, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
            sum0 = tl.dot(tl.trans(field.to(g.dtype)), g, sum0, input_precision="ieee")
            field = _field(1, BANK, SCALE, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
            sum1 = tl.dot(tl.trans(field.to(g.dtype)), g, sum1, input_precision="ieee")
            if COUNT > 2:
                field = _field(2, BANK, SCALE, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
                sum2 = tl.dot(tl.trans(field.to(g.dtype)), g, sum2, input_precision="ieee")
                field = _field(3, BANK, SCALE, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
                sum3 = tl.dot(tl.trans(field.to(g.dtype)), g, sum3, input_precision="ieee")
    at = sums + ((tl.program_id(0).to(tl.int64) * COUNT * channels + k) * out)[:, None] + n[None, :]
    keep = (k < channels)[:, None] & (n < out)[None, :]
    tl.store(at, sum0, mask=keep)
    tl.store(at + channels * out, sum1, mask=keep)
    if COUNT > 2:
        tl.store(at + 2 * channels * out, sum2, mask=keep)
        tl.store(at + 3 * channels * out, sum3, mask=keep)


@triton.jit
def spread_kernel(parts, output, pairs, height, width, channels, rows, columns, x_shift, y_shift, x_unit, y_unit,
                  S0: tl.constexpr, S1: tl.constexpr, P0: tl.constexpr, P1: tl.constexpr, D0: tl.constexpr,
                  D1: tl.constexpr, BANK: tl.constexpr, COUNT: tl.constexpr, SCALE: tl.constexpr, ROWS: tl.constexpr,
                  BM: tl.constexpr, BK: tl.constexpr):
    """Add to ``output`` the transposed field ``K`` of part ``K``, for all of them; a stride spreads the parts out.

    ``parts`` is ``(images x height x width, fields x channels)``: what has been mixed where a stride left few pixels.
    """
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    k = tl.program_id(2) * BK + tl.arange(0, BK)
    alive = m < pairs
    image, j = (m // columns).to(tl.int64), m % columns
    top = tl.program_id(1) * ROWS + 0 * m
    for step in range(ROWS):
        i = top + step
        pixel = image * rows * columns + i * columns + j
        at = output + (pixel * channels)[:, None] + k[None, :]
        keep = (alive & (i < rows))[:, None] & (k < channels)[None, :]
        total = tl.load(at, mask=keep, other=0.0).to(tl.float32)
        for K in tl.static_range(COUNT):
            p = _products(parts + K * channels, image * height * width * COUNT * channels, i, j, alive & (i < rows), k,
                          height, width, channels, COUNT * channels, x_shift, y_shift, x_unit, y_unit, S0, S1, P0, P1,
                          D0, D1, True, 1)
            total += _field(K, BANK, SCALE, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
        tl.store(at, total.to(output.dtype.element_ty), mask=keep)
