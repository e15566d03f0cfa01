"""Environments as strangers have them: a few packages, none of the project's own, and no network.

No package is downloaded twice: an environment here is an empty one that sees links to what requirements.txt
installed, package by package, and what pip must still find is packed into wheels again.
"""

import base64
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from built_book import shared_folder
from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

# Runs before anything else in such an environment, in every process of it. The kernel's own traffic stays on
# this machine; whatever else asks for an address is stopped, and noted in case the error is swallowed.
SHUT = '''
import os, sys
HERE = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}
def gate(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        host = address[0] if isinstance(address, tuple) else address
        unix = event in ("socket.connect", "socket.sendto") and not isinstance(address, tuple)
        host = host.decode() if isinstance(host, bytes) else host
        if not unix and host is not None and host not in HERE:
            with open(os.path.join(sys.prefix, "network.log"), "a") as log:
                log.write(f"{event} {address}\\n")
            raise RuntimeError(f"the network is shut: {event} {address}")
sys.addaudithook(gate)
'''


def needs(*requirements: str) -> set[str]:
    """Return the canonical names of installed packages that ``requirements`` ask for, and those they need."""
    found: set[str] = set()
    queue, done = [Requirement(line) for line in requirements], set()
    while queue:
        wanted = queue.pop()
        name = canonicalize_name(wanted.name)
        key = (name, frozenset(wanted.extras))
        if key in done:
            continue
        done.add(key)
        found.add(name)
        for line in distribution(name).requires or []:
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in wanted.extras or {""}):
                queue.append(need)
    return found


def installed(names: set[str]) -> set[str]:
    """Return those of ``names`` that are installed here."""
    found = set()
    for name in names:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        found.add(name)
    return found


def environment(folder: Path, names: set[str]) -> Path:
    """Make an empty virtual environment that sees the packages ``names`` and return its interpreter.

    Its network is shut; an attempt is noted in ``folder/network.log``.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    links = folder / "links"
    links.mkdir()
    for name in names:
        package = distribution(name)
        tops = {file.parts[0] for file in package.files if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            source, target = Path(package.locate_file(top)), links / top
            if source.exists() and not target.exists():
                target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    site = Path(sysconfig.get_path("purelib", vars={"base": folder, "platbase": folder}))
    (site / "shut.py").write_text(SHUT, encoding="utf-8")
    # Only lines of a .pth file in the environment itself are obeyed, not those of the ones behind the links.
    (site / "environment.pth").write_text(f"{links}\nimport shut\n", encoding="utf-8")
    return folder / "bin" / "python"


def surroundings(**more: str) -> dict[str, str]:
    """Return this process's environment variables without what would lead Python or pip back to us."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON", "COV"))}
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | more


def pack(name: str, folder: Path) -> Path:
    """Write the installed package ``name`` into ``folder`` as the wheel that it came from, and return that."""
    package = distribution(name)
    tags = re.findall(r"^Tag: (.+)$", package.read_text("WHEEL"), re.MULTILINE)
    parts = [sorted(set(column)) for column in zip(*(tag.split("-") for tag in tags), strict=True)]
    stem = f"{canonicalize_name(name).replace('-', '_')}-{package.version}"
    wheel = folder / f"{stem}-{'-'.join('.'.join(part) for part in parts)}.whl"
    inside = [file for file in package.files if file.parts[0] != ".." and "__pycache__" not in file.parts]
    kept = [file for file in inside if file.name not in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")]
    record = next(file for file in inside if file.name == "RECORD")
    lines = []
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in kept:
            data = Path(package.locate_file(file)).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            archive.writestr(str(file), data)
            lines.append(f"{file},sha256={digest},{len(data)}\n")
        archive.writestr(str(record), "".join([*lines, f"{record},,\n"]))
    return wheel


def distributions(tmp_path_factory) -> Path:
    """Build wheel and source distribution, once for all workers, and return their folder."""
    shared = shared_folder(tmp_path_factory)
    target, log = shared / "distributions", shared / "distributions.log"
    with FileLock(str(target) + ".lock"):
        if not log.exists():
            command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT)]
            result = subprocess.run(command, capture_output=True, text=True, timeout=300)
            log.write_text(f"{result.returncode}\n{result.stdout}\n{result.stderr}", encoding="utf-8")
    status, output = log.read_text(encoding="utf-8").split("\n", 1)
    assert status == "0", output[-2000:]
    return target
