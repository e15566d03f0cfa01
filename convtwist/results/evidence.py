"""Does the twist help?  The tables and intervals of the evidence, worked out from its rows.

Book: chapter 12.  Source: ``plan.md``, ``plan_2.md`` and ``plan_3.md`` in ``benchmarks/evidence``, written before their
runs; the rows come from ``convtwist.results.rows("evidence")``, ``rows("evidence_2")`` and ``rows("evidence_3")``.
Accuracies are in percent, differences in percentage points.
"""

import math
import statistics
from typing import Any

from convtwist._arguments import check_choice
from convtwist.results.intervals import Interval, mean_interval

__all__ = ["EXPERIMENTS", "accuracies", "costs", "difference", "gain_lost", "rates", "summary", "twist_sizes"]

EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "small": ("main", "rest", "others"), "equal time": ("equal",), "displaced": ("displaced",), "full": ("full",),
    "controls": ("controls", "controls_upright", "steerable"), "long": ("long",),
    "angles": ("angles",), **{f"{steps} steps": (f"steps_{steps}",) for steps in (78, 156, 624, 1248)},
}
"""What the chapter calls an experiment, and the plan's stages that belong to it: of three plans, a line for each."""
_TUNING = ("tune", "tune_others", "tune_controls")


def accuracies(rows: list[dict[str, Any]], variant: str, train: str, test: str,
               experiment: str = "small") -> dict[int, float]:
    """Return the test accuracy of every seed, in percent; empty if there was no such run.

    At equal time Conv2d is its own measure: its runs are those of ``"small"``.
    """
    stages = EXPERIMENTS[check_choice(experiment, "experiment", EXPERIMENTS)]
    if experiment == "equal time" and variant == "conv":
        stages = EXPERIMENTS["small"]
    return {row["seed"]: 100 * row["correct"] / row["test_images"] for row in rows
            if row["stage"] in stages and (row["variant"], row["train"], row["test"]) == (variant, train, test)}


def summary(rows: list[dict[str, Any]], experiment: str = "small") -> list[dict[str, Any]]:
    """Return, for every variant, training and test that was run: seeds, mean, standard deviation, least and most.

    The deviation is that of single runs, with ``seeds - 1`` in the denominator; ``nan`` for a single one.
    """
    stages = EXPERIMENTS[check_choice(experiment, "experiment", EXPERIMENTS)]
    cases = dict.fromkeys((row["variant"], row["train"], row["test"]) for row in rows if row["stage"] in stages)
    if experiment == "equal time" and cases:
        cases = {("conv", train, test): None for _, train, test in cases} | cases
    table: list[dict[str, Any]] = []
    for variant, train, test in cases:
        values = list(accuracies(rows, variant, train, test, experiment).values())
        if values:
            table.append({"variant": variant, "train": train, "test": test, "seeds": len(values),
                          "mean": statistics.mean(values),
                          "deviation": statistics.stdev(values) if len(values) > 1 else math.nan,
                          "least": min(values), "most": max(values)})
    return table


def difference(rows: list[dict[str, Any]], variant: str, baseline: str, train: str, test: str,
               experiment: str = "small", level: float = 0.95) -> Interval:
    """Return by how many points a variant is above a baseline, paired over the seeds that both were run with.

    Raises:
        ValueError: they share fewer than two seeds.
    """
    ours = accuracies(rows, variant, train, test, experiment)
    theirs = accuracies(rows, baseline, train, test, experiment)
    return mean_interval([ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()], level)


def gain_lost(rows: list[dict[str, Any]], variant: str, baseline: str, near: str, far: str, train: str = "turned",
              experiment: str = "small", level: float = 0.95) -> Interval:
    """Return how much of the gain over a baseline is lost from one test to another, paired over seeds.

    Raises:
        ValueError: fewer than two seeds were run in all four cases.
    """
    found = [accuracies(rows, name, train, test, experiment) for test in (near, far) for name in (variant, baseline)]
    shared = set.intersection(*(set(values) for values in found))
    return mean_interval([found[0][k] - found[1][k] - found[2][k] + found[3][k] for k in shared], level)


def costs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each variant's parameters, multiply-adds for a picture, and median CPU seconds per 1,000 trained.

    The median is over the runs of all stages but the tuning; ``ratio`` is to ``conv``, absent without it.
    """
    table: list[dict[str, Any]] = []
    for variant in dict.fromkeys(row["variant"] for row in rows if row["stage"] not in _TUNING):
        runs = {(row["stage"], row["seed"], row["train"]): row for row in rows
                if row["variant"] == variant and row["stage"] not in _TUNING}.values()
        pace = statistics.median(1000 * row["cpu_seconds"] / (row["steps"] * row["batch"]) for row in runs)
        first = next(iter(runs))
        table.append({"variant": variant, "parameters": first["parameters"], "multiply_adds": first["multiply_adds"],
                      "cpu_seconds": pace, "runs": len(runs)})
    measure = next((row["cpu_seconds"] for row in table if row["variant"] == "conv"), None)
    return [row | ({"ratio": row["cpu_seconds"] / measure} if measure else {}) for row in table]


def rates(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the tuning found: for each variant its accuracy at each rate, the best rate, and if it is an edge."""
    found: dict[str, dict[str, Any]] = {}
    for variant in dict.fromkeys(row["variant"] for row in rows if row["stage"] in _TUNING):
        tried = {row["rate"]: 100 * row["correct"] / row["test_images"] for row in rows
                 if row["stage"] in _TUNING and row["variant"] == variant}
        best = min(tried, key=lambda rate, tried=tried: (-tried[rate], rate))
        found[variant] = {"tried": dict(sorted(tried.items())), "best": best,
                          "edge": best in (min(tried), max(tried))}
    return found


def twist_sizes(rows: list[dict[str, Any]], experiment: str = "small") -> list[dict[str, Any]]:
    """Return how large the learned twists are, from ``convtwist.results.rows("evidence_twists")``.

    For every variant, training, layer and moment (``"start"`` or ``"end"``): the root mean square of the 3x3
    ``kernel``, of ``zoom`` and of ``rotation``, averaged over the seeds; the twist in the unit of
    ``ConvTwist2d.twist``, per half of the map's longer side and per pixel of slope.
    """
    stages = EXPERIMENTS[check_choice(experiment, "experiment", EXPERIMENTS)]
    cases: dict[tuple[str, ...], dict[int, dict[str, Any]]] = {}
    for row in rows:
        if row["stage"] in stages:
            case = tuple(row[key] for key in ("variant", "train", "layer", "moment"))
            cases.setdefault(case, {})[row["seed"]] = row  # a run begun twice wrote the same twice
    return [{"variant": variant, "train": train, "layer": layer, "moment": moment, "seeds": len(found)}
            | {part: statistics.mean(math.sqrt(row[part]) for row in found.values())
               for part in ("kernel", "zoom", "rotation")}
            for (variant, train, layer, moment), found in cases.items()]
