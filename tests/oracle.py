"""The layers as slow loops in float64, written from the formula and sharing no line with the package.

One output pixel at a time: cut the patch, add up patch times (W + (X - cx) Kx + (Y - cy) Ky).
"""

import numpy as np

SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
SOBEL_Y = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 8
D_XYY = np.array([[-1, 0, 1], [2, 0, -2], [-1, 0, 1]]) / 2
D_XXY = np.array([[-1, 2, -1], [0, 0, 0], [1, -2, 1]]) / 2
LAPLACIAN = np.array([[1, 4, 1], [4, -20, 4], [1, 4, 1]]) / 6

NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def twist_kernels(twist, dilation):
    """Return Kx and Ky, (out, in, 3, 3), from the coefficients, field by field."""
    d_rows, d_columns = dilation
    dx, dy = SOBEL_X / d_columns, SOBEL_Y / d_rows
    dxyy, dxxy = D_XYY / (d_columns * d_rows**2), D_XXY / (d_columns**2 * d_rows)
    c = np.asarray(twist)[..., None, None]
    if len(c) == 2:  # a (X dx + Y dy) + b (Y dx - X dy)
        return c[0] * dx - c[1] * dy, c[0] * dy + c[1] * dx
    if len(c) == 4:
        return c[0] * dx + c[2] * dy, c[1] * dx + c[3] * dy
    return (c[0] * dx + c[2] * dy + c[4] * dxyy + c[6] * dxxy,
            c[1] * dx + c[3] * dy + c[5] * dxyy + c[7] * dxxy)


def coordinates(height, width, coords):
    if coords == "legacy":
        return [2 * j / width - 1 for j in range(width)], [2 * i / height - 1 for i in range(height)]
    longer = max(height, width)
    return [(2 * j + 1 - width) / longer for j in range(width)], [(2 * i + 1 - height) / longer for i in range(height)]


