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


def test_a_cell_run_again_wakes_its_new_lab(pages):
    """A notebook puts markup in and then makes each script anew; a second run must not disturb the first."""
    lab = labs.size_calculator(7, 3)
    page = pages.open(lab)
    page.evaluate(
        """html => {
          const host = document.createElement("div");
          host.innerHTML = html;
          for (const old of host.querySelectorAll("script")) {
            const script = document.createElement("script");
            for (const { name, value } of old.attributes) script.setAttribute(name, value);
            script.textContent = old.textContent;
            old.replaceWith(script);
          }
          document.querySelector("main").append(host);
        }""",
        lab._repr_html_(),
    )
    expect(page.locator(".ct-size")).to_have_count(2)


def test_without_scripts_a_still_and_a_sentence(pages):
    page = pages.open(labs.correlation_stepper(PHOTO, alt="A test card"), scripts=False)
    assert page.get_by_alt_text("A test card").is_visible()
    assert page.locator("noscript p").is_visible()
    assert "It needs JavaScript, which is off here." in page.locator("noscript p").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessible_and_no_wider_than_the_screen(pages, theme, width):
    page = pages.open(
        labs.correlation_stepper(PHOTO), labs.size_calculator(8, 3, stride=2, padding=1, transposed=True),
        labs.size_calculator((8, 7), 3, stride=2, dilation=2), labs.size_calculator(3, 5), width=width, theme=theme,
    )  # fmt: skip
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
