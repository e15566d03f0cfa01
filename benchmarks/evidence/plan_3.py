"""The third plan in numbers; plan_3.md says why.  Changed before the runs only.

Book: chapter 12.
"""

from benchmarks.evidence.plan import BATCH, EPOCHS, SMALL, Run, chosen_rate, quick

__all__ = ["ANGLES", "DISTANCES", "DRAWS", "STAGES", "STEPS", "TUNING", "VARIANTS", "needs", "planned", "quick"]

ANGLES = range(0, 360, 15)  # degrees
DISTANCES = range(7)  # pixels
DRAWS = range(1, 6)
SEEDS, FEW_SEEDS = range(15, 20), range(15, 18)
STEPS = (78, 156, 624, 1248)
LEARNERS = ("conv_wide", "twist", "iso_wide", "log_polar")
VARIANTS = ("conv_wide", "twist", "iso_wide", "iso_gradient", "log_polar", "e2cnn")
STAGES = {"angles": (), **{f"steps_{steps}": () for steps in STEPS}}
TUNING = ()
_TURNED = tuple(f"angle_{angle}" for angle in ANGLES)
_REST = (*(f"moved_{distance}" for distance in DISTANCES), *(f"draw_{number}" for number in DRAWS))


def needs(stage: str) -> tuple[str, ...]:
    """Return the stages whose results a stage is planned from: none, since the rates are those of the first plans."""
    return STAGES[stage]


def planned(stage: str, rows: list[dict], only=VARIANTS) -> list[Run]:
    """Return the runs of a stage in their order, given the rows of the tuning; ``only`` leaves some out."""
    if stage == "angles":
        cases = [(variant, seed, train) for seed in SEEDS for train in ("turned", "upright")
                 for variant in VARIANTS if variant in only]
        return [Run(stage, variant, seed, train, SMALL, EPOCHS * (SMALL // BATCH), chosen_rate(variant, rows),
                    _TURNED + (_REST if train == "turned" else ())) for variant, seed, train in cases]
    return [Run(stage, variant, seed, "turned", SMALL, int(stage.partition("_")[2]), chosen_rate(variant, rows),
                ("moved_0",)) for seed in FEW_SEEDS for variant in LEARNERS if variant in only]
