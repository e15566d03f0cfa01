"""What the project takes in from others: pinned with hashes, kept up to date, audited, and never run unread."""

import ast
import json
import re
from pathlib import Path

import audit
import lock
import nbformat
import pytest
import yaml
from environments import ROOT
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scorecard import record
from test_project import TEXT, tracked

# Commands that make an installer ask a registry for the name; a path, an address or a module's name is no such thing.
BY_NAME = re.compile(r"\b(?:(?:pip3?|pipx|uv|conda|mamba|poetry|pixi)\b[^\n&;|`#]*?\b(?:install|add|run|download)"
                     r"|uvx)\b[^\n&;|`#]*?(?<![\w./@:-])convtwist(?:\\?\[[^\]\n]*\])?(?![\w./\[-])(?! ?@)")
# Of what is recognised, of what a tool rewrites, and of what must not be printed.
EXAMPLES = ("tests/test_supply_chain.py", "tests/test_release.py", "tests/test_train_command.py")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CLEAN = {"name": "six", "version": "1.17.0", "vulns": []}
KNOWN = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]}
UNMENDED = {"name": "x", "version": "1", "vulns": [{"id": "GHSA-1", "fix_versions": []}]}
SKIPPED = {"name": "numpy", "skip_reason": "Dependency not found on PyPI and could not be audited: numpy (2.4.6)"}
LOADS = ("torch.load", "load_from_checkpoint")  # safe with weights_only=True alone
NEVER = {"pickle.load", "pickle.loads", "torch.hub.load", "torch.hub.load_state_dict_from_url"}


def pins() -> dict[str, list[tuple[Requirement, list[str]]]]:
    """Return, by package, the pins of requirements.lock with their hashes: several where markers divide them."""
    found: dict[str, list] = {}
    for entry in re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE)).splitlines():
        line, *hashes = entry.split("--hash=")
        requirement = Requirement(line)
        found.setdefault(canonicalize_name(requirement.name), []).append((requirement, [h.strip() for h in hashes]))
    return found


def test_lock_pins_one_release_with_hashes():
    """Each entry is exact and carries the digests of its files; no index, address or folder of anybody's is in it."""
    for name, entries in pins().items():
        for requirement, hashes in entries:
            assert re.fullmatch(r"==[\w.!]+", str(requirement.specifier)), f"{name} is not pinned, or to a local build"
            assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), name
            assert requirement.url is None
    assert "://" not in LOCK and "--index" not in LOCK and "--find-links" not in LOCK
    record("packages pinned with hashes", len(pins()))


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_lock_covers_the_readable_requirements(python, platform):
    """On each supported platform exactly one pin applies to a requirement, and is a release that it allows."""
    here = default_environment() | {"python_version": python, "python_full_version": f"{python}.0",
                                    "sys_platform": platform}
    locked = pins()
    for wanted in map(Requirement, lock.readable()):
        applying = [pin for pin, _ in locked.get(canonicalize_name(wanted.name), [])
                    if pin.marker is None or pin.marker.evaluate(here)]
        advice = "run python tools/lock.py"
        assert len(applying) == 1, f"{wanted} has {len(applying)} pins on Python {python}, {platform}: {advice}"
        assert wanted.specifier.contains(str(applying[0].specifier)[2:]), f"{wanted}, locked {applying[0]}: {advice}"


def test_dependabot_watches_packages_and_actions():
    """Both once a week, as one pull request each instead of thirty."""
    config = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    updates = {entry["package-ecosystem"]: entry for entry in config["updates"]}
    assert config["version"] == 2 and set(updates) == {"pip", "github-actions"}
    for entry in updates.values():
        assert entry["directory"] == "/" and entry["schedule"]["interval"] == "weekly"
        assert [group["patterns"] for group in entry["groups"].values()] == [["*"]]


def test_actions_are_pinned_to_commits():
    """A tag can be moved to other code; a commit can't. The comment says which release it is, the same everywhere."""
    count, releases = 0, {}
    for path in (ROOT / ".github").rglob("*.yml"):
        if path.name == "dependabot.yml":
            continue
        for use in re.findall(r"uses: *(.+)", path.read_text(encoding="utf-8")):
            if use.startswith("./"):  # a workflow of this commit
                assert (ROOT / use).is_file(), f"{path.name}: {use}"
                continue
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), f"{path.name}: {use}"
            releases.setdefault(use.partition("@")[0], set()).add(use)
            count += 1
        assert "permissions" in yaml.safe_load(path.read_text(encoding="utf-8")), f"{path.name} takes all rights"
    assert count >= 8
    assert not [uses for uses in releases.values() if len(uses) > 1], "one release of an action everywhere"


@pytest.mark.parametrize("line, bad", [
    ("pip install convtwist", True),
    ("%pip install --quiet convtwist==0.1.0 kornia", True),
    ('    \"pip install \\\"convtwist[train]\\\"', True),
    ('pip install "convtwist[{extra}]"', True),
    ("uv pip install -U 'convtwist>=0.1'", True),
    ("uvx --with convtwist python", True),
    ("pip install --find-links dist convtwist", True),  # asks the registry, too
    ('pip install -e ".[train]"  # convtwist.train is then there', False),
    ("pip install . && python -m convtwist", False),
    ("pip install ./convtwist-0.1.0-py3-none-any.whl", False),
    ("pip install https://owner.example.org/name/convtwist-0.1.0-py3-none-any.whl", False),
    ('pip install "convtwist @ git+https://example.org/owner/name"', False),
    ("pip install -r requirements.txt installs convtwist.train", False),
])
def test_installing_by_name_is_recognised(line, bad):
    assert bool(BY_NAME.search(line)) == bad


