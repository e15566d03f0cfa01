"""The classic 3x3 kernels, and what any 3x3 kernel is made of.

Book: chapters 6 and 7.  Source: the announcement notebook of ConvTwist, which calls a kernel that changes sign
under a half turn a "first-order operator", and any textbook on finite differences.

Kernels are used by cross-correlation, as everywhere in PyTorch, and rows grow downward: ``sobel_x`` answers
positively where the picture gets brighter to the right, ``sobel_y`` where it gets brighter downward.
"""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.types import Device

__all__ = [
    "BASIS",
    "basis",
    "box",
    "compose",
    "decompose",
    "emboss",
    "even_part",
    "gaussian",
    "identity",
    "laplacian",
    "odd_part",
    "rotate90",
    "sharpen",
    "sobel_x",
    "sobel_y",
]

BASIS = ("1", "dx", "dy", "dxx", "dxy", "dyy", "dxxy", "dxyy", "dxxyy")
"""Names of the nine operators that span the 3x3 kernels, in the order of :func:`decompose`."""

Laplacian: TypeAlias = Literal["cross", "square", "isotropic"]

_LAPLACIANS: dict[Laplacian, list[list[float]]] = {
    "cross": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "square": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "isotropic": [[1 / 6, 4 / 6, 1 / 6], [4 / 6, -20 / 6, 4 / 6], [1 / 6, 4 / 6, 1 / 6]],
}


def identity(*, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return the kernel that changes nothing: a single 1 in the middle, ``(3, 3)``."""
    return _kernel([[0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype, device)


def sobel_x(*, normalized: bool = True, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return Sobel's derivative to the right, ``(3, 3)``.

    ``normalized=True`` divides the whole numbers -1 0 1, -2 0 2, -1 0 1 by 8, so that the answer is the gradient
    in grey levels **per pixel**: 1 on a ramp that rises by 1 from each pixel to the next.  That is the ``dx`` of
    every operator in this package.  ``normalized=False`` gives the whole numbers, eight times as much.

    >>> sobel_x(normalized=False).tolist()
    [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]
    """
    kernel = _kernel([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype, device)
    return kernel / 8 if normalized else kernel


def sobel_y(*, normalized: bool = True, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return Sobel's derivative downward, ``(3, 3)``: :func:`sobel_x` after a quarter turn clockwise.

    The scale is that of :func:`sobel_x`.

    >>> bool((sobel_y() == rotate90(sobel_x())).all())
    True
    """
    return sobel_x(normalized=normalized, dtype=dtype, device=device).t().contiguous()


def laplacian(kind: Laplacian = "cross", *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return a discrete Laplacian, ``(3, 3)``: the neighbours' mean minus the pixel, up to a factor.

    ``"cross"`` uses the 4 nearest pixels and ``"isotropic"`` all 8 with the weights 4 and 1, over 6: both give
    4 on ``x ** 2 + y ** 2``, and the second has the same error in every direction, for which reason
    ``IsoTwist2d`` uses it.  ``"square"`` weighs all 8 alike, as many image programs do, and is 3 times as large.

    Raises:
        ValueError: the kind is none of these.
    """
    if kind not in _LAPLACIANS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, _LAPLACIANS))}, got {kind!r}")
    return _kernel(_LAPLACIANS[kind], dtype, device)


