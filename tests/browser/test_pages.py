"""Every page of the built book, opened as readers do: laptop and phone, light and dark, served and as a file."""

import contextlib
import gzip
import re
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from closing import close
from fontTools.ttLib import TTFont
from playwright.sync_api import TimeoutError as TooLate
from scorecard import record

ROOT = Path(__file__).parents[2]
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
# Axe's time grows with what stands on the page. It has nothing to say of a formula's glyphs, which are drawn by style
# sheet, nor of the parts of the formula that is read aloud, whose text stays, nor of the strokes of an icon.
PLAIN = """() => {
  for (const glyphs of document.querySelectorAll("mjx-math")) glyphs.replaceChildren();
  for (const spoken of document.querySelectorAll("mjx-assistive-mml > math")) spoken.textContent = spoken.textContent;
  for (const icon of document.querySelectorAll(".copybtn svg")) icon.replaceChildren(...icon.querySelectorAll("title"));
}"""
# A chapter has some six thousand spans of code. The style sheet colours by class, in the light and in the dark. So
# spans of code, paragraphs, entries and signatures whose classes, and those around them, have been seen before on the
# page are taken out for the contrast.
LIGHTEN = """() => {
  const seen = new Set(), isNew = look => !seen.has(look) && seen.add(look);
  const name = element => `${element.tagName}.${element.className}.${element.getAttribute("style")}`;
  const around = element => {
    const names = new Set();
    for (; element; element = element.parentElement) names.add(name(element));
    return [...names].join();
  };
  globalThis.takenOut = new Map();
  const takeOut = element => {
    const place = document.createComment("");
    element.replaceWith(place);
    takenOut.set(place, element);
  };
  for (const code of document.querySelectorAll(".highlight pre")) {
    const where = code.closest("[class*=cell_]")?.className;
    let fresh = isNew(where);
    for (const span of code.querySelectorAll("span"))
      if (isNew([where, name(span.parentElement), name(span)].join())) fresh = true;
      else span.replaceWith(...span.childNodes);
    code.normalize();
    if (!fresh) takeOut(code);
  }
  for (const block of document.querySelectorAll("dt.sig, p, li, figcaption")) {
    if (block.closest("table") || block.querySelector("p, li, .highlight, svg, input")) continue;
    const above = around(block.parentElement);
    const looks = [block, ...block.querySelectorAll("*")].map(part => above + name(part.parentElement) + name(part));
    if (!looks.map(isNew).includes(true)) takeOut(block);
  }
}"""
CONTRAST = """async () => (await axe.run(document, {
  resultTypes: ["violations"], runOnly: ["color-contrast"],
})).violations"""
# What was taken out is put back. A span of code that has a class and no more concerns contrast alone.
BARE_CODE = """() => {
  for (const [place, element] of globalThis.takenOut ?? []) place.replaceWith(element);
  for (const span of document.querySelectorAll(":is(.highlight, .sig, code) span"))
    if (span.getAttributeNames().every(name => name === "class")) span.replaceWith(...span.childNodes);
  for (const block of document.querySelectorAll(".highlight, .sig, code")) block.normalize();
}"""
IN_TAB_ORDER = """() => [...document.querySelectorAll("pre, .cell_output > .output, .pst-scrollable-table-container")]
  .every(box => box.tabIndex === 0 || (box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight))"""
OTHER_RULES = """async () => (await axe.run(document, {
  resultTypes: ["violations"],
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
  rules: {"label-content-name-mismatch": {enabled: true}, "color-contrast": {enabled: false}},
})).violations"""
UNFOLD = """() => {
  for (const details of document.querySelectorAll("article details")) details.open = true;
  for (const box of document.querySelectorAll(".toggle-hidden")) box.classList.remove("toggle-hidden");
}"""
ICONS = """() => [...document.querySelectorAll(":not(mjx-container *)")].flatMap(element =>
  ["::before", "::after"].map(part => getComputedStyle(element, part))
    .filter(style => /[\\ue000-\\uf8ff]/.test(style.content) && style.fontFamily.includes("Font Awesome"))
    .map(style => [style.fontFamily, style.fontWeight, style.content]))"""
CODE = """() => {
  const cells = [...document.querySelectorAll("article .cell_input pre")];
  const columns = cells.map(cell => {
    const style = getComputedStyle(cell), digit = document.createElement("span");
    digit.textContent = "0".repeat(100);
    cell.append(digit);
    const width = digit.getBoundingClientRect().width / 100;
    digit.remove();
    return (cell.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)) / width;
  });
  const cut = cells.filter(cell => cell.scrollWidth > cell.clientWidth).length;
  return { cells: cells.length, cut, columns: Math.min(...columns) };
}"""
HEAVIEST = 1_500_000  # bytes, gzipped, all requests of one page together


