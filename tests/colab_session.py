"""A notebook opened on Colab, as far as it can be had here: alone in its folder, without the project.

The environment has what Colab comes with, a stand-in ``google.colab`` whose upload dialogue returns a file of
ours, and pip finds in a folder what a registry would serve. The network is shut.
"""

import re
from pathlib import Path

import nbformat
import numpy as np
from environments import ROOT, environment, installed, needs, pack, surroundings
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
# Of what Colab comes with, that which a chapter could use. Not kornia, onnx, lightning: they must be asked for.
PREINSTALLED = ["ipykernel", "ipython", "matplotlib", "networkx", "numpy", "opencv-python-headless", "pandas", "pillow",
                "pip", "scikit-learn", "scipy", "torch"]
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


def asked_for(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what the first code cell has pip install."""
    guard = next(cell for cell in notebook.cells if cell.cell_type == "code")
    words = " ".join(re.findall(r"%pip install (.+)", guard.source)).split()
    return [word.strip("\"'") for word in words if not word.startswith("-")]


def run(path: Path, picture: Path, wheels: Path, folder: Path) -> None:
    """Run a copy of the notebook ``path`` alone on ``picture``, and check that it needed nothing but that.

    Args:
        path: the notebook.
        picture: the file that the upload dialogue returns.
        wheels: the folder with the built wheel of convtwist.
        folder: an empty folder to work in.

    Raises:
        CellExecutionError: a cell failed, as where the network is asked for.
        AssertionError: something else than the served packages was used, or a file was left behind.
    """
    notebook = with_own_picture(nbformat.read(path, as_version=4))
    notebook.cells.append(nbformat.v4.new_code_cell("import convtwist; print(convtwist.__file__)"))
    before = needs(*installed(set(PREINSTALLED)))
    python = environment(folder / "environment", before)
    served = folder / "served"
    served.mkdir()
    wheel = next(wheels.glob("*.whl"))
    (served / wheel.name).symlink_to(wheel)
    wanted = needs(*asked_for(notebook)) - before - {"convtwist"}
    for name in wanted:
        pack(name, served)
    site = next((folder / "environment").glob("lib/python*/site-packages"))
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    (site / "google" / "colab" / "files.py").write_text(FILES.format(path=str(picture)), encoding="utf-8")
    alone = folder / "alone"
    alone.mkdir()

    manager = AsyncKernelManager(kernel_name="python3")
    manager._kernel_spec = KernelSpec(argv=[str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    variables = surroundings(PIP_FIND_LINKS=str(served), OMP_NUM_THREADS="1", PYTHONHASHSEED="0",
                             IPYTHONDIR=str(folder / "ipython"), MPLCONFIGDIR=str(folder / "matplotlib"))
    client = NotebookClient(notebook, km=manager, timeout=120, resources={"metadata": {"path": str(alone)}})
    client.execute(cleanup_kc=True, env=variables)  # a manager of ours would keep its kernel

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


def name_of(installer: Path) -> str:
    """Return the name of the package whose ``INSTALLER`` file this is."""
    return installer.parent.name.split("-")[0].replace("_", "-").lower()


def portrait(folder: Path) -> Path:
    """Write a telephone's photograph: taken upright, stored lying, with a note (EXIF) that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = folder / "portrait.jpg"
    Image.open(ROOT / "images" / "coffee.png").convert("RGB").resize((1001, 667)).save(path, exif=exif)
    return path


def cut_out(folder: Path) -> Path:
    """Write a small grey picture of odd sides with a round, softly transparent margin, as RGBA."""
    grey = np.asarray(Image.open(ROOT / "images" / "camera.png").convert("L").resize((331, 257)))
    rows, columns = np.mgrid[:257, :331]
    alpha = np.clip(400 - 2 * np.hypot(rows - 128, columns - 165), 0, 255).astype(np.uint8)
    path = folder / "cut_out.png"
    Image.fromarray(np.dstack([grey, grey, grey, alpha])).save(path)
    return path
