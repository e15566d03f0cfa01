"""What a training step moves through a GPU's memory, counted without a GPU, and the time that this explains.

Book: chapter 13.  ::

    python -m benchmarks.traffic
    python -m benchmarks.traffic --json benchmarks/results/gpu_traffic.json

On a GPU nearly all of a twist's time goes into reading and writing maps.  PyTorch's operations run here on tensors
without memory, eagerly, and what each reads and writes is added up.  ``gpu_before.json`` has the times of a copy and of
``Conv2d``, measured on an H200.  From both follows an estimate: three times the convolution where there are three, and
for all the rest the time of so many copies.  Launches are left out.  For the plain operations the estimate stands
beside what was measured there; for the three convolutions nothing has been measured yet.
"""

import argparse
import statistics
from functools import cache
from math import prod
from unittest import mock

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.contenders import CONTENDERS
from benchmarks.timing import table, write
from convtwist import results
from convtwist._engine import gpu, stacked
from convtwist.operators import plain
from convtwist.train.networks import resnet50

REST = (1, 1), (1, 1), 1, "centered"  # padding, dilation, groups, coords
CONVOLUTIONS = "aten.convolution", "aten.convolution_backward"
VIEWS = ("alias", "detach", "expand", "permute", "select", "slice.", "split", "squeeze", "t.", "transpose", "unbind",
         "unsqueeze", "view", "_unsafe_view", "empty")


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write, and those of 3x3 convolutions apart."""

    def __init__(self):
        super().__init__()
        self.bytes = self.convolved = self.convolutions = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = str(function)
        if not name.removeprefix("aten.").startswith(VIEWS):
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
            moved = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            self.bytes += moved
            if name.startswith(CONVOLUTIONS) and any(tensor.shape[2:] == (3, 3) for tensor in tensors):
                self.convolved += moved
                self.convolutions += name.startswith("aten.convolution.")
        return result


LAYERS = {
    "Conv2d": lambda u, weight, twist, stride: F.conv2d(u, weight, None, stride, padding=1),
    "plain operations": lambda u, weight, twist, stride: plain(u, weight, twist, None, stride, *REST),
    "three convolutions": lambda u, weight, twist, stride: stacked.conv_twist(u, weight, twist, None, stride, *REST),
}


@cache
def count(name: str, batch: int, channels: int, side: int, stride: int = 1) -> tuple[float, float, int]:
    """Return what a training step in ``bfloat16`` moves, in bytes; the 3x3 convolutions' part; and their number."""
    shapes = (batch, channels, side, side), (channels, channels, 3, 3), (2, channels, channels)
    tensors = [torch.empty(shape, dtype=torch.bfloat16, device="meta", requires_grad=True) for shape in shapes]
    with mock.patch.object(gpu, "holds", lambda maps: maps.is_meta), \
            mock.patch.object(gpu, "as_computed", lambda *given: list(given)), \
            mock.patch.object(gpu, "computed_type", lambda maps: maps.dtype), Traffic() as traffic:
        output = LAYERS[name](*tensors, (stride, stride))
        output.backward(torch.empty_like(output))
    return traffic.bytes, traffic.convolved, traffic.convolutions


def milliseconds(name: str, shape: tuple[int, ...], rows: list[dict]) -> float:
    """Estimate a training step of a layer from the measured one of ``Conv2d`` on maps of the nearest side.

    All measured convolutions multiply as often, for 256 pictures.
    """
    batch, channels, side, stride = (*shape, 1)[:4]
    near = min(rows, key=lambda row: abs(row["shape"][2] - side / stride))
    pictures, width, height = near["shape"]
    share = batch * (channels * side / stride) ** 2 / (pictures * (width * height) ** 2)
    moved, convolved, convolutions = count(name, *shape)
    a_copy = 2 * 2 * pictures * width * height**2  # bytes
    return convolutions * share * near["training"]["median_ms"] + (moved - convolved) / a_copy * near["copy_ms"]


def resnet_layers(batch: int = 128, side: int = 224) -> list[tuple[int, ...]]:
    """Return batch, channels, side and stride of each 3x3 layer of ResNet-50."""
    found, model = [], resnet50(CONTENDERS["Conv2d"].build).to("meta")

    def note(layer, inputs):
        found.append((batch, layer.in_channels, inputs[0].shape[2], layer.stride[0]))

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (3, 3):
            assert layer.in_channels == layer.out_channels
            layer.register_forward_pre_hook(note)
    model(torch.empty(1, 3, side, side, device="meta"))
    return found


def estimates() -> list[dict]:
    """Return for layers and ResNet-50 each way's ratio to ``Conv2d``, estimated and measured; ``None``: not yet."""
    before = results.load("gpu_before")
    measured = {(row["where"], *row["shape"]): row["training"]["ratio"] for row in before["rows"]
                if row["engine"] == "eager" and row["contender"] == "ConvTwist similarity"}
    rows = [row for row in before["rows"] if row["where"] == "layer" and row["contender"] == "Conv2d"]
    whole = next(row["training"]["median_ms"] for row in before["rows"] if row["where"] == "ResNet-50")
    found = []
    for where in measured:
        shapes = resnet_layers() if where[0] == "ResNet-50" else [where[1:]]
        plainly = sum(milliseconds("Conv2d", shape, rows) for shape in shapes)
        for way in LAYERS:
            more = sum(milliseconds(way, shape, rows) for shape in shapes) - plainly
            maps = [count(way, *shape)[0] / (2 * prod(shape[:3]) * shape[2]) for shape in shapes]
            found.append({
                "where": " x ".join(map(str, where)), "way": way, "maps": round(statistics.mean(maps)),
                "estimated": round(1 + more / (whole if where[0] == "ResNet-50" else plainly), 2),
                "measured": {"Conv2d": 1.0, "plain operations": measured[where]}.get(way)})
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the estimates here")
    options, found = parser.parse_args(), estimates()
    lines = [["where", "way", "maps moved by a layer", "estimated ratio", "measured"]]
    lines += [[row["where"], row["way"], str(row['maps']), f"{row['estimated']:.2f}",
               "not yet" if row["measured"] is None else f"{row['measured']:g}"] for row in found]
    print(f"training, eager, bfloat16, NVIDIA H200\n{table(lines)}")
    if options.json:
        write(options.json, {"what": "training, eager, bfloat16, NVIDIA H200: counted and estimated, no GPU at hand",
                             "rows": found})


if __name__ == "__main__":
    main()
