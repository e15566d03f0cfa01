"""Try the package with other releases of torch: ``python tools/try_torch.py 2.4.0 2.14.1``.

Each release gets an environment of its own, in which the tests of the layers run.  On Linux PyPI's torch is a CUDA
build that asks for gigabytes of libraries which a CPU never calls.  Those are replaced by stubs, made from what torch
looks for in them, so that torch's own file is all that is downloaded.  This needs gcc and readelf.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TESTS = ("test_releases.py", "test_functional.py", "test_conv_twist.py", "test_iso_twist.py", "test_steps.py")
# Pure arithmetic, in loops: what holds with one torch holds with another.
LESS = ("-k", "not test_steps_and_permutations_agree_with_the_loops")
NUMPY = {"2.4": "1.24.4", "2.5": "1.26.4"}  # what was current then; the newest that installs, otherwise


def install(python: Path, *arguments) -> None:
    """Let this Python's own pip install into the environment of ``python``, which needs none."""
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile", "--only-binary",
                    ":all:", *arguments], check=True)


def environment(folder: Path, version: str) -> Path:
    """Make an environment with torch, numpy and what the tests need, and return its Python."""
    venv.create(folder)
    python = folder / "bin" / "python"
    install(python, "--no-deps", f"torch=={version}")
    site = next(folder.glob("lib/python3*/site-packages"))
    needs = own_needs(site)
    numpy = NUMPY.get(version.rpartition(".")[0])
    # 2.4 imports setuptools when it compiles for a CPU, and doesn't ask for it; ensurepip brought it along.
    needs += [f"numpy=={numpy}" if numpy else "numpy", "setuptools", "pytest>=8.3", "hypothesis>=6.100"]
    install(python, *needs)
    stub(site / "torch")
    return python


def own_needs(site: Path) -> list[str]:
    """Return what the torch in ``site`` asks for on this machine, without CUDA's libraries."""
    (torch,) = distributions(name="torch", path=[str(site)])
    needs = map(Requirement, torch.requires or [])
    return [f"{need.name}{need.specifier}" for need in needs
            if (need.marker is None or need.marker.evaluate({"extra": ""}))
            and not need.name.startswith(("nvidia", "cuda", "triton"))]


def stub(torch: Path) -> None:
    """Put a stub for each library that torch's own files need and nobody has into ``torch/lib``."""
    files = [*(torch / "lib").glob("*.so*"), *torch.glob("_C*.so")]
    needed = {name for file in files for name in re.findall(r"\(NEEDED\).*\[(.*?)\]", _readelf("-d", file))}
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    missing = sorted(name for name in needed - {file.name for file in files} if f"\t{name} " not in known)
    wanted, defined = defaultdict(set), set()
    for file in files:
        for line in _readelf("--dyn-syms", file).splitlines():
            cells = line.split()
            if len(cells) >= 8 and cells[0].rstrip(":").isdigit():
                name, _, version = cells[7].partition("@")
                if cells[6] != "UND":
                    defined.add(name)
                elif cells[4] != "WEAK":
                    wanted[version.lstrip("@")].add(name)
    loose = {name for name in wanted[""] - defined if re.match(r"cu|nccl|nv", name)}
    for k, library in enumerate(missing):
        # A version of symbols is called as its library; one that isn't is looked for in the first stub that is loaded.
        others = {version: names for version, names in wanted.items() if version and library.split(".")[0][3:9] in
                  version.lower() and version not in missing}
        _library(torch / "lib" / library, {library: wanted.get(library, set()), **others}, loose if k == 0 else set())


def _readelf(what, file):
    return subprocess.run(["readelf", "-W", what, file], capture_output=True, text=True, check=True).stdout


def _library(path, versions, loose):
    """Write a library whose functions all return 100, which is cudaErrorNoDevice."""
    script = "".join(f"{version} {{ global: {' '.join(f'{name};' for name in sorted(names))} }};\n"
                     for version, names in versions.items() if names)
    names = sorted(set().union(*versions.values()) | loose)
    with tempfile.TemporaryDirectory() as folder:
        source, exports = Path(folder, "stub.c"), Path(folder, "stub.map")
        source.write_text("".join(f"long {name}(void) {{ return 100; }}\n" for name in names) + "int stub_only;\n")
        exports.write_text(script)
        subprocess.run(["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", f"-Wl,-soname,{path.name}", "-o", path, source,
                        *([f"-Wl,--version-script={exports}"] if script else [])], check=True)


def attempt(version: str, folder: Path) -> int:
    """Run the tests with a release, and return pytest's status."""
    python = environment(folder, version)
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
                                 "OMP_NUM_THREADS": "1"}
    subprocess.run([python, "-m", "convtwist"], check=True, env=surroundings, cwd=folder)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "--rootdir", ROOT, *LESS]
    tests = [ROOT / "tests" / name for name in TESTS]
    return subprocess.run([*command, *tests], env=surroundings, cwd=ROOT).returncode


def main() -> None:
    """Try every release, and fail if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the environment of the one version there")
    options = parser.parse_args()
    if options.keep and len(options.versions) > 1:
        parser.error(f"--keep has room for the environment of one version, got {len(options.versions)}")
    failed = []
    for version in options.versions:
        print(f"-- torch {version}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            if attempt(version, options.keep or Path(folder, "environment")):
                failed.append(version)
    sys.exit(f"failed with torch {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
