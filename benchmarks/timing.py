"""Fair timing on a machine that does other things too: contenders take turns, and ratios are taken turn by turn.

Book: chapter 13.  Used by every script beside it.
"""

import contextlib
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["default_device", "in_graph", "interleaved", "machine", "peak_memory", "ratios", "summary", "table", "write"]


def default_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine(device: torch.device) -> dict:
    """Name what the numbers were measured on; no paths, no host name."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "triton": _version("triton") if device.type == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def interleaved(cases: dict, device: torch.device, *, repeats: int = 9, least_seconds: float = 0.05,
                wall: dict | None = None) -> dict:
    """Run every case once a round, for ``repeats`` rounds; return seconds per call, a list for each case.

    A case shorter than ``least_seconds`` is called several times in its turn.  Each round starts with another
    case, so that none always follows the same neighbour.  On a GPU the seconds are those between two events on the
    device; ``wall`` is filled with those on the host's clock, until the device is done.
    """
    names = list(cases)
    counts = {}
    for name in names:
        cases[name]()  # compiles, fills caches
        counts[name] = max(1, round(least_seconds / max(_time(cases[name], 1, device)[0], 1e-6)))
    seconds = {name: [] for name in names}
    if wall is not None:
        wall.update({name: [] for name in names})
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(repeats):
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                on_host, on_device = _time(cases[name], counts[name], device)
                seconds[name].append(on_host if on_device is None else on_device)
                if wall is not None:
                    wall[name].append(on_host)
    finally:
        if enabled:
            gc.enable()
    return seconds


def in_graph(call):
    """Return the call as a CUDA graph: what it launches is launched at once, and Python has no part in the time."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def _time(call, count, device):
    """Return seconds per call on the host's clock, and on a GPU's, if there is one."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
    _wait(device)
    start = time.perf_counter()
    for event in events[:1]:
        event.record()
    for _ in range(count):
        call()
    for event in events[1:]:
        event.record()
    _wait(device)
    seconds = (time.perf_counter() - start) / count
    return seconds, events[0].elapsed_time(events[1]) / 1e3 / count if events else None


def _wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratios(seconds: list[float], reference: list[float]) -> list[float]:
    """Divide by the reference of the same round: what slows a whole round down cancels."""
    return [ours / theirs for ours, theirs in zip(seconds, reference, strict=True)]


def summary(seconds: list[float], reference: list[float]) -> dict:
    """Return the median in milliseconds, and the median and quartiles of the ratio."""
    relative = ratios(seconds, reference)
    low, middle, high = statistics.quantiles(relative, n=4, method="inclusive") if len(relative) > 1 else relative * 3
    return {"median_ms": 1e3 * statistics.median(seconds), "ratio": middle, "ratio_quartiles": [low, high],
            "seconds": seconds}


def peak_memory(call, device: torch.device, resident: int = 0) -> int:
    """Return the most bytes that tensors hold at once during ``call``, plus those they held before.

    On a CPU every allocation of torch's is added up as the profiler reports it; what a library such as oneDNN
    takes from the system for itself is not seen, what it asks torch for is.  Call it once beforehand to warm up.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return resident + torch.cuda.max_memory_allocated(device) - before
    with _without_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    if not most:
        raise RuntimeError("the profiler reported no allocation at all, so there is no peak to report")
    return resident + most


@contextlib.contextmanager
def _without_stderr():
    """Keep the profiler's chatter off the screen; it writes past Python, to the file descriptor."""
    sys.stderr.flush()
    kept, void = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(void)


def table(rows: list[list[str]]) -> str:
    """Lay rows of text out in columns, the first flush left; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths,
             strict=True))) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def write(path, results: dict) -> None:
    """Write the results as JSON, with seconds to four digits."""
    Path(path).write_text(json.dumps(_rounded(results), indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {Path(path).name}")


def _rounded(value):
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
