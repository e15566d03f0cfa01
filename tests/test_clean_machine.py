"""What a stranger gets: a wheel that works alone, a source distribution that builds it, every promised Python."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from environments import ROOT, distributions, environment, needs, surroundings
from scorecard import record

pytestmark = pytest.mark.slow
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SOURCES = sorted((ROOT / "convtwist").rglob("*.py"))
# Imports every module, and takes every public name from it; modules that can't be imported are printed.
EVERY_NAME = """
import importlib, pkgutil, sys, convtwist
count = 0
modules = ["convtwist", *(m.name for m in pkgutil.walk_packages(convtwist.__path__, "convtwist.", onerror=print))]
for name in modules:
    if name.endswith("__main__"):
        continue
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "triton":  # which comes with PyTorch's builds for a GPU, and is used there alone
            print("lacks", name, error.name)
        continue
    for public in getattr(module, "__all__", ()):
        getattr(module, public)
        count += 1
print("names", count)
print("from", convtwist.__file__)
"""
# What the package carries along beside its code.
PICTURES = """
from convtwist import images, labs
print(sum(images.sample(name).shape[-1] == 3 for name in images.SAMPLES), "photographs")
assert "data-lab" in labs.correlation_stepper(images.sample("chelsea"))._repr_html_()
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    return distributions(tmp_path_factory)


def install(wheel: Path, python: Path) -> None:
    """Let pip put the wheel, and nothing else, into the environment of ``python``; its needs must be there."""
    command = [python, "-m", "pip", "install", "--quiet", wheel]
    result = subprocess.run(command, capture_output=True, text=True, env=surroundings())
    assert result.returncode == 0, result.stderr
    installed = {path.name.split("-")[0] for path in python.parents[1].glob("lib/python*/site-packages/*.dist-info")}
    assert installed == {"convtwist"}


@pytest.fixture(scope="module")
def alone(dist, tmp_path_factory) -> Path:
    """Return a Python that has the wheel, torch and numpy, what these two need, and nothing more."""
    python = environment(tmp_path_factory.mktemp("alone") / "environment", needs("torch", "numpy", "pip"))
    install(next(dist.glob("*.whl")), python)
    return python


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run a Python of :func:`environment`, where an attempt to reach the network is stopped and noted."""
    result = subprocess.run([python, *arguments], cwd=cwd, capture_output=True, text=True, env=surroundings())
    assert not (python.parents[1] / "network.log").exists(), "the network was asked for"
    return result


def test_metadata_passes_twine(dist):
    """A registry would take both files, and render the README."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir()]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.count("PASSED") == 2, result.stdout + result.stderr


def test_source_distribution_is_the_whole_project(dist):
    """All that git tracks is in it, hidden files too, and nothing that a build or an editor left."""
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    tracked = listed.stdout.split("\n") if listed.returncode == 0 else ["README.md", ".ci/run", "requirements.txt"]
    assert not [name for name in tracked if (ROOT / name).is_file() and name not in names]
    assert not [name for name in names if re.search(r"(^|/)(_build|dist|__pycache__|\.\w+_cache|\.git)/", name)]


def test_source_distribution_builds_the_same_wheel(dist, tmp_path):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    source = next((tmp_path / "source").iterdir())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    ours, theirs = (zipfile.ZipFile(next(folder.glob("*.whl"))) for folder in (dist, tmp_path))
    assert {name: ours.getinfo(name).CRC for name in ours.namelist()} == {
        name: theirs.getinfo(name).CRC for name in theirs.namelist()}