def chapters() -> list[str]:
    """Return the address of each page that _toc.yml lists."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    entries = [entry for part in toc["parts"] for chapter in part["chapters"]
               for entry in (chapter, *chapter.get("sections", []))]
    files = [toc["root"], *(entry["file"] for entry in entries)]
    return [f"{file.removesuffix('.ipynb').removesuffix('.md')}.html" for file in files]


PAGES = [*chapters(), "search.html", "404.html", "_modules/convtwist/functional.html"]
# A phone shows what a laptop shows, and once is enough to see whether it fits. On the laptop the theme is switched.
# From the disk, what could fail are scripts, and those that only one page has are in chapters and the search.
VISITS = [(scheme, width, theme, page) for page in PAGES
          for scheme, width, theme in (("http", 1280, "light"), ("http", 390, "dark"), ("file", 1280, "light"))
          if scheme == "http" or re.match(r"book/(\d|intro)|search", page)]


def look(page, width):
    """Return what a page shows now."""
    return SimpleNamespace(
        theme=page.evaluate("document.documentElement.dataset.theme"),
        overflow=page.evaluate("document.documentElement.scrollWidth") - width,
        unset=page.evaluate("""() => [...document.querySelectorAll("article .math")]
            .filter(node => !node.querySelector("mjx-container") || node.querySelector("mjx-merror"))
            .map(node => node.textContent)"""),
        pictures=page.evaluate("""() => [...document.images].map(image => ({
            source: image.src.slice(0, 80), width: image.naturalWidth, alt: image.getAttribute("alt")}))"""),
        icons=page.evaluate(ICONS),
    )


def shows_code(scheme, width, address):
    """Say whether a visit is one to a chapter on a laptop, served."""
    return (scheme, width) == ("http", 1280) and re.match(r"book/\d\d_", address)


def code_at(page, width):
    """Return how many cells of code are cut, and how many characters a line holds, on a page of this width."""
    before = page.viewport_size
    page.set_viewport_size({**before, "width": width})
    found = page.evaluate(CODE)
    page.set_viewport_size(before)
    return found


def switch_theme(page, wanted):
    """Press the page's own switch until it shows the theme; it takes turns between light, dark and the system's."""
    for _ in range(3):
        page.locator(".theme-switch-button:visible").first.press("Enter")
        if page.evaluate("document.documentElement.dataset.theme") == wanted:
            break
    page.wait_for_timeout(100)  # the labs draw again


def reach_all_that_scrolls(page):
    """Wait until the theme has put what scrolls into the tab order: 300 ms, and more on a busy machine.

    Axe says so if it never does.
    """
    with contextlib.suppress(TooLate):
        page.wait_for_function(IN_TAB_ORDER, timeout=5_000)


ZIPPED = {}  # bytes by address: most of what a page asks for, others ask for too


def zipped(answer):
    """Return how many bytes an answer has, gzipped."""
    if answer.url not in ZIPPED:
        ZIPPED[answer.url] = len(gzip.compress(answer.body()))
    return ZIPPED[answer.url]


@pytest.fixture(scope="module", params=VISITS, ids=lambda visit: "-".join(map(str, visit)))
def visit(request, watch, book_html, book_url):
    """Open one page one way and note all that the tests below ask about."""
    scheme, width, theme, address = request.param
    root = book_url if scheme == "http" else book_html.as_uri() + "/"
    watched = watch(root + address, width=width, theme=theme)
    page = watched.page
    page.evaluate(UNFOLD)
    page.wait_for_timeout(400)  # the theme waits 300 ms before it puts what now scrolls into the tab order
    looks, violations = [look(page, width)], []
    code = code_at(page, 1265) if shows_code(scheme, width, address) else None
    if scheme == "http":  # axe reads style sheets with requests that a browser refuses a page opened as a file
        if width > 600:  # a phone shows no colour that a laptop doesn't
            switch_theme(page, "dark")
            looks.append(look(page, width))
        page.evaluate(AXE)
        page.evaluate(PLAIN)
        if width > 600:
            page.evaluate(LIGHTEN)
            violations += page.evaluate(CONTRAST)
            switch_theme(page, theme)
            violations += page.evaluate(CONTRAST)
        page.evaluate(BARE_CODE)
        reach_all_that_scrolls(page)  # what is there again can be scrolled again
        violations += page.evaluate(OTHER_RULES)  # which don't ask about colours
    yield SimpleNamespace(
        address=address,
        faults=watched.faults,
        weight=sum(map(zipped, watched.responses)) if scheme == "http" else 0,
        violations=violations,
        code=code,
        themes=([theme, "dark"][: len(looks)], [each.theme for each in looks]),
        overflow=max(each.overflow for each in looks),
        unset=[formula for each in looks for formula in each.unset],
        pictures=[picture for each in looks for picture in each.pictures],
        icons=[icon for each in looks for icon in each.icons],
    )
    close(page.context)


def test_nothing_went_wrong(visit):
    """No error or warning in the console, no failed request, none beyond the book."""
    assert not visit.faults
    wanted, shown = visit.themes
    assert shown == wanted


def test_accessibility(visit):
    """Axe finds no violation of WCAG 2.2 A or AA, with every folded part unfolded."""
    found = [(violation["id"], node["html"][:200], node["failureSummary"])
             for violation in visit.violations for node in violation["nodes"]]
    assert not found


def test_what_is_left_for_axe_shows_every_faint_colour(watch, book_url):
    """Parts that look like others are left out of the contrast; each kind of part is still there once."""
    page = watch(book_url + "book/13_use_it.html").page
    page.evaluate(UNFOLD)
    page.wait_for_timeout(400)
    page.evaluate(AXE)
    page.evaluate(PLAIN)
    page.evaluate(LIGHTEN)
    for part in ("article p", "article h2", "article td", "code .pre", "a.reference", ".highlight .k"):
        faint = page.add_style_tag(content=f"{part} {{ color: #ccc !important }}")
        assert page.evaluate(CONTRAST), part
        faint.evaluate("style => style.remove()")
    assert not page.evaluate(CONTRAST)
    close(page.context)


def test_page_does_not_scroll_sideways(visit):
    assert visit.overflow <= 0


def test_formulas_are_typeset(visit):
    assert not visit.unset


def test_pictures_are_there(visit):
    """Each picture has loaded and has an alt attribute; in the text, a text in it."""
    assert not [picture for picture in visit.pictures if picture["width"] == 0 or picture["alt"] is None]


def test_icons_are_in_the_subset_fonts(visit):
    """Each icon drawn is in the fonts that tools/subset_icons.py wrote."""
    fonts = ROOT / "book" / "_assets" / "vendor" / "fontawesome" / "webfonts"
    files = {("Free", 900): "fa-solid-900", ("Free", 400): "fa-regular-400", ("Brands", 400): "fa-brands-400"}
    for family, weight, content in visit.icons:
        name = files["Brands" if "Brands" in family else "Free", int(weight)]
        known = TTFont(fonts / f"{name}.woff2").getBestCmap()
        assert all(ord(char) in known for char in content.strip("'\"")), (name, ascii(content))


def test_weight(visit):
    record("heaviest page, KB gzipped", visit.weight / 1000)
    assert visit.weight <= HEAVIEST


@pytest.fixture(scope="module")
def parsed(book_html) -> dict[Path, BeautifulSoup]:
    """Return each built page, parsed once for all tests."""
    pages = (path for path in sorted(book_html.rglob("*.html")) if "_static" not in path.parts)
    return {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in pages}


def test_every_built_page_is_visited(book_html, parsed):
    """Nothing is built that the tests above don't open, but for the redirect at the root and more pages of sources."""
    built = {path.relative_to(book_html).as_posix() for path in parsed}
    sources = {page for page in built if page.startswith("_modules/")} - set(PAGES)
    assert built - {"index.html", "prf-prf.html"} - sources == set(PAGES)


