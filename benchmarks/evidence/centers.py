"""Where do learned centres go?  ``python -m benchmarks.evidence.centers`` writes ``../results/centers.csv``.

Book: chapter 12.  The variant ``first_order_centers`` of the first plan, seeds 0 to 2, trained as there: 5,000
pictures, 312 steps, its learning rate.  A row for each layer and output channel: where its centre started and where it
ended, ``x`` to the right and ``y`` down, in halves of the map's longer side from its middle.
"""

from dataclasses import replace

import torch

from benchmarks.evidence import plan
from benchmarks.evidence.networks import build
from benchmarks.evidence.run import RESULTS, append, read
from benchmarks.evidence.train import trained

__all__ = ["centers"]

COLUMNS = ("seed", "train", "layer", "side", "channel", "start_x", "start_y", "x", "y")
SIDES = (28, 14, 14, 7, 7)


def centers(run: plan.Run, folder=None) -> list[dict]:
    """Train a network and return its centres before and after."""
    weights: dict[str, torch.Tensor] = {}
    trained(run, folder, 64, weights)
    before, after = ([center for name, center in state.items() if name.endswith("center")]
                     for state in (build(run.variant, run.seed).state_dict(), weights))
    return [{"seed": run.seed, "train": run.train, "layer": layer, "side": side, "channel": channel}
            | {name: round(value, 4) for name, value in zip(COLUMNS[5:], numbers, strict=True)}
            for layer, (side, *pair) in enumerate(zip(SIDES, before, after, strict=True), 1)
            for channel, numbers in enumerate(torch.cat(pair).T.tolist())]


if __name__ == "__main__":
    torch.set_num_threads(1)
    planned = plan.planned("others", read(RESULTS / "evidence.csv"), ("first_order_centers",))
    (RESULTS / "centers.csv").unlink(missing_ok=True)
    for each in planned:
        if each.seed < 3:
            append(RESULTS / "centers.csv", COLUMNS, centers(replace(each, tests=("turned",))))
            print(each.seed, each.train, flush=True)
