"""The flow lab: many small steps of a first-order operator beside the exact motion.

Book: chapter 8.
"""

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy.typing as npt

from convtwist.labs.page import Lab, build
from convtwist.labs.still import to_data_url

__all__ = ["MOTIONS", "flow_lab"]

Motion: TypeAlias = Literal["rotate", "zoom", "right", "down", "shear_x", "shear_y", "mix"]

MOTIONS: dict[Motion, tuple[float, float]] = {
    "rotate": (-180, 180), "zoom": (0.5, 2), "right": (-60, 60), "down": (-60, 60), "shear_x": (-1, 1),
    "shear_y": (-1, 1), "mix": (-1, 1),
}
"""Motions with the least and largest amount: degrees, factor, pixels, slope; named as in `convtwist.flow`."""

_METHODS = ("euler", "rk4")


def flow_lab(photo: npt.ArrayLike, *, motion: Motion = "rotate", amount: float | None = None, steps: int = 300,
             method: Literal["euler", "rk4"] = "euler", soften: float = 3.0,
             field: Iterable[Iterable[float]] | None = None, alt: str = "The photograph of this chapter") -> Lab:
    """Return the lab that moves a photograph by small steps, and says how far they stray and when they blow up.

    The arguments are only where it starts; a reader can change them all.

    Args:
        photo: the photograph it starts with, ``(H, W, 3)`` or ``(H, W)``, uint8, uint16 or floating point in
            0..1; reduced to 256 pixels on the longer side.  Readers can load their own on the page.
        motion: a name in `MOTIONS`; ``"mix"`` is a field of one's own.
        amount: how far: degrees for a rotation, the factor of a zoom, pixels, or the slope of a shear.
        steps: how many steps, from 1 to 300.
        method: ``"euler"`` or ``"rk4"``.
        soften: standard deviation of the Gaussian blur before the first step, in pixels, from 0 to 6.
        field: for ``"mix"``, the six numbers ``((p_x, p_y, p_1), (q_x, q_y, q_1))`` of `convtwist.flow`; by default
            the rotation's.
        alt: what the photograph shows, for readers who cannot see it.

    Raises:
        ValueError: an argument is out of range or unknown.
    """
    if motion not in MOTIONS:
        raise ValueError(f"motion must be one of {', '.join(map(repr, MOTIONS))}, got {motion!r}")
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}, got {method!r}")
    least, most = MOTIONS[motion]
    if amount is not None and not least <= amount <= most:
        raise ValueError(f"amount must lie between {least} and {most} for {motion!r}, got {amount!r}")
    if isinstance(steps, bool) or int(steps) != steps or not 1 <= steps <= 300:
        raise ValueError(f"steps must be a whole number from 1 to 300, got {steps!r}")
    if not 0 <= soften <= 6:
        raise ValueError(f"soften must lie between 0 and 6 pixels, got {soften!r}")
    rows = [[float(value) for value in row] for row in (field if field is not None else ((0, 1, 0), (-1, 0, 0)))]
    if [len(row) for row in rows] != [3, 3] or not all(math.isfinite(value) for row in rows for value in row):
        raise ValueError("field must be two rows of three finite numbers")
    return build(
        "flow lab",
        ("core.mjs", "widgets.mjs", "picture.mjs", "operators.mjs", "warp.mjs", "slider.mjs", "playback.mjs",
         "field.mjs", "flow_lab.mjs"),
        says="Here a lab moves this photograph by many small steps of a first-order operator, beside the exact "
        "motion, and shows the error and when the numbers blow up.",
        config={
            "motion": motion, "amount": amount, "steps": int(steps), "method": method, "soften": float(soften),
            "field": rows,
        },
        still=(to_data_url(photo), alt),
    )
