"""A run as curves: losses, accuracies and the learning rate, from the ``metrics.csv`` that training writes.

Book: chapter 11.
"""

import argparse
import csv
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from convtwist.train.overview import program

if TYPE_CHECKING:
    from convtwist.plot import Picture

__all__ = ["main", "read_log", "training_log"]

_PANELS = (("loss", {"training": "train_loss_epoch", "validation": "val_loss"}),
           ("accuracy", {"training": "train_accuracy", "validation": "val_accuracy"}),
           ("learning rate", {"": "lr"}))  # by step or by epoch, whichever has more points


def read_log(run: str | os.PathLike[str]) -> dict[str, list[tuple[int, float]]]:
    """Return each number that a run logged as a list of ``(step, value)``, steps rising.

    A run that was continued has one log for each start; where two hold the same steps the later one counts.  Logs of
    ``validate`` and ``test`` are passed over.

    Args:
        run: the run's folder (``--trainer.default_root_dir``), or one ``metrics.csv``.

    Raises:
        FileNotFoundError: nothing was logged there.
        ValueError: a log cannot be read as one.
    """
    place = Path(run)
    files = [place] if place.is_file() else sorted(place.glob("logs/version_*/metrics.csv"), key=_version)
    found: dict[str, list[tuple[int, float]]] = {}
    for file in files:
        try:
            with file.open(newline="", encoding="utf-8") as text:
                rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(text)]
            rows = [(int(row.pop("step")), row) for row in rows]
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is no log of a run ({type(error).__name__}: {error})") from None
        if not any("train_loss_step" in row or "train_loss_epoch" in row for _, row in rows):
            continue
        start = min(step for step, _ in rows)
        found = {name: [point for point in points if point[0] < start] for name, points in found.items()}
        for step, row in rows:
            for name, value in row.items():
                found.setdefault(name, []).append((step, value))
    if not found:
        raise FileNotFoundError(f"no metrics.csv of a training run in {run}, seen from {Path.cwd()}; name the folder "
                                "given as --trainer.default_root_dir")
    return {name: sorted(points) for name, points in found.items()}


def training_log(run: str | os.PathLike[str]) -> "Picture":
    """Draw the losses, accuracies and learning rate of a run; return a :class:`convtwist.plot.Picture`.

    Training's loss and accuracy are means over an epoch of augmented, and perhaps mixed, pictures, so they may lie on
    the worse side of validation's.

    Args:
        run: as for :func:`read_log`, whose errors are raised.
    """
    from matplotlib.figure import Figure

    from convtwist.plot import WIDTH, Picture

    log = read_log(run)
    log["lr"] = max(log.get("lr_epoch", []), log.get("lr_step", []), key=len)
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    axes = figure.subplots(len(_PANELS), sharex=True)
    for axis, (title, lines) in zip(axes, _PANELS, strict=True):
        for (label, name), style in zip(lines.items(), ("-o", "--s"), strict=False):
            if log.get(name):
                axis.plot(*zip(*log[name], strict=True), style, label=label, markersize=4 if label else 2)
        axis.set_ylabel(title, fontsize=12)
        axis.grid(alpha=0.3)
        if any(axis.get_legend_handles_labels()):
            axis.legend()
    axes[-1].set_xlabel("optimisation step", fontsize=12)
    return Picture(figure, _described(log))


def _described(log: dict[str, list[tuple[int, float]]]) -> str:
    text = "Three panels over the steps of a run: the losses, the accuracies and the learning rate."
    if log.get("val_accuracy"):
        step, best = max(log["val_accuracy"], key=lambda point: point[1])
        text += f" The validation accuracy ends at {log['val_accuracy'][-1][1]:.3f}; it is highest, {best:.3f}, at " \
                f"step {step}."
    return text


def _version(path: Path) -> int:
    number = path.parent.name.removeprefix("version_")
    return int(number) if number.isdigit() else -1


def main(args: list[str]) -> int:
    """Draw a run into a file and say in words what the curves show; return the exit code."""
    parser = argparse.ArgumentParser(f"{program()} plot", description="Draw the curves of a run.")
    parser.add_argument("run", metavar="RUN_FOLDER", help="the folder of the run, such as runs/folder")
    parser.add_argument("--output", metavar="FILE", help="the picture's file; by default curves.png in RUN_FOLDER")
    given = parser.parse_args(args)
    try:
        picture = training_log(given.run)
        folder = Path(given.run) if Path(given.run).is_dir() else Path(given.run).parent
        file = Path(given.output) if given.output else folder / "curves.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{picture.alt}\nDrawn into {file}")
    return 0
