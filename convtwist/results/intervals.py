"""Student's interval for a mean over seeds.

Book: chapter 12.  Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.
"""

import math
import statistics
from typing import NamedTuple

from convtwist._arguments import check_whole

__all__ = ["Interval", "mean_interval", "student"]


class Interval(NamedTuple):
    """A mean over seeds, and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float
    seeds: int


def mean_interval(values: list[float], level: float = 0.95) -> Interval:
    """Return the mean and Student's interval for it.

    Raises:
        ValueError: there are fewer than two values.

    >>> [round(number, 3) for number in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484, 3]
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs two seeds or more that both networks were run with, got {len(values)}")
    mean = statistics.mean(values)
    half = student(level, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


def student(level: float, degrees: int) -> float:
    """Return the t that Student's distribution stays within, on both sides, with probability ``level``.

    For whole degrees of freedom the probability is a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4); its
    inverse is found by halving.

    >>> round(student(0.95, 4), 3)
    2.776
    """
    check_whole(degrees, "degrees")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")

    def inside(angle: float) -> float:
        cosine, odd = math.cos(angle), degrees % 2
        term, total = (cosine if odd else 1.0), 0.0
        for k in range(degrees // 2):
            total += term
            term *= cosine * cosine * (2 * k + 1 + odd) / (2 * k + 2 + odd)
        part = math.sin(angle) * total
        return 2 / math.pi * (angle + part) if odd else part

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return math.sqrt(degrees) * math.tan(low)
