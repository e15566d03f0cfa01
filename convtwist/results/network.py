"""A small network that was trained, to look into: its weights are shipped in half precision.

Book: chapter 7.  Source: ``benchmarks/network.py``, which trains it on Fashion-MNIST (arXiv 1708.07747) and writes the
file ``fashion_network.npz`` in ``benchmarks/results/``.
"""

import json
from typing import Any

import numpy as np
import torch
from torch import nn

from convtwist.results import _path

__all__ = ["about", "fashion"]

_FILE = "fashion_network"


def about() -> dict[str, Any]:
    """Return how the network was trained, and of how many test images it named how many rightly."""
    with np.load(_path(_FILE, "npz")) as stored:
        story: dict[str, Any] = json.loads(str(stored["about"]))
    return story


def fashion() -> nn.Sequential:
    """Return the trained network in evaluation mode, from ``(batch, 1, 28, 28)`` in 0..1 to ``(batch, 10)`` scores.

    Five times a 3x3 convolution, a batch normalization and a ReLU; two 2x2 averages between them; a linear layer behind
    the mean over all places. So it takes greater pictures, too.
    """
    def block(given, wanted):
        return [nn.Conv2d(given, wanted, 3, padding=1, bias=False), nn.BatchNorm2d(wanted), nn.ReLU(inplace=True)]

    with np.load(_path(_FILE, "npz")) as stored:
        weights = {name: torch.from_numpy(stored[name]).float() for name in stored.files if name != "about"}
    small, middle, large = (len(weights[f"{place}.weight"]) for place in (0, 4, 11))
    model = nn.Sequential(*block(1, small), nn.AvgPool2d(2), *block(small, middle), *block(middle, middle),
                          nn.AvgPool2d(2), *block(middle, large), *block(large, large),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(large, 10))
    counters = {name: tensor for name, tensor in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict(weights | counters)
    return model.eval().requires_grad_(False)
