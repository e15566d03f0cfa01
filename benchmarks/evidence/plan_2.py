"""The second plan in numbers; plan_2.md says why.  Changed before the runs only.

Book: chapter 12.
"""

from benchmarks.evidence.networks import CONTROLS
from benchmarks.evidence.plan import BATCH, EPOCHS, SMALL, TUNING_EPOCHS, TUNING_SEED, Run, chosen_rate, quick

__all__ = ["STAGES", "TUNING", "VARIANTS", "needs", "planned", "quick"]

LEARNING_RATES = (0.003, 0.01, 0.03)
SEEDS = range(5, 15)
LONG_SEEDS, LONG_EPOCHS = range(5, 10), 40
BESIDE = ("conv_wide", "twist", "iso_wide")
UPRIGHT = ("log_polar", "twist_flat", "iso_gradient", *BESIDE)
LONG = (*BESIDE, "log_polar")
VARIANTS = (*CONTROLS, *BESIDE, "e2cnn")
# Stage by stage in this order; what a stage needs to be finished first.
STAGES = {"tune_controls": (), "controls": ("tune_controls",), "controls_upright": ("tune_controls",),
          "long": ("tune_controls",), "steerable": ()}
TUNING = ("tune_controls",)
_WHO = {"controls": (*CONTROLS, *BESIDE), "controls_upright": UPRIGHT, "long": LONG, "steerable": ("e2cnn",)}


def needs(stage: str) -> tuple[str, ...]:
    """Return the stages whose results a stage is planned from."""
    return STAGES[stage]


def planned(stage: str, rows: list[dict], only=VARIANTS) -> list[Run]:
    """Return the runs of a stage in their order, given the finished rows of both plans; ``only`` leaves some out."""
    per_epoch = SMALL // BATCH
    if stage in TUNING:
        return [Run(stage, variant, TUNING_SEED, "turned", SMALL, TUNING_EPOCHS * per_epoch, rate, ("validation",))
                for variant in CONTROLS if variant in only for rate in LEARNING_RATES]
    train, tests = "turned", ("upright", "turned", "turned_4")
    if stage == "controls_upright":
        train, tests = "upright", ("upright", "turned")
    seeds, epochs = (LONG_SEEDS, LONG_EPOCHS) if stage == "long" else (SEEDS, EPOCHS)
    return [Run(stage, variant, seed, train, SMALL, epochs * per_epoch, chosen_rate(variant, rows), tests)
            for seed in seeds for variant in _WHO[stage] if variant in only]
