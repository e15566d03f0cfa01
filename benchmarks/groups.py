"""What connecting the groups costs: channels permuted in front of a grouped convolution, against a dense kernel.

Book: chapter 10.  Source: the forum thread's version 2, whose kernel is widened to a dense one, mostly zeros, so
that each group reads the group before it; written anew from that description.  ::

    python -m benchmarks.groups
    python -m benchmarks.groups --quick      a smoke test

Both compute the same, which is checked first.  A speed-up is the median over the rounds of "dense / permuted".
"""

import argparse
import statistics

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.contenders import ThreeConvolutions
from benchmarks.timing import default_device, interleaved, machine, ratios, table, write
from convtwist import ConvTwist2d

SHAPES = [(16, 128, 28), (16, 256, 14), (8, 256, 28), (16, 512, 14)]
GROUPS = (4, 8, 16, 32)
TARGET = 3.0  # at 32 groups, forward and backward


def widened(kernel, groups):
    """Lay a grouped kernel out in a dense one: output group i reads input group i - 1, the first the last."""
    rows, width = kernel.shape[0] // groups, kernel.shape[1]
    dense = kernel.new_zeros(kernel.shape[0], width * groups, 3, 3)
    for i in range(groups):
        source = (i - 1) % groups
        dense[rows * i : rows * (i + 1), width * source : width * (source + 1)] = kernel[rows * i : rows * (i + 1)]
    return dense


class DenseCycle(nn.Module):
    """The thread's way: a grouped weight, widened at every call."""

    def __init__(self, conv):
        super().__init__()
        self.weight, self.groups = conv.weight, conv.groups

    def forward(self, u):
        return F.conv2d(u, widened(self.weight, self.groups), padding=1)


class RolledCycle(nn.Module):
    """The same function: roll the channels by one group, then convolve in groups."""

    def __init__(self, conv):
        super().__init__()
        self.weight, self.groups = conv.weight, conv.groups

    def forward(self, u):
        rolled = u.roll(u.shape[1] // self.groups, 1)
        return F.conv2d(rolled, self.weight, padding=1, groups=self.groups)


class DenseTwist(nn.Module):
    """The thread's whole layer: three convolutions with widened kernels."""

    def __init__(self, three):
        super().__init__()
        self.three = three

    def forward(self, u):
        plain, along_x, along_y = (F.conv2d(u, widened(kernel, self.three.groups), padding=1)
                                   for kernel in self.three.kernels())
        height, width = plain.shape[-2:]
        x = torch.arange(width, dtype=u.dtype, device=u.device) * (2 / width) - 1
        y = torch.arange(height, dtype=u.dtype, device=u.device)[:, None] * (2 / height) - 1
        return plain + x * along_x + y * along_y


def contenders(channels, groups, device):
    """Return (name, layer) of two pairs, each dense first and permuted second, with the same weights."""
    conv = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False, device=device)
    three = ThreeConvolutions(channels, channels, groups=groups, device=device)
    twist = ConvTwist2d(channels, channels, 3, padding=1, groups=groups, bias=False, coords="legacy",
                        permute="cycle", device=device)
    with torch.no_grad():
        twist.weight.copy_(three.conv.weight)
        twist.twist.copy_(8 * torch.stack([three.a, three.b])[..., 0, 0])
    return [("convolution, dense", DenseCycle(conv)), ("convolution, permuted", RolledCycle(conv)),
            ("twist, dense", DenseTwist(three)), ("twist, permuted", twist)]


def main():
    options = arguments()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = torch.device(options.device) if options.device else default_device()
    results = {"machine": machine(device), "repeats": options.repeats, "rows": []}
    print(" ".join(f"{key}={value}" for key, value in results["machine"].items() if value is not None))
    for shape in options.shapes:
        for groups in options.groups:
            results["rows"] += rows_of(shape, groups, options, device)
        report([row for row in results["rows"] if row["shape"] == list(shape)], shape)
    print()
    for row in results["rows"]:
        if row["groups"] == 32:
            speed = row["training"]["speedup"]
            print(f"{'met   ' if speed >= TARGET else 'MISSED'}  {row['layer']}, {row['shape']}, 32 groups, training: "
                  f"{speed:.1f} times faster, target {TARGET:g}")
    if options.json:
        write(options.json, results)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="rounds; the median of 7 or more is worth quoting")
    parser.add_argument("--shapes", nargs="+", type=lambda text: tuple(map(int, text.split(","))), default=SHAPES,
                        metavar="N,C,H", help="batch, channels in and out, side")
    parser.add_argument("--groups", nargs="+", type=int, default=GROUPS)
    parser.add_argument("--threads", type=int, help="default: torch's choice")
    parser.add_argument("--device", help="default: the GPU where there is one")
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, 2 rounds: does it run?")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.shapes = 2, [(2, 32, 8)]
    return options


def rows_of(shape, groups, options, device):
    """Check that both ways agree, time them, and return a row for the convolution and one for the twist."""
    batch, channels, side = shape
    torch.manual_seed(0)
    u = torch.randn(batch, channels, side, side, device=device, requires_grad=True)
    gradient = torch.randn(batch, channels, side, side, device=device)
    layers = dict(contenders(channels, groups, device))
    cases = {}
    for name, layer in layers.items():
        cases[name, "inference"] = inference(layer, u)
        cases[name, "training"] = training(layer, u, gradient)
    for layer in ("convolution", "twist"):
        with torch.no_grad():
            dense, permuted = layers[f"{layer}, dense"](u), layers[f"{layer}, permuted"](u)
        scale = dense.abs().max()
        if not (dense - permuted).abs().max() < 1e-4 * scale:
            raise RuntimeError(f"the two ways differ: {layer}, {shape}, {groups} groups")
    seconds = interleaved(cases, device, repeats=options.repeats, least_seconds=0 if options.quick else 0.05)
    rows = []
    for layer in ("convolution", "twist"):
        row = {"layer": layer, "shape": list(shape), "groups": groups}
        for kind in ("inference", "training"):
            dense, permuted = seconds[f"{layer}, dense", kind], seconds[f"{layer}, permuted", kind]
            row[kind] = {"dense_ms": 1e3 * statistics.median(dense), "permuted_ms": 1e3 * statistics.median(permuted),
                         "speedup": statistics.median(ratios(dense, permuted)),
                         "dense_seconds": dense, "permuted_seconds": permuted}
        rows.append(row)
    return rows


def inference(layer, u):
    def step():
        with torch.no_grad():
            layer(u)
    return step


def training(layer, u, gradient):
    def step():
        u.grad = None
        layer.zero_grad(set_to_none=True)
        layer(u).backward(gradient)
    return step


def report(rows, shape):
    lines = [["layer", "groups", *(f"{kind} {what}" for kind in ("inference", "training")
                                   for what in ("dense, ms", "permuted, ms", "speed-up"))]]
    for row in sorted(rows, key=lambda row: row["layer"]):
        cells = (f"{row[kind][key]:.1f}" for kind in ("inference", "training")
                 for key in ("dense_ms", "permuted_ms", "speedup"))
        lines.append([row["layer"], str(row["groups"]), *cells])
    print(f"\n{' x '.join(map(str, shape))}\n{table(lines)}", flush=True)


if __name__ == "__main__":
    main()
