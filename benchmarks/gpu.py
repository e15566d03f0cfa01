"""Everything that needs a GPU, in one run of some nine minutes: tests, then the benchmark, then what README shows.

Book: chapter 13.  ::

    python -m benchmarks.gpu                  tests and benchmarks; writes gpu.json and gpu_stacked.json
    python -m benchmarks.gpu --skip tests
    python -m benchmarks.gpu --folder out     writes there, not into benchmarks/results

The benchmark is run twice: with the kernels in Triton, and without, as three convolutions.  A part that overruns its
share of the time is cut off, and the next one starts.  Afterwards ``tools/speed_table.py`` prints the table for
README.md.  ``benchmarks/gpu_blocks.py`` chooses the kernels' block sizes, and is run apart.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
LAYERS = ["-m", "benchmarks.layer", "--gpu", "--resnet-contenders", "ConvTwist similarity", "--contenders",
          "ConvTwist similarity", "IsoTwist2d"]
PARTS = {  # name: (seconds at most, with the kernels?, arguments)
    "tests": (160, True, ["-m", "pytest", "-q", "-m", "gpu and not slow", "tests/test_triton.py",
                          "tests/test_stacked.py"]),
    "gpu": (260, True, [*LAYERS, "posted version 2", "--repeats", "7"]),
    "gpu_stacked": (160, False, [*LAYERS, "--repeats", "5"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip", nargs="+", choices=PARTS, default=[])
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "results", help="where results go")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here, so there is nothing to measure")
    failed = []
    for name, (seconds, kernels, arguments) in PARTS.items():
        if name in options.skip:
            continue
        if name == "tests":
            if importlib.util.find_spec("pytest") is None:
                sys.exit("the tests need pytest: pip install pytest pytest-xdist, or --skip tests")
            arguments = [*arguments, *(["-n", "8"] if importlib.util.find_spec("xdist") else [])]
        else:
            arguments = [*arguments, "--json", str((options.folder / f"{name}.json").resolve())]
        print(f"== {name}", flush=True)
        try:
            environment = {**os.environ, "CONVTWIST_GPU_ENGINE": str(int(kernels))}
            if subprocess.run([sys.executable, *arguments], cwd=ROOT, timeout=seconds, env=environment).returncode:
                failed.append(name)
        except subprocess.TimeoutExpired:
            failed.append(f"{name}, cut off after {seconds} s")
    sys.exit(f"failed: {'; '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
