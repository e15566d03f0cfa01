"""One thread for each test process, and the scorecard at the end of a run."""

import os
import tempfile

import torch
from scorecard import read

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported: its own functions depend on it

torch.set_num_threads(1)  # the order of float sums depends on it, and xdist already fills the cores


def pytest_configure(config):
    """Name the scorecard's file before any worker starts, so that all of them append to the same one."""
    if not hasattr(config, "workerinput"):
        handle, os.environ["CONVTWIST_SCORECARD"] = tempfile.mkstemp(prefix="scorecard-", suffix=".jsonl")
        os.close(handle)


def pytest_terminal_summary(terminalreporter):
    """Print what the tests counted and measured, one line each."""
    card = read(os.environ["CONVTWIST_SCORECARD"])
    if card:
        terminalreporter.section("scorecard")
        width = max(map(len, card))
        for name, value in sorted(card.items()):
            shown = f"{value:.3g}" if isinstance(value, float) else value
            terminalreporter.line(f"{name:<{width}}  {shown}")


def pytest_unconfigure(config):
    """Remove the scorecard's file."""
    if not hasattr(config, "workerinput"):
        os.unlink(os.environ["CONVTWIST_SCORECARD"])
