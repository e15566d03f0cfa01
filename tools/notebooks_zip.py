"""Pack the notebooks with what they need to run: the package as a wheel, the pages they link to, the licences.

    python tools/notebooks_zip.py convtwist-notebooks.zip

The stored configuration of the book stays out: who wants to build the pages takes the whole project.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = "convtwist-notebooks"
README = """The notebooks of the ConvTwist book, and what they need.

In a virtual environment with Python 3.10 or later, from this folder:

    pip install -r requirements.txt
    jupyter lab book/

The package is in the wheel, with its photographs; everything else comes from the Python Package Index.
"""


def write_zip(target: Path) -> None:
    """Build the wheel and write the archive; two runs from the same files hold the same notebooks.

    Raises:
        RuntimeError: the wheel can't be built.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"the wheel was not built:\n{result.stderr[-2000:]}")
        wheel = next(Path(folder).glob("*.whl"))
        book = ROOT / "book"
        files = [*sorted(book.glob("*.ipynb")), *sorted(book.glob("*.md")), *book.glob("references.bib"),
                 *sorted((book / "_assets").glob("*.png")), ROOT / "LICENSE", ROOT / "images" / "LICENSES.md"]
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
            archive.writestr(f"{FOLDER}/requirements.txt", requirements.replace("-e .", f"./{wheel.name}"))
            archive.writestr(f"{FOLDER}/README.txt", README)
            archive.write(wheel, f"{FOLDER}/{wheel.name}")
            for file in files:
                archive.write(file, f"{FOLDER}/{file.relative_to(ROOT).as_posix()}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_zip(Path(sys.argv[1]))
