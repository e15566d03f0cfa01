"""Everything that needs a GPU, in one run of some nine minutes: tests, then the benchmark, then what README shows.

Book: chapter 13.  ::

    python -m benchmarks.gpu                  tests and benchmarks; writes gpu.json, gpu_host.json and gpu_stacked.json
    python -m benchmarks.gpu --skip tests
    python -m benchmarks.gpu --folder out     writes there, not into benchmarks/results

While the tests run, the compilers fill their caches; what is timed then has the machine to itself.  The benchmark is
run with the kernels in Triton, and once more without, as three convolutions; in between, the host is timed alone.  A
part that overruns its share of the time is cut off, and the next one starts; what was measured until then is kept.
Afterwards ``tools/speed_table.py`` prints the table for README.md.  ``benchmarks/gpu_blocks.py`` chooses the kernels'
block sizes, and is run apart.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.layer import GPU_SHAPES

ROOT = Path(__file__).parents[1]
LAYER = ["-m", "benchmarks.layer", "--gpu", "--training-only"]
NETWORK = ["--resnet-contenders", "ConvTwist similarity", "--contenders", "ConvTwist similarity", "IsoTwist2d"]
POSTED = "posted version 2"
TESTS = ["-m", "pytest", "-q", "-m", "gpu and not slow", "tests/test_triton.py", "tests/test_stacked.py"]
PARTS = {  # name: (seconds at most, with the kernels?, commands that run side by side)
    "tests": (150, True, [TESTS, [*LAYER, *NETWORK, "--compile-only", "--skip", "layers"],
                          *([*LAYER, *NETWORK, POSTED, "--compile-only", "--skip", "resnet", "--shapes",
                             ",".join(map(str, shape))] for shape in GPU_SHAPES)]),
    "gpu": (290, True, [[*LAYER, *NETWORK, POSTED, "--repeats", "7"]]),
    "gpu_host": (50, True, [["-m", "benchmarks.host"]]),
    "gpu_stacked": (60, False, [[*LAYER, *NETWORK, "--repeats", "3", "--skip", "compiled"]]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip", nargs="+", choices=PARTS, default=[])
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "results", help="where results go")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here, so there is nothing to measure")
    if "tests" not in options.skip and importlib.util.find_spec("pytest") is None:
        sys.exit("the tests need pytest: pip install pytest pytest-xdist, or --skip tests")
    failed = []
    for name, (seconds, kernels, commands) in PARTS.items():
        if name in options.skip:
            continue
        print(f"== {name}", flush=True)
        if name == "tests":
            commands[0] += ["-n", "5"] if importlib.util.find_spec("xdist") else []
        else:
            commands[0] += ["--json", str((options.folder / f"{name}.json").resolve())]
        environment = {**os.environ, "CONVTWIST_GPU_ENGINE": str(int(kernels))}
        start = time.monotonic()
        running = [subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, start_new_session=True)
                   for command in commands]
        for command, process in zip(commands, running, strict=True):
            try:
                code = process.wait(max(1, seconds - (time.monotonic() - start)))
                failed += [f"{name}: {' '.join(command)}"] if code else []
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its helpers, too, or they would disturb what is timed next
                failed.append(f"{name}: {' '.join(command)} was cut off after {seconds} s")
    sys.exit("failed:\n" + "\n".join(failed) if failed else 0)


if __name__ == "__main__":
    main()
