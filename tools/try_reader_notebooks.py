"""Install and run the readers' notebooks in a new environment, before anybody else has to.

    python tools/try_reader_notebooks.py _build/html FOLDER https://OWNER.HOST/NAME/
    python tools/try_reader_notebooks.py _build/html FOLDER https://OWNER.HOST/NAME/ --with torch==2.13.0 numpy==2.0.2

The built book, with the wheel in it, is served on this machine in place of the site that the notebooks name. Each
notebook starts without convtwist and without anything that another notebook installed. It fails if a cell fails, if
the wheel is not where the notebook looks for it, or if pip changed a package that was there before, such as torch.
"""

import argparse
import functools
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from reader_notebooks import places, wheel_name

# What Colab had in 2026, of the packages that matter to a chapter; github.com/googlecolab/backend-info keeps the list.
# kornia and EfficientNet are not there: the chapters that use them install them.
COLAB = ("torch==2.10.0", "numpy==2.0.2", "matplotlib==3.10.0", "pillow==11.3.0",
         "opencv-python-headless==4.12.0.88", "ipython==7.34.0", "ipykernel==6.17.1")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve ``folder`` on this machine and yield its address, with a slash at the end."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def moved(notebook: nbformat.NotebookNode, site: str, address: str) -> nbformat.NotebookNode:
    """Make the notebook install the wheel from ``address`` instead of ``site``, and from nowhere else.

    Raises:
        ValueError: the notebook does not look for the wheel beside the published book.
    """
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    (old,), (new,) = places(site, None, ""), places(address, None, "")
    if f'"{old}"' not in cell.source:
        raise ValueError(f"the first code cell does not install {old}")
    # The second choice, the repository, would hide that the first is broken.
    cell.source = re.sub(r'",\s+"git\+[^"]+"', '"', cell.source).replace(old, new)
    return notebook


def run(notebook: nbformat.NotebookNode, python: Path, folder: Path, variables: dict[str, str]) -> None:
    """Run ``notebook`` in ``folder`` on a kernel of ``python``.

    Raises:
        CellExecutionError: a cell failed.
    """
    manager = AsyncKernelManager(kernel_name="python3")
    manager._kernel_spec = KernelSpec(argv=[str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    client = NotebookClient(notebook, km=manager, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(cleanup_kc=True, env=variables)  # a manager of ours would keep its kernel


def installed(python: Path) -> dict[str, str]:
    """Return name and version of what pip sees."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {package["name"]: package["version"] for package in listed}


def attempt(path: Path, python: Path, site: str, address: str) -> str:
    """Run one notebook and leave the environment as it was; return what went wrong, or nothing."""
    before = installed(python)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(moved(nbformat.read(path, as_version=4), site, address), python, Path(folder), variables)
        problem = ""
    except (CellExecutionError, CellTimeoutError, DeadKernelError, ValueError) as error:
        problem = str(error)
    after = installed(python)
    changed = [f"{name} {version} became {after.get(name)}" for name, version in before.items()
               if after.get(name) != version]
    if added := sorted(set(after) - set(before)):
        subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", *added], check=True)
    if "convtwist" not in added and not problem:
        problem = "convtwist was not installed by the notebook"
    return "\n".join([problem] * bool(problem) + changed)


def main(arguments: list[str] | None = None) -> int:
    """Try the notebooks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("html", type=Path, help="the built book, with the wheel in it")
    parser.add_argument("folder", type=Path, help="the notebooks that tools/reader_notebooks.py wrote")
    parser.add_argument("site", help="where the notebooks look for the wheel, https://OWNER.HOST/NAME/")
    parser.add_argument("--with", nargs="+", dest="packages", default=COLAB, metavar="PACKAGE",
                        help=f"what is installed before (default, as on Colab: {' '.join(COLAB)})")
    parser.add_argument("--only", default="*.ipynb", metavar="PATTERN", help="which notebooks, such as '0[1-3]*.ipynb'")
    options = parser.parse_args(arguments)
    paths = sorted(options.folder.glob(options.only))
    if not paths or not (options.html / wheel_name()).is_file():
        parser.error(f"expected notebooks in {options.folder} and {wheel_name()} in {options.html}")
    bad = 0
    with tempfile.TemporaryDirectory() as folder, served(options.html) as address:
        venv.create(folder, with_pip=True)
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                        *options.packages, "ipykernel"], check=True)
        for path in paths:
            start = time.perf_counter()
            problem = attempt(path, python, options.site, address)
            print(f"{path.name}: {problem or 'runs'} ({time.perf_counter() - start:.0f} s)", flush=True)
            bad += bool(problem)
    print(f"{len(paths) - bad} of {len(paths)} notebooks were installed and run")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
