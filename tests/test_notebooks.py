"""The notebooks as they are stored: one clean run each, complete as chapters, nothing from elsewhere."""

import ast
import base64
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from scorecard import record

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
CHAPTERS = [path for path in NOTEBOOKS if re.match(r"\d\d_", path.name)]
PICTURES = ("image/png", "image/jpeg")
LONGEST_CELL = 15  # lines; what is longer belongs in the package
LONGEST_LINE = 84  # characters; the page's text column shows no more on a laptop
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def cells(path, kind):
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def tags(cell):
    return cell.metadata.get("tags", [])


def text(path):
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def python(source):
    """Return the source without IPython's ``%`` and ``!`` lines, for the parser."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


@each_notebook
def test_stored_as_one_clean_run(path):
    """Counts run 1, 2, 3 ... without a gap: nbval silently skips the comparison of a cell that has none."""
    notebook = read(path)
    nbformat.validate(notebook)
    code = cells(path, "code")
    assert all(cell.source.strip() for cell in code), "an empty code cell"
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output.evalue for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"], "a warning is stored"
    record("notebook cells stored", len(code))


@each_notebook
def test_stored_as_tools_execute_writes_it(path):
    """Ids count up and no editor's metadata is left, so that a change of a chapter shows in a diff as itself."""
    notebook = read(path)
    assert [cell.id for cell in notebook.cells] == [f"cell-{k:03d}" for k in range(1, len(notebook.cells) + 1)]
    assert not [cell.metadata for cell in notebook.cells if set(cell.metadata) - {"tags", "mystnb", "jupyter"}]


@each_notebook
def test_nothing_is_installed(path):
    """The book is run where requirements.txt was installed; tools/reader_notebooks.py adds the cell for elsewhere."""
    assert not [cell.source for cell in cells(path, "code") if re.search(r"\bpip\b", cell.source)]


@each_notebook
def test_cells_are_short(path):
    for cell in cells(path, "code"):
        lines = re.sub(r"\A# (Answer box|Check|Solution)\n", "", cell.source).splitlines()
        assert len(lines) <= LONGEST_CELL, cell.source
        assert max(map(len, lines)) <= LONGEST_LINE, max(lines, key=len)


@each_notebook
def test_cells_are_compared(path):
    """No tag keeps nbval from running a cell; ``nbval-ignore-output`` is for timings and says so."""
    for cell in cells(path, "code"):
        unwanted = {"nbval-skip", "skip-execution", "nbval-raises-exception", "raises-exception"}
        assert not unwanted.intersection(tags(cell)), cell.source
        if "nbval-ignore-output" in tags(cell):
            assert "time" in cell.source, f"only timings may differ between runs:\n{cell.source}"


@each_notebook
def test_pictures(path):
    """Every picture decodes, and carries the same alternative text where it is made and where it is rendered."""
    for cell in cells(path, "code"):
        for output in cell.outputs:
            for mime in set(PICTURES).intersection(output.get("data", {})):
                magic = base64.b64decode(output.data[mime])[:4]
                assert magic in (b"\x89PNG", b"\xff\xd8\xff\xe0"), (mime, magic)
                alt = output.metadata.get(mime, {}).get("alt", "")
                assert len(alt.split()) >= 3, cell.source
                assert cell.metadata.mystnb.image.alt == alt, "stored alt text is stale: run tools/execute.py"
            assert "image/svg+xml" not in output.get("data", {}), "nbval compares SVG, whose ids are random"
    assert not re.findall(r"!\[\s*\]\(", text(path)), "a Markdown picture without alternative text"


@each_notebook
def test_every_figure_is_checked(path):
    """nbval ignores pictures, so the cell that draws one, or one of the two before it, asserts something."""
    code = cells(path, "code")
    for number, cell in enumerate(code):
        if any(mime in output.get("data", {}) for output in cell.outputs for mime in PICTURES):
            near = code[max(0, number - 2) : number + 2]
            assert any("assert" in neighbour.source for neighbour in near), f"nothing checks:\n{cell.source}"


@each_notebook
def test_nothing_from_elsewhere(path):
    """No picture, script or data set is fetched: the book works without a network."""
    markdown = text(path)
    assert not re.findall(r"!\[[^\]]*\]\(https?:", markdown)
    assert not re.findall(r"<(?:img|script|iframe|link)[^>]*https?:", markdown)
    for cell in cells(path, "code"):
        assert not re.search(r"urlopen|urlretrieve|requests\.|https?://", cell.source), cell.source
        for output in cell.outputs:
            html = output.get("data", {}).get("text/html", "")
            assert not re.search(r"""(?:src|href|from|import|fetch)\s*[=(]?\s*["']https?:""", html), cell.source


def test_every_notebook_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [entry["file"].removesuffix(".ipynb") for part in toc["parts"] for entry in part["chapters"]]
    assert {f"book/{path.stem}" for path in NOTEBOOKS} <= set(listed)
    numbered = [entry["file"] for part in toc["parts"] if part.get("numbered") for entry in part["chapters"]]
    assert numbered == [f"book/{path.stem}" for path in CHAPTERS], "the order of the files is that of the numbers"
    assert [int(path.name[:2]) for path in CHAPTERS] == list(range(1, len(CHAPTERS) + 1))


