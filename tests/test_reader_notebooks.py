"""The notebooks that readers open elsewhere: no MyST, solutions folded, links that lead somewhere, a safe install."""

import copy
import json
import re

import colab_session
import nbformat
import pytest
import yaml
from built_book import built_book
from environments import ROOT, distributions
from packaging.requirements import Requirement
from reader_notebooks import Chapter, Pages, fold, install_cell, places, reader_notebooks, wheel_name
from repository_links import READER_BRANCH
from scorecard import record
from test_supply_chain import BY_NAME
from try_reader_notebooks import moved

SITE = "https://owner.example.org/name/"
REPOSITORY = "https://example.org/owner/name"
NAMES = [path.name for path in colab_session.NOTEBOOKS]
# Everything that MyST adds to Markdown, looked for without the tool's own expressions.
MYST = {
    "role": r"\{[A-Za-z][\w:+-]*\}`", "directive": r"^\s*[`~:]{3,}\s*\{", "colon fence": r"^\s*:{3,}",
    "label": r"^\([^)\s]+\)=\s*$", "numbered formula": r"\$\$[ ]*\([^)\s]+\)\s*$", "comment": r"^%", "cut": r"^\+\+\+",
    "substitution": r"\{\{.*\}\}", "attributes": r"[\])`]\{[.#]", "citation": r"\{cite",
}
LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return built_book(tmp_path_factory)


@pytest.fixture(scope="module")
def published(html) -> dict[str, nbformat.NotebookNode]:
    texts = reader_notebooks(Pages(html, SITE, REPOSITORY, "abc"), places(SITE, REPOSITORY, "abc"))
    return {name: nbformat.reads(text, as_version=4) for name, text in texts.items()}


@pytest.fixture(scope="module")
def beside(html) -> dict[str, nbformat.NotebookNode]:
    """The notebooks without an address, as in a ZIP that was packed at home."""
    texts = reader_notebooks(Pages(html), [f"../{wheel_name()}"])
    return {name: nbformat.reads(text, as_version=4) for name, text in texts.items()}


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "book" / name, as_version=4)


def prose(notebook: nbformat.NotebookNode) -> str:
    """Return the text without its code, in which braces and brackets mean something else."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"^ *```\w*\n.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<![`}])(`+)(?!`).+?(?<!`)\1(?!`)", "code", text)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@each
def test_no_myst_is_left(name, published, beside):
    for notebook in (published[name], beside[name]):
        nbformat.validate(notebook)
        left = {kind: found[:3] for kind, pattern in MYST.items()
                if (found := re.findall(pattern, prose(notebook), re.MULTILINE))}
        assert not left
    record("notebooks for readers without MyST", 1)


def test_the_search_for_myst_finds_what_the_book_has():
    """On the book's own notebooks the same expressions find roles, so that the test above can fail."""
    assert re.findall(MYST["role"], prose(stored(NAMES[0]))) and re.findall(MYST["citation"], prose(stored(NAMES[0])))


@each
def test_links_are_whole_addresses(name, published):
    links = LINK.findall(prose(published[name]))
    assert [link for link in links if link.startswith(SITE)]
    assert not [link for link in links if not re.match(r"https?://", link)]


@each
def test_links_without_a_site_stay_among_the_notebooks(name, beside):
    links = LINK.findall(prose(beside[name]))
    assert not [link for link in links if not re.match(r"https?://", link) and link not in beside]
    assert not [link for link in links if link.startswith(SITE)]


@each
def test_title_has_the_number_of_the_chapter(name, published):
    heading = published[name].cells[0].source.splitlines()[0]
    assert heading == f"# {int(name[:2])}. {stored(name).cells[0].source.splitlines()[0].removeprefix('# ')}"


