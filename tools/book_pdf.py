"""Print the built book as one PDF, through Chromium: contents, bookmarks, page numbers, links that work.

    python tools/book_pdf.py _build/html convtwist-book.pdf            all chapters
    python tools/book_pdf.py _build/html some.pdf another_toc.yml      those of another table of contents

Why not LaTeX? It would set the formulas better, but it needs a TeX installation of a gigabyte where Chromium is
there already for the tests, and it knows nothing of the pages' HTML outputs, so tables, labs and folded
solutions would have to be written a second time.
"""

import sys
from pathlib import Path

from chromium import ORIGIN, chromium, page_from
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, TextStringObject
from whole_book import TOC, parts, whole_book

READY = "async () => { await window.MathJax.startup.promise; await document.fonts.ready; }"
HEADINGS = "() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(heading => heading.innerText.trim())"


def _bookmarks(entry):
    """Yield the entries of a PDF's outline in reading order."""
    while entry is not None:
        entry = entry.get_object()
        yield entry
        yield from _bookmarks(entry.get("/First"))
        entry = entry.get("/Next")


def _name_bookmarks(pdf: Path, headings: list[str]) -> None:
    """Give each bookmark its heading's words: Chromium says them twice where a heading begins a page."""
    writer = PdfWriter(clone_from=pdf)
    bookmarks = list(_bookmarks(writer.root_object["/Outlines"].get("/First")))
    if len(bookmarks) != len(headings):
        raise ValueError(f"{pdf}: {len(bookmarks)} bookmarks for {len(headings)} headings")
    for bookmark, heading in zip(bookmarks, headings, strict=True):
        bookmark[NameObject("/Title")] = TextStringObject(heading)
    writer.root_object[NameObject("/PageMode")] = NameObject("/UseOutlines")
    writer.write(pdf)


def write_pdf(html: Path, target: Path, toc: Path = TOC) -> int:
    """Write the PDF and return its number of pages.

    Chromium can't number the entries of a table of contents, so the book is printed twice: the first time to see
    on which page each chapter begins.

    Args:
        html: the folder that Jupyter Book wrote.
        target: the PDF.
        toc: which chapters, in the manner of _toc.yml.
    """
    found: dict[str, int] = {}
    names = [name for _, chapters in parts(toc) for name, _ in chapters]
    with chromium() as browser:
        page = page_from(browser, html, {"book/whole-book.html": lambda: whole_book(html, toc, found)})
        page.set_default_timeout(300_000)
        for _ in range(2):
            page.goto(ORIGIN + "book/whole-book.html", wait_until="load")
            page.evaluate(READY)
            page.pdf(path=target, prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
            reader = PdfReader(target)
            places = reader.named_destinations
            found = {name: reader.get_destination_page_number(places[f"/{name}"]) + 1 for name in names}
        headings = [" ".join(heading.split()) for heading in page.evaluate(HEADINGS)]
    _name_bookmarks(target, [heading for heading in headings if heading])
    return len(reader.pages)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    print(f"{sys.argv[2]}: {write_pdf(*map(Path, sys.argv[1:]))} pages")