def channel_order(permute, channels, groups):
    """Return the input channels in the order in which the groups read them."""
    size = channels // groups
    blocks = [list(range(g * size, (g + 1) * size)) for g in range(groups)]
    if permute is None:
        return list(range(channels))
    if permute == "cycle":  # group i reads group i - 1
        return [c for g in range(groups) for c in blocks[g - 1]]
    if permute == "4-cycle":  # the same inside each block of four groups
        return [c for g in range(groups) for c in blocks[4 * (g // 4) + (g % 4 - 1) % 4]]
    if permute == "shuffle":  # first of every group, then second of every group, ...
        return [blocks[g][k] for k in range(size) for g in range(groups)]
    return list(permute)


def conv_twist2d(u, weight, twist, bias=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1,
                 padding_mode="zeros", center=None, coords="centered", steps=1, permute=None):
    """Compute the layer for u of shape (batch, in, height, width)."""
    u = np.asarray(u, dtype=np.float64)
    result = u
    for _ in range(steps):
        change = _once(result, np.asarray(weight), np.asarray(twist), bias, stride, padding, dilation, groups,
                       padding_mode, center, coords, permute)
        if steps == 1:
            return change
        result = result + change / steps
    return result - u


def _once(u, weight, twist, bias, stride, padding, dilation, groups, padding_mode, center, coords, permute):
    u = u[:, channel_order(permute, u.shape[1], groups)]
    (pr, pc), (sr, sc), (dr, dc) = padding, stride, dilation
    padded = np.pad(u, [(0, 0), (0, 0), (pr, pr), (pc, pc)], mode=NUMPY_MODES[padding_mode])
    height = (padded.shape[2] - 2 * dr - 1) // sr + 1
    width = (padded.shape[3] - 2 * dc - 1) // sc + 1
    xs, ys = coordinates(height, width, coords)
    kx, ky = twist_kernels(twist, dilation)
    cx, cy = np.zeros((2, len(weight), 1, 1, 1)) if center is None else np.asarray(center).reshape(2, -1, 1, 1, 1)
    size_in, size_out = weight.shape[1], weight.shape[0] // groups
    output = np.zeros((len(u), len(weight), height, width))
    for i in range(height):
        for j in range(width):
            patch = padded[:, :, i * sr : i * sr + 2 * dr + 1 : dr, j * sc : j * sc + 2 * dc + 1 : dc]
            kernel = weight + (xs[j] - cx) * kx + (ys[i] - cy) * ky
            for g in range(groups):
                own = slice(g * size_out, (g + 1) * size_out)
                read = patch[:, g * size_in : (g + 1) * size_in].reshape(len(u), size_in * 9)
                output[:, own, i, j] = read @ kernel[own].reshape(size_out, size_in * 9).T
    return output if bias is None else output + np.asarray(bias).reshape(-1, 1, 1)


def iso_twist2d(u, weight, bias=None, *, groups=1, reduce=1, coords="centered"):
    """Compute the isotropic layer for u of shape (batch, in, height, width)."""
    weight = np.asarray(weight, dtype=np.float64)
    middle = np.zeros((3, 3))
    middle[1, 1] = 1
    ordinary = weight[..., 0, None, None] * middle + weight[..., 1, None, None] * LAPLACIAN
    full = conv_twist2d(u, ordinary, np.stack([weight[..., 2], weight[..., 3]]), bias, padding=(1, 1), groups=groups,
                        coords=coords)
    return full if reduce == 1 else average(full, reduce)


def average(maps, reduce):
    """Average over squares laid out alike from both ends; neighbours overlap where reduce doesn't divide."""
    height, width = maps.shape[2:]
    rows, columns = max(height // reduce, 1), max(width // reduce, 1)
    output = np.zeros((*maps.shape[:2], rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, bottom = (i * height) // rows, -((-(i + 1) * height) // rows)
            left, right = (j * width) // columns, -((-(j + 1) * width) // columns)
            output[:, :, i, j] = maps[:, :, top:bottom, left:right].mean((2, 3))
    return output


def posted_version1(u, conv, conv_x, conv_y, center_x, center_y, stride):
    """The announcement's layer: each kernel made odd, x = 2 j / width - center, on maps padded by one zero."""
    odd_x, odd_y = [(k - k[:, :, ::-1, ::-1]) / 2 for k in (conv_x, conv_y)]
    plain, twisted_x, twisted_y = [_correlate(u, k, stride) for k in (conv, odd_x, odd_y)]
    height, width = plain.shape[2:]
    output = plain.copy()
    for o in range(plain.shape[1]):
        for i in range(height):
            for j in range(width):
                output[:, o, i, j] += (2 * j / width - center_x[o]) * twisted_x[:, o, i, j]
                output[:, o, i, j] += (2 * i / height - center_y[o]) * twisted_y[:, o, i, j]
    return output


def posted_version2(u, conv, coeff_ax, coeff_ay, stride, groups, iters, ring=None):
    """The thread's layer: Sobel without 1/8 and its quarter turn, a dense kernel that joins group i to i - 1.

    ``ring`` is the number of groups in a cycle: all of them as posted, 4 in the later experiments.
    """
    d_x = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    d_y = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    kernel_x = coeff_ax[..., None, None] * d_x + coeff_ay[..., None, None] * d_y
    kernel_y = kernel_x.transpose(0, 1, 3, 2)[..., ::-1]
    dense, dense_x, dense_y = [_joined(k, groups, ring or groups) for k in (conv, kernel_x, kernel_y)]

    def layer(v):
        plain = _correlate(v, dense, stride)
        height, width = plain.shape[2:]
        x = np.array([2 * j / width - 1 for j in range(width)]).reshape(1, 1, 1, width)
        y = np.array([2 * i / height - 1 for i in range(height)]).reshape(1, 1, height, 1)
        return plain + x * _correlate(v, dense_x, stride) + y * _correlate(v, dense_y, stride)

    output = layer(u)
    if u.shape[1] == len(conv) and stride == 1 and iters > 1:
        output = u + output / iters
        for _ in range(iters - 1):
            output = output + layer(output) / iters
        output = output - u
    return output


def _joined(kernel, groups, ring):
    out, read = kernel.shape[0] // groups, kernel.shape[1]
    dense = np.zeros((kernel.shape[0], read * groups, 3, 3))
    for g in range(groups):
        before = g - 1 if g % ring else g + ring - 1
        dense[g * out : (g + 1) * out, before * read : (before + 1) * read] = kernel[g * out : (g + 1) * out]
    return dense


def _correlate(u, kernel, stride):
    padded = np.pad(u, [(0, 0), (0, 0), (1, 1), (1, 1)])
    height, width = ((side - 1) // stride + 1 for side in u.shape[2:])
    output = np.zeros((len(u), len(kernel), height, width))
    for i in range(height):
        for j in range(width):
            patch = padded[:, :, i * stride : i * stride + 3, j * stride : j * stride + 3]
            output[:, :, i, j] = np.einsum("nchw,ochw->no", patch, kernel)
    return output