@each
def test_solutions_are_folded_and_all_else_is_as_stored(name, published):
    """JupyterLab, Notebook 7 and Colab fold them; the code is the book's, the other outputs are the stored ones."""
    ours, theirs = code(stored(name)), code(published[name])
    assert len(ours) == len(theirs)
    solutions = 0
    for book, reader in list(zip(ours, theirs, strict=True))[1:]:
        tags = set(book.metadata.get("tags", []))
        if "hide-cell" in tags:
            solutions += 1
            assert reader.metadata.jupyter.source_hidden and reader.metadata.cellView == "form"
            title, source = reader.source.split("\n", 1)
            assert title in ("# @title Solution", "# @title Check")
            assert f"{title.replace('@title ', '')}\n{source}" == book.source
            assert reader.metadata.jupyter.get("outputs_hidden", False) == (title == "# @title Solution")
            assert not reader.outputs, "Colab would show them"
        elif "remove-input" in tags:
            assert reader.metadata.jupyter.source_hidden and reader.source == book.source.replace("# ", "# @title ", 1)
        elif tags & {"hide-input", "remove-cell"}:
            assert reader.metadata.jupyter.source_hidden and reader.source == f"# @title Code\n{book.source}"
        else:
            assert not reader.metadata and reader.source == book.source
            assert reader.outputs == book.outputs
    assert solutions >= 3
    record("solutions folded for readers", solutions)


def test_what_check_says_stays_in_sight():
    cell = nbformat.v4.new_code_cell("check(answer, 3)", metadata={})
    fold(cell, {"hide-cell"})
    assert cell.metadata.jupyter == {"source_hidden": True} and cell.source.startswith("# @title Check\n")


@each
def test_pip_is_asked_for_nothing_that_somebody_else_might_own(name, published):
    """convtwist comes from our addresses; the rest are packages of requirements-book.txt, with lower bounds alone."""
    wanted = colab_session.asked_for(published[name])
    assert wanted.pop("convtwist") == [f"{SITE}{wheel_name()}", f"git+{REPOSITORY}@abc"]
    known = {Requirement(line).name for line in (ROOT / "requirements-book.txt").read_text("utf-8").splitlines()
             if line and not line.startswith(("#", "-"))}
    for choices in wanted.values():
        (requirement,) = map(Requirement, choices)
        assert requirement.name in known and [part.operator for part in requirement.specifier] == [">="]
    for cell in published[name].cells[1:]:
        assert not BY_NAME.search(cell.source), cell.source


@each
def test_the_upload_of_an_own_picture_waits_in_a_comment(name, published):
    """In the place of the sample; test_colab_more.py does the same and runs on."""
    setup = code(colab_session.with_own_picture(copy.deepcopy(published[name])))[1].source
    assert len(re.findall(r"^photo = images\.upload\(\)", setup, re.MULTILINE)) == 1
    assert len(re.findall(r"^photo =", setup, re.MULTILINE)) == 1


def test_wheel_has_the_name_that_the_notebooks_ask_for(tmp_path_factory):
    assert (distributions(tmp_path_factory) / wheel_name()).is_file()


def test_an_import_that_nobody_provides_is_refused():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import nobodys.thing")])
    with pytest.raises(ValueError, match=r"which package brings \['nobodys'\]\? Add it to PACKAGES"):
        install_cell(notebook, [])


@pytest.fixture
def chapter(tmp_path) -> Chapter:
    """A chapter of a book that has one of everything that can be referred to."""
    (tmp_path / "book").mkdir()
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images" / "logo.png").touch()
    (tmp_path / "objects.inv").touch()
    here, there = (path.stem for path in colab_session.NOTEBOOKS[:2])
    (tmp_path / "book" / f"{here}.html").write_text(
        '<h1>Here</h1><h2 id="places">Places</h2><figure id="fig-a"><span class="caption-number">Figure 1.1 </span>'
        '</figure><div id="equation-eq-a"><span class="eqno">(1.2)<a>#</a></span></div>', encoding="utf-8")
    (tmp_path / "book" / f"{there}.html").write_text(
        '<h1>There</h1><figure id="fig-b"><span class="caption-number">Figure 2.3 </span></figure>'
        '<div id="equation-eq-b"><span class="eqno">(2.1)</span></div>', encoding="utf-8")
    (tmp_path / "book" / "notation.html").write_text('<h1>N</h1><dt id="term-Kernel">Kernel</dt>', encoding="utf-8")
    (tmp_path / "book" / "api.html").write_text('<h1>A</h1><dt id="convtwist.convert"></dt>', encoding="utf-8")
    (tmp_path / "book" / "bibliography.html").write_text('<h1>R</h1><p id="id3"></p>', encoding="utf-8")
    pages = Pages(tmp_path, SITE, REPOSITORY, "abc")
    pages.inventory = {
        "std:term": {"kernel": ("book/notation.html#term-Kernel", "Kernel")},
        "std:doc": {f"book/{there}": (f"book/{there}.html", "There")},
        "std:label": {"fig-a": (f"book/{here}.html#fig-a", "-"), "fig-b": (f"book/{there}.html#fig-b", "-"),
                      "places": (f"book/{here}.html#places", "Places")},
        "py:function": {"convtwist.convert": ("book/api.html#convtwist.convert", "convtwist.convert")},
    }
    pages.references = {"liu2020": ("Liu", "2020", "book/bibliography.html#id3"),
                        "he2016": ("He et al.", "2016", "book/bibliography.html#id3")}
    return Chapter(colab_session.NOTEBOOKS[0], pages)