def test_links_and_anchors(book_html, parsed):
    """Each link inside the book leads to a file that is there, and to an anchor that it has."""
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in parsed.items()}
    broken, count = [], 0
    for path, soup in parsed.items():
        links = [tag.get(key) for tag in soup.find_all(True) for key in ("href", "src") if tag.get(key)]
        for link in links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{path.name}: {link}: no such file")
            elif parts.fragment and target in anchors and unquote(parts.fragment) not in anchors[target]:
                broken.append(f"{path.name}: {link}: no such anchor")
    record("links inside the book followed", count)
    assert not broken


def test_pages_load_nothing_from_elsewhere(parsed):
    """No element that a browser fetches by itself names another machine, whether or not it was visited."""
    found = [str(tag)[:120] for soup in parsed.values()
             for tag in soup.find_all(["script", "link", "img", "iframe", "source", "video", "audio"])
             if re.match(r"(https?:)?//", tag.get("src") or tag.get("href") or "") and tag.get("rel") != ["canonical"]]
    assert not found


def test_no_link_to_an_unknown_repository(parsed):
    """Buttons that lead to the repository are absent, not dead, until the publishing workflow adds them."""
    for soup in parsed.values():
        assert not soup.select(".dropdown-source-buttons, .dropdown-launch-buttons, a[href*='executablebooks/jupyter']")


