"""Nothing in a training step waits for the device, or no CUDA graph could hold it: no number is copied there or back.

The meta device stands for a GPU.  The GPU's own part is in test_triton.py.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convtwist import ConvTwist2d, IsoTwist2d
from convtwist._engine import gpu, stacked

LAYERS = {
    "plain": lambda: ConvTwist2d(4, 4, 3, padding=1),
    "centres": lambda: ConvTwist2d(4, 4, 3, padding="same", dilation=2, centers=True),
    "centres, eight fields": lambda: ConvTwist2d(4, 4, 3, 2, 1, centers=True, operators="first_order"),
    "cycle": lambda: ConvTwist2d(4, 4, 3, padding=1, groups=2, permute="cycle"),
    "4-cycle": lambda: ConvTwist2d(8, 8, 3, padding=1, groups=8, permute="4-cycle"),
    "shuffle": lambda: ConvTwist2d(4, 4, 3, padding=1, groups=2, permute="shuffle"),
    "numbers": lambda: ConvTwist2d(4, 4, 3, padding=1, groups=2, permute=(3, 1, 0, 2)),
    "steps": lambda: ConvTwist2d(4, 4, 3, padding=1, steps=3, padding_mode="reflect", coords="legacy"),
    "isotropic": lambda: IsoTwist2d(4, 4, reduce=2, gradient=True),
}


class Copies(TorchDispatchMode):
    """Collects what carries numbers to a device or back: copies, ``item()``, and tensors made of lists."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.found = []
        make = torch.tensor
        monkeypatch.setattr(torch, "tensor", lambda *row, **named: self.found.append("list") or make(*row, **named))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor) and t.dim()]
        if len({t.device for t in tensors}) > 1 or "_local_scalar_dense" in str(function):
            self.found.append(str(function))
        return result


def copies(layer, monkeypatch):
    u = torch.empty(2, layer.in_channels, 8, 8, device="meta", requires_grad=True)
    layer(u)  # what is kept from the first step on
    with monkeypatch.context() as context, Copies(context) as watch:
        layer(u).sum().backward()
    return watch.found


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("way", ["plain", "three convolutions"])
def test_a_training_step_copies_nothing_to_the_device(monkeypatch, name, way):
    if way != "plain":
        monkeypatch.setattr(gpu, "holds", lambda maps: maps.is_meta)
        monkeypatch.setattr(gpu, "serves", lambda tensors: False)
        monkeypatch.setattr(stacked, "_gains", lambda source: True)
        monkeypatch.setattr(gpu, "as_computed", lambda *tensors: list(tensors))
    assert copies(LAYERS[name]().to("meta"), monkeypatch) == []


@pytest.mark.parametrize("late", [lambda u: torch.tensor([1.0], device=u.device), lambda u: torch.ones(8).to(u.device)])
def test_the_watch_sees_what_it_looks_for(monkeypatch, late):
    class Layer(ConvTwist2d):
        def forward(self, input):
            return super().forward(input) + late(input)

    assert len(copies(Layer(4, 4, 3, padding=1).to("meta"), monkeypatch)) == 1