def test_names_of_figures_and_equations():
    """A figure with a name has a caption; each name is of its kind and stands once in the book."""
    figures = [cell.metadata.mystnb.figure for path in NOTEBOOKS for cell in cells(path, "code")
               if "figure" in cell.metadata.get("mystnb", {})]
    assert all(len(figure.caption.split()) >= 4 for figure in figures)
    names = [figure.name for figure in figures]
    equations = [name for path in NOTEBOOKS for name in re.findall(r"^\$\$ \((\S+)\)$", text(path), re.MULTILINE)]
    assert names and all(name.startswith("fig-") for name in names)
    assert equations and all(name.startswith("eq-") for name in equations)
    assert len(set(names + equations)) == len(names + equations)


def test_the_bibliography_is_nothing_but_entries():
    """BibTeX passes over what stands between entries, such as half of one, without a word."""
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    assert not re.sub(r"^@\w+\{\w+,\n(?:  .*\n|\s{4,}.*\n)+\}\n", "", bibliography, flags=re.MULTILINE).strip()
    keys = re.findall(r"^@\w+\{(\w+),$", bibliography, re.MULTILINE)
    assert len(keys) == len(set(keys)) > 40


@each_chapter
def test_opening(path):
    """A chapter starts with its title and a few sentences, then one setup cell that picks the photograph."""
    first = read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert len(first.source.split()) >= 40
    assert sum(line.startswith("# ") for line in text(path).splitlines()) == 1, "one title"
    threads, setup = cells(path, "code")[:2]
    assert "torch.set_num_threads(1)" in threads.source and "remove-cell" in tags(threads)
    assert re.search(r'^photo = images\.sample\("\w+"\)', setup.source, re.MULTILINE)
    assert re.search(r'^# photo = images\.(?:load|photograph)\("mine\.jpg"', setup.source, re.MULTILINE)


@each_chapter
def test_exercises(path):
    """At least three exercises: a stub for the reader, a folded solution that ran, then a check of either."""
    code = [cell for cell in cells(path, "code") if "labs.answer_box(" not in cell.source]
    solutions = [number for number, cell in enumerate(code)
                 if "hide-cell" in tags(cell) and not re.search(r"^check\(", cell.source, re.MULTILINE)
                 and "code_prompt_show" not in cell.metadata.get("mystnb", {})]  # the answer to a prediction
    assert len(solutions) >= 3
    for number in solutions:
        stub, solution, check = code[number - 1 : number + 2]
        assert re.search(r"^answer = None", stub.source, re.MULTILINE), stub.source
        assert "solution" in solution.source, solution.source
        judged = re.search(r"^check\(\s*answer\b", check.source, re.MULTILINE) and "solution=" in check.source
        assert (judged and "hide-cell" in tags(check)) or "assert" in check.source, check.source
    headings = re.findall(r"^### (\d+)\.(\d+) ", text(path), re.MULTILINE)
    assert headings == [(str(int(path.name[:2])), str(k)) for k in range(1, len(solutions) + 1)]


@each_chapter
def test_answers_are_folded_in_jupyter_too(path):
    """JupyterLab and Notebook 7 fold solutions away; the page shows a box without the call that holds its answer."""
    for cell in cells(path, "code"):
        box = "labs.answer_box(" in cell.source
        folded = cell.metadata.get("jupyter", {})
        assert folded.get("source_hidden", False) == (box or "hide-cell" in tags(cell)), cell.source
        assert folded.get("outputs_hidden", False) == ("hide-cell" in tags(cell) and "check(" not in cell.source)
        assert not box or tags(cell) == ["remove-input"], cell.source
        if folded:  # the first line stays in sight
            title = "Answer box" if box else "Check" if "check(" in cell.source else "Solution"
            assert cell.source.startswith(f"# {title}\n")


@each_chapter
def test_a_folded_check_says_what_it_is(path):
    """The page offers to check the answer, not to show the solution, which is in the cell before."""
    for cell in cells(path, "code"):
        if re.search(r"^check\(", cell.source, re.MULTILINE) and "hide-cell" in tags(cell):
            prompts = cell.metadata.get("mystnb", {})
            assert prompts.get("code_prompt_show") == "Check your answer", cell.source
            assert prompts.get("code_prompt_hide") == "Hide the check", cell.source


@each_chapter
def test_close(path):
    """A chapter ends with what the reader can do now, and where to read more, cited."""
    last = cells(path, "markdown")[-1].source
    assert last.startswith("## What you can do now")
    assert "**Where to read more.**" in last and "{cite" in last


@each_chapter
def test_asserts_something_about_the_photograph_and_the_numbers(path):
    """A chapter's claims are checked where they are made: at least as many assertions as sections."""
    asserts = sum(isinstance(node, ast.Assert) for cell in cells(path, "code")
                  for node in ast.walk(ast.parse(python(cell.source))))
    assert asserts >= len(re.findall(r"^## ", text(path), re.MULTILINE))
    record("assertions in the chapters", asserts)


@each_chapter
def test_own_image_line_follows_the_sample(path):
    """The commented line for the reader's own picture stands directly beneath the one it replaces."""
    lines = cells(path, "code")[1].source.splitlines()
    sample = next(number for number, line in enumerate(lines) if line.startswith("photo = images.sample("))
    assert re.match(r'# photo = images\.(?:load|photograph)\("mine\.jpg"', lines[sample + 1])
