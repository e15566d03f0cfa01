"""Prepare a release, and say whether a tag may become one.

    python tools/release.py bump 0.2.0     write the version and today's date wherever they stand
    python tools/release.py check v0.2.0   refuse a tag that does not fit the files, or a commit that is not on main
    python tools/release.py notes v0.2.0   print what CHANGELOG.md says about that release

The version of the package is written in convtwist/__init__.py alone; pyproject.toml reads it there. CITATION.cff,
CHANGELOG.md and the notebooks repeat it for readers. The release workflow runs ``check`` before it builds anything.
"""

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBER = r"\d+\.\d+\.\d+"
PACKAGE = re.compile(rf'^(__version__ = "){NUMBER}(?="$)', re.MULTILINE)
CITED = re.compile(rf"^(version: ){NUMBER}$", re.MULTILINE)
DATED = re.compile(r"^date-released: .*\n", re.MULTILINE)
# In a notebook the package is named with a version as a requirement, as a file, or by the tag that it is fetched from.
NAMED = re.compile(rf"(\bconvtwist(?:==|-)|git\+https://[^\s\"'\\@]+@v){NUMBER}(?![\w.]*\d)")
SECTION = re.compile(rf"^## ({NUMBER}) \((unreleased|\d{{4}}-\d\d-\d\d)\)\n", re.MULTILINE)


def numbers(version: str) -> tuple[int, ...]:
    """Return ``(0, 2, 0)`` for ``"0.2.0"``.

    Raises:
        ValueError: it is not three whole numbers with points between them.
    """
    if not re.fullmatch(NUMBER, version):
        raise ValueError(f"a version is three numbers such as 0.2.0, got {version!r}")
    return tuple(map(int, version.split(".")))


def read(root: Path, name: str) -> str:
    """Return the text of a file of the project, its line ends as they are."""
    return (root / name).read_bytes().decode()


def repeated(pattern: re.Pattern, text: str) -> list[str]:
    """Return the versions at the ends of what ``pattern`` finds."""
    return [re.search(rf"{NUMBER}$", match[0])[0] for match in pattern.finditer(text)]


def package_version(root: Path) -> str:
    """Return ``convtwist.__version__`` without importing anything.

    Raises:
        ValueError: the line is not there, or not once.
    """
    found = repeated(PACKAGE, read(root, "convtwist/__init__.py"))
    if len(found) != 1:
        raise ValueError(f'convtwist/__init__.py must hold one line __version__ = "...", found {len(found)}')
    return found[0]


def sections(changelog: str) -> list[tuple[str, str, str]]:
    """Return version, date or "unreleased", and text of each section of the changelog, newest first."""
    found = list(SECTION.finditer(changelog))
    ends = [match.start() for match in found[1:]] + [len(changelog)]
    return [(*match.groups(), changelog[match.end():end].strip()) for match, end in zip(found, ends, strict=True)]


def versions(root: Path) -> dict[str, set[str]]:
    """Return the versions of the package that each file repeats; CHANGELOG.md's is that of its newest section."""
    found = {"convtwist/__init__.py": {package_version(root)}}
    found["CITATION.cff"] = set(repeated(CITED, read(root, "CITATION.cff")))
    found["CHANGELOG.md"] = {version for version, _, _ in sections(read(root, "CHANGELOG.md"))[:1]}
    for path in sorted((root / "book").glob("*.ipynb")):
        if inside := set(repeated(NAMED, path.read_text(encoding="utf-8"))):
            found[f"book/{path.name}"] = inside
    return found


def bump(version: str, date: str, root: Path = ROOT) -> list[str]:
    """Write ``version`` into every file that repeats it, date the changelog's newest section, return what changed.

    Args:
        version: the release to come; that of the package, if it was never released, or a later one.
        date: the day of the release, 2026-01-31.
        root: the project's folder.

    Raises:
        ValueError: the version is none or not a later one, or the changelog's newest section already has a date.
            Nothing is written then.
    """
    before, changelog = package_version(root), read(root, "CHANGELOG.md")
    if numbers(version) < numbers(before):
        raise ValueError(f"{version} is older than {before}, which convtwist/__init__.py has")
    newest = sections(changelog)[:1]
    if not newest or newest[0][1] != "unreleased":
        raise ValueError("CHANGELOG.md's newest section must be '## X.Y.Z (unreleased)': write there what changed")
    if not newest[0][2]:
        raise ValueError("CHANGELOG.md says nothing about the new release")
    if version in {released for released, _, _ in sections(changelog)[1:]}:
        raise ValueError(f"CHANGELOG.md has a section of {version} already")
    citation = DATED.sub("", read(root, "CITATION.cff"))
    if len(CITED.findall(citation)) != 1:
        raise ValueError("CITATION.cff must hold one line version: X.Y.Z")
    texts = {
        "convtwist/__init__.py": PACKAGE.sub(rf"\g<1>{version}", read(root, "convtwist/__init__.py")),
        "CITATION.cff": CITED.sub(rf"\g<1>{version}\ndate-released: {date}", citation),
        "CHANGELOG.md": SECTION.sub(f"## {version} ({date})\n", changelog, count=1),
    }
    for path in (root / "book").glob("*.ipynb"):
        name = f"book/{path.name}"
        texts[name] = NAMED.sub(rf"\g<1>{version}", read(root, name))
    changed = sorted(name for name, text in texts.items() if text != read(root, name))
    for name in changed:
        (root / name).write_bytes(texts[name].encode())
    return changed


def faults(tag: str, root: Path = ROOT, branch: str = "origin/main") -> list[str]:
    """Return why ``tag`` may not be released from the commit that is checked out, one line each; none if it may.

    Args:
        tag: v0.2.0.
        root: the project's folder, a checkout with the history of ``branch``.
        branch: the branch that must contain the commit.
    """
    found = []
    if not re.fullmatch(f"v{NUMBER}", tag):
        found.append(f"the tag must be v and three numbers, such as v0.2.0, got {tag!r}")
    for name, inside in versions(root).items():
        if inside != {tag.removeprefix("v")}:
            found.append(f"the tag is {tag}, but {name} has {', '.join(sorted(inside)) or 'no version'}")
    if [date for _, date, _ in sections(read(root, "CHANGELOG.md"))[:1]] == ["unreleased"]:
        found.append("CHANGELOG.md calls the newest section unreleased: run python tools/release.py bump first")
    answer = subprocess.run(["git", "merge-base", "--is-ancestor", "HEAD", branch], cwd=root, capture_output=True,
                            text=True)
    if answer.returncode:
        found.append(f"the commit is not on {branch}" + (f": {answer.stderr.strip()}" if answer.stderr else ""))
    return found


def notes(tag: str, root: Path = ROOT) -> str:
    """Return the changelog's section of the release ``tag``.

    Raises:
        ValueError: there is none, or it is empty.
    """
    for version, _, text in sections(read(root, "CHANGELOG.md")):
        if f"v{version}" == tag and text:
            return text
    raise ValueError(f"CHANGELOG.md says nothing about {tag}")


def main() -> None:
    """Do what the command line asks; exit with a sentence if that is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["bump", "check", "notes"])
    parser.add_argument("version", help="0.2.0 for bump, otherwise the tag v0.2.0")
    parser.add_argument("--date", default=datetime.date.today().isoformat(), help="of the release; today")
    arguments = parser.parse_args()
    try:
        if arguments.command == "bump":
            print("\n".join(bump(arguments.version, arguments.date)))
        elif arguments.command == "notes":
            print(notes(arguments.version))
        elif complaints := faults(arguments.version):
            sys.exit("\n".join(["not released:", *complaints]))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
