"""How much would other test pictures, other poses and other seeds move a difference?  The bootstrap.

Book: chapter 12.  Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13.
"""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtwist.results.intervals import Interval

__all__ = ["bootstrap", "named"]


def named(rows: list[dict[str, Any]], variant: str, train: str = "turned",
          count: int = 4000) -> dict[int, NDArray[Any]]:
    """Return for each seed which pictures a network named rightly, from the table ``"evidence_3_named"``.

    An array of zeros and ones has a row for each draw of poses and a column for each of the ``count`` pictures.

    Raises:
        ValueError: the rows are not about so many pictures.
    """
    found: dict[int, dict[str, NDArray[Any]]] = {}
    for row in rows:
        if (row["variant"], row["train"]) == (variant, train):
            bits = np.frombuffer(base64.b64decode(row["named"]), np.uint8)
            if len(bits) != -(-count // 8):
                raise ValueError(f"count={count} pictures fill {-(-count // 8)} bytes, but the rows have {len(bits)}; "
                                 "pass the number of pictures that were tested")
            found.setdefault(int(row["seed"]), {})[row["test"]] = np.unpackbits(bits, count=count)
    return {seed: np.stack([draws[test] for test in sorted(draws)]) for seed, draws in sorted(found.items())}


def bootstrap(ours: dict[int, NDArray[Any]], theirs: dict[int, NDArray[Any]], level: float = 0.95,
              repeats: int = 2000) -> Interval:
    """Return the difference of accuracy in percentage points, and its interval by resampling.

    Each time as many seeds are drawn, with replacement, as both networks were run with, and as many pictures.  A
    picture brings all its poses.  The bounds are percentiles of the mean differences.  ``ours`` and ``theirs`` are
    what :func:`named` returns.

    Raises:
        ValueError: they share fewer than two seeds.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        raise ValueError(f"a bootstrap needs two seeds or more that both networks share, got {len(seeds)}")
    gain = np.stack([ours[seed].mean(0) - theirs[seed].mean(0) for seed in seeds]) * 100.0  # seeds x pictures
    source = np.random.default_rng(0)
    means = np.empty(repeats)
    for k in range(repeats):
        of_pictures = source.multinomial(gain.shape[1], np.full(gain.shape[1], 1 / gain.shape[1]))
        of_seeds = source.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)))
        means[k] = of_seeds @ gain @ of_pictures / gain.size
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(gain.mean()), float(low), float(high), len(seeds))
