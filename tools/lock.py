"""Write requirements.lock: one exact release, with its files' hashes, for every package of requirements.txt,
requirements-book.txt included.

    pip install uv && python tools/lock.py              keep what is pinned where requirements.txt still allows it
    pip install uv && python tools/lock.py --upgrade    take the newest releases that it allows

The lock holds for every platform and for Python 3.11 or later; markers say what is for which. No index is written
into it, so it installs from wherever pip looks, as long as the files are those of PyPI.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
HEAD = """\
# Made by tools/lock.py from requirements.txt; do not edit. To install exactly these files, and then the package:
#   pip install --require-hashes -r requirements.lock && pip install --no-deps -e .
# The hashes are those of PyPI. Another build of torch, such as one without CUDA from an index of its own, has others:
# install that with requirements.txt instead.
"""


def readable(path: Path = ROOT / "requirements.txt") -> list[str]:
    """Return the requirements in ``path`` and in the files that it includes, without the package itself."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found += readable(path.parent / line.removeprefix("-r ").strip())
        elif line and not line.startswith(("#", "-e")):
            found.append(line)
    return found


def resolve(requirements: str, upgrade: bool) -> str:
    """Return the pins for ``requirements``, resolved by uv."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "requirements.in"), Path(folder, "requirements.lock")
        source.write_text(requirements, encoding="utf-8")
        if LOCK.exists():
            target.write_bytes(LOCK.read_bytes())  # uv keeps what stands there
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes",
                   "--no-annotate", "--no-header", "--no-config", *["--upgrade"] * upgrade, source, "-o", target]
        # A folder of local builds is for this machine, not for the lock.
        variables = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
        subprocess.run(command, check=True, env=variables, stdout=subprocess.DEVNULL)
        return target.read_text(encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--upgrade"]):
        sys.exit(__doc__)
    pins = resolve("\n".join(readable()), "--upgrade" in sys.argv)
    LOCK.write_text(HEAD + pins, encoding="utf-8")
    print(f"{LOCK.name}: {len(re.findall(r'^[a-z]', pins, re.MULTILINE))} releases")
