"""What a chapter would lack alone on Colab is refused to it in this process: other packages, the network, leftovers.

Other tests have imported here what Colab lacks, so every import of a chapter and of convtwist is asked for itself.
"""

import builtins
import contextlib
import importlib.util
import re
import socket
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
from environments import installed, needs
from packaging.utils import canonicalize_name
from reader_notebooks import PACKAGES, imported

# Of what Colab comes with, that which a chapter could use. Not kornia, onnx, lightning: they must be asked for.
PREINSTALLED = ["ipykernel", "ipython", "matplotlib", "networkx", "numpy", "opencv-python-headless", "pandas", "pillow",
                "pip", "scikit-learn", "scipy", "torch"]


@cache
def modules(*packages: str) -> set[str]:
    """Return the top-level modules of ``packages`` and of all that they need, as far as it is installed."""
    names = needs(*installed(set(packages)))
    return {module for module, owners in packages_distributions().items()
            if any(canonicalize_name(owner) in names for owner in owners)}


def available(path: Path) -> set[str]:
    """Return the modules that a chapter finds on Colab: what is there, and what its first cell installs."""
    wanted = [PACKAGES[module] for module in imported(nbformat.read(path, as_version=4))]
    return {"convtwist", "google", *sys.stdlib_module_names, *modules(*PREINSTALLED, *wanted)}


@contextlib.contextmanager
def limits(path: Path, folder: Path) -> Iterator[list[str]]:
    """Run the chapter ``path`` as alone in the empty ``folder``; yield a list that says at the end what was wrong."""
    known, faults, load, find = available(path), [], builtins.__import__, importlib.util.find_spec

    def lacks(name):
        return name.partition(".")[0] not in known

    def guarded(name, globals=None, locals=None, fromlist=(), level=0):
        asking = (globals or {}).get("__name__", "")
        if level == 0 and re.match(r"(__main__|convtwist)\b", asking) and lacks(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, globals, locals, fromlist, level)

    def shut(place):
        faults.append(f"the network was asked for {place}")
        raise OSError("the network is shut")

    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        for place, name, value in (
            (builtins, "__import__", guarded), (socket.socket, "connect", lambda self, address: shut(address)),
            (socket, "getaddrinfo", lambda host, *rest, **options: shut(host)),
            (importlib.util, "find_spec", lambda name, package=None: None if lacks(name) else find(name, package)),
        ):
            stack.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, value)
        yield faults
    faults += [f"{file.name} was left behind" for file in folder.iterdir()]
