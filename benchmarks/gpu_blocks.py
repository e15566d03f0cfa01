"""Choose the block sizes of the GPU kernels: time each kernel alone with each choice, on the shapes of the benchmark.

Book: chapter 13.  ::

    python -m benchmarks.gpu_blocks --jobs 12     a table for each kernel and shape, the best on top
    python -m benchmarks.gpu_blocks --quick       two choices each: does it run?

What wins is written into ``convtwist/_engine/triton_tiles.py`` by hand.  The last lines compare the two ways of
mixing, fields in registers and a bank for cuBLAS, which is the question of ``in_registers`` there.  Kernels are timed
in a CUDA graph, and compiled beforehand by ``--jobs`` processes.
"""

import argparse
import itertools
import multiprocessing
import statistics
import sys

import torch

from benchmarks.layer import GPU_SHAPES
from benchmarks.timing import in_graph, interleaved, machine, table, write

REPEATS = 5  # calls in a graph
AHEAD = (True, 1), (False, 1), (False, 2), (False, 3)  # who fetches ahead: the kernel by hand, nobody, Triton
CHOICES = {  # kernel: blocks
    "mix": [{"BM": bm, "num_warps": warps, "ROWS": rows, "AHEAD": ahead, "STAGES": stages}
            for (bm, warps), rows, (ahead, stages) in
            itertools.product(((16, 4), (16, 8), (32, 8)), (14, 7), (*AHEAD, (False, 4)))],
    "back": [{"BM": bm, "num_warps": warps, "ROWS": rows, "SPLITS": splits, "STAGES": stages, "AHEAD": False}
             for (bm, warps), (rows, splits), stages in
             itertools.product(((16, 4), (16, 8), (16, 16), (32, 8)), ((14, 264), (14, 132), (7, 132)), (3, 4))],
    "near": [{"BM": bm, "BK": bk, "num_warps": 4, "AHEAD": ahead, "STAGES": stages} for (bm, bk), (ahead, stages) in
             itertools.product(((16, 64), (4, 128), (8, 128)), AHEAD)],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", type=lambda text: tuple(map(int, text.split(","))), default=GPU_SHAPES,
                        metavar="N,C,H", help="batch, channels in and out, side")
    parser.add_argument("--banks", nargs="+", choices=["similarity", "iso"], default=["similarity", "iso"])
    parser.add_argument("--kernels", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--jobs", type=int, default=1, help="processes that compile")
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--quick", action="store_true", help="two choices each")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here, so there is nothing to choose from")
    device = torch.device("cuda", 0)
    found = list(cases(options))
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        pool.starmap(compile_some, [(options, k) for k in range(options.jobs)], chunksize=1)
    results = {"machine": machine(device), "rows": []}
    for (kernel, bank, shape), group in itertools.groupby(found, lambda case: case[:3]):
        rows = [{"kernel": kernel, "bank": bank, "shape": list(shape), **blocks, **timed(kernel, bank, shape, blocks)}
                for *_, blocks in group]
        rows.sort(key=lambda row: row.get("ms", float("inf")))
        results["rows"] += rows
        print(f"\n{kernel} {bank} {shape}\n{table([['ms', 'blocks'], *map(line, rows[:4])])}", flush=True)
    for bank, shape in itertools.product(options.banks, options.shapes):
        for way in ("registers", "bank"):
            results["rows"].append({"way": way, "bank": bank, "shape": list(shape), **timed_way(way, bank, shape)})
            print(results["rows"][-1], flush=True)
    if options.json:
        write(options.json, results)


def cases(options):
    """Yield kernel, bank, shape and blocks; registers are for few channels."""
    for kernel, bank, shape in itertools.product(options.kernels, options.banks, options.shapes):
        if kernel == "near" or shape[1] <= 128:
            for blocks in CHOICES[kernel][: 2 if options.quick else None]:
                yield kernel, bank, shape, blocks


def line(row):
    fixed = "kernel", "bank", "shape", "ms", "error"
    blocks = " ".join(f"{key}={value}" for key, value in row.items() if key not in fixed)
    return [f"{row['ms']:.4f}" if "ms" in row else row["error"], blocks]


def compile_some(options, job):
    """Compile every ``jobs``-th case, so that Triton finds it on the disk."""
    from convtwist._engine import triton_blocks

    class Compiled(triton_blocks.Launcher):
        def __call__(self, *tensors):
            self.kernel.warmup(*tensors, *self.numbers, grid=self.grid, **self.constants)

    triton_blocks.Launcher = Compiled
    for case in list(cases(options))[job :: options.jobs]:
        timed(*case, compile_only=True)


def timed(kernel, bank, shape, blocks, compile_only=False):
    """Return the milliseconds of a kernel alone, or why there are none."""
    from convtwist._engine import triton_blocks, triton_tiles

    name, usual = f"{kernel}_tiles", getattr(triton_tiles, f"{kernel}_tiles")
    way = triton_tiles.in_registers
    setattr(triton_tiles, name, lambda *given: {**usual(*given), **blocks})
    triton_tiles.in_registers = lambda *given: kernel != "near"
    try:
        call = call_of(kernel, triton_blocks.Walk, bank, shape)
        if compile_only:
            return call()
        return {"ms": milliseconds(call)}
    except Exception as error:  # a choice may need more registers or memory than there are
        return {"error": type(error).__name__}
    finally:
        setattr(triton_tiles, name, usual)
        triton_tiles.in_registers = way


def call_of(kernel, kind, bank, shape):
    """Return a call that launches one kernel."""
    batch, channels, side = shape
    u, g, d = (maps(batch, channels, side) for _ in range(3))
    weights = torch.randn(4 if bank == "iso" else 2, channels, channels, device="cuda", dtype=torch.bfloat16)
    one = 1, 1
    walk = kind(bank, u.shape, (side, side), channels, u.dtype, u.device, "centered", one, one, one, kernel != "mix", 1)
    if kernel == "mix":
        return lambda: walk.mix(u, d, weights, bank != "iso")
    if kernel == "back":
        return lambda: walk.mix_back(g, d, weights, bank != "iso", u)
    return lambda: walk._bank(u)


def timed_way(way, bank, shape):
    """Return the milliseconds of forward and backward on a shape, as a whole."""
    from convtwist._engine import triton_blocks, triton_tiles

    usual = triton_tiles.in_registers
    triton_tiles.in_registers = lambda *given: way == "registers"
    try:
        return {name: milliseconds(call_of(kernel, triton_blocks.Walk, bank, shape))
                for name, kernel in (("forward", "mix"), ("backward", "back"))}
    except Exception as error:
        return {"error": type(error).__name__}
    finally:
        triton_tiles.in_registers = usual


def milliseconds(call):
    device = torch.device("cuda", 0)
    replay = in_graph(lambda: [call() for _ in range(REPEATS)])
    seconds = interleaved({"kernel": replay}, device, least_seconds=0.002, repeats=5)["kernel"]
    return 1e3 * statistics.median(seconds) / REPEATS


def maps(batch, channels, side):
    return torch.randn(batch, side, side, channels, dtype=torch.bfloat16, device="cuda").permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