REFERENCES = f"{SITE}book/bibliography.html#id3"
THERE = f"{SITE}book/{NAMES[1].replace('.ipynb', '.html')}"


@pytest.mark.parametrize("myst, plain", [
    ("a {term}`kernel`", f"a [kernel]({SITE}book/notation.html#term-Kernel)"),
    ("*{term}`small ones <Kernel>`*", f"*[small ones]({SITE}book/notation.html#term-Kernel)*"),
    ("shown {cite:p}`liu2020`.", f"shown ([Liu, 2020]({REFERENCES}))."),
    ("{cite:p}`liu2020,he2016`", f"([Liu, 2020]({REFERENCES}); [He et al., 2016]({REFERENCES}))"),
    ("{cite:t}`he2016` say", f"[He et al. (2016)]({REFERENCES}) say"),
    ("{numref}`fig-a` here", "Figure 1.1 here"),
    ("{numref}`fig-b` there", f"[Figure 2.3]({THERE}#fig-b) there"),
    ("{numref}`picture %s <fig-b>`", f"[picture 2.3]({THERE}#fig-b)"),
    ("{eq}`eq-a` and {eq}`eq-b`", f"(1.2) and [(2.1)]({THERE}#equation-eq-b)"),
    ("$$\nn - k + 1\n$$ (eq-a)", "$$\nn - k + 1 \\tag{1.2}\n$$"),
    ("{ref}`places`", f"[Places]({SITE}book/{NAMES[0].replace('.ipynb', '.html')}#places)"),
    (f"{{doc}}`{NAMES[1].removesuffix('.ipynb')}`", f"[2. There]({THERE})"),
    (f"[chapter 2]({NAMES[1]}), [it]({NAMES[1]}#fig-b)", f"[chapter 2]({THERE}), [it]({THERE}#fig-b)"),
    ("[](api.md)", None),
    ("[a](../README.md)", f"[a]({REPOSITORY}/blob/abc/README.md)"),
    ("[b](https://example.org/b)", "[b](https://example.org/b)"),
    ("![A cat](_assets/logo.png)", f"![A cat]({SITE}_images/logo.png)"),
    ("{func}`convtwist.convert` or {func}`~torch.add`",
     f"[`convtwist.convert`]({SITE}book/api.html#convtwist.convert) or `add`"),
    ("{math}`x^2`, H{sub}`2`O, {kbd}`Ctrl`", "$x^2$, H<sub>2</sub>O, <kbd>Ctrl</kbd>"),
    ("``{term}`kernel` `` is code, `a[i](j)` too", "``{term}`kernel` `` is code, `a[i](j)` too"),
    ("(a-label)=\n## Head\n% a remark\ntext", "## Head\ntext"),
    ("[red]{.colour} text", "[red] text"),
    ("| a | b |\n|---|---|\n| $x$ | {term}`kernel` |",
     f"| a | b |\n|---|---|\n| $x$ | [kernel]({SITE}book/notation.html#term-Kernel) |"),
    ("```python\nprint('{term}`kernel`')\n```", "```python\nprint('{term}`kernel`')\n```"),
    ("```{code-block} bash\n:caption: x\npip list\n```", "```bash\npip list\n```"),
    (":::{note}\nA {term}`kernel`.\n:::", f"> **Note**\n>\n> A [kernel]({SITE}book/notation.html#term-Kernel)."),
    ("````{admonition} Why\n```{math}\n:label: eq-a\nx\n```\n````", "> **Why**\n>\n> $$\n> x\n> \\tag{1.2}\n> $$"),
    ("```{figure} _assets/logo.png\n:alt: A logo\n:name: fig-a\n\nThe logo.\n```",
     f"![A logo]({SITE}_images/logo.png)\n\n**Figure 1.1.** The logo."),
    ("```{dropdown} Proof\nx\n```", "<details>\n<summary>Proof</summary>\n\nx\n\n</details>"),
    ("```{exercise} Sizes\nCount.\n```", "**Exercise** (Sizes)\n\nCount."),
])
def test_myst_becomes_markdown(myst, plain, chapter):
    if plain is None:  # a page without a title in the inventory
        chapter.pages.inventory["std:doc"]["book/api"] = ("book/api.html", "All functions")
        plain = f"[All functions]({SITE}book/api.html)"
    assert chapter.markdown(myst) == plain


