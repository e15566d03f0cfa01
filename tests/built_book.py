"""The book, built once for all tests that read its pages."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]


def shared_folder(tmp_path_factory) -> Path:
    """Return the folder for what is made once for all workers, and for all runs if CONVTWIST_TESTS_SHARE names one."""
    if given := os.environ.get("CONVTWIST_TESTS_SHARE"):
        Path(given).mkdir(parents=True, exist_ok=True)
        return Path(given)
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def built_book(tmp_path_factory) -> Path:
    """Build the book once for all workers, strictly, and return the folder with its pages."""
    shared = shared_folder(tmp_path_factory)
    target, log = shared / "built-book", shared / "built-book.log"
    with FileLock(str(target) + ".lock"):
        if not log.exists():
            started = time.perf_counter()
            command = [Path(sys.executable).with_name("jupyter-book"), "build", ROOT, "--path-output", target,
                       "-W", "--keep-going", "-n"]
            result = subprocess.run(command, capture_output=True, text=True, timeout=300)
            seconds = time.perf_counter() - started
            log.write_text(f"{result.returncode}\nbuilt in {seconds:.1f} s\n{result.stdout}\n{result.stderr}")
    status, output = log.read_text().split("\n", 1)
    if status != "0":
        complaints = [line for line in output.splitlines() if "WARNING" in line or "ERROR" in line]
        pytest.fail("the strict build failed:\n" + "\n".join(complaints or output.splitlines()[-40:]))
    return target / "_build" / "html"
