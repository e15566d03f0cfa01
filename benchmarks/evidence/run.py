"""Does the twist help?  Run the plan, resume it, and append every finished run to a CSV.

Book: chapter 12.  The plan is plan.md, in numbers plan.py; the others are plan_2 and plan_3.  ::

    python -m benchmarks.evidence.run                       all of it; hours on one core
    python -m benchmarks.evidence.run --stage tune main     the first two stages
    python -m benchmarks.evidence.run --plan 2              the second plan, into files of its own; so the third
    python -m benchmarks.evidence.run --quick --out FOLDER  a smoke test; its numbers mean nothing

Interrupt it when you like: a run that was not finished leaves nothing behind, one that was is not run again.
"""

import argparse
import csv
import fcntl
import io
import multiprocessing
import os
import platform
import sys
import threading
import time
import warnings
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

import torch

import convtwist
from benchmarks.evidence import plan, plan_2, plan_3
from benchmarks.evidence.networks import CONTROLS, VARIANTS, multiply_adds
from benchmarks.evidence.train import trained
from benchmarks.timing import machine

RESULTS = Path(__file__).parent.parent / "results"
COLUMNS = ("stage", "variant", "width", "parameters", "multiply_adds", "seed", "train", "images", "epochs", "steps",
           "batch", "rate", "test", "test_images", "correct", "accuracy", "train_loss", "cpu_seconds", "wall_seconds",
           "machine", "versions")
# The third plan's runs are tested 36 times each: no more columns than it takes to tell them apart.
SHORT_COLUMNS = ("stage", "variant", "seed", "train", "steps", "rate", "test", "test_images", "correct", "train_loss",
                 "cpu_seconds")
NAMED_COLUMNS = ("variant", "seed", "train", "test", "named")
PLANS = {1: plan, 2: plan_2, 3: plan_3}
TWIST_COLUMNS = ("stage", "variant", "seed", "train", "layer", "in_channels", "out_channels", "moment", "kernel",
                 "zoom", "rotation")


