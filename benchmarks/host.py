"""How long the host takes to launch a training step of one layer on a GPU, whatever the GPU takes to compute it.

Book: chapter 13.  ::

    python -m benchmarks.host                a table; half a minute
    python -m benchmarks.host --json FILE
    python -m benchmarks.host --profile      what PyTorch's profiler says of an eager step of each layer

Two pictures are so few that the GPU is done first, so what is timed is Python and PyTorch: forward until the output
is returned, backward until all is launched.  "recorded" is ``torch.compile`` with ``mode="reduce-overhead"``, which
launches CUDA graphs.  Numbers are ``bfloat16`` in ``channels_last``.  Times are medians of many steps, in microseconds.
"""

import argparse
import datetime
import itertools
import statistics
import sys
import time

import torch

from benchmarks.contenders import CONTENDERS
from benchmarks.timing import machine, table, write

SHAPES = [(2, 256, 14), (2, 64, 56)]
NAMES = ["Conv2d", "ConvTwist similarity", "IsoTwist2d"]
ENGINES = {"eager": None, "compiled": "default", "recorded": "reduce-overhead"}
AT_ONCE = 8  # steps between two waits for the GPU, so that its queue never fills


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--profile", action="store_true", help="print where eager steps spend their time instead")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here, so there is nothing to launch on")
    device = torch.device("cuda", 0)
    if options.profile:
        for shape, name in itertools.product(SHAPES, NAMES):
            print(f"== {name}, {shape}, eager\n{profiled(name, shape)}", flush=True)
        return
    rows = [{"contender": name, "engine": engine, "shape": list(shape), **launched(name, engine, shape, options.steps)}
            for shape in SHAPES for engine in ENGINES for name in NAMES]
    lines = [[row["contender"], row["engine"], " x ".join(map(str, row["shape"])), f"{row['forward']:.0f}",
              f"{row['backward']:.0f}", f"{row['forward'] + row['backward']:.0f}"] for row in rows]
    print(table([["layer", "engine", "shape", "forward", "backward", "both"], *lines]))
    if options.json:
        write(options.json, {"machine": machine(device), "date": datetime.date.today().isoformat(),
                             "steps": options.steps, "dtype": "bfloat16", "rows": rows})


def launched(name, engine, shape, steps, device="cuda"):
    """Return the microseconds of forward and of backward; the first quarter of the steps isn't counted."""
    torch.compiler.reset()
    layer, u, slope = made(name, shape, device)
    call = layer if ENGINES[engine] is None else torch.compile(layer, mode=ENGINES[engine], fullgraph=True)
    forward, backward = [], []
    for step in range(steps):
        u.grad = None
        layer.zero_grad(set_to_none=True)
        start = time.perf_counter()
        output = call(u)
        middle = time.perf_counter()
        output.backward(slope)
        backward.append(time.perf_counter() - middle)
        forward.append(middle - start)
        if step % AT_ONCE == AT_ONCE - 1 and u.is_cuda:
            torch.cuda.synchronize()
    return {key: 1e6 * statistics.median(times[steps // 4 :]) for key, times in
            (("forward", forward), ("backward", backward))}


def profiled(name, shape, device="cuda", steps=20):
    """Return a table of the operations that take the host longest."""
    layer, u, slope = made(name, shape, device)
    for _ in range(3):
        layer(u).backward(slope)
    with torch.profiler.profile(activities=torch.profiler.supported_activities()) as profile:
        for _ in range(steps):
            layer(u).backward(slope)
    return profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=50)


def made(name, shape, device):
    """Return a layer, its input and the gradient of its output."""
    batch, channels, side = shape
    torch.manual_seed(0)
    u, slope = (torch.randn(batch, channels, side, side, device=device, dtype=torch.bfloat16).to(
        memory_format=torch.channels_last) for _ in range(2))
    layer = CONTENDERS[name].build(channels, channels).to(device, torch.bfloat16, memory_format=torch.channels_last)
    return layer, u.requires_grad_(), slope


if __name__ == "__main__":
    main()
