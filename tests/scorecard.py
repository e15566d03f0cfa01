"""What the test run can say about itself: one line for each thing counted or measured.

A test calls ``record("oracle configurations", 480)``; tests/conftest.py prints all lines at the end.  Under xdist
every worker appends JSON lines to the file named by the environment variable CONVTWIST_SCORECARD.
"""

import json
import os

__all__ = ["LINES", "read", "record"]

LINES: list[tuple[str, object]] = []


def record(name: str, value) -> None:
    """Add a line; numbers recorded under the same name are added up by :func:`read` if they are whole."""
    LINES.append((name, value))
    path = os.environ.get("CONVTWIST_SCORECARD")
    if path:
        # One write of less than a page to a file opened for appending is not torn by other workers.
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps([name, value]) + "\n")


def read(path: str | None = None) -> dict[str, object]:
    """Return the lines by name: counts added up, of measured errors the largest, of anything else the last."""
    lines = LINES
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    card: dict[str, object] = {}
    for name, value in lines:
        if name in card and isinstance(value, int) and isinstance(card[name], int):
            value += card[name]
        elif name in card and isinstance(value, float) and isinstance(card[name], float):
            value = max(value, card[name])
        card[name] = value
    return card