def test_chapters_carry_their_numbers(book_html, parsed):
    """The title, the tab and the neighbours' links say the chapter's number; figures and equations count within it."""
    figures = equations = 0
    for path, soup in parsed.items():
        number = re.match(r"(\d\d)_", path.name)
        if path.parent != book_html / "book" or not number:
            continue
        number = int(number[1])
        article = soup.select_one("article.bd-article")
        assert article.h1.get_text().startswith(f"{number}. ") and soup.title.string.startswith(f"{number}. ")
        for side, neighbour in (("left-prev", number - 1), ("right-next", number + 1)):
            link = soup.select_one(f"a.{side}")
            if re.search(rf"/?{neighbour:02d}_", link["href"]):
                assert link.select_one(".prev-next-title").get_text().startswith(f"{neighbour}. ")
        said = [caption.get_text().strip() for caption in article.select("figcaption .caption-number")]
        assert said == [f"Figure {number}.{place}" for place in range(1, len(said) + 1)]
        counted = [mark.find(string=True) for mark in article.select("span.eqno")]
        assert counted == [f"({number}.{place})" for place in range(1, len(counted) + 1)]
        figures, equations = figures + len(said), equations + len(counted)
    record("figures with a number and a caption", figures)
    record("equations with a number", equations)
    assert figures and equations


def test_pictures_have_a_size(parsed):
    """Each picture says how wide and high it is, so that the text stays where it is while the picture loads."""
    pictures = [image for soup in parsed.values() for image in soup.select("article img[src*='_images/']")]
    assert len(pictures) > 50 and all(int(image["width"]) and int(image["height"]) for image in pictures)


def test_code_fits_the_page(visit):
    """At 1280 pixels, less a scroll bar, no line of code is cut, folded or not; 84 characters fit."""
    if visit.code is None:
        pytest.skip("asked of chapters, on a laptop")
    assert visit.code["cells"] > 0
    assert visit.code["columns"] >= 84
    assert visit.code["cut"] == 0
    record("chapters whose code fits at 1280 pixels", 1)


def test_the_code_of_every_chapter_is_measured():
    measured = {Path(page).stem for scheme, width, _, page in VISITS if shows_code(scheme, width, page)}
    assert measured == {path.stem for path in (ROOT / "book").glob("[0-9][0-9]_*.ipynb")}


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_search(scheme, open_page, book_url, book_html):
    """Search works without a server, too, and finds a chapter by what its title says."""
    root = book_url if scheme == "http" else book_html.as_uri() + "/"
    page = open_page(root + "search.html?q=padding")
    page.wait_for_selector("#search-results li a")
    links = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.href)")
    assert any("03_padding_stride_dilation" in link for link in links[:5])


def test_theme_switch_by_keyboard(open_page):
    """The switch is reached and pressed without a mouse, and the page changes."""
    page = open_page(PAGES[0], theme="light")
    themes = []
    for _ in range(3):  # light, dark, and as the system says
        page.locator(".theme-switch-button:visible").first.press("Enter")
        themes.append(page.evaluate("document.documentElement.dataset.theme"))
    assert set(themes) == {"light", "dark"}


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_system_chooses_light_or_dark(browser, book_url, system):
    """Without a choice of the reader's, a page is as the system says; the first press of the switch changes it."""
    page = browser.new_context(color_scheme=system).new_page()
    page.goto(book_url + PAGES[0])
    shown = "document.documentElement.dataset.theme"
    assert page.evaluate(shown) == system
    page.locator(".theme-switch-button:visible").first.click()
    assert page.evaluate(shown) == {"light": "dark", "dark": "light"}[system]
    close(page.context)


def test_the_glass_stands_beside_what_is_typed(open_page):
    page = open_page(PAGES[0])
    page.keyboard.press("Control+k")
    glass = page.locator("#pst-search-dialog .fa-magnifying-glass").bounding_box()
    assert glass["x"] + glass["width"] <= page.locator("#pst-search-dialog input").bounding_box()["x"] + 1


def test_folded_solution_opens_by_keyboard(open_page):
    """A solution is hidden until asked for, and a key is enough to ask."""
    page = open_page("book/01_cross_correlation.html")
    details = page.locator("details.hide").first
    assert details.get_attribute("open") is None
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.get_attribute("open") is not None
