"""The measurements that came with this release, as the benchmarks wrote them.  ``results.evidence`` compares the runs.

``results.network`` is a trained network.

Book: chapters 7 and 10 to 13.  Source: ``benchmarks/layer.py`` and ``benchmarks/groups.py``, which write JSON,
``benchmarks/evidence/run.py`` and ``benchmarks/frozen.py``, which write CSV; the forum thread and a leaderboard for
``imagewoof*.csv``.  The files lie in ``benchmarks/results/`` and are shipped inside the wheel.
"""

import csv
import json
from pathlib import Path
from typing import Any

__all__ = ["load", "rows"]


def load(name: str) -> dict[str, Any]:
    """Return the results of one benchmark: ``machine``, ``repeats`` and ``rows``.

    Raises:
        ValueError: there are no results of that name.
    """
    results: dict[str, Any] = json.loads(_text(name, "json"))
    return results


def rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a table of runs: ``"evidence"``, or ``"evidence_twists"`` for the sizes of learned twists.

    ``"evidence_2"`` and ``"evidence_2_twists"`` are those of the second plan, the controls; ``"evidence_3"`` and
    ``"evidence_3_named"``, which pictures were named rightly, those of the third.  ``"frozen"`` is the
    experiment of chapter 10, in which half of the connections between channels are frozen.

    Numbers are numbers, the rest is text; the columns are listed in ``benchmarks/evidence/README.md``.
    ``"imagewoof"`` and ``"imagewoof_epochs"`` are what the forum thread and the leaderboard reported; an empty cell
    is what they didn't say.

    Raises:
        ValueError: there is no table of that name.
    """
    return [{key: _number(cell) for key, cell in row.items()}
            for row in csv.DictReader(_text(name, "csv").splitlines())]


def _text(name: str, kind: str) -> str:
    return _path(name, kind).read_text(encoding="utf-8")


def _path(name: str, kind: str) -> Path:
    here = Path(__file__).parents[1]
    folders = (here / "measurements", here.parent / "benchmarks" / "results")  # in a wheel; in a checkout
    known = {path.stem: path for folder in folders for path in folder.glob(f"*.{kind}")}
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(sorted(known))}; got {name!r}")
    return known[name]


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
