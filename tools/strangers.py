"""Try the package with other libraries: ``python tools/strangers.py [FOLDER]`` runs ``tests/strangers``.

The libraries, in ``tests/strangers/requirements.txt``, need torchvision, which works with one release of torch alone.
So they get an environment of their own: FOLDER, where ``try_torch.py --keep FOLDER`` may have put that torch, or a
temporary one.  A FOLDER is kept, and the next run takes it as it is.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from try_torch import ROOT, environment, install

TESTS = ROOT / "tests" / "strangers"
TORCH = "2.14.1"  # the one that the torchvision of requirements.txt is made for


def prepare(folder: Path) -> Path:
    """Make the environment, or what it still lacks, and return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        environment(folder, TORCH)
    marker, wanted = folder / "strangers.txt", (TESTS / "requirements.txt").read_text(encoding="utf-8")
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        # The file is complete. Resolving would bring CUDA's libraries, and an OpenCV that needs a screen.
        install(python, "--no-deps", "-r", TESTS / "requirements.txt")
        marker.write_text(wanted, encoding="utf-8")
    return python


def main() -> None:
    """Make the environment, if it isn't there, and run the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        python = prepare((given or Path(scratch, "environment")).absolute())
        surroundings = os.environ | {
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(Path(scratch, "inductor")),
            "HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": scratch, "MPLBACKEND": "Agg"}
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "--rootdir", ROOT,
                   TESTS]
        sys.exit(subprocess.run(command, env=surroundings, cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
