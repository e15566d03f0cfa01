"""Reading with anything: the keyboard alone, a screen reader, large letters, no motion, high contrast, no scripts."""

import re

import pytest
from closing import close
from lab_bench import WITHIN
from scorecard import record
from test_pages import AXE

LABS = {  # the chapters whose labs differ from one another
    "stepper": "book/01_cross_correlation.html",
    "calculator": "book/05_upsampling_and_transposed_convolution.html",
    "flow": "book/08_flows.html",
    "twist": "book/09_convtwist.html",
    "board": "book/10_groups_and_small_worlds.html",
}
# What a selector finds on the page and within its labs, which lie in shadow roots.
EVERYWHERE = WITHIN + "globalThis.everywhere = each => [...document.querySelectorAll(each), ...within(each)];"
STOPS = """() => {
  const shown = element => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length;
  const passed = element => element.type === "radio" && !element.checked
    && [...element.getRootNode().querySelectorAll(`[name="${element.name}"]`)].some(other => other.checked);
  const stops = everywhere("a[href], button, input, select, textarea, summary, [tabindex]")
    .filter(element => element.tabIndex >= 0 && !element.disabled && shown(element) && !passed(element));
  stops.forEach((element, index) => { element.dataset.stop = index; });
  return stops.map(element => element.outerHTML.slice(0, 120));
}"""
HERE = """() => {
  let element = document.activeElement;
  while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  const near = [element, element.parentElement, element.nextElementSibling, element.firstElementChild];
  const ringed = near.filter(Boolean).some(each => {
    const style = getComputedStyle(each);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1) || style.boxShadow !== "none";
  });
  return { stop: element === document.body ? null : Number(element.dataset.stop ?? -1), ringed };
}"""
CUT = """() => [...document.querySelectorAll("main p, main li, main h1, main h2, main h3, main button, main label"),
  ...within("p, li, h3, h4, button, label, summary")]
  .filter(element => element.checkVisibility() && element.getBoundingClientRect().right > innerWidth + 1
    && !element.closest("pre, .output:not(:has(.convtwist-lab)), .ct-scroll, .math, .bd-sidebar-secondary"))
  .map(element => element.outerHTML.slice(0, 120))"""
NAMED = r"^\s*- (button|link|textbox|spinbutton|slider|combobox|checkbox|radio|grid|application|searchbox|img)\b(?! \")"


