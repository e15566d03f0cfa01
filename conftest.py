"""Which tests run, and how: the tiers, and the settings that the notebooks need when ``--nbval`` is given.

Neither nbval nor xdist has to be installed.
"""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
TIERS = ("browser", "stranger", "slow", "gpu")  # pyproject.toml says what is in each
TIER_OF_FOLDER = {ROOT / "tests" / "browser": "browser", ROOT / "tests" / "strangers": "stranger"}
WHOLE_FILE = re.compile(rf"^pytestmark = pytest\.mark\.({'|'.join(TIERS)})\b", re.MULTILINE)
# Files of long cases that share no more than every worker can make for itself: with several workers their cases are
# spread, in this order and after all other files, so that no worker is idle at the end.
SPREAD = ("test_own_pictures.py", "test_colab.py", "test_pages.py")
MOST_WORKERS = 4  # each holds a torch of its own, some 400 MB


def with_notebooks(config) -> bool:
    return config.getoption("nbval", False) or config.getoption("nbval_lax", False)


@pytest.hookimpl(tryfirst=True)  # before xdist's own
def pytest_cmdline_main(config):
    """Spread a run that names no file over the cores, if xdist is installed and ``-n`` was not given.

    ``-n0`` does without, and so does ``--pdb``.
    """
    option = config.option
    here = not hasattr(config, "workerinput") and not option.usepdb and not option.collectonly
    no_file = not any(Path(argument.split("::")[0]).is_file() for argument in config.args)
    if here and no_file and config.getoption("numprocesses", 0) is None:
        option.numprocesses = min(os.cpu_count() or 1, MOST_WORKERS)
    if here and config.getoption("numprocesses", 0) and option.dist in ("no", "load"):
        option.dist = "loadfile"  # the cells of a notebook share a kernel, the tests of a file what they built
        option.loadscopereorder = False  # pytest_collection_modifyitems has put them in order


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file together, and in a file of ``SPREAD`` those with the same parameters."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return scope_of(nodeid)

    return Scheduling(config, log)


def scope_of(nodeid: str) -> str:
    """Return a name that tests share which go to the same worker."""
    file, _, test = nodeid.partition("::")
    return f"{file}[{test.partition('[')[2]}" if Path(file).name in SPREAD else file


def pytest_configure(config):
    if with_notebooks(config):
        config.option.nbval_current_env = True
        config.option.nbval_sanitize_with = config.option.nbval_sanitize_with or str(ROOT / "nbval_sanitize.cfg")
        if config.option.nbval_cell_timeout == 2000:  # seconds; nbval's default
            config.option.nbval_cell_timeout = 120


def asked_for(path: Path, config) -> bool:
    """Whether the command line names the file or folder, or one inside it; all of tests/ names nothing."""
    named = {Path(config.invocation_params.dir, argument.split("::")[0]).resolve() for argument in config.args}
    return any(path == name or name in path.parents or path in name.parents for name in named - {ROOT, ROOT / "tests"})


def pytest_ignore_collect(collection_path, config):
    """Don't even import what belongs to a tier as a whole: it may need packages that the units do without.

    Nor, if ``-m`` asks for tiers, what has nothing in them: every worker would.
    """
    if asked_for(collection_path, config):
        return None
    if config.option.markexpr:
        return True if in_no_tier(collection_path, set(config.option.markexpr.split(" or "))) else None
    whole_file = collection_path.suffix == ".py" and WHOLE_FILE.search(collection_path.read_text(encoding="utf-8"))
    return True if whole_file or collection_path in TIER_OF_FOLDER else None


def in_no_tier(path: Path, wanted: set[str]) -> bool:
    """Whether a file has no test in the ``wanted`` tiers, as far as can be said of it."""
    folders = {TIER_OF_FOLDER.get(folder) for folder in path.parents}
    if not wanted <= set(TIERS) or path.suffix != ".py" or wanted & folders:
        return False
    return not re.search(rf"\bmark\.({'|'.join(wanted)})\b", path.read_text(encoding="utf-8"))


def pytest_collection_modifyitems(config, items):
    """Mark what lies in a tier's folder; leave the tiers out unless ``-m`` chooses or the command line names them."""
    for item in items:
        for folder, tier in TIER_OF_FOLDER.items():
            if folder in item.path.parents:
                item.add_marker(tier)
    if not config.option.markexpr:
        left = {item for item in items
                if any(map(item.get_closest_marker, TIERS)) and not asked_for(item.path, config)}
        config.hook.pytest_deselected(items=sorted(left, key=items.index))
        items[:] = [item for item in items if item not in left]
    if hasattr(config, "workerinput"):
        in_turn(items)


def in_turn(items):
    """Sort the tests by file: the slow files first, then those with most tests, and last the cases to be spread."""
    many = Counter(item.path for item in items)
    slow = {path for path in many if path.suffix == ".py" and WHOLE_FILE.search(path.read_text(encoding="utf-8"))}

    def turn(item):
        name = item.path.name
        if name in SPREAD:
            return 1, SPREAD.index(name), "[" in item.nodeid, ""
        return 0, item.path not in slow, -many[item.path], str(item.path)

    items.sort(key=turn)
