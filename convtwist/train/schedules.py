"""How the learning rate moves over a run, as a factor of its highest value.

Book: chapter 11.  Source: arXiv 1708.07120 with cosines for one-cycle; flat-and-anneal is the leaderboard's
``fit_flat_cos``.  The momentum stays as it is.  torch's ``OneCycleLR`` takes its number of steps from the checkpoint:
with it a run could not be continued for more epochs than it was begun with, as it can with a factor for ``LambdaLR``.
"""

import math
from collections.abc import Callable

from convtwist._arguments import check_choice

__all__ = ["SCHEDULES", "constant", "factor", "flat_and_anneal", "one_cycle"]


def one_cycle(progress: float, warm: float = 0.25, start: float = 1 / 25, end: float = 1e-5) -> float:
    """Rise from ``start`` to 1 in the first ``warm`` of the run, then fall to ``end``, both along cosines.

    >>> [round(one_cycle(p), 3) for p in (0, 0.125, 0.25, 0.625, 1)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    if progress < warm:
        return _cosine(start, 1, progress / warm)
    return _cosine(1, end, (progress - warm) / (1 - warm))


def flat_and_anneal(progress: float, flat: float = 0.75) -> float:
    """Stay at 1 for ``flat`` of the run, then fall to 0 along a cosine.

    >>> [round(flat_and_anneal(p), 3) for p in (0, 0.75, 0.875, 1)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return _cosine(1, 0, max(0.0, progress - flat) / (1 - flat))


def constant(progress: float) -> float:
    """Stay at 1."""
    return 1.0


def factor(schedule: str, step: int, steps: int) -> float:
    """Return the schedule's factor for one step of a run, counted from 0; beyond the run, that of its end.

    Raises:
        ValueError: no schedule has that name.
    """
    return SCHEDULES[check_choice(schedule, "schedule", SCHEDULES)](min(1.0, step / max(1, steps - 1)))


def _cosine(start: float, end: float, progress: float) -> float:
    return float(end + (start - end) * (1 + math.cos(math.pi * progress)) / 2)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "one_cycle": one_cycle, "flat_and_anneal": flat_and_anneal, "constant": constant}
