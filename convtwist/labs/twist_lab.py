"""The twist lab: a layer that zooms and turns the photograph about a centre to be dragged.

Book: chapter 9.
"""

import numpy.typing as npt

from convtwist.labs.page import Lab, build
from convtwist.labs.still import to_data_url

__all__ = ["twist_lab"]


def twist_lab(photo: npt.ArrayLike, *, a: float = 0.0, b: float = 0.25, steps: int = 60,
              center: tuple[float, float] = (0.0, 0.0), soften: float = 3.0,
              alt: str = "The photograph of this chapter") -> Lab:
    """Return the lab that applies ``u + a (X dx u + Y dy u) + b (Y dx u - X dy u)`` to a photograph, again and again.

    The arguments are only where it starts; a reader can change them all.

    Args:
        photo: the photograph it starts with, ``(H, W, 3)`` or ``(H, W)``, uint8, uint16 or floating point in
            0..1; reduced to 256 pixels on the longer side.  Readers can load their own on the page.
        a: zoom coefficient, from -2 to 2; positive numbers make the picture smaller.
        b: rotation coefficient, from -2 to 2; positive numbers turn clockwise, by ``2 b / w`` radians in one step,
            with ``w`` the longer side in pixels.
        steps: how many times the layer is applied, from 1 to 100.
        center: x and y of the point that stays, from -1 to 1, in halves of the longer side from the middle.
        soften: standard deviation of the Gaussian blur before the first step, in pixels, from 0 to 6.
        alt: what the photograph shows, for readers who cannot see it.

    Raises:
        ValueError: an argument is out of range.
    """
    if len(center) != 2:
        raise ValueError(f"center must be x and y, got {center!r}")
    cx, cy = center
    for name, value, least, most in (("a", a, -2, 2), ("b", b, -2, 2), ("steps", steps, 1, 100),
                                     ("center", cx, -1, 1), ("center", cy, -1, 1), ("soften", soften, 0, 6)):
        if isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name} must lie between {least} and {most}, got {value!r}")
    if int(steps) != steps:
        raise ValueError(f"steps must be a whole number, got {steps!r}")
    return build(
        "twist lab",
        ("core.mjs", "widgets.mjs", "picture.mjs", "operators.mjs", "warp.mjs", "slider.mjs", "playback.mjs",
         "field.mjs", "twist_rules.mjs", "twist_lab.mjs"),
        says="Here a lab turns and zooms this photograph with one small layer about a centre to be dragged, and shows "
        "the vector field, the twist term and the weights.",
        config={
            "a": float(a), "b": float(b), "steps": int(steps), "cx": float(cx), "cy": float(cy),
            "soften": float(soften),
        },
        still=(to_data_url(photo), alt),
    )