def box(size: int = 3, *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return the plain mean over ``size x size`` pixels.

    Raises:
        ValueError: the size is not odd and positive.
    """
    return _kernel([[1 / _odd_size(size) ** 2] * size] * size, dtype, device)


def gaussian(size: int = 3, sigma: float | None = None, *, dtype: torch.dtype | None = None,
             device: Device = None) -> Tensor:
    """Return a blur whose weights sum to 1, ``(size, size)``.

    Without ``sigma`` (in pixels) the weights are binomial, 1 2 1 for size 3, which is the Gaussian's usual stand-in:
    its variance is ``(size - 1) / 4``.  With ``sigma`` the bell curve is sampled at the pixel centres.

    Raises:
        ValueError: the size is not odd and positive, or ``sigma`` is not positive.

    >>> (gaussian() * 16).tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    reach = _odd_size(size) // 2
    if sigma is None:
        weights = [float(math.comb(size - 1, k)) for k in range(size)]
    elif sigma > 0:
        weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    else:
        raise ValueError(f"sigma must be positive, in pixels, got {sigma!r}; leave it out for binomial weights")
    row = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    return torch.outer(row, row).to(dtype=dtype or torch.get_default_dtype(), device=device)


def sharpen(amount: float = 1.0, *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return identity minus ``amount`` times the Laplacian: what a blur would take away is added instead.

    >>> sharpen().tolist()
    [[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]
    """
    return identity(dtype=dtype, device=device) - amount * laplacian(dtype=dtype, device=device)


def emboss(*, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return the relief kernel: the picture plus its slope along the falling diagonal.

    >>> emboss().tolist()
    [[-2.0, -1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 2.0]]
    """
    return _kernel([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype, device)


def rotate90(kernel: Tensor, turns: int = 1) -> Tensor:
    """Turn the last two axes by ``turns`` quarter turns, clockwise as seen on the screen.

    One turn is the announcement's ``transpose(2, 3).flip(3)``: it makes the kernel for y from the kernel for x.

    >>> rotate90(torch.tensor([[1, 2], [3, 4]])).tolist()
    [[3, 1], [4, 2]]
    """
    _square(kernel)
    return torch.rot90(kernel, -turns, (-2, -1)).contiguous()


def odd_part(kernel: Tensor) -> Tensor:
    """Return the half that changes sign under a half turn: ``(k - turned k) / 2``; its middle weight is 0."""
    _square(kernel)
    return (kernel - kernel.flip(-2, -1)) / 2


def even_part(kernel: Tensor) -> Tensor:
    """Return the half that a half turn leaves alone: ``(k + turned k) / 2``."""
    _square(kernel)
    return (kernel + kernel.flip(-2, -1)) / 2


def basis(*, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return the nine kernels named in :data:`BASIS`, ``(9, 3, 3)``.

    Each is a product of one row and one column out of 0 1 0 (do nothing), (-1 0 1)/2 (central difference) and
    1 -2 1 (second difference).

    >>> basis()[1].tolist()
    [[0.0, 0.0, 0.0], [-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    """
    lines = torch.tensor([[0, 1, 0], [-0.5, 0, 0.5], [1, -2, 1]], dtype=torch.float64)
    kernels = [torch.outer(lines[name.count("y")], lines[name.count("x")]) + 0.0 for name in BASIS]  # no -0
    return torch.stack(kernels).to(dtype=dtype or torch.get_default_dtype(), device=device)


def decompose(kernel: Tensor) -> Tensor:
    """Turn nine weights into coefficients of 1, dx, dy, dxx, dxy, dyy, dxxy, dxyy, dxxyy: ``(..., 3, 3) -> (..., 9)``.

    The coefficient of a derivative of orders ``p`` in x and ``q`` in y is the moment ``sum(k x^p y^q) / (p! q!)``,
    which is what Taylor's expansion asks for: applied to a smooth picture, the kernel acts as that sum of
    derivatives per pixel, up to errors of higher order.  :func:`compose` goes back.

    >>> dict(zip(BASIS, decompose(sobel_x()).tolist()))["dx"], decompose(sobel_x())[7].item()
    (1.0, 0.25)
    """
    _square(kernel, 3)
    kernel = kernel if kernel.is_floating_point() else kernel.to(torch.get_default_dtype())
    position = torch.tensor([-1.0, 0.0, 1.0], dtype=kernel.dtype, device=kernel.device)
    powers = torch.stack([torch.ones_like(position), position, position**2 / 2])
    moments = powers @ kernel @ powers.t()  # [order in y, order in x]
    return torch.stack([moments[..., name.count("y"), name.count("x")] for name in BASIS], -1)


def compose(coefficients: Tensor) -> Tensor:
    """Turn coefficients in :data:`BASIS` back into kernels, ``(..., 9) -> (..., 3, 3)``; undoes :func:`decompose`.

    Raises:
        ValueError: the last axis does not hold nine numbers.
    """
    if coefficients.shape[-1:] != (len(BASIS),):
        raise ValueError(f"coefficients must end in an axis of {len(BASIS)}, got shape {tuple(coefficients.shape)}")
    kernels = basis(dtype=coefficients.dtype, device=coefficients.device)
    return (coefficients @ kernels.flatten(1)).unflatten(-1, (3, 3))


def _kernel(rows: Sequence[Sequence[float]], dtype: torch.dtype | None, device: Device) -> Tensor:
    return torch.tensor(rows, dtype=dtype or torch.get_default_dtype(), device=device)


def _odd_size(size: int) -> int:
    if not isinstance(size, int) or size < 1 or size % 2 == 0:
        raise ValueError(f"size must be an odd whole number, so that the kernel has a middle; got {size!r}")
    return size


def _square(kernel: Tensor, side: int | None = None) -> None:
    shape = tuple(kernel.shape[-2:])
    if len(shape) != 2 or shape[0] != shape[1] or side not in (None, shape[0]):
        wanted = f"({side}, {side})" if side else "a square"
        raise ValueError(f"kernel must end in {wanted}, got shape {tuple(kernel.shape)}")
