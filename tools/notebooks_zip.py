"""Pack the readers' notebooks with what they need to run: the package as a wheel, its requirements, the licences.

    python tools/notebooks_zip.py _build/html convtwist-notebooks.zip [https://OWNER.HOST/NAME/]

The notebooks are those of tools/reader_notebooks.py. They install convtwist from the wheel in the archive, and links
between chapters stay inside it; with the book's address, links to other pages lead there.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from reader_notebooks import Pages, reader_notebooks, wheel_name

ROOT = Path(__file__).parents[1]
FOLDER = "convtwist-notebooks"
README = """The notebooks of the ConvTwist book, and what they need.

In a virtual environment with Python 3.11 or later, from this folder:

    pip install -r requirements.txt
    jupyter lab book/

The package is in the wheel, with its photographs; everything else comes from the Python Package Index.
"""


def requirements() -> str:
    """Return what the notebooks import, and Jupyter: requirements-book.txt without what only builds the pages."""
    text = (ROOT / "requirements-book.txt").read_text(encoding="utf-8")
    notebooks = text[text.index("# What the notebooks import.") :]
    return notebooks.replace("-e .", f"./{wheel_name()}")


def write_zip(html: Path, target: Path, site: str | None = None) -> None:
    """Build the wheel and write the archive; two runs from the same files hold the same notebooks.

    Args:
        html: the folder that Jupyter Book wrote.
        target: the archive.
        site: where the book is published.

    Raises:
        RuntimeError: the wheel can't be built.
        ValueError: a notebook can't be carried over.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"the wheel was not built:\n{result.stderr[-2000:]}")
        notebooks = reader_notebooks(Pages(html, site), [f"../{wheel_name()}"], beside=True)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{FOLDER}/requirements.txt", requirements())
            archive.writestr(f"{FOLDER}/README.txt", README)
            archive.write(Path(folder) / wheel_name(), f"{FOLDER}/{wheel_name()}")
            for name, text in notebooks.items():
                archive.writestr(f"{FOLDER}/book/{name}", text)
            for file in (ROOT / "LICENSE", ROOT / "images" / "LICENSES.md"):
                archive.write(file, f"{FOLDER}/{file.relative_to(ROOT).as_posix()}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    write_zip(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
