"""What the publishing workflow adds to the book: search, paper, downloads, addresses, comments."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from bs4 import BeautifulSoup
from notebooks_zip import write_zip
from PIL import Image, ImageOps
from pypdf import PdfReader
from repository_links import DOWNLOADS, READER_BRANCH, with_repository
from sitemap import sitemap

import convtwist

ROOT = Path(__file__).parents[2]
SITE = "https://owner.example.org/name/"
CHAPTER = "book/05_upsampling_and_transposed_convolution"
FIRST = {  # what is looked for, and the page that should come first
    "transposed convolution": "05_upsampling", "Transposed convolutions": "05_upsampling",
    "upsampling": "05_upsampling", "checkerboard": "05_upsampling",
    "convolution": "01_cross", "padding": "03_padding", "stride": "03_padding",
    "receptive field": "03_padding", "relu": "04_rect", "max pooling": "04_rect", "sobel": "06_reading",
    "rotation": "08_flows", "convtwist": "09_convtwist", "small world": "10_groups", "convert": "13_use_it",
    "ConvTwist2d": "api_layers.html", "glossary": "notation",
}
TERMS = {  # the field's terms, and the section that explains each
    "max pooling": "04_rectification_and_pooling.html#max-pooling-and-average-pooling",
    "checkerboard artifacts": "05_upsampling_and_transposed_convolution.html#checkerboard-artifacts",
    "1x1 convolution": "02_channels_and_parameters.html#convolution-mixing-channels",
    "vertical edge": "01_cross_correlation.html#edge-detection-what-a-kernel-responds-to",
    "global average pooling": "04_rectification_and_pooling.html#global-average-pooling",
    "im2col": "01_cross_correlation.html#im2col-cross-correlation-as-a-matrix-product",
    "receptive field": "03_padding_stride_dilation.html#receptive-field",
    "depthwise": "02_channels_and_parameters.html#depthwise-separable-convolution",
    "equivariance": "01_cross_correlation.html#translation-equivariance",
    "feature map": "02_channels_and_parameters.html#several-filters-feature-maps",
    "same padding": "03_padding_stride_dilation.html#padding",
    "deconvolution": "05_upsampling_and_transposed_convolution.html#deconvolution-undoing-a-convolution",
    "unpooling": "05_upsampling_and_transposed_convolution.html#max-unpooling",
}
PAPER = """() => {
  const article = document.querySelector("article.bd-article");
  const gone = [".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".prev-next-footer", ".copybtn",
    ".convtwist-lab button"];
  const shadows = [...document.querySelectorAll(".convtwist-lab")].flatMap(lab => lab.shadowRoot ?? []);
  return {
    shown: gone.filter(name => [...document.querySelectorAll(name)].some(element => element.checkVisibility()))
      .concat(shadows.flatMap(lab => [...lab.querySelectorAll("button")].filter(each => each.checkVisibility()))),
    folded: [...article.querySelectorAll("div.cell:not(.tag_hide-input) > details.hide .cell_input")]
      .filter(code => !code.getClientRects().length).length,
    wide: [...article.querySelectorAll("pre, img, table, mjx-container, canvas")]
      .filter(element => element.getBoundingClientRect().right > innerWidth + 1 || (element.tagName === "PRE"
        && element.scrollWidth > element.clientWidth + 1)).map(element => element.outerHTML.slice(0, 120)),
    split: [...article.querySelectorAll(".cell_output img:not([data-ready] > img)")]
      .filter(image => getComputedStyle(image).breakInside !== "avoid").length,
    ink: getComputedStyle(article.querySelector("p")).color, paper: getComputedStyle(document.body).backgroundColor,
  };
}"""


def run_tool(name: str, *arguments):
    """Run a tool as the workflow does: Playwright can't be started a second time within one process."""
    command = [sys.executable, ROOT / "tools" / name, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr[-2000:]


def test_search_puts_the_natural_chapter_first(open_page, book_html):
    """In the browser, on the built book: the question that every reader asks, and its neighbours."""
    wrong = {}
    address = (book_html / "search.html").as_uri()  # from a file: no summaries, whose requests would be cut off
    page = open_page(address)
    for query, wanted in FIRST.items():
        page.goto(address + "?q=" + query.replace(" ", "+"))
        page.locator("#search-results li a[data-marked]").first.wait_for(timeout=10_000)
        first = page.locator("#search-results li a").first.get_attribute("href")
        if wanted not in first:
            wrong[query] = first
    assert not wrong


@pytest.mark.parametrize(("query", "page_name", "section"), [
    ("padding", "03_padding_stride_dilation", "padding"), ("dilation", "03_padding_stride_dilation", "dilation"),
    ("Dirichlet", "03_padding_stride_dilation", "padding-modes"),
])
def test_a_result_opens_at_its_section(open_page, book_html, query, page_name, section):
    """A result leads to where the words are, not to the top of a long page, and marks them, in the text only."""
    page = open_page((book_html / "search.html").as_uri() + f"?q={query}")
    page.locator(f"#search-results li a[data-marked][href*='{page_name}']").first.click()
    page.wait_for_url(re.compile(rf"{page_name}\.html#{section}$"))
    page.locator(f"#{section} .highlighted").first.wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") > 500
    marks = page.locator(f"#{section} .highlighted")
    assert any(mark.bounding_box() and 0 <= mark.bounding_box()["y"] <= 900 for mark in marks.all())
    plain = "marks => marks.filter(mark => getComputedStyle(mark).backgroundColor !== 'rgba(0, 0, 0, 0)').length"
    assert page.locator(".bd-sidebar-primary .highlighted").evaluate_all(plain) == 0


def test_the_first_result_explains_the_term(open_page, book_html):
    """Whoever looks for a term of the field is led to the section that explains it; the test above clicks on such."""
    landed = {}
    page = open_page((book_html / "search.html").as_uri())
    for term in TERMS:
        page.goto((book_html / "search.html").as_uri() + "?q=" + term.replace(" ", "+"))
        page.locator("#search-results li a[data-marked]").first.wait_for(timeout=10_000)
        first = page.locator("#search-results li a").first
        leads_to = first.get_attribute("href")
        if "#" not in leads_to:  # the page itself looks for the section
            first.click()
            page.wait_for_url(re.compile(r"html#[\w-]+$"), wait_until="commit")
            leads_to = page.url
        landed[term] = re.sub(r"\?[^#]*", "", leads_to).rpartition("/")[2]
    assert landed == TERMS


def test_summaries_hold_no_tex(open_page, book_url):
    """Sphinx takes a summary from the page as it was typed, formulas included."""
    page = open_page(f"{book_url}search.html?q=Laplacian")
    page.locator("#search-results li p.context").nth(3).wait_for()
    page.wait_for_timeout(1000)  # for the others
    told = page.locator("#search-results li p.context").all_inner_texts()
    assert len(told) > 3 and not [text for text in told if "\\" in text]
    assert any(sign in text for text in told for sign in "∂Δω×"), "formulas are still there, as signs"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_printed_chapter_is_readable(open_page, theme, tmp_path):
    """On A4: the text alone, dark on white, solutions unfolded, nothing wider than the sheet, no figure in two."""
    page = open_page(f"{CHAPTER}.html", width=665, theme=theme)  # A4 less its margins
    page.emulate_media(media="print")
    found = page.evaluate(PAPER)
    ink, paper = (sum(map(int, re.findall(r"\d+", found.pop(name))[:3])) for name in ("ink", "paper"))
    assert found == {"shown": [], "folded": 0, "wide": [], "split": 0}
    assert ink < 150 and paper == 765
    if theme == "light":
        page.pdf(path=tmp_path / "chapter.pdf", prefer_css_page_size=True)
        sheets = [sheet.extract_text() for sheet in PdfReader(tmp_path / "chapter.pdf").pages]
        assert 10 < len(sheets) < 36
        text = "".join(sheets)
        assert "Solution" in text and "Show the solution" not in text and "Skip to main content" not in text
        assert sheets[1].split()[-1] == "2" or sheets[1].split()[0] == "2", "sheets are numbered"


@pytest.fixture(scope="module")
def short_toc(tmp_path_factory) -> Path:
    """Return a table of contents with two pages: printing all takes a minute and shows no more."""
    path = tmp_path_factory.mktemp("toc") / "_toc.yml"
    entry = {"file": CHAPTER, "title": "5. Upsampling and transposed convolution"}
    toc = {"format": "jb-book", "root": "book/intro", "parts": [{"caption": "A part", "chapters": [entry]}]}
    path.write_text(yaml.safe_dump(toc), encoding="utf-8")
    return path


def test_book_as_pdf(book_html, browser, short_toc, tmp_path):
    """Contents with true page numbers, bookmarks with the headings' words, links that work, labs as pictures."""
    target = tmp_path / "book.pdf"
    run_tool("book_pdf.py", book_html, target, short_toc)
    reader = PdfReader(target)
    assert len(reader.pages) > 10
    chapter = reader.get_destination_page_number(reader.named_destinations[f"/{Path(CHAPTER).name}"]) + 1
    contents = reader.pages[1].extract_text()
    assert re.search(rf"5\. Upsampling and transposed convolution\s*{chapter}\b", contents)
    assert reader.pages[chapter - 1].extract_text().startswith(f"{chapter}\n5. Upsampling")
    titles = [entry.title for entry in reader.outline if not isinstance(entry, list)]
    assert titles[-1] == "5. Upsampling and transposed convolution"
    text = " ".join("".join(page.extract_text() for page in reader.pages).split())
    assert text.count("It runs in the pages of the book, not on paper.") == 2
    assert "or drop one here, or paste it" not in text and "JavaScript" not in text and r"\frac" not in text
    links = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    inside = [link for link in links if "/Dest" in link]
    assert len(inside) >= 2 and not [link for link in links if "book.invalid" in str(link.get("/A", ""))]
    assert sum(len(page.images) for page in reader.pages) > 8


def test_cards_and_sitemap(book_html, browser, short_toc, tmp_path):
    """A picture of the size that networks ask for, one for each page; every page's address in the sitemap."""
    shutil.copytree(book_html, tmp_path / "html", ignore=shutil.ignore_patterns("_sources", "mathjax"))
    run_tool("social_cards.py", tmp_path / "html", short_toc)
    cards = sorted((tmp_path / "html" / "cards").iterdir())
    assert [Image.open(card).size for card in cards] == [(1200, 630)] * 2
    assert len({card.read_bytes() for card in cards}) == 2
    for card in cards:
        ink = ImageOps.invert(Image.open(card).convert("L")).point(lambda value: 255 * (value > 24))
        left, top, right, bottom = ink.getbbox()
        assert right - left > 0.7 * 1200 and bottom - top > 0.7 * 630, "no half of the card is empty"
    listed = ElementTree.fromstring(sitemap(book_html, SITE).encode())
    places = [place.text for place in listed.iter() if place.tag.endswith("loc")]
    pages = {f"{SITE}book/{path.name}" for path in (book_html / "book").glob("*.html")}
    assert f"{SITE}{CHAPTER}.html" in pages and set(places) == pages and len(places) == len(pages)


def test_notebooks_as_zip(book_html, tmp_path):
    """The readers' notebooks, which link to each other, and a wheel that they and their requirements name."""
    write_zip(book_html, tmp_path / "notebooks.zip", SITE)
    with zipfile.ZipFile(tmp_path / "notebooks.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "convtwist-notebooks"
    notebooks = {path.name: path.read_text(encoding="utf-8") for path in (folder / "book").glob("*.ipynb")}
    assert set(notebooks) == {path.name for path in (ROOT / "book").glob("*.ipynb")}
    wheel = next(folder.glob("*.whl"))
    assert all(f"../{wheel.name}" in text for text in notebooks.values())
    requirements = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert f"./{wheel.name}" in requirements and "-e ." not in requirements
    assert any(line.startswith("jupyterlab") for line in requirements)
    assert not [line for line in requirements if line.startswith(("sphinx", "pytest"))]
    assert any("photographs/chelsea" in name for name in zipfile.ZipFile(wheel).namelist())
    text = "".join(notebooks.values())
    inside = set(re.findall(r"\]\(([\w./-]+\.(?:ipynb|md|png|html))\b", text))
    assert len(inside) >= 8 and inside <= set(notebooks)
    assert f"]({SITE}book/notation.html#term-" in text


@pytest.mark.parametrize("service", ["utterances", "hypothesis"])
def test_published_pages(service, tmp_path):
    """A page built for a site has its address, card, downloads, buttons, and the comments that were switched on."""
    for folder in ("_assets", "_extensions", "_templates"):
        shutil.copytree(ROOT / "book" / folder, tmp_path / "book" / folder)
    for file in ("intro.md", "references.bib", "13_use_it.ipynb"):
        shutil.copy(ROOT / "book" / file, tmp_path / "book" / file)
    toc = "format: jb-book\nroot: book/intro\nchapters:\n- file: book/13_use_it\n"
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    stored = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    stored["html"]["comments"][service] = {"utterances": {"repo": "owner/name"}, "hypothesis": True}[service]
    config = with_repository(stored, "https://github.com/owner/name", "main", SITE)
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    text = (tmp_path / "_build" / "html" / "book" / "intro.html").read_text(encoding="utf-8")
    page = BeautifulSoup(text, "html.parser")
    meta = {tag.get("property") or tag.get("name"): tag["content"] for tag in page.find_all("meta", content=True)}
    assert meta["og:url"] == page.find("link", rel="canonical")["href"] == f"{SITE}book/intro.html"
    assert meta["og:image"] == f"{SITE}cards/intro.jpg" and meta["twitter:card"] == "summary_large_image"
    assert [link["href"] for link in page.select("nav.downloads a")] == [f"../{file}" for file in DOWNLOADS]
    ways = {link.get_text(): link["href"] for link in page.select("nav.ways a")}
    assert ways == {
        "Run it on Colab": "https://colab.research.google.com/github/owner/name/blob/reader-notebooks/book/01_cross_correlation.ipynb",
        **{label: f"../{file}" for file, label in DOWNLOADS.items()}, "The repository": "https://github.com/owner/name",
    }
    assert f"{SITE}book/intro.html" in page.select_one("details.cite").get_text()
    missing = BeautifulSoup((tmp_path / "_build" / "html" / "404.html").read_text(encoding="utf-8"), "html.parser")
    assert missing.base["href"] == SITE, "whatever folder was asked for"
    assert "github.com/owner/name/edit/main/book/intro.md" in text and "owner/name/issues/new" in text
    chapter = (tmp_path / "_build" / "html" / "book" / "13_use_it.html").read_text(encoding="utf-8")
    opened = "https://colab.research.google.com/github/owner/name/blob/"
    assert f'"{opened}{READER_BRANCH}/book/13_use_it.ipynb"' in chapter and f"{opened}main" not in chapter
    assert "github.com/owner/name/edit/main/book/13_use_it.ipynb" in chapter
    scripts = {"utterances": "utteranc.es/client.js", "hypothesis": "hypothes.is/embed.js"}
    assert [name for name, script in scripts.items() if script in text] == [service]


def test_unpublished_pages_have_nothing_of_the_kind(book_html):
    """Built at home: a title and a description, and no address, picture, download, button or comment that is dead."""
    seen = set()
    for path in sorted((book_html / "book").glob("*.html")):
        text = path.read_text(encoding="utf-8")
        page = BeautifulSoup(text, "html.parser")
        description = page.find("meta", attrs={"name": "description"})["content"]
        assert 40 < len(description) < 200 and "\\" not in description, path.name
        assert page.find("meta", property="og:title")["content"]
        assert page.find("meta", property="og:site_name")["content"] == "ConvTwist"
        assert page.select_one("p.edition").get_text().startswith(f"Version {convtwist.__version__}, ")
        assert page.h1 and "version" in page.select_one("details.cite").get_text()
        assert not page.select("meta[property='og:url'], meta[property='og:image'], link[rel=canonical], nav.downloads")
        assert not re.search(r"hypothes\.is/|utteranc\.es|/issues/new|/edit/main", text), path.name
        seen.add(description)
        assert len(page.select("nav.ways a")) == (1 if path.name == "intro.html" else 0)
    assert len(seen) > 10, "each page has words of its own"


def test_workflow_may_publish_and_names_what_is_there():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8"))
    rights = workflow["jobs"]["publish"]["permissions"]
    assert rights == {"contents": "read", "pages": "write", "id-token": "write"}
    steps = workflow["jobs"]["publish"]["steps"]
    commands = "\n".join(step.get("run", "") for step in steps)
    tools = re.findall(r"python (tools/\w+\.py)", commands)
    assert {"tools/book_pdf.py", "tools/notebooks_zip.py", "tools/social_cards.py", "tools/sitemap.py",
            "tools/reader_notebooks.py", "tools/try_reader_notebooks.py"} <= set(tools)
    assert all((ROOT / tool).is_file() for tool in tools)
    assert all(file in commands for file in DOWNLOADS), "what the pages offer is made"
