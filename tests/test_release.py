"""A release: one version, a page for the registry without a dead link, and no tag that does not fit."""

import datetime
import email
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from environments import ROOT, distributions
from markdown_it import MarkdownIt

ADDRESS = "https://example.org/owner/name"
BOOK = "https://owner.example.org/name/"
CHANGELOG = """# Changelog

## 0.1.0 (unreleased)

- A layer.
"""
NOTEBOOK = {"cells": [
    {"source": ["%pip install -q convtwist==0.1.0 kornia==0.9.0\n", "%pip install ./convtwist-0.1.0-py3-none-any.whl"]},
    {"source": ["%pip install git+https://example.org/owner/name@v0.1.0\n", "print('0.1.0')"]}]}


def load(name: str):
    """Import a file of ``tools/`` without putting that folder on the path."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release, package_metadata = load("release"), load("package_metadata")


@pytest.fixture
def project(tmp_path) -> Path:
    """Return a folder with the files that a version stands in, in version 0.1.0, not yet released."""
    for name, text in {"convtwist/__init__.py": '"""The package."""\n\n__version__ = "0.1.0"\n',
                       "CITATION.cff": "cff-version: 1.2.0\nversion: 0.1.0\nlicense: MIT\n", "CHANGELOG.md": CHANGELOG,
                       "book/01.ipynb": json.dumps(NOTEBOOK), "book/02.ipynb": '{"cells": []}'}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8", newline="\n")
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "--allow-empty", "-m", "A change")


def texts(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_project_repeats_its_version_truly():
    """CITATION.cff and the notebooks have the package's version; the changelog has a section of it."""
    found = release.versions(ROOT)
    version = release.package_version(ROOT)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert version in [released for released, _, _ in release.sections(changelog)]
    assert found.pop("CHANGELOG.md")
    assert "CITATION.cff" in found and all(inside == {version} for inside in found.values()), found


