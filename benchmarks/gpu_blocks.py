"""Choose the block sizes of the GPU kernels: time each kernel alone with each choice, on the shapes of the benchmark.

Book: chapter 13.  ::

    python -m benchmarks.gpu_blocks               a table for each kernel and shape, the best on top
    python -m benchmarks.gpu_blocks --quick       two choices each: does it run?

What wins is written into ``convtwist/_engine/triton_tiles.py`` by hand.  The last lines compare the two ways of
mixing, fields in registers and a bank for cuBLAS, which is the question of ``in_registers`` there.
"""

import argparse
import itertools
import statistics
import sys

import torch
from torch.testing import make_tensor

from benchmarks.layer import GPU_SHAPES
from benchmarks.timing import interleaved, machine, table, write

CHOICES = {  # kernel: BM, num_warps, ROWS
    "bank_tiles": list(itertools.product((8, 16, 32, 64), (2, 4, 8), (7, 14))),
    "add_tiles": list(itertools.product((16, 32, 64), (4, 8), (7, 14))),
    "product_tiles": list(itertools.product((16, 32, 64), (4, 8), (7, 14))),
    "spread_tiles": list(itertools.product((8, 16, 32), (2, 4, 8), (8,))),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", type=lambda text: tuple(map(int, text.split(","))), default=GPU_SHAPES,
                        metavar="N,C,H", help="batch, channels in and out, side")
    parser.add_argument("--kernels", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--quick", action="store_true", help="two choices each, 2 rounds")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here, so there is nothing to choose from")
    from convtwist._engine import triton_tiles

    device = torch.device("cuda")
    results = {"machine": machine(device), "rows": []}
    for name, shape in itertools.product(options.kernels, options.shapes):
        usual, way = getattr(triton_tiles, name), triton_tiles.in_registers
        found = []
        for choice in CHOICES[name][: 2 if options.quick else None]:
            rows = min(choice[2], shape[2])
            blocks = {"BM": choice[0], "num_warps": choice[1], "ROWS": rows}
            setattr(triton_tiles, name, lambda *given, blocks=blocks, usual=usual: {**usual(*given), **blocks})
            triton_tiles.in_registers = lambda *given, name=name: name in ("add_tiles", "product_tiles")
            try:
                seconds = interleaved({"kernel": case(name, shape)}, device, least_seconds=0.01,
                                      repeats=2 if options.quick else options.repeats)["kernel"]
                found.append((1e3 * statistics.median(seconds), blocks))
            except Exception as error:  # a choice may need more registers or memory than there are
                found.append((float("inf"), {**blocks, "error": type(error).__name__}))
        setattr(triton_tiles, name, usual)
        triton_tiles.in_registers = way
        found.sort(key=lambda pair: pair[0])
        results["rows"] += [{"kernel": name, "shape": list(shape), "ms": ms, **blocks} for ms, blocks in found]
        lines = [["ms", "blocks"], *([f"{ms:.4f}", " ".join(f"{k}={v}" for k, v in b.items())] for ms, b in found[:5])]
        print(f"\n{name} {shape}\n{table(lines)}", flush=True)
    for shape in options.shapes:
        results["rows"] += ways(shape, device, triton_tiles, options)
    if options.json:
        write(options.json, results)


def case(name, shape):
    """Return a call that takes little more time than one kernel of the name."""
    from convtwist._engine import triton_blocks

    batch, channels, side = shape
    stride = 2 if name == "spread_tiles" else 1
    u, g = (maps(batch, channels, size) for size in (side, -(-side // stride)))
    mixing = make_tensor(2 * channels, channels, dtype=torch.bfloat16, device="cuda")
    walk = triton_blocks._Walk("similarity", u, g.shape[2:], "centered", (stride, stride), (1, 1), (1, 1))
    if name == "bank_tiles":
        return lambda: walk._bank(u)
    if name == "add_tiles":
        return lambda: walk.mix(g, mixing, True)
    if name == "product_tiles":
        return lambda: walk.products(g)
    return lambda: walk.spread(u, g, mixing.view(2, channels, channels))


def ways(shape, device, triton_tiles, options):
    """Time both ways of forward and backward on a shape, as a whole."""
    from convtwist._engine import triton_blocks

    batch, channels, side = shape
    u, g, d = (maps(batch, channels, side) for _ in range(3))
    weights = make_tensor(2, channels, channels, dtype=torch.bfloat16, device="cuda")
    fixed = "similarity", (1, 1), (1, 1), (1, 1), "centered"

    def forward():
        triton_blocks.add_fields(d, u, weights.flatten(0, 1).t(), *fixed)

    def backward():
        triton_blocks.add_transposed(d, g, u, weights, True, *fixed)

    rows, usual = [], triton_tiles.in_registers
    for way in ("registers", "bank"):
        triton_tiles.in_registers = lambda *given, way=way: way == "registers"
        try:
            seconds = interleaved({"forward": forward, "backward": backward}, device, least_seconds=0.01,
                                  repeats=2 if options.quick else options.repeats)
            rows.append({"way": way, "shape": list(shape),
                         **{kind: 1e3 * statistics.median(values) for kind, values in seconds.items()}})
        except Exception as error:
            rows.append({"way": way, "shape": list(shape), "error": type(error).__name__})
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    triton_tiles.in_registers = usual
    return rows


def maps(batch, channels, side):
    return make_tensor(batch, side, side, channels, dtype=torch.bfloat16, device="cuda", low=-1,
                       high=1).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
