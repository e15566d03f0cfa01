"""How long the host takes for each call of PyTorch's that a layer with a bank makes on a GPU, each timed alone.

Book: chapter 13.  ::

    python -m benchmarks.host_parts          two tables, ten seconds

``benchmarks.host`` times whole steps, and there a bank costs the host more than its Python explains.  These calls are
what is left.  Each is made eight times between two waits: first on a GPU that is idle, as in ``benchmarks.host``, then
on one that is kept busy.  Sizes are those of two pictures, 256 channels at 14 x 14, in ``bfloat16``.  Times are
medians, in microseconds.  "a launch" adds 1 to one number, and is the price of any small kernel.
"""

import statistics
import sys
import time

import torch

from benchmarks.timing import table

BURSTS, AT_ONCE = 60, 8
BUSY = 3_000_000  # clock ticks of the GPU, some two milliseconds


def main():
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here, so there is nothing to launch on")
    calls = made("cuda")
    found = [{name: timed(call, busy) for name, call in calls.items()} for busy in (False, True)]
    print(table([["call", "idle", "busy"], *([name, *(f"{times[name]:.1f}" for times in found)] for name in calls)]))


def made(device, images=2, channels=256, side=14):
    """Return the calls by name."""
    pixels, options = images * side * side, {"device": device, "dtype": torch.bfloat16}
    u = torch.randn(images, channels, side, side, **options).to(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, **options).to(memory_format=torch.channels_last)
    twist, bank = torch.randn(2, channels, channels, **options), torch.randn(pixels, 2 * channels, **options)
    mixing, output = torch.randn(2 * channels, channels, **options), torch.zeros(pixels, channels, **options)
    product, sums = torch.empty(2 * channels, channels, **options), torch.zeros(56, 2, 64, 64, device=device)
    turned = mixing.t().contiguous().t()
    maps, one = u.permute(0, 2, 3, 1).reshape(pixels, channels), torch.zeros(1, device=device)
    calls = {
        "a launch": lambda: one.add_(1),
        "conv2d": lambda: torch.conv2d(u, weight, None, 1, 1),
        "room for a bank": lambda: u.new_empty((pixels, 2 * channels)),
        "as_strided": lambda: u.as_strided((pixels, channels), (channels, 1)),
        "transpose": lambda: twist.transpose(1, 2),
        "transpose, and a copy": lambda: twist.transpose(1, 2).reshape(-1, channels),
        "addmm_ into the output": lambda: output.addmm_(bank, mixing),
        "addmm_, weights transposed": lambda: output.addmm_(bank, turned),
        "mm with out": lambda: torch.mm(bank.t(), maps, out=product),
        "sum of partial sums": lambda: sums.sum(0),
        "to bfloat16": lambda: sums[0].to(torch.bfloat16),
    }
    if device != "cpu":
        calls["mm into float32"] = lambda: torch.mm(bank.t(), maps, out_dtype=torch.float32)
    return calls


def timed(call, busy=False, bursts=BURSTS, wait=None):
    """Return the median of a call's time in microseconds; the first quarter of the bursts isn't counted."""
    wait, times = wait or torch.cuda.synchronize, []
    for _ in range(bursts):
        if busy:
            torch.cuda._sleep(BUSY)
        for _ in range(AT_ONCE):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        wait()
    return 1e6 * statistics.median(times[len(times) // 4 :])


if __name__ == "__main__":
    with torch.no_grad():
        main()
