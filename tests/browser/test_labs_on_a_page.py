"""How labs live on a page: several together, run again in a notebook, without scripts, for every reader."""

from importlib import resources

import numpy as np
import pytest
from lab_pages import LabPages, settle
from playwright.sync_api import expect

from convtwist import labs

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => {
  const runOnly = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const { violations } = await axe.run(document, { runOnly });
  return violations.map(v => `${v.id}: ${v.nodes.map(n => n.html.slice(0, 160) + n.failureSummary).join(" | ")}`);
}"""
PHOTO = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
EVERY = {lab.name: lab for lab in (
    labs.correlation_stepper(PHOTO), labs.channel_sum(PHOTO), labs.receptive_field(PHOTO), labs.size_calculator(),
    labs.checkerboard(PHOTO), labs.kernel_microscope(PHOTO), labs.flow_lab(PHOTO, steps=2, soften=0),
    labs.twist_lab(PHOTO, steps=2, soften=0), labs.channel_board(16, 4),
)}
NAMES = list(EVERY)
LOOK = """async () => {
  for (let i = 0; i < 12; i++) await new Promise(requestAnimationFrame);
  const said = ["color", "backgroundColor", "borderLeftColor", "width", "height", "fontSize", "display"];
  return [...document.querySelectorAll(".convtwist-lab")].map(lab => [...lab.shadowRoot.querySelectorAll(".ct-lab *")]
    .map(one => [one.tagName, one.getAttribute("class"), ...said.map(name => getComputedStyle(one)[name])].join(" ")));
}"""


@pytest.fixture
def pages(browser, tmp_path):
    """Open labs on bare pages; the test fails on any console error or outside request."""
    opened = LabPages(browser, tmp_path)
    yield opened
    opened.close()


def test_several_labs_share_a_page(pages):
    calculators = labs.size_calculator(), labs.size_calculator(9, 3)
    page = pages.open(labs.correlation_stepper(PHOTO), *calculators, labs.correlation_stepper(PHOTO))
    assert page.locator(".convtwist-lab[data-ready]").count() == 4
    ids = page.evaluate("[...document.querySelectorAll('.convtwist-lab')].map(lab => "
                        "[...lab.shadowRoot.querySelectorAll('[id]')].map(e => e.id))")
    assert all(len(one) == len(set(one)) > 0 for one in ids)
    page.get_by_label("true convolution").last.check()
    assert page.get_by_label("cross-correlation").first.is_checked()


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "reversed"])
def test_no_lab_and_no_page_changes_the_look_of_another(pages, order):
    """All labs on one page, under a style that would ruin each, look as every one of them does alone."""
    hostile = "<style>.ct-cell, button, p, svg { height: 9px !important; color: red !important }</style>"
    alone = [pages.open(lab).evaluate(LOOK)[0] for lab in EVERY.values()]
    together = pages.open(body=hostile + "".join(lab._repr_html_() for lab in list(EVERY.values())[::order]))
    for name, one, other in zip(EVERY, alone, together.evaluate(LOOK)[::order], strict=True):
        assert len(one) > 30
        assert [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]] == [], name


@pytest.mark.parametrize(("theme", "ink"), [("light", "rgb(28, 34, 41)"), ("dark", "rgb(231, 234, 238)")])
def test_the_page_s_theme_reaches_into_a_lab(pages, theme, ink):
    page = pages.open(EVERY["size calculator"], theme=theme)
    colour = "() => getComputedStyle(within('.ct-title')[0]).color"
    assert page.evaluate(colour) == ink
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(colour) == "rgb(231, 234, 238)"


def run_again(page, lab, *, instead=False):
    """Put the lab's output into the page as a notebook does, which makes each script anew."""
    page.evaluate(
        """([html, instead]) => {
          const host = document.createElement("div");
          host.innerHTML = html;
          for (const old of host.querySelectorAll("script")) {
            const script = document.createElement("script");
            for (const { name, value } of old.attributes) script.setAttribute(name, value);
            script.textContent = old.textContent;
            old.replaceWith(script);
          }
          const main = document.querySelector("main");
          if (instead) main.replaceChildren(host);
          else main.append(host);
        }""",
        [lab._repr_html_(), instead],
    )
    settle(page)


def test_a_cell_run_again_wakes_its_new_lab(pages):
    """A second run must not disturb the first."""
    page = pages.open(labs.size_calculator(7, 3))
    run_again(page, labs.size_calculator(7, 3))
    expect(page.locator(".ct-size")).to_have_count(2)


