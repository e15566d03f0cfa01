"""The kernel microscope: nine weights, their response, and the operators they are made of.

Book: chapter 6; chapter 7 opens it with the operator coefficients in front.
"""

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy.typing as npt

from convtwist.labs.page import Lab, build
from convtwist.labs.still import to_data_url

__all__ = ["PRESETS", "kernel_microscope"]

Preset: TypeAlias = Literal["identity", "box", "gaussian", "sharpen", "sobel_x", "sobel_y", "laplacian", "isotropic",
                            "emboss", "shift", "average", "difference"]

PRESETS: tuple[Preset, ...] = (
    "identity", "box", "gaussian", "sharpen", "sobel_x", "sobel_y", "laplacian", "isotropic", "emboss", "shift",
    "average", "difference",
)
"""Kernels it can start with, named as in `convtwist.kernels` where they are there, too."""

_VIEWS = ("kernel", "operators")


def kernel_microscope(photo: npt.ArrayLike, *, kernel: Preset | Iterable[Iterable[float]] = "sobel_x",
                      view: Literal["kernel", "operators"] = "kernel",
                      alt: str = "The photograph of this chapter") -> Lab:
    """Return the lab that shows what nine weights do to a photograph, and what they are made of.

    Even and odd part with their shares of the energy, the nine operator coefficients of
    `convtwist.kernels.decompose`, which can be edited as well, the rank, and size and phase of the Fourier transform
    follow every change. At one pixel the nine products and their sum are shown.
    The photograph's border pixels are repeated, so that the response has its size.

    Args:
        photo: the photograph it starts with, ``(H, W, 3)`` or ``(H, W)``, uint8, uint16 or floating point in
            0..1; reduced to 256 pixels on the longer side.  Readers can load their own on the page.
        kernel: the kernel to start with, a name in `PRESETS` or three rows of three numbers.
        view: ``"kernel"`` puts the weights first, ``"operators"`` the operator coefficients.
        alt: what the photograph shows, for readers who cannot see it.

    Raises:
        ValueError: the kernel is neither a known name nor 3x3 finite numbers, or the view is unknown.
    """
    if view not in _VIEWS:
        raise ValueError(f"view must be one of {', '.join(map(repr, _VIEWS))}, got {view!r}")
    chosen: str | list[float]
    if isinstance(kernel, str):
        if kernel not in PRESETS:
            raise ValueError(f"kernel must be one of {', '.join(map(repr, PRESETS))} or 3x3 numbers, got {kernel!r}")
        chosen = kernel
    else:
        rows = [[float(weight) for weight in row] for row in kernel]
        if [len(row) for row in rows] != [3, 3, 3] or not all(math.isfinite(weight) for row in rows for weight in row):
            raise ValueError("kernel must be a known name or three rows of three finite numbers")
        chosen = [weight for row in rows for weight in row]
    return build(
        "kernel microscope",
        ("core.mjs", "widgets.mjs", "picture.mjs", "operators.mjs", "products.mjs", "slider.mjs", "camera.mjs",
         "kernel_microscope.mjs"),
        says="Here a lab applies nine weights to this photograph and shows their even and odd part, their operator "
        "coefficients, their rank and their Fourier transform.",
        config={"kernel": chosen, "view": view},
        still=(to_data_url(photo), alt),
    )
