"""Many small steps of a first-order operator move the picture.

Book: chapter 8.  Source: the remark behind ConvTwist that a residual network is a differential equation taken in
steps, ``u <- u + (t / n) L u``.

A generator is a first-order operator ``L = P dx + Q dy`` whose P and Q are linear in the position (x, y), counted
in **pixels** from the middle, y downward.  Then ``exp(t L) u`` is the picture u seen through a moved window:
its value at a point is the value of u where that point is carried in time t by the velocity (P, Q).
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.types import Device

from convtwist._arguments import PaddingMode, check_choice, check_whole
from convtwist.operators import gradient

__all__ = ["GENERATORS", "exact_warp", "flow", "generator_matrix"]

Name: TypeAlias = Literal["dx", "dy", "E", "R", "right", "down", "zoom", "rotate", "shear_x", "shear_y"]
Generator: TypeAlias = Name | Sequence[Sequence[float]] | Tensor
"""A generator's name, or its two rows of three numbers."""

GENERATORS: dict[Name, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "dx": ((0, 0, 1), (0, 0, 0)),
    "dy": ((0, 0, 0), (0, 0, 1)),
    "E": ((1, 0, 0), (0, 1, 0)),
    "R": ((0, 1, 0), (-1, 0, 0)),
    "right": ((0, 0, -1), (0, 0, 0)),
    "down": ((0, 0, 0), (0, 0, -1)),
    "zoom": ((-1, 0, 0), (0, -1, 0)),
    "rotate": ((0, 1, 0), (-1, 0, 0)),
    "shear_x": ((0, -1, 0), (0, 0, 0)),
    "shear_y": ((0, 0, 0), (-1, 0, 0)),
}
"""Named generators as ``((p_x, p_y, p_1), (q_x, q_y, q_1))``: ``(p_x x + p_y y + p_1) dx + (...) dy``.

dx, dy, E and R are the operators of that name.  The others are named after what the eye sees for t > 0: the
picture moves right or down by t pixels, grows by the factor exp(t), turns clockwise by t radians, or slants:
``shear_x`` moves row y to the right by t y pixels, ``shear_y`` moves column x down by t x pixels.  So "rotate" is
R and "zoom" is -E.
"""


def generator_matrix(generator: Generator, *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
    """Return a generator as a ``(2, 3)`` tensor, from its name or from its six numbers.

    Raises:
        ValueError: the name is unknown or there are not two rows of three numbers.

    >>> generator_matrix("R").tolist()
    [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
    """
    if isinstance(generator, str):
        check_choice(generator, "generator", GENERATORS)
        generator = GENERATORS[generator]
    matrix = torch.as_tensor(generator, dtype=dtype or torch.get_default_dtype(), device=device)
    if matrix.shape != (2, 3):
        raise ValueError(f"generator must be one of {', '.join(map(repr, GENERATORS))} or two rows of three numbers, "
                         f"got shape {tuple(matrix.shape)}")
    return matrix


def flow(image: Tensor, generator: Generator, t: float, steps: int, method: Literal["euler", "rk4"] = "euler", *,
         padding_mode: PaddingMode = "replicate") -> Tensor:
    """Approximate ``exp(t L) image`` by ``steps`` small steps, each looking one pixel far.

    Args:
        image: ``(..., height, width)``.
        generator: a name in :data:`GENERATORS` or its six numbers, see :func:`generator_matrix`.
        t: how far: pixels for a translation, radians for a rotation, the logarithm of the factor for a zoom.
        steps: how many steps; the error falls as 1 / steps for Euler, much faster for Runge-Kutta.
        method: ``"euler"``, one evaluation of L for each step, or ``"rk4"``, four, the classical Runge-Kutta.
        padding_mode: what lies beyond the border, as for ``nn.Conv2d``.

    Returns:
        A tensor like ``image``.  Steps that are too large blow up: see chapter 8.

    Raises:
        ValueError: an argument is out of range.

    >>> bump = torch.exp(-((torch.arange(24.) - 8) / 4) ** 2).expand(5, 24)
    >>> flow(bump, "right", t=4, steps=100)[2].argmax().item()  # it was at 8
    12
    """
    check_whole(steps, "steps")
    check_choice(method, "method", ("euler", "rk4"))
    p, q = _velocity(image, generator)

    def change(u: Tensor) -> Tensor:
        dx, dy = gradient(u, padding_mode=padding_mode)
        return p * dx + q * dy

    h, u = t / steps, image
    for _ in range(steps):
        k1 = change(u)
        if method == "euler":
            u = u + h * k1
            continue
        k2 = change(u + h / 2 * k1)
        k3 = change(u + h / 2 * k2)
        k4 = change(u + h * k3)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return u


def exact_warp(image: Tensor, generator: Generator, t: float) -> Tensor:
    """Return ``exp(t L) image`` by looking up where every pixel comes from, with bilinear interpolation.

    Arguments as for :func:`flow`; zeros lie beyond the border.

    >>> image = torch.rand(5, 5)
    >>> quarter = exact_warp(image, "rotate", torch.pi / 2)
    >>> torch.allclose(quarter, image.rot90(-1), atol=1e-5)  # -1: clockwise
    True
    """
    x, y = _pixel_grid(image)
    height, width = image.shape[-2:]
    motion = torch.zeros(3, 3, dtype=torch.float64)
    motion[:2] = generator_matrix(generator, dtype=torch.float64)
    motion = torch.linalg.matrix_exp(t * motion).to(x)
    source_x = motion[0, 0] * x + motion[0, 1] * y + motion[0, 2]
    source_y = motion[1, 0] * x + motion[1, 1] * y + motion[1, 2]
    grid = torch.stack([2 * source_x / width, 2 * source_y / height], -1)[None]
    maps = image.reshape(1, -1, height, width)
    return F.grid_sample(maps, grid.to(image.dtype), align_corners=False).view(image.shape)


def _velocity(image: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return P and Q at every pixel, in pixels."""
    x, y = _pixel_grid(image)
    (px, py, p1), (qx, qy, q1) = generator_matrix(generator, dtype=x.dtype, device=x.device)
    return (px * x + py * y + p1).to(image.dtype), (qx * x + qy * y + q1).to(image.dtype)


def _pixel_grid(image: Tensor) -> tuple[Tensor, Tensor]:
    if image.dim() < 2 or not image.is_floating_point():
        raise ValueError(f"image must be a floating point tensor (..., height, width), got {image.dtype} shaped "
                         f"{tuple(image.shape)}; use image.float() / 255 for a photograph")
    height, width = image.shape[-2:]
    dtype = torch.promote_types(image.dtype, torch.float32)
    x = torch.arange(width, dtype=dtype, device=image.device).view(1, -1) - (width - 1) / 2
    y = torch.arange(height, dtype=dtype, device=image.device).view(-1, 1) - (height - 1) / 2
    return x, y