def test_nothing_installs_our_name_from_a_registry():
    """Nobody has claimed it: whoever does would run code on every reader's machine.

    When a release of ours is on PyPI, this test is the place that says where the name may be used.
    """
    found = {}
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in TEXT and name not in EXAMPLES:
            lines = path.read_text(encoding="utf-8").splitlines()
            found |= {f"{name}:{number}": line.strip() for number, line in enumerate(lines, 1) if BY_NAME.search(line)}
    assert not found


def name_of(node: ast.expr) -> str:
    """Return ``a.b.c`` for that expression; an unknown part is a question mark."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def unsafe_loads(source: str) -> list[str]:
    """Return the calls in ``source`` that may run code out of a file: unpickling, or weights with more than weights."""
    tree, names = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, dot, rest = name_of(node.func).partition(".")
        called = names.get(head, head) + dot + rest
        true = {word.arg for word in node.keywords if ast.unparse(word.value) == "True"}
        weights = any(called == call or called.endswith(f".{call}") for call in LOADS)
        if called in NEVER or (weights and "weights_only" not in true) or "allow_pickle" in true:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("source, bad", [
    ("import torch\ntorch.load('a', weights_only=True)", 0),
    ("import torch\ntorch.load('a')", 1),
    ("import torch as t\nt.load('a', weights_only=False)", 1),
    ("from torch import load as read\nread('a')", 1),
    ("import torch\nflag = True\ntorch.load('a', weights_only=flag)", 1),  # can't be seen to be safe
    ("from pickle import loads\nloads(b'')", 1),
    ("import numpy as np\nnp.load('a')\nnp.load('a', allow_pickle=True)", 1),
    ("Module.load_from_checkpoint('a')\nModule.load_from_checkpoint('a', weights_only=True)", 1),
    ("import json\njson.load(open('a'))", 0),
])
def test_unsafe_loads_are_recognised(source, bad):
    assert len(unsafe_loads(source)) == bad


def test_no_file_is_loaded_that_could_run_code():
    """In the package, tools, benchmarks and notebooks."""
    sources = {path: path.read_text(encoding="utf-8")
               for folder in ("convtwist", "tools", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    for path in (ROOT / "book").glob("*.ipynb"):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        sources[path] = re.sub(r"^(\s*)[%!].*$", r"\1pass", "\n".join(cells), flags=re.MULTILINE)
    found = [f"{path.relative_to(ROOT)}: {call}" for path, source in sources.items() for call in unsafe_loads(source)]
    assert not found
    record("sources without an unsafe load", len(sources))


def answer(*packages) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize("response, complaint, status, required, says", [
    (answer(CLEAN), "", 0, 0, "every package was looked up"),
    (answer(CLEAN, KNOWN), "", 1, 1, "KNOWN ADVISORY PYSEC-2019-217: jinja2 2.10, mended in 2.10.1"),
    (answer(UNMENDED), "", 1, 1, "GHSA-1: x 1, mended in no release yet"),
    # A mirror without advisories: pip-audit itself exits 0 and says "No known vulnerabilities found".
    (answer(SKIPPED, SKIPPED), "No known vulnerabilities found", 0, 2, "NOT LOOKED UP for 2"),
    (answer(CLEAN, SKIPPED), "", 0, 2, "NOT LOOKED UP for 1"),
    (answer(KNOWN, SKIPPED), "", 1, 1, "NOT LOOKED UP for 1"),
    (answer(), "", 0, 2, "NOT LOOKED UP for 1"),
    ("", "Traceback ...\nConnectionError: Failed to resolve 'example.org'", 0, 2, "Failed to resolve 'example.org'"),
    ("", "", 0, 2, "pip-audit gave no answer"),
    ("<html>502 Bad Gateway</html>", "", 0, 2, "NOT LOOKED UP"),
    ("[]", "", 0, 2, "NOT LOOKED UP"),
])
def test_audit_never_takes_silence_for_a_pass(response, complaint, status, required, says, capsys):
    assert audit.report(response, complaint, required=False) == status
    printed = capsys.readouterr().out
    assert says in printed
    assert ("every package was looked up" in printed) == (response == answer(CLEAN))
    assert audit.report(response, complaint, required=True) == required


def test_audit_prints_what_was_accepted(monkeypatch, capsys):
    monkeypatch.setitem(audit.ACCEPTED, "PYSEC-2019-217", "no template comes from elsewhere")
    assert audit.report(answer(KNOWN), "", required=True) == 0
    assert "no template comes from elsewhere" in capsys.readouterr().out


def test_audit_runs_where_the_tests_run():
    """Its exit status counts; GitHub, which has a network, demands an answer."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^beside audit python tools/audit\.py$", script, re.MULTILINE)
    assert "\nfinish audit\n" in script and 'wait "${!1}" || failed=1' in script and script.endswith('exit "$failed"\n')
    workflow = Path(ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert "python tools/audit.py --required" in workflow