@pytest.fixture
def read(browser, book_url):
    """Return a function that opens a page in a way of reading, and says when it is ready."""
    contexts = []

    def open_one(address, **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        contexts[-1].add_init_script(EVERYWHERE)
        page = contexts[-1].new_page()
        page.goto(book_url + address, wait_until="load")
        if options.get("java_script_enabled", True):
            page.evaluate("async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }")
            page.wait_for_timeout(400)  # the theme waits 300 ms before it puts what scrolls into the tab order
        return page

    yield open_one
    for context in contexts:
        close(context)


@pytest.mark.parametrize("lab", ["calculator", "flow", "board"])
def test_every_control_is_reached_and_left_by_the_tab_key(read, lab):
    """From the first stop, which skips to the text, to the end: nothing is left out, hidden or holds on."""
    page = read(LABS[lab], reduced_motion="reduce")
    stops = page.evaluate(STOPS)
    seen, unseen_focus = [], []
    for _ in range(2 * len(stops)):
        page.keyboard.press("Tab")
        here = page.evaluate(HERE)
        if here["stop"] is None or (seen and here["stop"] == seen[0]):
            break
        seen.append(here["stop"])
        if not here["ringed"]:
            unseen_focus.append(stops[here["stop"]])
    else:
        pytest.fail(f"the tab key did not get out; last at {stops[seen[-1]]}")
    record("controls reached with the tab key", len(set(seen)))
    assert "skip" in stops[seen[0]].lower()
    assert not [stop for index, stop in enumerate(stops) if index not in seen]
    assert not unseen_focus


def test_what_is_typed_stays_in_the_field(read):
    """The book's pages take "/" for their search, except in a field that they see; ours lie in shadow roots."""
    page = read("book/01_cross_correlation.html")
    page.evaluate("""document.addEventListener("keydown", event => {
      globalThis.last = [event.key, event.defaultPrevented];
    })""")
    for name in ("The learning rate", "Kernel row 0, column 0"):
        field = page.get_by_label(name, exact=True)
        field.fill("")
        page.keyboard.type("1/36")
        assert field.input_value() == "1/36"
        page.keyboard.press("Escape")
        assert page.evaluate("last")[0] == "Escape", "a preview is closed by it"
    page.get_by_label("The learning rate").press("Enter")
    assert page.get_by_role("status").filter(has_text="Right.").count() == 1
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("/")
    assert page.evaluate("last") == ["/", True], "elsewhere the page still has its shortcut"
    page.get_by_label("The learning rate").press("Control+k")
    assert page.locator("#pst-search-dialog").is_visible()


def test_skip_link_leads_to_the_text(read):
    page = read(LABS["stepper"])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("lab", ["stepper", "twist", "board"])
def test_every_control_has_a_name(read, lab):
    """What a screen reader is told about each control of the page and of its labs has a name in it."""
    said = read(LABS[lab], reduced_motion="reduce").locator("body").aria_snapshot()
    assert len(re.findall(r"^\s*- button \"", said, re.MULTILINE)) > 5
    assert not [line for line in said.splitlines() if re.match(NAMED, line)]


@pytest.mark.parametrize("width", [640, 320], ids=["200 %", "400 %"])
def test_large_letters_reflow(read, width):
    """A window of 1280 pixels at twice or four times the size: one column, nothing cut, no scrolling sideways."""
    for address in [LABS["calculator"], LABS["twist"], LABS["board"]]:
        page = read(address, viewport={"width": width, "height": 450}, reduced_motion="reduce")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        assert page.evaluate(CUT) == [], address


def test_nothing_moves_that_was_not_asked_to(read):
    """No lab plays by itself; who wants no motion is not offered to play, and nothing on the page is animated."""
    picture = "everywhere('canvas').map(canvas => canvas.toDataURL().length)"
    page = read(LABS["flow"], reduced_motion="no-preference")
    first, before = None, page.evaluate(picture)
    for _ in range(60):  # until all is drawn, which takes a while on a busy machine
        if before == first:
            break
        page.wait_for_timeout(500)
        first, before = before, page.evaluate(picture)
    page.wait_for_timeout(500)
    assert before and page.evaluate(picture) == before
    assert page.locator(".ct-play:visible").count() > 0
    still = read(LABS["flow"], reduced_motion="reduce")
    assert still.locator(".ct-play:visible").count() == 0
    still.locator(".theme-switch-button:visible").first.click()
    still.locator("details.hide > summary").first.click()
    assert still.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_high_contrast_keeps_what_labs_draw(read, scheme):
    """In a palette of the system's, the patch, the chosen cell, the scale and the counts still differ from the rest."""
    page = read(LABS["stepper"], forced_colors="active", color_scheme=scheme, reduced_motion="reduce")
    look = """selector => { const style = getComputedStyle(within(selector)[0]);
      return { paper: style.backgroundColor, ink: style.color, ring: style.outlineStyle, picture: style.backgroundImage,
               border: parseFloat(style.borderTopWidth) }; }"""
    patch, plain = page.evaluate(look, ".ct-patch"), page.evaluate(look, ".ct-cell:not(.ct-patch)")
    assert patch["paper"] != plain["paper"] and patch["ink"] != patch["paper"]
    assert page.evaluate(look, ".ct-patch input")["ink"] == patch["ink"]
    assert page.evaluate(look, ".ct-chosen")["ring"] == "solid"
    assert "gradient" in page.evaluate(look, ".ct-bar")["picture"]
    assert page.evaluate(look, ".ct-button")["border"] >= 1
    counts = read(LABS["calculator"], forced_colors="active", color_scheme=scheme, reduced_motion="reduce")
    paper = counts.evaluate("getComputedStyle(document.body).backgroundColor")
    assert counts.evaluate(look, ".ct-column")["paper"] != paper


def test_without_scripts_nothing_is_missing(read):
    """Text, figures, formulas and solutions are there; each lab is a picture and a sentence; no button is dead."""
    for address in LABS.values():
        page = read(address, java_script_enabled=False)
        labs = page.locator(".convtwist-lab")
        for index in range(labs.count()):
            lab = labs.nth(index)
            assert lab.locator("> img").bounding_box()["height"] > 40, address
            assert lab.locator("> img").get_attribute("alt")
            assert "It needs JavaScript, which is off here." in lab.locator("noscript p").inner_text()
        assert labs.count() > 0
        solution = page.locator("details.hide").first
        solution.locator("summary").click()
        assert solution.locator(".cell_input").is_visible()
        page.locator("article details").evaluate_all("all => { for (const each of all) each.open = true; }")
        pictures = page.locator("article img:not(.convtwist-animation img)").all()
        assert not [picture for picture in pictures if not picture.is_visible()], address
        for animation in page.locator(".convtwist-animation").all():  # its still takes its place where nothing may move
            assert [each.is_visible() for each in animation.locator("img").all()] == [True, False], address
        assert "formulas are shown as TeX" in page.locator("p.without-scripts").inner_text()
        assert page.locator(".bd-header-article button:visible").count() == 0
    formula = read(LABS["twist"], java_script_enabled=False).locator("div.math").first
    assert "mono" in formula.evaluate("node => getComputedStyle(node).fontFamily")
    assert formula.evaluate("node => getComputedStyle(node).textAlign") == "start"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_figure_opens_large(read, width):
    """A key opens a figure, larger than on the page, with its text and its caption; Escape brings one back to it."""
    page = read("book/03_padding_stride_dilation.html", viewport={"width": width, "height": 800})
    button = page.locator("figure button.enlarge").first
    small = button.locator("img").bounding_box()["width"]
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog.large-figure[open]")
    assert dialog.locator("img").bounding_box()["width"] > 1.3 * small
    assert dialog.locator("img").get_attribute("alt") == button.locator("img").get_attribute("alt")
    assert "Figure 3.1" in dialog.inner_text()
    box = dialog.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] >= 0 and box["y"] + box["height"] <= 800
    page.evaluate(AXE)
    assert page.evaluate("async () => (await axe.run(document.querySelector('dialog[open]'))).violations") == []
    page.keyboard.press("Escape")
    assert page.locator("dialog.large-figure").count() == 0
    assert button.evaluate("button => document.activeElement === button")


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_terms_and_sources_say_what_they_are(read, book_html, scheme):
    """With the pointer or the keyboard on a link to a term or a source; Escape takes it away."""
    page = read("book/03_padding_stride_dilation.html", viewport={"width": 390, "height": 800})
    if scheme == "file":
        page.goto((book_html / "book" / "03_padding_stride_dilation.html").as_uri())
    term, source = page.locator("a[href*='#term-Stride']").first, page.locator("a[href*='bibliography.html#']").first
    preview = page.locator(".preview[role=tooltip]")
    page.locator("article a").first.focus()
    page.keyboard.press("Tab")  # from here on the focus is the keyboard's
    term.focus()
    assert "kernel moves" in preview.inner_text() or "step" in preview.inner_text()
    assert term.get_attribute("aria-describedby") == preview.get_attribute("id")
    box = preview.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    if scheme == "http":
        page.evaluate(AXE)
        assert page.evaluate("async () => (await axe.run(document.querySelector('.preview'))).violations") == []
    page.keyboard.press("Escape")
    assert preview.count() == 0 and term.get_attribute("aria-describedby") is None
    source.hover()
    preview.wait_for()
    assert re.search(r"\d{4}", preview.inner_text())
    preview.hover()  # it stays while one reads it
    page.wait_for_timeout(500)
    assert preview.count() == 1
    page.mouse.move(1, 1)
    preview.wait_for(state="detached")
