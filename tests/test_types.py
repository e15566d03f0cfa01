"""The annotations, as the type checkers of users read them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CASES = ROOT / "tests" / "typing"
# The verifier passes over --pythonpath, and asks the first python of PATH where torch is; without it all is unknown.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
               "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

pytestmark = pytest.mark.slow


def run(*command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
                          timeout=900)
    assert done.stdout, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pyright():
    """Return what pyright has to say of each file, as ``{line: rules}``."""
    report = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable, "convtwist", "tests/typing"))
    assert report["summary"]["filesAnalyzed"] > 40
    found = {}
    for entry in report["generalDiagnostics"]:
        lines = found.setdefault(Path(entry["file"]).relative_to(ROOT).as_posix(), {})
        lines.setdefault(entry["range"]["start"]["line"] + 1, set()).add(entry.get("rule", entry["message"]))
    return found


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Return the same of mypy, in strict mode for the files of a user."""
    cache = tmp_path_factory.mktemp("mypy")
    text = run("mypy", "--strict", "--no-error-summary", "--hide-error-context", "--no-pretty", "--cache-dir",
               str(cache), "--python-executable", sys.executable, "--follow-imports", "silent",
               "tests/typing/typical.py", "tests/typing/wrong.py")
    found = {}
    for file, line, rule in re.findall(r"^(\S+?):(\d+): error: .*\[([\w-]+)\]$", text, re.MULTILINE):
        found.setdefault(file, {}).setdefault(int(line), set()).add(rule)
    return found


def marked():
    """Return the rules that wrong.py expects, ``{line: (of pyright, of mypy)}``."""
    lines = (CASES / "wrong.py").read_text(encoding="utf-8").splitlines()
    marks = {number: line.split("# E: ")[1].split() for number, line in enumerate(lines, 1) if "# E: " in line}
    return {number: (set(one.split(",")), set(other.split(","))) for number, (one, other) in marks.items()}


def test_typical_uses_are_clean(pyright, mypy):
    assert pyright.get("tests/typing/typical.py", {}) == {}
    assert mypy.get("tests/typing/typical.py", {}) == {}


def test_wrong_uses_are_found_and_nothing_else(pyright, mypy):
    expected = marked()
    assert len(expected) > 40
    assert pyright["tests/typing/wrong.py"] == {line: rules for line, (rules, _) in expected.items()}
    assert mypy["tests/typing/wrong.py"] == {line: rules for line, (_, rules) in expected.items()}


def test_the_package_itself_is_clean(pyright):
    # The insides of the figures are not annotated: matplotlib's own annotations would have them written anew.
    assert {file: lines for file, lines in pyright.items()
            if file.startswith("convtwist") and file != "convtwist/plot.py"} == {}


def test_public_names_are_annotated():
    report = json.loads(run("pyright", "--verifytypes", "convtwist", "--ignoreexternal", "--outputjson"))
    report = report["typeCompleteness"]
    names = [symbol for symbol in report["symbols"] if symbol["isExported"]]
    assert len(names) > 400
    wanting = {symbol["name"]: [entry["message"] for entry in symbol["diagnostics"]]
               for symbol in names if not symbol["isTypeKnown"]}
    assert wanting == {}