@pytest.mark.parametrize("name", ["correlation stepper", "checkerboard", "twist lab"])
def test_reruns_leave_nothing_behind(pages, name):
    """Ten runs of a cell, each in place of the one before: as many nodes and listeners as after the first two."""
    page = pages.open(EVERY[name])
    session = page.context.new_cdp_session(page)

    def counted():
        for _ in range(3):
            session.send("HeapProfiler.collectGarbage")
            page.wait_for_timeout(50)
        counters = session.send("Memory.getDOMCounters")
        return counters["nodes"], counters["jsEventListeners"]

    for _ in range(2):
        run_again(page, EVERY[name], instead=True)
    page.locator(".convtwist-lab").hover()  # the lab then listens for a picture pasted into the page
    nodes, listeners = counted()
    for _ in range(10):
        run_again(page, EVERY[name], instead=True)
        page.locator(".convtwist-lab").hover()
    more_nodes, more_listeners = counted()
    assert more_listeners <= listeners + 2
    assert more_nodes <= nodes + 100, f"{(more_nodes - nodes) / 10} nodes stay for each run"


def test_a_lab_taken_off_the_page_and_put_back_still_follows_it(pages):
    """JupyterLab takes cells out of the page while they are scrolled away."""
    page = pages.open(body=EVERY["correlation stepper"]._repr_html_())
    page.evaluate("delete document.documentElement.dataset.theme")
    page.evaluate("""() => {
      globalThis.lab = document.querySelector(".convtwist-lab");
      lab.remove();
    }""")
    page.emulate_media(color_scheme="dark")
    assert not page.evaluate("lab.classList.contains('ct-dark')")
    page.evaluate("document.querySelector('main').append(lab)")
    assert page.evaluate("lab.classList.contains('ct-dark')")
    page.emulate_media(color_scheme="light")
    page.wait_for_function("!lab.classList.contains('ct-dark')")


@pytest.mark.parametrize("name", NAMES)
def test_every_lab_has_a_heading_a_task_and_a_question(pages, name):
    page = pages.open(EVERY[name])
    assert page.get_by_role("heading", level=3).inner_text().lower() == name
    assert len(page.locator(".ct-lead").inner_text()) > 60
    question = page.locator("summary")
    assert question.inner_text().rstrip().endswith("?")
    answer = page.locator(".ct-predict p")
    assert not answer.is_visible()
    question.press("Enter")
    assert answer.is_visible() and len(answer.inner_text()) > 30


def test_without_scripts_a_still_and_a_sentence(pages):
    page = pages.open(labs.correlation_stepper(PHOTO, alt="A test card"), scripts=False)
    assert page.get_by_alt_text("A test card").is_visible()
    assert page.locator("noscript p").is_visible()
    assert "It needs JavaScript, which is off here." in page.locator("noscript p").inner_text()
    assert page.locator(".ct-untrusted").count() == 1 and not page.locator(".ct-untrusted").is_visible()


def test_a_phone_has_no_reason_to_zoom_to_a_field(pages):
    """Safari on a phone does so where the letters of a field that has the focus are below 16 pixels."""
    page = pages.open(*EVERY.values(), labs.answer_box(7), width=390, touch=True)
    small = page.evaluate("""() => [...document.querySelectorAll("[data-ready]")]
      .flatMap(host => [...host.shadowRoot.querySelectorAll("select, input")])
      .filter(field => field.matches("select, [type=text], [type=number]") && field.checkVisibility())
      .filter(field => (field.focus(), parseFloat(getComputedStyle(field).fontSize) < 16))
      .map(field => field.outerHTML)""")
    assert small == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessible_and_no_wider_than_the_screen(pages, theme, width):
    page = pages.open(
        labs.correlation_stepper(PHOTO), labs.size_calculator(8, 3, stride=2, padding=1, transposed=True),
        labs.size_calculator((8, 7), 3, stride=2, dilation=2), labs.size_calculator(3, 5), width=width, theme=theme,
    )
    page.get_by_label("Example").select_option("six")
    page.get_by_label("true convolution").check()
    page.get_by_label("Input row 0, column 1", exact=True).first.fill("NaN")
    page.get_by_label("Stride").last.fill("")
    settle(page)
    page.evaluate(AXE)
    assert page.evaluate(RUN_AXE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate("""within('button, select, .ct-button, .ct-radio, [role=gridcell]')
      .map(e => [e.className || e.tagName, e.getBoundingClientRect()])
      .filter(([, box]) => box.width && (box.width < 24 || box.height < 24)).map(([name]) => name)""")
    assert small == []
