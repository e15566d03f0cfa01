"""A reader's notebook opened on Colab, as far as it can be had here: alone in its folder, without the project.

The environment has what Colab comes with, a stand-in ``google.colab`` whose upload dialogue returns a file of
ours, the wheel is served on this machine in place of the published book, and pip finds in a folder what a registry
would serve. The network is shut.
"""

import ast
import re
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import own_pictures
from colab_limits import PREINSTALLED
from environments import ROOT, environment, installed, needs, pack, surroundings
from PIL import Image
from reader_notebooks import Chapter, Pages, places
from try_reader_notebooks import moved, served
from try_reader_notebooks import run as run_on

from convtwist import images

NOTEBOOKS = sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb"))
SITE = "https://owner.example.org/name/"
FILES = '''
import pathlib
def upload():
    chosen = pathlib.Path({path!r})
    return {{chosen.name: chosen.read_bytes()}}
'''


def with_own_picture(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take the sample's line out of the second code cell and switch on the commented upload line."""
    setup = [cell for cell in notebook.cells if cell.cell_type == "code"][1]
    setup.source, sample = re.subn(r"^photo = images\.sample\(", r"# \g<0>", setup.source, flags=re.MULTILINE)
    setup.source, upload = re.subn(r"^# (photo = images\.upload\()", r"\1", setup.source, flags=re.MULTILINE)
    assert sample == upload == 1, f"no line for the sample and a commented one for the upload:\n{setup.source}"
    return notebook


@cache
def pages(html: Path) -> Pages:
    """Read the built book once for all chapters."""
    return Pages(html, SITE)


def for_readers(path: Path, html: Path) -> nbformat.NotebookNode:
    """Return the reader's notebook of the chapter ``path``, as it is published at ``SITE``."""
    return Chapter(path, pages(html)).notebook(places(SITE, "https://example.org/owner/name", "main"))


def asked_for(notebook: nbformat.NotebookNode) -> dict[str, list[str]]:
    """Return what the first code cell has pip install, by module: the places to look, best first."""
    guard = next(cell for cell in notebook.cells if cell.cell_type == "code")
    table = next(node for node in ast.parse(guard.source).body if isinstance(node, ast.Assign))
    return ast.literal_eval(table.value)


def run(notebook: nbformat.NotebookNode, picture: Path, wheels: Path, folder: Path) -> None:
    """Run a reader's notebook alone on ``picture``, and check that it needed nothing but that.

    Args:
        notebook: what :func:`for_readers` returned.
        picture: the file that the upload dialogue returns.
        wheels: the folder with the built wheel of convtwist, which is served at ``SITE``, so to speak.
        folder: an empty folder to work in.

    Raises:
        CellExecutionError: a cell failed, as where the network is asked for.
        AssertionError: something else than the served packages was used, or a file was left behind.
    """
    notebook = with_own_picture(notebook)
    notebook.cells.append(nbformat.v4.new_code_cell("import convtwist; print(convtwist.__file__)"))
    before = needs(*installed(set(PREINSTALLED)))
    python = environment(folder / "environment", before)
    others = [choices[0] for module, choices in asked_for(notebook).items() if module != "convtwist"]
    wanted = needs(*others) - before
    registry = folder / "registry"
    registry.mkdir()
    for name in wanted:
        pack(name, registry)
    site = next((folder / "environment").glob("lib/python*/site-packages"))
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    (site / "google" / "colab" / "files.py").write_text(FILES.format(path=str(picture)), encoding="utf-8")
    alone = folder / "alone"
    alone.mkdir()

    variables = surroundings(PIP_FIND_LINKS=str(registry), OMP_NUM_THREADS="1", PYTHONHASHSEED="0",
                             IPYTHONDIR=str(folder / "ipython"), MPLCONFIGDIR=str(folder / "matplotlib"))
    with served(wheels) as address:
        run_on(moved(notebook, SITE, address), python, alone, variables)

    faults = []
    if not Path(notebook.cells[-1].outputs[0].text.strip()).is_relative_to(site):
        faults.append("another convtwist than the installed one was used")
    got = {name_of(file) for file in site.glob("*.dist-info/INSTALLER")}
    if got != wanted | {"convtwist"}:
        faults.append(f"installed {sorted(got)}, expected {sorted(wanted)} and convtwist")
    log = folder / "environment" / "network.log"
    if log.exists():
        faults.append(f"the network was asked for: {log.read_text(encoding='utf-8')}")
    if left := sorted(file.name for file in alone.iterdir()):
        faults.append(f"files were left behind: {left}")
    assert not faults, "\n".join(faults)


def run_chapter(path: Path, html: Path, wheels: Path, folder: Path) -> None:
    """Run the chapter ``path`` for readers on a picture of own_pictures.py, and check what it says about that."""
    name = "one_colour"
    (folder / "pictures").mkdir()
    picture = own_pictures.make(folder / "pictures", name)[name]
    (folder / "session").mkdir()
    notebook = for_readers(path, html)
    run(notebook, picture, wheels, folder / "session")
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    alts = [shown["alt"] for output in outputs for shown in output.get("metadata", {}).values() if "alt" in shown]
    own_pictures.check(path, name, images.photograph(picture), said, "\n".join(alts))


def name_of(installer: Path) -> str:
    """Return the name of the package whose ``INSTALLER`` file this is."""
    return installer.parent.name.split("-")[0].replace("_", "-").lower()


def portrait(folder: Path) -> Path:
    """Write a telephone's photograph: taken upright, stored lying, with a note (EXIF) that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = folder / "portrait.jpg"
    Image.open(ROOT / "images" / "coffee.png").convert("RGB").resize((501, 334)).save(path, exif=exif)
    return path


def cut_out(folder: Path) -> Path:
    """Write a small grey picture of odd sides with a round, softly transparent margin, as RGBA."""
    grey = np.asarray(Image.open(ROOT / "images" / "camera.png").convert("L").resize((331, 257)))
    rows, columns = np.mgrid[:257, :331]
    alpha = np.clip(400 - 2 * np.hypot(rows - 128, columns - 165), 0, 255).astype(np.uint8)
    path = folder / "cut_out.png"
    Image.fromarray(np.dstack([grey, grey, grey, alpha])).save(path)
    return path