def test_version_stands_in_one_place():
    """pyproject.toml reads the version from the package, which needs no metadata to know it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not re.search(r"^version\s*=", text, re.MULTILINE) and '[tool.hatch.version]\npath = "convtwist' in text
    version = release.package_version(ROOT)
    for path in sorted((ROOT / "convtwist").rglob("*.py")):
        assert f'"{version}"' not in path.read_text(encoding="utf-8") or path.name == "__init__.py", path


def test_bump_writes_every_place(project):
    """Nothing else is changed, not even a number that looks like the version."""
    before = texts(project)
    changed = release.bump("0.2.0", "2026-01-31", project)
    assert changed == ["CHANGELOG.md", "CITATION.cff", "book/01.ipynb", "convtwist/__init__.py"]
    assert set(map(frozenset, release.versions(project).values())) == {frozenset({"0.2.0"})}
    after = texts(project)
    assert after["book/02.ipynb"] == before["book/02.ipynb"]
    cells = json.loads(after["book/01.ipynb"])["cells"]
    assert cells[0]["source"] == ["%pip install -q convtwist==0.2.0 kornia==0.9.0\n",
                                  "%pip install ./convtwist-0.2.0-py3-none-any.whl"]
    assert cells[1]["source"] == ["%pip install git+https://example.org/owner/name@v0.2.0\n", "print('0.1.0')"]
    assert yaml.safe_load(after["CITATION.cff"]) == {"cff-version": "1.2.0", "version": "0.2.0", "license": "MIT",
                                                     "date-released": datetime.date(2026, 1, 31)}
    assert after["CHANGELOG.md"].decode() == CHANGELOG.replace("0.1.0 (unreleased)", "0.2.0 (2026-01-31)")


def test_bump_works_on_a_copy_of_this_project(tmp_path):
    """The command itself, where the files are as they are; each is still what it was in all but the version."""
    for name in ("convtwist/__init__.py", "CITATION.cff", "CHANGELOG.md", "tools/release.py", "book"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    changelog = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    if release.sections(changelog)[0][1] != "unreleased":  # the state right after a release
        changelog = release.SECTION.sub("## 9.8.7 (unreleased)\n\n- Something.\n\n\\g<0>", changelog, count=1)
        (tmp_path / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    before, old = texts(tmp_path), release.package_version(tmp_path)
    command = [sys.executable, "tools/release.py", "bump", "9.8.7", "--date", "2030-01-02"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    after = texts(tmp_path)
    assert result.stdout.split() == sorted(name for name in before if before[name] != after[name])
    assert {"convtwist/__init__.py", "CITATION.cff", "CHANGELOG.md"} <= set(result.stdout.split())
    for name in result.stdout.split():
        if name.endswith((".ipynb", ".py")):
            assert after[name].replace(b"9.8.7", old.encode()) == before[name]
    assert b'\n__version__ = "9.8.7"\n' in after["convtwist/__init__.py"]
    assert yaml.safe_load(after["CITATION.cff"])["version"] == "9.8.7"
    assert set(map(frozenset, release.versions(tmp_path).values())) == {frozenset({"9.8.7"})}


@pytest.mark.parametrize("version, edit, complaint", [
    ("0.2", None, "three numbers such as 0.2.0, got '0.2'"),
    ("0.2.0rc1", None, "three numbers"),
    ("0.0.9", None, "0.0.9 is older than 0.1.0"),
    ("0.2.0", ("CHANGELOG.md", "unreleased", "2026-01-01"), "newest section must be '## X.Y.Z \\(unreleased\\)'"),
    ("0.2.0", ("CHANGELOG.md", "- A layer.\n", ""), "says nothing about the new release"),
    ("0.2.0", ("CHANGELOG.md", "- A layer.", "- A layer.\n\n## 0.2.0 (2026-01-01)\n\n- A."),
     "a section of 0.2.0 already"),
    ("0.2.0", ("CITATION.cff", "version: 0.1.0", "version: new"), "CITATION.cff must hold one line"),
    ("0.2.0", ("convtwist/__init__.py", "0.1.0", "0.1"), "convtwist/__init__.py must hold one line"),
])
def test_bump_refuses_and_writes_nothing(project, version, edit, complaint):
    if edit:
        name, old, new = edit
        text = (project / name).read_text(encoding="utf-8")
        assert old in text
        (project / name).write_text(text.replace(old, new), encoding="utf-8")
    before = texts(project)
    with pytest.raises(ValueError, match=complaint):
        release.bump(version, "2026-01-31", project)
    assert texts(project) == before


@pytest.fixture
def repository(project) -> Path:
    """Return a checkout whose HEAD is on origin/main, ready to be tagged v0.1.0."""
    release.bump("0.1.0", "2026-01-31", project)
    git(project, "init", "-q", "-b", "main")
    commit(project)
    git(project, "update-ref", "refs/remotes/origin/main", "HEAD")
    return project


def test_check_takes_the_tag_that_fits(repository):
    assert release.faults("v0.1.0", repository) == []
    commit(repository)  # main is allowed to be ahead of the tag
    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(repository, "checkout", "-q", "HEAD~1")
    assert release.faults("v0.1.0", repository) == []


@pytest.mark.parametrize("tag", ["v0.1.1", "0.1.0", "v0.1", "v0.1.0rc1", "v0.1.0 "])
def test_check_refuses_a_tag_that_is_not_the_version(repository, tag):
    assert any("the tag" in fault and tag.strip() in fault for fault in release.faults(tag, repository))


@pytest.mark.parametrize("name, old, new, complaint", [
    ("convtwist/__init__.py", "0.1.0", "0.1.1", "convtwist/__init__.py has 0.1.1"),
    ("CITATION.cff", "0.1.0", "0.1.1", "CITATION.cff has 0.1.1"),
    ("CITATION.cff", "version: 0.1.0", "", "CITATION.cff has no version"),
    ("CHANGELOG.md", "0.1.0", "0.1.1", "CHANGELOG.md has 0.1.1"),
    ("CHANGELOG.md", "2026-01-31", "unreleased", "calls the newest section unreleased"),
    ("book/01.ipynb", "convtwist==0.1.0", "convtwist==0.1.1", "book/01.ipynb has 0.1.0, 0.1.1"),
])
def test_check_refuses_a_file_that_disagrees(repository, name, old, new, complaint):
    text = (repository / name).read_text(encoding="utf-8")
    assert old in text
    (repository / name).write_text(text.replace(old, new), encoding="utf-8")
    assert any(complaint in fault for fault in release.faults("v0.1.0", repository))


def test_check_refuses_a_commit_beside_main(repository):
    """A commit that nobody merged, and a checkout too shallow to know."""
    commit(repository)
    assert release.faults("v0.1.0", repository) == ["the commit is not on origin/main"]
    git(repository, "update-ref", "-d", "refs/remotes/origin/main")
    assert "not on origin/main: fatal" in release.faults("v0.1.0", repository)[0]


def test_the_commands_exit_status_stops_the_workflow(repository):
    (repository / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "release.py", repository / "tools")

    def run(*arguments):
        return subprocess.run([sys.executable, "tools/release.py", *arguments], cwd=repository, capture_output=True,
                              text=True)

    assert run("check", "v0.1.0").returncode == 0
    refused = run("check", "v0.1.1")
    assert refused.returncode == 1 and refused.stderr.startswith("not released:\nthe tag is v0.1.1, but")
    assert run("notes", "v0.1.0").stdout == "- A layer.\n"
    assert run("notes", "v0.3.0").returncode == 1


def outside(description: str) -> list[str]:
    """Return where links and pictures of a Markdown text lead."""
    page = BeautifulSoup(MarkdownIt("gfm-like", {"linkify": False}).render(description), "html.parser")
    return [tag.get("href") or tag.get("src") for tag in page.find_all(["a", "img"])]


def metadata(folder: Path) -> list[email.message.Message]:
    """Return what the wheel and the source distribution in ``folder`` say of the package."""
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        inside = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")))
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        member = next(name for name in archive.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name))
        source = archive.extractfile(member).read()
    return [email.message_from_bytes(inside), email.message_from_bytes(source)]


def test_page_of_a_release_leads_to_its_repository(tmp_path):
    """With an address: no relative link or picture, every one of them a file of the tag, and the project's links."""
    version = release.package_version(ROOT)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT]
    environment = os.environ | {"CONVTWIST_REPOSITORY": f"{ADDRESS}/", "CONVTWIST_BOOK": BOOK}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    checked = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *tmp_path.iterdir()],
                             capture_output=True, text=True)
    assert checked.returncode == 0 and checked.stdout.count("PASSED") == 2, checked.stdout + checked.stderr
    for page in metadata(tmp_path):
        assert page["Version"] == version
        assert dict(line.split(", ") for line in page.get_all("Project-URL")) == {
            "Documentation": BOOK, "Repository": ADDRESS, "Issues": f"{ADDRESS}/issues",
            "Changelog": f"{ADDRESS}/blob/v{version}/CHANGELOG.md"}
        links = outside(page.get_payload(decode=True).decode())
        assert len(links) > 20 and not [link for link in links if not link.startswith("https://")]
        ours = [re.fullmatch(rf"{ADDRESS}/(blob|tree|raw)/v{version}/(.+)", link) for link in links]
        files = [match.groups() for match in ours if match]
        assert {"blob", "tree", "raw"} == {kind for kind, _ in files}
        assert all((ROOT / path).is_dir() == (kind == "tree") and (ROOT / path).exists() for kind, path in files)


