"""Half of the connections between channels, chosen at random, frozen before training: what does it cost?

Book: chapter 10.  Source: the forum thread, which says that for ten classes a much smaller network may work as well:
"If that hypothesis is true, one could randomly 'freeze' half of the connections at the outset and achieve the same
accuracy."  ::

    python -m benchmarks.frozen              20 runs, about six minutes of one core
    python -m benchmarks.frozen --quick      a smoke test, which writes nothing

The plan, written before the runs.  A connection is the 3x3 kernel from one channel to another.  The network is that of
``benchmarks.evidence``, twice as wide as its Conv2d: 16, 32 and 64 channels.  The first layer has one input channel and
keeps all of its kernels.  In the other four layers exactly half of the kernels are chosen at random.  Four networks:

- ``all``: every weight is trained.
- ``zero``: the chosen kernels are zero and stay zero.
- ``start``: the chosen kernels keep their random starting values.
- ``narrow``: no kernel is frozen, but there are fewer channels, so that the number of trained parameters is that of
  ``zero`` and ``start`` to within one per cent.

Upright Fashion-MNIST, 5,000 pictures, four epochs, 312 steps, five seeds, the rate of the first plan's Conv2d, 0.03.
The networks of one seed see the same pictures in the same order.  Two networks are called equal if the 95 per cent
interval of their difference, taken seed by seed, lies between -0.5 and 0.5 points.  The thread's sentence says that
``zero`` or ``start`` equals ``all``.  The reason that it gives, that a smaller network is enough, says that ``narrow``
equals ``all``.  No other rate, size or number of steps is tried.
"""

import argparse
import csv
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.evidence.networks import parameters, widths
from benchmarks.evidence.pictures import Poses, batches, posed, sample
from benchmarks.evidence.train import correct, data
from benchmarks.timing import machine

KINDS = ("all", "zero", "start", "narrow")
WIDTH, NARROW = 16, 11.3
SEEDS = range(5)
RATE, WEIGHT_DECAY, BATCH, STEPS, PICTURES = 0.03, 0.01, 64, 312, 5_000
TABLE = Path(__file__).parent / "results" / "frozen.csv"


class Frozen(nn.Module):
    """A weight of which a part has fixed values, whatever is trained."""

    def __init__(self, trained: Tensor, fixed: Tensor) -> None:
        super().__init__()
        self.register_buffer("trained", trained)
        self.register_buffer("fixed", fixed)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the fixed values in place."""
        return torch.where(self.trained, weight, self.fixed)


def build(kind: str, seed: int) -> nn.Module:
    """Return a network from ``(batch, 1, 28, 28)`` to ``(batch, 10)``; the seed decides weights and frozen kernels."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    torch.manual_seed(seed)
    small, middle, large = widths(NARROW if kind == "narrow" else WIDTH)

    def block(read, made):
        conv = nn.Conv2d(read, made, 3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(made), nn.ReLU(inplace=True)]

    model = nn.Sequential(*block(1, small), nn.AvgPool2d(2), *block(small, middle), *block(middle, middle),
                          nn.AvgPool2d(2), *block(middle, large), *block(large, large),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(large, 10))
    if kind in ("zero", "start"):
        source = torch.Generator().manual_seed(1000 + seed)  # the same kernels for both
        for layer in model:
            if isinstance(layer, nn.Conv2d) and layer.in_channels > 1:
                _freeze_half(layer, kind, source)
    return model


def _freeze_half(layer, kind, source):
    out, read = layer.weight.shape[:2]
    chosen = torch.randperm(out * read, generator=source)[:out * read // 2]
    trained = torch.ones(out * read, dtype=torch.bool)
    trained[chosen] = False
    start = layer.weight.detach().clone()
    fixed = start if kind == "start" else torch.zeros_like(start)
    parametrize.register_parametrization(layer, "weight", Frozen(trained.view(out, read, 1, 1), fixed))


def trained_parameters(model: nn.Module) -> int:
    """Count the parameters that training can change."""
    frozen = sum(int((~part.trained).sum()) * 9 for part in model.modules() if isinstance(part, Frozen))
    return parameters(model) - frozen


def trained(kind: str, seed: int, steps: int = STEPS, tested: int | None = None, folder=None) -> dict:
    """Train and test one network; return its row of the table."""
    pictures, labels = data(folder)["training"]
    chosen = sample(len(pictures), PICTURES, seed)
    model = build(kind, seed).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
    began, losses = time.process_time(), []
    for images, classes in batches(pictures[chosen], labels[chosen], condition="upright", seed=seed, steps=steps,
                                   batch=BATCH):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), classes)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    seconds = time.process_time() - began
    count = trained_parameters(model)
    shown, wanted = (part[:tested] for part in data(folder)["test"])
    right = int(correct(model.eval(), posed(shown, Poses(*torch.zeros(3, len(shown))), "upright"), wanted).sum())
    last = losses[-max(1, len(losses) // 10):]
    return {"kind": kind, "seed": seed, "trained_parameters": count, "parameters": parameters(model),
            "images": PICTURES, "steps": steps, "rate": RATE, "test_images": len(wanted), "correct": right,
            "accuracy": right / len(wanted), "train_loss": round(math.fsum(last) / len(last), 5),
            "cpu_seconds": round(seconds, 2)}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frozen", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short run of each network, nothing written")
    parser.add_argument("--data", help="folder with the four files of Fashion-MNIST")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = machine(torch.device("cpu"))
    rows = []
    for seed in SEEDS[:1] if options.quick else SEEDS:
        for kind in KINDS:
            short = {"steps": 3, "tested": 200} if options.quick else {}
            row = trained(kind, seed, folder=options.data, **short)
            rows.append(row | {"machine": about["cpu"], "torch": about["torch"]})
            print(f"{kind:7} seed {seed}: {row['accuracy']:.2%}, {row['trained_parameters']:,} trained parameters, "
                  f"{row['cpu_seconds']:.1f} s", flush=True)
            if not options.quick:
                with TABLE.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows)


if __name__ == "__main__":
    main()
