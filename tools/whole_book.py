"""All pages of the built book as one, in reading order, with labs as pictures: what tools/book_pdf.py prints.

Chapters keep their anchors with the chapter's name before them, so links between chapters become links inside the page.
"""

import re
from pathlib import Path

import yaml
from bs4 import BeautifulSoup, Tag

__all__ = ["TOC", "parts", "whole_book"]

TOC = Path(__file__).parents[1] / "_toc.yml"
STYLE = """
  body { padding: 0; }
  .cover { break-after: page; padding-top: 5.5cm; text-align: center; }
  .cover h1 { font-size: 34pt; margin: 1.5rem 0 0.5rem; }
  .cover p { font-size: 13pt; color: #444; }
  .cover img { width: 3cm; }
  .contents { break-after: page; }
  .contents h1 { font-size: 20pt; margin-bottom: 1rem; }
  .contents p { margin: 1rem 0 0.2rem; font-weight: 600; }
  .contents ol { list-style: none; padding: 0; margin: 0; }
  .contents li { display: flex; gap: 0.5rem; line-height: 1.75; }
  .contents a { color: inherit; text-decoration: none; }
  .contents li::before { content: ""; order: 2; flex: 1; border-bottom: 1px dotted #888; margin-bottom: 0.5em; }
  .contents .page { order: 3; }
  .chapter + .chapter { break-before: page; }
  .lab-still { border: 1px solid #bbb; border-radius: 0.4rem; padding: 0.6rem 0.9rem; break-inside: avoid; }
  .lab-still img { max-height: 8cm; }
  .lab-still p { margin: 0.4rem 0 0; }
  @page :first { @bottom-center { content: none; } }
"""


def parts(toc: Path = TOC) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Return each part's caption and its chapters, as the page's name and the title that ``toc`` gives it."""
    toc = yaml.safe_load(toc.read_text(encoding="utf-8"))
    front = ("", [(Path(toc["root"]).name, None)])
    rest = [(part.get("caption", ""), [(Path(entry["file"]).name, entry.get("title")) for entry in part["chapters"]])
            for part in toc["parts"]]
    return [front, *rest]


def _still(soup: BeautifulSoup, lab: Tag) -> Tag:
    """Return what stands on paper in place of a lab: its picture, and what it does."""
    box = soup.new_tag("div", attrs={"class": "lab-still"})
    if lab.img:
        box.append(lab.img.extract())
    words = soup.new_tag("p")
    said = lab.noscript.get_text().replace("It needs JavaScript, which is off here.", "").strip()
    words.string = f"{said} It runs in the pages of the book, not on paper."
    box.append(words)
    return box


def _chapter(html: Path, name: str, title: str | None, names: set[str]) -> tuple[Tag, str, BeautifulSoup]:
    """Return one page's text, ready to stand among the others, its title, and the page it came from."""
    soup = BeautifulSoup((html / "book" / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    text = soup.select_one("article.bd-article")
    heading = text.h1
    for link in text.select("a.headerlink"):
        link.decompose()
    for lab in text.select(".convtwist-lab"):
        holder = lab.parent
        still = _still(soup, lab)
        holder.clear()
        holder.append(still)
    for script in text.select("script, noscript, style"):
        script.decompose()
    for details in text.select("details"):
        details["open"] = ""
    for tag in text.find_all(id=True):
        tag["id"] = f"{name}--{tag['id']}"
    for link in text.find_all("a", href=True):
        page, _, anchor = link["href"].partition("#")
        other = Path(page).stem if page else name
        if re.match(r"[a-z]+:", link["href"]):
            continue
        if page and (other not in names or not page.endswith(".html")):
            del link["href"]  # a file beside the pages, which paper doesn't have
        else:
            link["href"] = f"#{other}--{anchor}" if anchor else f"#{other}"
    if title:
        heading.string = title
    text.name, text["id"], text["class"] = "article", name, ["bd-article", "chapter"]
    return text, heading.get_text(), soup


def whole_book(html: Path, toc: Path, pages: dict[str, int] | None = None) -> str:
    """Return the page, as HTML to be opened in the folder ``book/`` of the built book.

    Args:
        html: the folder that Jupyter Book wrote, with ``book/`` in it.
        toc: which chapters, in the manner of _toc.yml.
        pages: the number of the sheet on which each chapter begins; left out of the contents while it isn't known.
    """
    listed = parts(toc)
    names = {name for _, chapters in listed for name, _ in chapters}
    contents, texts, first = [], [], None
    for caption, chapters in listed:
        entries = []
        for name, title in chapters:
            text, heading, soup = _chapter(html, name, title, names)
            first = first or soup
            texts.append(str(text))
            number = (pages or {}).get(name, "")
            entries.append(f'<li><a href="#{name}">{heading}</a><span class="page">{number}</span></li>')
        contents.append((f"<p>{caption}</p>" if caption else "") + f"<ol>{''.join(entries)}</ol>")
    keep = [tag for tag in first.head.find_all(["link", "script"])
            if tag.get("rel") == ["stylesheet"] or "mathjax" in str(tag).lower()]
    author = first.select_one(".component-author")
    author = author.get_text(" ", strip=True) if author else ""
    return (
        f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>ConvTwist</title>'
        f"{''.join(map(str, keep))}<style>{STYLE}</style></head><body>"
        f'<div class="cover"><img src="../_static/logo.svg" alt=""><h1>ConvTwist</h1>'
        f"<p>{first.h1.get_text()}</p><p>{author}</p></div>"
        f'<div class="contents"><h1>Contents</h1>{"".join(contents)}</div><div class="bd-main"><div class="bd-content">'
        f'<div class="bd-article-container">{"".join(texts)}</div></div></div></body></html>'
    )
