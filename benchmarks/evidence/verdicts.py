"""The plans' hypotheses beside what came out: ``python -m benchmarks.evidence.verdicts`` writes the verdicts anew.

Book: chapter 12.  Source: ``plan.md``, ``plan_2.md`` and ``plan_3.md``, which were written before their runs.  The
verdicts lie in ``benchmarks/results/evidence_verdicts.json``, ``evidence_2_verdicts.json`` and
``evidence_3_verdicts.json``; ``convtwist.results.load("evidence_verdicts")`` reads them.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.evidence.plan_3 import ANGLES
from convtwist import results
from convtwist.results.evidence import accuracies, difference, gain_lost
from convtwist.results.intervals import Interval, mean_interval
from convtwist.results.resampling import bootstrap, named

TARGET = Path(__file__).parents[1] / "results" / "evidence_verdicts.json"
TARGET_2, TARGET_3 = (TARGET.with_name(f"evidence_{plan}_verdicts.json") for plan in (2, 3))
LEVELS = (0.95, 0.992)  # one comparison by itself; all six together
LEVELS_2 = (0.95, 0.994)  # all eight
LEVELS_3 = (0.95, 0.983)  # all three


class Verdict(NamedTuple):
    """A hypothesis of the plan beside what came out."""

    name: str
    claim: str
    interval: Interval
    outcome: str


def verdicts(rows: list[dict], level: float = 0.95) -> list[Verdict]:
    """Return the plan's six primary comparisons, each with its interval and "supported", "refuted" or "undecided".

    Those that were not run with two seeds are left out.
    """
    def turned(variant, baseline):
        return lambda: difference(rows, variant, baseline, "turned", "turned", level=level)

    def upright(variant):
        return lambda: difference(rows, variant, "conv", "upright", "upright", level=level)

    return _judged((
        ("H1", "with turns and zooms, the twist wins at equal parameters", turned("twist", "conv_wide"), above(0, 1)),
        ("H2a", "the isotropic layer wins at equal parameters", turned("iso_wide", "conv"), above(0, 1)),
        ("H2b", "and comes within 3 points of a steerable network", turned("iso_wide", "e2cnn"), above(-3, -3)),
        ("H3a", "upright, the twist is level with a convolution", upright("twist"), level_within(0.5)),
        ("H3b", "and so is a twist that starts at zero", upright("twist_zero"), level_within(0.5)),
        ("H4", "the gain shrinks as the object leaves the centre",
         lambda: gain_lost(rows, "twist", "conv_wide", "turned", "turned_4", level=level), above(0, 0)),
    ))


def verdicts_2(rows: list[dict], level: float = 0.95) -> list[Verdict]:
    """Return the second plan's eight primary comparisons, likewise."""
    def turned(variant, baseline):
        return lambda: difference(rows, variant, baseline, "turned", "turned", "controls", level)

    return _judged((
        ("C1", "an ordinary convolution behind a log-polar warp beats the twist", turned("log_polar", "twist"),
         above(0, 0)),
        ("C2", "the coordinates matter, not only the parametrisation", turned("twist", "twist_flat"), above(0, 1)),
        ("C3", "which pair of fields matters", turned("twist", "twist_hyperbolic"), above(0, 1)),
        ("C4", "a convolution gains from a start with more first order", turned("conv_sloped", "conv_wide"),
         above(0, 1)),
        ("C5", "the length of the gradient helps the isotropic layer", turned("iso_gradient", "iso_wide"), above(0, 1)),
        ("C6", "the length of the gradient without coordinates beats the twist", turned("gradient", "twist"),
         above(0, 0)),
        ("C7", "the origin matters in training", turned("twist", "twist_corner"), above(0, 1)),
        ("C8", "a Laplacian that commutes with zooms is level with the plain one", turned("iso_r2", "iso_wide"),
         level_within(1)),
    ))


def verdicts_3(rows: list[dict], level: float = 0.95, right: list[dict] | None = None) -> list[Verdict]:
    """Return the third plan's three comparisons; ``right`` says which pictures were named rightly."""
    right = results.rows("evidence_3_named") if right is None else right

    def resampled(variant, baseline):
        return lambda: bootstrap(named(right, variant), named(right, baseline), level)

    def worst(variant):
        by_angle = [accuracies(rows, variant, "upright", f"angle_{angle}", "angles") for angle in ANGLES]
        return {seed: min(found[seed] for found in by_angle) for seed in by_angle[0]}

    def at_worst():
        ours, theirs = worst("iso_wide"), worst("twist")
        return mean_interval([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())], level)

    return _judged((
        ("D1", "the twist's gain is not one of the pictures and poses drawn", resampled("twist", "conv_wide"),
         above(0, 1)),
        ("D2", "nor is the lead of the log-polar warp over the twist", resampled("log_polar", "twist"), above(0, 0)),
        ("D3", "at its worst angle the isotropic layer keeps more than the twist", at_worst, above(0, 0)),
    ))


def above(bound: float, refuted: float) -> Callable[[Interval], str]:
    """Judge an interval: supported above ``bound``, refuted below ``refuted``."""
    return lambda i: "supported" if i.low > bound else "refuted" if i.high < refuted else "undecided"


def level_within(bound: float) -> Callable[[Interval], str]:
    """Judge an interval: supported within ``bound`` on either side of zero, refuted wholly outside."""
    return lambda i: ("supported" if -bound < i.low and i.high < bound
                      else "refuted" if i.low > bound or i.high < -bound else "undecided")


def _judged(plan) -> list[Verdict]:
    found = []
    for name, claim, measure, judge in plan:
        try:
            interval = measure()
        except ValueError:
            continue
        found.append(Verdict(name, claim, interval, judge(interval)))
    return found


def written(rows: list[dict], judge: Callable[..., list[Verdict]] = verdicts, levels=LEVELS) -> str:
    """Return the file: for each level the verdicts, in percentage points."""
    found = {str(level): [verdict._asdict() | {"interval": verdict.interval._asdict()} for verdict in
                          judge(rows, level)] for level in levels}
    return json.dumps(found, indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(written(results.rows("evidence")), encoding="utf-8")
    TARGET_3.write_text(written(results.rows("evidence_3"), verdicts_3, LEVELS_3), encoding="utf-8")
    TARGET_2.write_text(written(results.rows("evidence_2"), verdicts_2, LEVELS_2), encoding="utf-8")
