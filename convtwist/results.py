"""The measurements that came with this release, as the benchmarks wrote them.

Book: chapter 12.  Source: ``benchmarks/layer.py`` and ``benchmarks/groups.py``, whose JSON lies in
``benchmarks/results/`` and is shipped inside the wheel.
"""

import json
from pathlib import Path

__all__ = ["load"]


def load(name: str) -> dict:
    """Return the results of one benchmark: ``machine``, ``repeats`` and ``rows``.

    Raises:
        ValueError: there are no results of that name.
    """
    here = Path(__file__).parent
    folders = (here / "measurements", here.parent / "benchmarks" / "results")  # in a wheel; in a checkout
    known = {path.stem: path for folder in folders for path in folder.glob("*.json")}
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(sorted(known))}; got {name!r}")
    return json.loads(known[name].read_text(encoding="utf-8"))
