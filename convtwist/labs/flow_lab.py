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

Motion: TypeAlias = Literal["dx", "right", "down", "rotate", "zoom", "shear_x", "shear_y", "whirl", "mix"]

MOTIONS: dict[Motion, tuple[float, float]] = {
    "dx": (-60, 60), "right": (-60, 60), "down": (-60, 60), "rotate": (-180, 180), "zoom": (0.5, 2),
    "shear_x": (-1, 1), "shear_y": (-1, 1), "whirl": (-360, 360), "mix": (-1, 1),
}
"""Motions with the least and largest amount: pixels, degrees, factor, slope; named as in `convtwist.flow`.

``"whirl"`` turns the middle and leaves the border as it is, so its field is not linear; ``"mix"`` is of one's own.
"""

_METHODS = ("euler", "rk4")
_MOST_STEPS = 3000


def flow_lab(photo: npt.ArrayLike, *, motion: Motion = "dx", amount: float | None = None, steps: int = 100,
             method: Literal["euler", "rk4"] = "euler", soften: float = 0.0,
             field: Iterable[Iterable[float]] | None = None, alt: str = "The photograph of this chapter") -> Lab:
    """Return the lab that moves a photograph by small steps, and says how far they stray and when they blow up.

    It waits at step 0 to be played.  The arguments are only where it starts, which is chapter 8's first experiment; a
    reader can change them all, and take stripes, a spot or a zone plate in place of the photograph.

    Args:
        photo: the photograph it starts with, ``(H, W, 3)`` or ``(H, W)``, uint8, uint16 or floating point in
            0..1; reduced to 256 pixels on the longer side.  Readers can load their own on the page.
        motion: a name in `MOTIONS`; ``"mix"`` is a field of one's own.
        amount: how far: degrees for a rotation or a whirl, the factor of a zoom, pixels, or the slope of a shear.
        steps: how many steps, from 1 to 3000.
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
    if isinstance(steps, bool) or int(steps) != steps or not 1 <= steps <= _MOST_STEPS:
        raise ValueError(f"steps must be a whole number from 1 to {_MOST_STEPS}, got {steps!r}")
    if not 0 <= soften <= 6:
        raise ValueError(f"soften must lie between 0 and 6 pixels, got {soften!r}")
    rows = [[float(value) for value in row] for row in (field if field is not None else ((0, 1, 0), (-1, 0, 0)))]
    if [len(row) for row in rows] != [3, 3] or not all(math.isfinite(value) for row in rows for value in row):
        raise ValueError("field must be two rows of three finite numbers")
    return build(
        "flow lab",
        ("core.mjs", "widgets.mjs", "picture.mjs", "operators.mjs", "warp.mjs", "slider.mjs", "playback.mjs",
         "field.mjs", "patterns.mjs", "flow_lab.mjs"),
        says="Here a lab moves this photograph by many small steps of a first-order operator, beside the exact "
        "motion, and shows the error and when the numbers blow up.",
        config={
            "motion": motion, "amount": amount, "steps": int(steps), "method": method, "soften": float(soften),
            "field": rows,
        },
        still=(to_data_url(photo), alt),
    )
