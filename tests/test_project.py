"""The project as a whole: one version, a README that leads somewhere, a test file for every module."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import lock
import yaml

ROOT = Path(__file__).parents[1]
TEXT = {".cfg", ".cff", ".css", ".html", ".ipynb", ".json", ".md", ".mjs", ".js", ".py", ".svg", ".toml", ".txt",
        ".yaml", ".yml", ".bib", ".csv", ""}


def tracked() -> list[Path]:
    """Return the project's files, as git knows them or, outside a checkout, as they lie there."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        paths = [ROOT / line for line in listed.stdout.splitlines()]
    else:
        paths = [path for path in ROOT.rglob("*") if not {"_build", "dist", ".git", ".venv"}.intersection(path.parts)]
    return [path for path in paths if path.is_file()]


def metadata() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_readme_map_leads_to_files():
    """Each link in README.md and CONTRIBUTING.md to a file of the project finds it."""
    for name in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
        missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
        assert not missing


def test_readme_commands_are_the_ones_that_run():
    """The test command of README.md is what .ci/run calls."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -r requirements.txt && jupyter-book build ." in readme
    assert "\npytest --nbval\n" in readme
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    tiers = re.findall(r'^  "(\w+): ', metadata().partition("markers = [")[2], re.MULTILINE)
    assert re.search(r"^pytest --nbval\b", run, re.MULTILINE) and len(tiers) == 4
    commands = {tier: rf"pytest -m .*\b{tier}\b" for tier in tiers}
    commands["stranger"] = r'  "\$python" tools/strangers\.py\b'
    assert all(re.search(f"^{command}", run, re.MULTILINE) for command in commands.values())


def test_cases_of_long_files_are_spread_and_come_last():
    """Other files stay whole; the slow ones begin, so that no worker is idle at the end of a run."""
    spec = importlib.util.spec_from_file_location("root_conftest", ROOT / "conftest.py")
    root_conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(root_conftest)
    assert all(len(list((ROOT / "tests").rglob(name))) == 1 for name in root_conftest.SPREAD)
    names = ["browser/test_pages.py::test_weight[http-390]", "browser/test_pages.py::test_links",
             "test_own_pictures.py::test_a_chapter[01]", "browser/test_microscope.py::test_keys[lab]",
             "browser/test_stepper.py::test_a", "browser/test_stepper.py::test_b", "test_colab.py::test_runs[01]",
             "test_releases.py::test_eager[iterated]"]
    items = [SimpleNamespace(nodeid=f"tests/{name}", path=ROOT / "tests" / name.split("::")[0]) for name in names]
    root_conftest.in_turn(items)
    assert [item.nodeid[6:] for item in items] == [names[k] for k in (7, 4, 5, 3, 2, 6, 1, 0)]
    scopes = root_conftest.scope_of
    assert scopes("book/01_x.ipynb::Cell 1") == scopes("book/01_x.ipynb::Cell 2")
    assert scopes("tests/test_steps.py::test_a[1]") == scopes("tests/test_steps.py::test_b[2]")
    assert scopes("tests/browser/test_pages.py::test_a[1]") == scopes("tests/browser/test_pages.py::test_b[1]")
    assert scopes("tests/browser/test_pages.py::test_a[1]") != scopes("tests/browser/test_pages.py::test_a[2]")


def test_import_needs_torch_and_numpy_only():
    """``import convtwist`` reaches for nothing that only the book or the training needs."""
    program = ("import sys, numpy, torch; before = set(sys.modules); import convtwist; "
               "print(*(set(sys.modules) - before))")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) - {"torch", "numpy"} == {"convtwist"}


def test_every_module_has_its_test_file_and_its_place_in_the_map():
    """Module or folder ``x`` of the package has tests/test_x.py, or files test_x_*.py, and a link in README.md."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "convtwist").iterdir()):
        if path.name.startswith("_") or not (path.suffix == ".py" or (path / "__init__.py").is_file()):
            continue
        tests = [*(ROOT / "tests").glob(f"test_{path.stem}.py"), *(ROOT / "tests").glob(f"test_{path.stem}_*.py")]
        assert tests, f"no test file for convtwist.{path.stem}"
        assert f"](convtwist/{path.name})" in readme, f"README.md's map lacks convtwist.{path.stem}"


def test_declared_dependencies_are_bounded_and_consistent():
    """requirements.txt, with what it includes, bounds every package and keeps out the two that break the others."""
    packages = lock.readable()
    book = lock.readable(ROOT / "requirements-book.txt")
    assert "torch==2.13.0" in book and "\n-e .\n" in (ROOT / "requirements-book.txt").read_text(encoding="utf-8")
    assert set(book) < set(packages) and len(packages) == len(set(packages)), "complete, and each named once"
    assert not {re.match(r"[\w.-]+", line).group() for line in book} & {"pytest", "playwright", "lightning", "monai"}
    assert all(re.search(r"==|<", line) for line in packages), "each has an upper bound"
    names = {re.match(r"[\w.-]+", line).group() for line in packages}
    assert not names & {"torchvision", "opencv-python"}
    assert "torchvision" not in metadata()


def test_no_file_names_somebodys_machine():
    """No path of a home, a temporary or a working directory of ours is left in any file."""
    machine = re.compile(r"/(?:home|Users|root|work|opt|tmp)" + r"/\w|[A-Z]:\\\\Users")
    found = []
    for path in tracked():
        if path.suffix in TEXT:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if machine.search(re.sub(r"base64,[A-Za-z0-9+/=]+|\"image/\w+\": \".*", "", line)):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found


def test_only_plot_imports_matplotlib():
    """``convtwist.plot`` is the one place where matplotlib is imported, but for two of training, when they draw."""
    for path in (ROOT / "convtwist").rglob("*.py"):
        imported = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        draws = path.parent.name == "train" and path.name in ("curves.py", "predict.py")
        for node in tree.body if draws else ast.walk(tree):
            if isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
        assert "matplotlib" not in imported or path.name == "plot.py", path


def test_repository_links_for_publishing():
    """The published book's buttons lead to the repository it was built in; an address that is none is refused."""
    command = [sys.executable, "tools/repository_links.py"]
    address = "https://example.org/owner/name"
    result = subprocess.run([*command, address, "main"], cwd=ROOT, capture_output=True, text=True)
    config = yaml.safe_load(result.stdout)
    assert config["repository"] == {"url": address, "branch": "main", "path_to_book": ""}
    assert config["html"]["use_edit_page_button"] and "colab" in config["launch_buttons"]["colab_url"]
    stored = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["sphinx"]["config"]["html_context"].pop("reader_branch") == "reader-notebooks"
    assert config["sphinx"] == stored["sphinx"] and not stored["repository"]["url"]
    refused = subprocess.run([*command, "owner/name", "main"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode != 0 and "expected https://HOST/OWNER/NAME" in refused.stderr


def test_no_formatter_is_addressed():
    """No formatter runs here, so no comment tells one what to leave alone."""
    comment = "# " + "fmt: "
    assert not [str(path) for path in tracked() if path.suffix == ".py" and comment in path.read_text(encoding="utf-8")]


def test_glossary_is_in_one_alphabet_and_names_chapters():
    """Each entry stands where the alphabet has it, and ends with the chapter that introduces the word."""
    page = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
    entries = page.partition("```{glossary}\n")[2].partition("\n```")[0].split("\n\n")
    words = [entry.splitlines()[0].lower() for entry in entries]
    assert len(words) > 40 and words == sorted(set(words))
    assert not [entry for entry in entries if not re.search(r" Chapter \d+\.$", entry)]