@pytest.mark.parametrize("myst, complaint", [
    ("{strange}`x`", r"the role \{strange\} is not known"),
    ("```{strange} x\n```", r"the directive \{strange\} is not known"),
    ("```{note}\nx", "a block is not closed"),
    ("{term}`nonsense`", "the glossary has no 'nonsense'"),
    ("{cite:p}`nobody`", "not exactly one entry for 'nobody'"),
    ("{numref}`fig-z`", "has nothing with the id 'fig-z'"),
    ("{eq}`eq-z`", "no page has an equation with the label 'eq-z'"),
    ("[x](nowhere.md)", "has no page book/nowhere.html|leads nowhere"),
    (f"[x]({NAMES[1]}#fig-z)", "has nothing with the id 'fig-z'"),
    ("![x](_assets/none.png)", "has no picture none.png"),
    ("```{figure} _assets/logo.png\n\nNo name.\n```", "a caption has no name"),
])
def test_what_cannot_be_carried_over_is_refused(myst, complaint, chapter):
    with pytest.raises(ValueError, match=complaint):
        chapter.markdown(myst)


def test_a_figure_keeps_its_caption(chapter, tmp_path):
    """Jupyter knows no captions: they become a paragraph below the cell, with the number of the page."""
    book = stored(NAMES[0])
    figure = next(cell for cell in code(book)[2:] if cell.outputs)
    figure.metadata.setdefault("mystnb", {})["figure"] = {"name": "fig-a", "caption": "A {term}`kernel`."}
    markdown = nbformat.v4.new_markdown_cell("# Here\n\nText.")
    book.cells = [markdown, *code(book)[:2], figure]
    chapter.path = tmp_path / NAMES[0]
    nbformat.write(book, chapter.path)
    caption = chapter.notebook([]).cells[-1]
    assert caption.source == f"**Figure 1.1.** A [kernel]({SITE}book/notation.html#term-Kernel)."


@pytest.mark.parametrize("arguments, complaint", [
    ({"site": "owner.example.org"}, "expected a site such as"), ({"site": SITE[:-1]}, "with the last slash"),
    ({"repository": "owner/name"}, "expected a repository such as"),
])
def test_an_address_that_is_none_is_refused(arguments, complaint, chapter):
    with pytest.raises(ValueError, match=complaint):
        Pages(chapter.pages.html, **arguments)


def test_a_folder_without_the_book_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected the folder of the built book, with objects\.inv in it"):
        Pages(tmp_path)


def test_trying_takes_the_served_wheel_and_nothing_else(published):
    notebook = nbformat.from_dict(json.loads(json.dumps(published[NAMES[0]])))
    wanted = colab_session.asked_for(moved(notebook, SITE, "http://127.0.0.1:1/"))
    assert wanted["convtwist"] == [f"http://127.0.0.1:1/{wheel_name()}"]
    with pytest.raises(ValueError, match="does not install https://elsewhere"):
        moved(published[NAMES[0]], "https://elsewhere.example.org/", "http://127.0.0.1:1/")


def test_workflow_tries_the_notebooks_before_it_publishes():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["publish"]["steps"]
    order = [next(number for number, step in enumerate(steps) if text in str(step.get("run", step.get("uses"))))
             for text in ("tools/reader_notebooks.py", "tools/try_reader_notebooks.py", "actions/upload-pages-artifact",
                          "actions/deploy-pages")]
    assert order == sorted(order)
    colab = workflow["jobs"]["colab"]
    assert colab["needs"] == "publish" and colab["permissions"] == {"contents": "write"}
    assert f"refs/heads/{READER_BRANCH}" in colab["steps"][-1]["run"]
