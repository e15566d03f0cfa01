"""The plan in numbers; plan.md says why.  Changed before the runs only.

Book: chapter 12.
"""

import statistics
from dataclasses import dataclass, replace

from benchmarks.evidence.networks import VARIANTS

__all__ = ["LEARNING_RATES", "STAGES", "TUNING", "Run", "chosen_rate", "needs", "planned", "quick"]

BATCH = 64
WEIGHT_DECAY = 0.01
VALIDATION = 5_000  # the last of the 60,000 training pictures
TRAINING = 60_000 - VALIDATION
SMALL = 5_000
EPOCHS = 4
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
TUNING_SEED, TUNING_EPOCHS = 100, 2
SEEDS = range(5)
KEY = ("conv", "conv_wide", "twist", "iso_wide", "e2cnn", "twist_zero", "coordconv")
OTHER = tuple(name for name in VARIANTS if name not in KEY)
MAIN = {"turned": ("conv", "conv_wide", "twist", "iso_wide", "e2cnn"), "upright": ("conv", "twist", "twist_zero")}
RIVALS = ("conv", "conv_wide", "twist", "iso_wide", "e2cnn", "coordconv")
FULL = ("conv", "conv_wide", "twist", "iso_wide")
DISPLACED = ("turned", "turned_2", "turned_4")
# Stage by stage in this order; what a stage needs to be finished first.
STAGES = {"tune": (), "main": ("tune",), "rest": ("tune",), "equal": ("main", "rest"), "tune_others": (),
          "others": ("tune_others",), "displaced": ("tune",), "full": ("tune",)}
TUNING = ("tune", "tune_others")


@dataclass(frozen=True)
class Run:
    """One network to be trained and tested."""

    stage: str
    variant: str
    seed: int
    train: str
    images: int
    steps: int
    rate: float
    tests: tuple[str, ...]

    @property
    def key(self):
        """What tells this run from the others; the rate only where it is what is tried."""
        return (self.stage, self.variant, self.seed, self.train, self.rate if self.stage in TUNING else None)


def needs(stage: str) -> tuple[str, ...]:
    """Return the stages whose results a stage is planned from."""
    return STAGES[stage]


def planned(stage: str, rows: list[dict], only=tuple(VARIANTS)) -> list[Run]:
    """Return the runs of a stage in their order, given the rows of finished runs that it needs.

    ``only`` leaves variants out; Conv2d's time is needed all the same where the time is to be equal.
    """
    per_epoch = SMALL // BATCH
    if stage in TUNING:
        return [Run(stage, variant, TUNING_SEED, "turned", SMALL, TUNING_EPOCHS * per_epoch, rate, ("validation",))
                for variant in (KEY if stage == "tune" else OTHER) if variant in only for rate in LEARNING_RATES]

    def run(variant, seed, train, tests, images=SMALL, steps=EPOCHS * per_epoch):
        return Run(stage, variant, seed, train, images, steps, chosen_rate(variant, rows), tests)

    if stage in ("main", "rest", "others"):
        displaced = ("turned",) if stage == "others" else DISPLACED
        tests = {"upright": ("upright", "turned"), "turned": ("upright", *displaced)}
        variants = OTHER if stage == "others" else KEY
        cases = [(train, variant) for train in ("turned", "upright") for variant in variants if variant in only]
        if stage != "others":
            cases = [case for case in cases if (case[1] in MAIN[case[0]]) == (stage == "main")]
        return [run(variant, seed, train, tests[train]) for seed in SEEDS for train, variant in cases]
    rivals = [name for name in RIVALS if name in only]
    if stage == "equal":  # Conv2d's own time is its run in the stage main
        conv = _pace("conv", rows)
        return [run(variant, seed, "turned", ("turned",),
                    steps=max(1, round(EPOCHS * per_epoch * conv / _pace(variant, rows))))
                for seed in SEEDS for variant in rivals if variant != "conv"]
    if stage == "displaced":
        return [run(variant, seed, "turned_4", DISPLACED) for seed in SEEDS for variant in rivals]
    return [run(variant, seed, "turned", ("upright", "turned"), TRAINING, TRAINING // BATCH) for seed in SEEDS
            for variant in FULL if variant in only]


def chosen_rate(variant: str, rows: list[dict]) -> float:
    """Return the learning rate that did best on the validation pictures; the smaller one of equals."""
    tried = {float(row["rate"]): float(row["accuracy"]) for row in rows
             if row["stage"].startswith("tune") and row["variant"] == variant}
    if not tried:
        raise ValueError(f"no learning rate has been tried for {variant}; run the stage tune first")
    return min(tried, key=lambda rate: (-tried[rate], rate))


def _pace(variant, rows):
    """Return the median of CPU seconds per step in the turned runs on the small training set."""
    return statistics.median(
        float(row["cpu_seconds"]) / int(row["steps"]) for row in rows
        if row["stage"] in ("main", "rest") and (row["variant"], row["train"]) == (variant, "turned"))


def quick(run: Run) -> Run:
    """Return the same run on a few dozen pictures, to see that it works."""
    return replace(run, images=2 * BATCH, steps=2)
