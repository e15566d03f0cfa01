"""How long a training step of each network takes, eager and compiled: ``python -m benchmarks.evidence.pace``.

Book: chapter 12.  The networks take turns on one thread, a step each as in :mod:`benchmarks.evidence.train`.  Run it
when nothing else runs.
"""

import torch
import torch.nn.functional as F

from benchmarks.evidence.networks import build, find
from benchmarks.evidence.plan import BATCH
from benchmarks.evidence.plan_3 import VARIANTS
from benchmarks.evidence.run import RESULTS
from benchmarks.timing import interleaved, machine, write
from convtwist import param_groups

__all__ = ["measured", "step"]


def step(variant: str, compiled: bool):
    """Return a function that makes one step of training on a batch of random pictures."""
    torch.manual_seed(0)
    model = build(variant, 0)
    if find(variant).layer != "e2cnn":
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(param_groups(model, lr=1e-3), lr=1e-3)
    pictures, labels = torch.rand(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))
    network = torch.compile(model) if compiled else model

    def once():
        optimizer.zero_grad()
        F.cross_entropy(network(pictures), labels).backward()
        optimizer.step()

    return once


def measured(variants=VARIANTS, repeats: int = 9) -> list[dict]:
    """Return a row for each network: seconds of each round, eager and compiled.

    The steerable network is not compiled: of e2cnn's layers Dynamo captures pieces only.
    """
    cases = {(variant, how): step(variant, how == "compiled") for variant in variants
             for how in ("eager", "compiled") if (variant, how) != ("e2cnn", "compiled")}
    seconds = interleaved(cases, torch.device("cpu"), repeats=repeats, least_seconds=0.3)
    return [{"variant": variant, "how": how, "seconds": found} for (variant, how), found in seconds.items()]


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(RESULTS / "evidence_3_pace.json", {"machine": machine(torch.device("cpu")), "batch": BATCH,
                                             "rows": measured()})