def test_page_without_an_address_has_no_dead_link(tmp_path_factory):
    """What leads nowhere is plain text, and the words are all still there."""
    for page in metadata(distributions(tmp_path_factory)):
        assert page.get_all("Project-URL") is None
        text = page.get_payload(decode=True).decode()
        assert not [link for link in outside(text) if not link.startswith("https://")]
        assert "(A photograph of a cat" in text and "CONTRIBUTING.md has the rest" in text


@pytest.mark.parametrize("markdown, shown", [
    ("[a](tools/release.py)", f"[a]({ADDRESS}/blob/v1/tools/release.py)"),
    ("[two\nlines](tools/)", f"[two\nlines]({ADDRESS}/tree/v1/tools/)"),
    ("[`code`](README.md#train)", f"[`code`]({ADDRESS}/blob/v1/README.md#train)"),
    ("![p](book/_assets/journey.png)", f"![p]({ADDRESS}/raw/v1/book/_assets/journey.png)"),
    ("[a](https://x.org/b) [c](#here)", "[a](https://x.org/b) [c](#here)"),
    ("```python\n[a](README.md)\n```\n[b](LICENSE)",
     f"```python\n[a](README.md)\n```\n[b]({ADDRESS}/blob/v1/LICENSE)"),
])
def test_links_become_whole(markdown, shown):
    assert package_metadata.long_description(markdown, ROOT, ADDRESS, "v1") == shown


def test_page_refuses_what_would_be_dead():
    with pytest.raises(ValueError, match=r"links to gone\.md, which is no file"):
        package_metadata.long_description("[a](gone.md)", ROOT)
    for address in ("owner/name", "http://example.org/owner/name", "https://example.org/name"):
        with pytest.raises(ValueError, match="CONVTWIST_REPOSITORY must be https://HOST/OWNER/NAME"):
            package_metadata.project_urls(address)
    with pytest.raises(ValueError, match="CONVTWIST_BOOK must be the https address"):
        package_metadata.project_urls(ADDRESS, "owner.example.org")