def test_wheel_has_every_file_of_the_package(dist):
    """Those too that are no Python: labs, configurations, C++, the typing marker; and photographs with licences."""
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {f"convtwist/photographs/{path.name}" for path in (ROOT / "images").iterdir()} <= names
    assert "convtwist/py.typed" in names and not [name for name in names if name.startswith(("tests/", "book/"))]
    files = [path for path in (ROOT / "convtwist").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {".py", ".mjs", ".css", ".yaml", ".cpp"} <= {path.suffix for path in files}
    assert not [path for path in files if path.relative_to(ROOT).as_posix() not in names]


def test_wheel_alone_has_every_name(alone, tmp_path):
    """Only the figures and the training need more, and they lack just the package that the extra brings."""
    result = run(alone, "-c", EVERY_NAME, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lacking = {line.split()[1]: line.split()[2] for line in result.stdout.splitlines() if line.startswith("lacks")}
    assert lacking.pop("convtwist.plot") == "matplotlib"
    assert all(name.startswith("convtwist.train.") for name in lacking), lacking
    assert str(alone.parents[1]) in result.stdout, "another convtwist was imported"
    count = int(re.search(r"names (\d+)", result.stdout).group(1))
    record("public names importable from the wheel alone", count)
    assert count >= 60


def test_wheel_with_the_extras_has_every_name(dist, tmp_path):
    try:
        packages = needs("convtwist[book,train]", "pip") - {"convtwist"}
    except importlib.metadata.PackageNotFoundError as error:
        pytest.fail(f"an extra asks for a package that requirements.txt does not install: {error.name}")
    python = environment(tmp_path / "environment", packages)
    install(next(dist.glob("*.whl")), python)
    result = run(python, "-c", EVERY_NAME + PICTURES, cwd=tmp_path)
    assert result.returncode == 0 and "lacks" not in result.stdout, result.stdout + result.stderr
    assert "8 photographs" in result.stdout


def test_overview_names_what_there_is(alone, tmp_path):
    """``python -m convtwist`` lists every documented module, the layers, the commands, and the extras' state."""
    result = run(alone, "-m", "convtwist", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    source = (ROOT / "convtwist" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"', source, re.MULTILINE)
    assert result.stdout.startswith(f"convtwist {version.group(1)}\n")
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "book").glob("api*.md"))
    documented = set(re.findall(r"automodule:: (convtwist\.\w+)", pages))
    shown = set(re.findall(r"^  (convtwist\.\w+)", result.stdout, re.MULTILINE))
    assert documented - {"convtwist.conversion"} <= shown  # whose functions are those of convtwist itself
    public = run(alone, "-c", "import convtwist; print(*convtwist.__all__)", cwd=tmp_path).stdout.split()
    named = [name for name in public if name != "__version__"]
    assert len(named) >= 6 and all(re.search(rf"\b{name}\b", result.stdout) for name in named)
    assert re.search(r"^  book .*: missing; pip install .*\bmatplotlib\b", result.stdout, re.MULTILINE)
    for command in re.findall(r"^  python -m ([\w.]+)", result.stdout, re.MULTILINE):
        assert importlib.util.find_spec(command), command


def test_overview_says_what_to_do_about_a_word_it_does_not_know(alone, tmp_path):
    result = run(alone, "-m", "convtwist", "nonsense", cwd=tmp_path)
    assert result.returncode == 2 and not result.stdout
    assert "nonsense" in result.stderr and "python -m convtwist.train" in result.stderr
    version = run(alone, "-m", "convtwist", "--version", cwd=tmp_path)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", version.stdout)


def test_smoke_of_a_release_knows_what_it_tries(alone, tmp_path):
    """``tools/smoke.py`` takes the wheel, and refuses another version or the checkout in the wheel's place."""
    smoke = ROOT / "tools" / "smoke.py"
    taken = run(alone, smoke, cwd=tmp_path)
    assert taken.returncode == 0 and taken.stdout.endswith(": works\n"), taken.stderr
    other = run(alone, smoke, "9.8.7", cwd=tmp_path)
    assert other.returncode == 1 and "expected 9.8.7" in other.stderr
    command, environment = [alone, smoke], surroundings(PYTHONPATH=str(ROOT))
    checkout = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert checkout.returncode == 1 and "is the checkout's package" in checkout.stderr


def test_sources_need_no_newer_python_than_promised(tmp_path):
    """Neither the grammar nor the standard library's names are newer than ``requires-python``."""
    promised = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert promised.group(1) == PYTHONS[0]
    command = [Path(sys.executable).with_name("vermin"), f"--target={PYTHONS[0]}-", "--no-tips", "--violations"]
    result = subprocess.run([*command, *SOURCES], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    newer = tmp_path / "newer.py"
    newer.write_text("import tomllib\n", encoding="utf-8")  # of 3.11
    caught = subprocess.run([*command, newer], capture_output=True, text=True)
    assert caught.returncode != 0 and "tomllib" in caught.stdout


def pythons() -> dict[str, str]:
    """Return the promised Pythons that are on PATH and work, by version, with the one that runs this."""
    found = {version: shutil.which(f"python{version}") for version in PYTHONS}
    found[f"{sys.version_info[0]}.{sys.version_info[1]}"] = sys.executable
    return {version: path for version, path in found.items()
            if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0}


def test_sources_compile():
    """Every Python found compiles every file; GitHub's workflow has all that are promised."""
    program = "import sys\nfor p in sys.argv[1:]: compile(open(p, encoding='utf-8').read(), p, 'exec')"
    found = pythons()
    for path in found.values():
        result = subprocess.run([path, "-W", "error", "-c", program, *SOURCES], capture_output=True, text=True)
        assert result.returncode == 0, f"{path}\n{result.stderr}"
    record("Pythons that compiled the package", " ".join(found))


def test_workflow_has_every_promised_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["package"]["strategy"]["matrix"]["python"] == list(PYTHONS)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in readme


def test_opencv_needs_no_graphics_library():
    """The bare machine has no libGL; OpenCV's wheel with windows fails to import there."""
    folder = Path(importlib.util.find_spec("cv2").origin).parent
    library = next(folder.glob("cv2*.so"), None)
    if library is None or shutil.which("ldd") is None:
        reason = "no ldd, or cv2 is no shared library here: what it needs was not looked at"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    needed = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
    assert "libc.so" in needed and not re.search(r"libGL|libgthread|libX11", needed)
