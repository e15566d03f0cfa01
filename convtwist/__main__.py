"""Say what is installed and which engine serves: ``python -m convtwist``.

What each module is for is read from its first line, without importing it, for its needs may be missing.
"""

import argparse
import ast
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import convtwist

COMMANDS = {
    "python -m convtwist": "this page",
    "python -m convtwist.train --help": "train a network from a configuration file; needs the extra train",
}
EXTRAS = {"book": "what the notebooks import", "train": "training", "dev": "the tests"}


class Parser(argparse.ArgumentParser):
    """Takes no command, and says so in words that lead on."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        known = "\n".join(f"  {command:<34}{what}" for command, what in COMMANDS.items())
        self.exit(2, f"python -m convtwist: {message}\nIt takes no command of its own. There are:\n{known}\n")


def purpose(module: str) -> str:
    """Return the first line of a module's docstring."""
    folder = Path(convtwist.__file__).parent
    source = next(path for path in (folder / f"{module}.py", folder / module / "__init__.py") if path.exists())
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
    return text.splitlines()[0] if text else ""


def state(extra: str) -> str:
    """Say whether what an extra asks for is installed, and how to get what is missing."""
    try:
        lines = metadata.requires("convtwist") or []
    except metadata.PackageNotFoundError:
        return "unknown: convtwist runs from a folder, it was not installed"
    absent = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        if re.search(rf"extra == ['\"]{extra}['\"]", marker):
            try:
                metadata.version(re.split(r"[^\w.-]", requirement.strip())[0])
            except metadata.PackageNotFoundError:
                absent.append(f'"{requirement.strip()}"')
    return f"missing; pip install {' '.join(absent)}" if absent else "installed"


def overview() -> str:
    """Return the part of the page that says what there is."""
    public = [name for name in convtwist.__all__ if name != "__version__"]
    lines = [f"convtwist {convtwist.__version__}", (convtwist.__doc__ or "").splitlines()[0], "",
             f"layers     {', '.join(name for name in public if name[0].isupper())}",
             f"functions  {', '.join(name for name in public if name[0].islower())}", "", "modules"]
    lines += [f"  convtwist.{name:<12}{purpose(name)}" for name in convtwist.MODULES]
    lines += ["", "commands", *(f"  {command:<34}{what}" for command, what in COMMANDS.items())]
    lines += ["", "extras", *(f"  {extra:<6}{what}: {state(extra)}" for extra, what in EXTRAS.items())]
    return "\n".join(lines)


def main() -> None:
    """Print the overview and what computes the layers, or the version; anything else is an error."""
    parser = Parser(prog="python -m convtwist", description="Say what convtwist offers, and what computes it here.")
    parser.add_argument("--version", action="version", version=convtwist.__version__)
    parser.parse_args()
    try:
        print(overview(), "\n\nwhat computes the layers here", sep="", flush=True)
        convtwist.show_config()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
