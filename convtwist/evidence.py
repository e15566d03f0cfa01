"""Does the twist help?  The tables and intervals of the evidence, worked out from its rows.

Book: chapter 11.  Source: ``benchmarks/evidence/plan.md``, which was written before the runs; the rows come from
``convtwist.results.rows("evidence")``.  Accuracies are in percent, differences in percentage points.
"""

import math
import statistics
from typing import NamedTuple

from convtwist.arguments import choice, whole

__all__ = ["EXPERIMENTS", "Interval", "Verdict", "accuracies", "costs", "difference", "gain_lost", "mean_interval",
           "rates", "student", "summary", "twist_sizes", "verdicts"]

EXPERIMENTS = {"small": ("main", "rest", "others"), "equal time": ("equal",), "displaced": ("displaced",),
               "full": ("full",)}
"""What the chapter calls an experiment, and the plan's stages that belong to it."""
_TUNING = ("tune", "tune_others")


class Interval(NamedTuple):
    """A mean over seeds, and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float
    seeds: int


class Verdict(NamedTuple):
    """A hypothesis of the plan beside what came out."""

    name: str
    claim: str
    interval: Interval
    outcome: str


def accuracies(rows: list[dict], variant: str, train: str, test: str, experiment: str = "small") -> dict[int, float]:
    """Return the test accuracy of every seed, in percent; empty if there was no such run.

    At equal time Conv2d is its own measure: its runs are those of ``"small"``.
    """
    stages = EXPERIMENTS[choice(experiment, "experiment", EXPERIMENTS)]
    if experiment == "equal time" and variant == "conv":
        stages = EXPERIMENTS["small"]
    return {row["seed"]: 100 * row["correct"] / row["test_images"] for row in rows
            if row["stage"] in stages and (row["variant"], row["train"], row["test"]) == (variant, train, test)}


def summary(rows: list[dict], experiment: str = "small") -> list[dict]:
    """Return, for every variant, training and test that was run: seeds, mean, standard deviation, least and most.

    The deviation is that of single runs, with ``seeds - 1`` in the denominator; ``nan`` for a single one.
    """
    stages = EXPERIMENTS[choice(experiment, "experiment", EXPERIMENTS)]
    cases = dict.fromkeys((row["variant"], row["train"], row["test"]) for row in rows if row["stage"] in stages)
    if experiment == "equal time" and cases:
        cases = {("conv", train, test): None for _, train, test in cases} | cases
    table = []
    for variant, train, test in cases:
        values = list(accuracies(rows, variant, train, test, experiment).values())
        if values:
            table.append({"variant": variant, "train": train, "test": test, "seeds": len(values),
                          "mean": statistics.mean(values),
                          "deviation": statistics.stdev(values) if len(values) > 1 else math.nan,
                          "least": min(values), "most": max(values)})
    return table


def difference(rows: list[dict], variant: str, baseline: str, train: str, test: str, experiment: str = "small",
               level: float = 0.95) -> Interval:
    """Return by how many points a variant is above a baseline, paired over the seeds that both were run with.

    Raises:
        ValueError: they share fewer than two seeds.
    """
    ours = accuracies(rows, variant, train, test, experiment)
    theirs = accuracies(rows, baseline, train, test, experiment)
    return mean_interval([ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()], level)


def gain_lost(rows: list[dict], variant: str, baseline: str, near: str, far: str, train: str = "turned",
              experiment: str = "small", level: float = 0.95) -> Interval:
    """Return how much of the gain over a baseline is lost from one test to another, paired over seeds.

    Raises:
        ValueError: fewer than two seeds were run in all four cases.
    """
    found = [accuracies(rows, name, train, test, experiment) for test in (near, far) for name in (variant, baseline)]
    shared = set.intersection(*(set(values) for values in found))
    return mean_interval([found[0][k] - found[1][k] - found[2][k] + found[3][k] for k in shared], level)


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
    whole(degrees, "degrees")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")

    def inside(angle):
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


def verdicts(rows: list[dict], level: float = 0.95) -> list[Verdict]:
    """Return the plan's six primary comparisons, each with its interval and "supported", "refuted" or "undecided".

    Those that were not run with two seeds are left out.
    """
    def turned(variant, baseline):
        return lambda: difference(rows, variant, baseline, "turned", "turned", level=level)

    def upright(variant):
        return lambda: difference(rows, variant, "conv", "upright", "upright", level=level)

    def above(bound, refuted):
        return lambda i: "supported" if i.low > bound else "refuted" if i.high < refuted else "undecided"

    def level_within(bound):
        return lambda i: ("supported" if -bound < i.low and i.high < bound
                          else "refuted" if i.low > bound or i.high < -bound else "undecided")

    plan = (
        ("H1", "with turns and zooms, the twist wins at equal parameters", turned("twist", "conv_wide"), above(0, 1)),
        ("H2a", "the isotropic layer wins at equal parameters", turned("iso_wide", "conv"), above(0, 1)),
        ("H2b", "and comes within 3 points of a steerable network", turned("iso_wide", "e2cnn"), above(-3, -3)),
        ("H3a", "upright, the twist is level with a convolution", upright("twist"), level_within(0.5)),
        ("H3b", "and so is a twist that starts at zero", upright("twist_zero"), level_within(0.5)),
        ("H4", "the gain shrinks as the object leaves the centre",
         lambda: gain_lost(rows, "twist", "conv_wide", "turned", "turned_4", level=level), above(0, 0)),
    )
    found = []
    for name, claim, measure, judge in plan:
        try:
            interval = measure()
        except ValueError:
            continue
        found.append(Verdict(name, claim, interval, judge(interval)))
    return found


def costs(rows: list[dict]) -> list[dict]:
    """Return each variant's parameters, multiply-adds for a picture, and median CPU seconds per 1,000 trained.

    The median is over the runs of all stages but the tuning; ``ratio`` is to ``conv``, absent without it.
    """
    table = []
    for variant in dict.fromkeys(row["variant"] for row in rows if row["stage"] not in _TUNING):
        runs = {(row["stage"], row["seed"], row["train"]): row for row in rows
                if row["variant"] == variant and row["stage"] not in _TUNING}.values()
        pace = statistics.median(1000 * row["cpu_seconds"] / (row["steps"] * row["batch"]) for row in runs)
        first = next(iter(runs))
        table.append({"variant": variant, "parameters": first["parameters"], "multiply_adds": first["multiply_adds"],
                      "cpu_seconds": pace, "runs": len(runs)})
    measure = next((row["cpu_seconds"] for row in table if row["variant"] == "conv"), None)
    return [row | ({"ratio": row["cpu_seconds"] / measure} if measure else {}) for row in table]


def rates(rows: list[dict]) -> dict[str, dict]:
    """Return what the tuning found: for each variant its accuracy at each rate, the best rate, and if it is an edge."""
    found = {}
    for variant in dict.fromkeys(row["variant"] for row in rows if row["stage"] in _TUNING):
        tried = {row["rate"]: 100 * row["correct"] / row["test_images"] for row in rows
                 if row["stage"] in _TUNING and row["variant"] == variant}
        best = min(tried, key=lambda rate, tried=tried: (-tried[rate], rate))
        found[variant] = {"tried": dict(sorted(tried.items())), "best": best,
                          "edge": best in (min(tried), max(tried))}
    return found


def twist_sizes(rows: list[dict], experiment: str = "small") -> list[dict]:
    """Return how large the learned twists are, from ``convtwist.results.rows("evidence_twists")``.

    For every variant, training, layer and moment (``"start"`` or ``"end"``): the root mean square of the 3x3
    ``kernel``, of ``zoom`` and of ``rotation``, averaged over the seeds; the twist in the unit of
    ``ConvTwist2d.twist``, per half of the map's longer side and per pixel of slope.
    """
    stages = EXPERIMENTS[choice(experiment, "experiment", EXPERIMENTS)]
    cases = {}
    for row in rows:
        if row["stage"] in stages:
            case = tuple(row[key] for key in ("variant", "train", "layer", "moment"))
            cases.setdefault(case, {})[row["seed"]] = row  # a run begun twice wrote the same twice
    return [{"variant": variant, "train": train, "layer": layer, "moment": moment, "seeds": len(found)}
            | {part: statistics.mean(math.sqrt(row[part]) for row in found.values())
               for part in ("kernel", "zoom", "rotation")}
            for (variant, train, layer, moment), found in cases.items()]
