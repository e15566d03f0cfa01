"""Train the small network whose kernels chapter 7 reads, and store its weights in half precision.

Book: chapter 7.  One run of the evidence's plain network on all training pictures of Fashion-MNIST, upright, seen once;
about 35 CPU seconds.  ::

    python -m benchmarks.network [--data FOLDER] [--out FILE]
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.evidence.plan import BATCH, TRAINING, Run
from benchmarks.evidence.train import trained

RUN = Run("network", "conv_wide", 0, "upright", TRAINING, TRAINING // BATCH, 0.03, ("upright",))
FILE = Path(__file__).parent / "results" / "fashion_network.npz"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="the folder with Fashion-MNIST; by default Debian's")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    weights: dict[str, torch.Tensor] = {}
    (row,), _ = trained(RUN, given.data, weights=weights)
    story = asdict(RUN) | {key: row[key] for key in ("parameters", "correct", "test_images")}
    halves = {name: tensor.contiguous().numpy().astype(np.float16) for name, tensor in weights.items()
              if not name.endswith("num_batches_tracked")}
    np.savez_compressed(given.out, about=json.dumps(story), **halves)
    print(f"{row['correct']} of {row['test_images']} right; {given.out}, {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
