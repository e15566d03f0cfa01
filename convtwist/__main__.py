"""Say what is installed and where to start: ``python -m convtwist``.

Needs nothing but the standard library until ``convtwist`` itself is imported, and imports no optional package: what
each module is for is read from its first line.
"""

import argparse
import ast
import re
from importlib import metadata
from pathlib import Path

import convtwist

MODULES = ("functional", "operators", "kernels", "flow", "channels", "arithmetic", "matrix", "reference", "images",
           "plot", "labs", "posted", "results", "evidence", "train")  # fmt: skip
COMMANDS = {
    "python -m convtwist": "this page",
    "python -m convtwist.train --help": 'train a network from a configuration file; needs "convtwist[train]"',
}
EXTRAS = {"book": "what the notebooks import", "train": "training", "dev": "the tests"}


class Parser(argparse.ArgumentParser):
    """Takes no command, and says so in words that lead on."""

    def error(self, message: str):
        """Exit with status 2."""
        known = "\n".join(f"  {command:<34}{what}" for command, what in COMMANDS.items())
        self.exit(2, f"python -m convtwist: {message}\nIt takes no command of its own. There are:\n{known}\n")


def purpose(module: str) -> str:
    """Return the first line of a module's docstring without importing it, for its needs may be missing."""
    folder = Path(convtwist.__file__).parent
    source = folder / f"{module}.py"
    if not source.exists():
        source = folder / module / "__init__.py"
    return ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))).splitlines()[0]


def missing(extra: str) -> list[str] | None:
    """Return the packages of ``convtwist[extra]`` that are not installed; None if nobody installed convtwist."""
    try:
        lines = metadata.requires("convtwist") or []
    except metadata.PackageNotFoundError:
        return None
    names = [re.match(r"[\w.-]+", line).group() for line in lines if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    absent = []
    for name in names:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            absent.append(name)
    return absent


def overview() -> str:
    """Return the page that ``python -m convtwist`` prints."""
    public = [name for name in convtwist.__all__ if name != "__version__"]
    layers = [name for name in public if name[0].isupper()]
    functions = [name for name in public if name[0].islower()]
    lines = [f"convtwist {convtwist.__version__}", convtwist.__doc__.splitlines()[0], ""]
    lines += [f"layers     {', '.join(layers)}", f"functions  {', '.join(functions)}", "", "modules"]
    lines += [f"  convtwist.{name:<12}{purpose(name)}" for name in MODULES]
    lines += ["", "commands", *(f"  {command:<34}{what}" for command, what in COMMANDS.items()), "", "extras"]
    for extra, what in EXTRAS.items():
        absent = missing(extra)
        if absent is None:
            state = "unknown: convtwist runs from a folder, it was not installed"
        elif absent:
            state = f'missing {", ".join(absent)}; pip install "convtwist[{extra}]"'
        else:
            state = "installed"
        lines.append(f"  {extra:<6}{what}: {state}")
    notebooks = Path(convtwist.__file__).parents[1] / "book"
    lines += ["", f"book       {notebooks}" if (notebooks / "intro.md").exists() else
              "book       not part of the package: its notebooks are in the folder book/ of the project"]
    return "\n".join(lines)


def main() -> None:
    """Print the overview, or the version; anything else is an error that says what to do."""
    parser = Parser(prog="python -m convtwist", description="Say what convtwist offers.")
    parser.add_argument("--version", action="version", version=convtwist.__version__)
    parser.parse_args()
    print(overview())


if __name__ == "__main__":
    main()
