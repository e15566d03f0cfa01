"""Everything that needs a GPU, in one run of some eight minutes: tests, then the benchmark, then what README shows.

Book: chapter 13.  ::

    python -m benchmarks.gpu                  tests and benchmark; writes benchmarks/results/gpu.json
    python -m benchmarks.gpu --skip tests
    python -m benchmarks.gpu --folder out     writes there instead

A part that overruns its share of the time is cut off, and the next one starts.  Afterwards ``tools/speed_table.py``
prints the table for README.md.  ``benchmarks/gpu_blocks.py`` chooses the kernels' block sizes, and is run apart.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
PARTS = {  # name: (seconds at most, arguments)
    "tests": (200, ["-m", "pytest", "-q", "-m", "gpu and not slow", "tests/test_triton.py"]),
    "benchmark": (380, ["-m", "benchmarks.layer", "--gpu", "--repeats", "7", "--contenders", "posted version 2",
                        "ConvTwist similarity", "IsoTwist2d", "--resnet-contenders", "ConvTwist similarity"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip", nargs="+", choices=PARTS, default=[])
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "results", help="where gpu.json goes")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here, so there is nothing to measure")
    os.environ.setdefault("CONVTWIST_GPU_ENGINE", "1")
    failed = []
    for name, (seconds, arguments) in PARTS.items():
        if name in options.skip:
            continue
        if name == "tests":
            if importlib.util.find_spec("pytest") is None:
                sys.exit("the tests need pytest: pip install pytest pytest-xdist, or --skip tests")
            arguments = [*arguments, *(["-n", "8"] if importlib.util.find_spec("xdist") else [])]
        else:
            arguments = [*arguments, "--json", str((options.folder / "gpu.json").resolve())]
        print(f"== {name}", flush=True)
        try:
            if subprocess.run([sys.executable, *arguments], cwd=ROOT, timeout=seconds).returncode:
                failed.append(name)
        except subprocess.TimeoutExpired:
            failed.append(f"{name}, cut off after {seconds} s")
    sys.exit(f"failed: {'; '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