def read(path: Path) -> list[dict]:
    """Return the rows of a CSV, or none if there is no file; a line that was cut short is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))


def append(path: Path, columns, rows: list[dict]) -> None:
    """Add rows in one write under a lock, the heading first where the file is new."""
    with open(path, "ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        before = file.read()
        whole = before.rfind(b"\n") + 1
        if whole < len(before):  # cut short by a power failure
            file.truncate(whole)
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        if not whole:
            writer.writeheader()
        writer.writerows(rows)
        file.write(text.getvalue().encode())
        file.flush()
        os.fsync(file.fileno())


def finished(rows: list[dict]) -> set:
    """Return the keys of the runs that are in the CSV."""
    return {(row["stage"], row["variant"], int(row["seed"]), row["train"],
             float(row["rate"]) if row["stage"].startswith("tune") else None) for row in rows}


def _prepare(threads):
    """Set a worker up: quiet, and gone as soon as whoever started it is gone."""
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", module="e2cnn")
    parent = multiprocessing.parent_process()
    if parent is not None:
        def follow():
            parent.join()
            os._exit(1)
        threading.Thread(target=follow, daemon=True).start()


def main(arguments=None) -> None:
    """Run what is planned and not done yet."""
    options = _arguments(arguments)
    _prepare(1)
    chosen, suffix = PLANS[options.plan], f"_{options.plan}" if options.plan > 1 else ""
    evidence, twists, named = (options.out / f"evidence{suffix}{kind}.csv" for kind in ("", "_twists", "_named"))
    tuning = [options.out / name for name in ("evidence.csv", "evidence_2.csv")[:options.plan]]
    options.out.mkdir(parents=True, exist_ok=True)
    constant = {"machine": machine(torch.device("cpu"))["cpu"],
                "versions": f"convtwist {convtwist.__version__} torch {torch.__version__} "
                            f"python {platform.python_version()}"}
    limit = time.monotonic() + 60 * options.minutes
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(options.workers, context, _prepare, (1,)) if options.workers else None
    pending = {}

    def collect():
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            publish(pending.pop(future), *future.result())

    def publish(run, rows, learned):
        if chosen is plan_3:
            append(named, NAMED_COLUMNS, [row for row in rows if row["test"].startswith("draw_")])
        elif learned and run.stage not in chosen.TUNING:
            append(twists, TWIST_COLUMNS, learned)
        rows = [row | constant | {"multiply_adds": multiply_adds(run.variant)} for row in rows]
        append(evidence, SHORT_COLUMNS if chosen is plan_3 else COLUMNS, rows)
        scores = ", ".join(f"{row['test']} {100 * row['accuracy']:.2f}" for row in rows) if options.scores else ""
        print(f"{time.strftime('%H:%M:%S')} {run.stage} {run.variant} seed {run.seed} {run.train} rate {run.rate:g} "
              f"{rows[0]['cpu_seconds']:.0f} s {scores}", flush=True)

    try:
        for stage in options.stage:
            while any(run.stage in chosen.needs(stage) for run in pending.values()):
                collect()
            rows = [row for path in tuning for row in read(path)]
            # Only the first is always needed: with --only a stage may have no runs.
            missing = [name for name in chosen.needs(stage)[:1] if name not in {row["stage"] for row in rows}]
            if missing:
                raise SystemExit(f"the stage {stage} is planned from the results of {', '.join(missing)}; "
                                 f"run --stage {' '.join(missing)} {stage}")
            for run in chosen.planned(stage, rows, options.only):
                if run.key in finished(read(evidence)):
                    continue
                if time.monotonic() > limit:
                    print(f"{options.minutes:g} minutes are over; start again to go on", flush=True)
                    return
                run = plan.quick(run) if options.quick else run
                count = 64 if options.quick else None
                if pool is None:
                    publish(run, *trained(run, options.data, count))
                    continue
                while len(pending) >= options.workers:
                    collect()
                pending[pool.submit(trained, run, options.data, count)] = run
    finally:
        if sys.exc_info()[0] is None:
            while pending:
                collect()
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each; 0 runs in this one")
    parser.add_argument("--plan", type=int, choices=PLANS, default=1, help="which plan (default: 1)")
    parser.add_argument("--stage", nargs="+", choices=[stage for each in PLANS.values() for stage in each.STAGES],
                        metavar="STAGE", help="; ".join(f"of plan {k}: {', '.join(each.STAGES)}"
                                                        for k, each in PLANS.items()) + "; default: all of the plan's")
    parser.add_argument("--only", nargs="+", choices=VARIANTS | CONTROLS, metavar="VARIANT",
                        help=f"of plan 1: {', '.join(VARIANTS)}; of plan 2: {', '.join(plan_2.VARIANTS)}; "
                             f"of plan 3: {', '.join(plan_3.VARIANTS)}")
    parser.add_argument("--data", help="folder with Fashion-MNIST; default: where Debian's package puts it")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV files")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no run after so many minutes")
    parser.add_argument("--scores", action="store_true", help="show accuracies as they come; better not to look")
    parser.add_argument("--quick", action="store_true", help="two steps on a few dozen pictures: does it run?")
    options = parser.parse_args(arguments)
    chosen = PLANS[options.plan]
    options.stage = options.stage or list(chosen.STAGES)
    options.only = options.only or list(VARIANTS if chosen is plan else chosen.VARIANTS)
    if strange := [name for name in options.stage if name not in chosen.STAGES]:
        parser.error(f"plan {options.plan} has no stage {', '.join(strange)}; its stages: {', '.join(chosen.STAGES)}")
    if options.quick and options.out == RESULTS:
        parser.error("--quick needs --out FOLDER, so that its numbers never mix with measured ones")
    return options


if __name__ == "__main__":
    main()
