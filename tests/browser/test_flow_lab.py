"""The flow lab in Chromium: its steps, warp and error against convtwist, and every way to work it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.filters import gaussian_blur2d
from lab_bench import AXE, AXE_RUN, functions, give, opened, pixels, played_and_paused, settle
from PIL import Image

from convtwist import images, labs
from convtwist.flow import GENERATORS, exact_warp, flow

torch.set_num_threads(1)
NAMES = ("exactWarp", "relativeError", "longestStep", "growth", "soften", "many", "coverage", "named")
# Functions that return functions are called right where they are made.
EXTRA = """
const many = (u, generator, t, n, method) => {
  const step = stepper(u, generator, t / n, method);
  for (let i = 0; i < n; i++) step(u);
  return u;
};
const named = (name) => GENERATORS[name];
const coverage = (u, generator, t) => {
  const known = new Uint8Array(u.data.length);
  exactWarp(u, generator, t, known);
  return { ...u, data: Float64Array.from(known) };
};
"""
MIXED = ((0.1, 0.3, -2.0), (-0.2, 0.05, 1.5))
FLOWS = [("right", 3.0), ("down", -2.5), ("rotate", 0.4), ("zoom", -0.2), ("shear_x", 0.3), ("shear_y", 0.2),
         (MIXED, 0.7)]


@pytest.fixture(scope="module")
def bench(browser):
    """Call the lab's own functions."""
    with functions(browser, ("core.mjs", "operators.mjs", "warp.mjs"), NAMES, EXTRA) as call:
        yield call


@pytest.fixture
def page(browser, tmp_path):
    """Open the lab on the cat, at rest after its first run."""
    with opened(browser, tmp_path, labs.flow_lab(images.sample("chelsea"), steps=20)) as page:
        finish(page, 20)
        yield page


def camera(size=128):
    image = Image.open(Path(__file__).parents[2] / "images" / "camera.png").convert("L").resize((size, size))
    return np.array(image)


def soft(grey, sigma=3.0):
    reach = 2 * math.ceil(4 * sigma) + 1
    image = torch.tensor(grey, dtype=torch.float64)[None, None]
    return gaussian_blur2d(image, (reach, reach), (sigma, sigma), border_type="replicate")[0, 0]


def relative_error(result, expected):
    height, width = expected.shape
    x, y = torch.arange(width) - (width - 1) / 2, torch.arange(height)[:, None] - (height - 1) / 2
    inside = (x**2 + y**2).sqrt() < 0.7 * min(height, width) / 2
    return ((result - expected)[inside].norm() / expected[inside].norm()).item()


def close(found, expected):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), expected.double(), rtol=1e-5, atol=1e-5)


def rows(generator):
    return [list(row) for row in (GENERATORS[generator] if isinstance(generator, str) else generator)]


def finish(page, steps, of=None):
    page.get_by_text(re.compile(f"^after {steps} of {of or steps} steps?$")).wait_for()
    settle(page)


def set_number(page, name, value):
    page.get_by_role("textbox", name=name).fill(str(value))


def verdict(page):
    return page.locator(".ct-verdict").inner_text()


@pytest.mark.parametrize(("generator", "t"), FLOWS, ids=lambda value: value if isinstance(value, str) else "")
def test_flows_and_warps_agree_with_the_package(bench, generator, t):
    image = torch.rand(21, 30, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    for method in ("euler", "rk4"):
        expected = flow(image, generator, t, 7, method)
        close(bench("many", image, rows(generator), t, 7, method), expected)
    warped = exact_warp(image, generator, t)
    close(bench("exactWarp", image, rows(generator), t), warped)
    close(bench("relativeError", expected, warped), torch.tensor(relative_error(expected, warped)))
    # A picture of ones stays 1 where all four corners of the look-up are inside.
    known = bench("coverage", image, rows(generator), t)
    close(known, (exact_warp(torch.ones_like(image), generator, t) > 1 - 1e-9).double())


def test_named_generators_are_the_package_s(bench):
    for name in ("right", "down", "rotate", "zoom", "shear_x", "shear_y"):
        assert bench("named", name).tolist() == rows(name)


def test_growth_is_that_of_the_method(bench):
    """One step multiplies a stripe pattern by the method's polynomial at i s; for Euler that is sqrt(1 + s^2)."""
    for s in (0.1, 1.0, 2.7, 2.9, 5.0):
        z = 1j * s
        close(bench("growth", s, "euler"), torch.tensor(abs(1 + z)))
        worst = max(abs(1 + k + k**2 / 2 + k**3 / 6 + k**4 / 24) for k in (z * share / 50 for share in range(51)))
        close(bench("growth", s, "rk4"), torch.tensor(worst))
    corner = math.hypot(29 / 2, 20 / 2)
    close(bench("longestStep", torch.zeros(21, 30), rows("rotate"), 0.1), torch.tensor(0.1 * corner))


def test_a_stripe_grows_at_most_that_much(bench):
    x = torch.arange(64, dtype=torch.float64)
    stripe = torch.cos(math.pi / 2 * x).expand(9, 64).contiguous()
    moved = bench("many", stripe, rows("right"), 0.8, 1, "euler")
    assert (moved[:, 8:-8].norm() / stripe[:, 8:-8].norm()).item() == pytest.approx(math.sqrt(1 + 0.64), abs=1e-6)


def test_softening_is_the_gaussian_blur(bench):
    image = torch.rand(15, 22, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    for sigma in (0.5, 1.0, 2.5):
        close(bench("soften", image, sigma), soft(image.numpy(), sigma))
    close(bench("soften", image, 0), image)


@pytest.mark.parametrize(("degrees", "steps", "method", "percent"), [
    (30, 100, "euler", 3.6), (90, 300, "euler", 11), (90, 100, "rk4", 5.9),
])
def test_the_error_on_the_page_is_the_one_the_chapter_prints(browser, tmp_path, degrees, steps, method, percent):
    lab = labs.flow_lab(images.sample("chelsea"), amount=degrees, steps=2, method=method)
    with opened(browser, tmp_path, lab) as page:
        give(page, camera(), "file" if method == "euler" else "drop")
        set_number(page, "Steps n", steps)
        finish(page, steps)
        image, angle = soft(camera()), math.radians(degrees)
        moved, target = flow(image, "rotate", angle, steps, method), exact_warp(image, "rotate", angle)
        error = 100 * relative_error(moved, target)
        shown = page.locator(".ct-facts strong").first.inner_text()
        assert float(shown.split("\u00a0")[0]) == pytest.approx(error, rel=6e-3) and error < 1.1 * percent
        assert (pixels(page, 1) - moved.clamp(0, 255)).abs().max() <= 0.5 + 1e-6
        assert (pixels(page, 2) - target).abs().max() <= 0.5 + 1e-6


def test_a_quarter_turn_in_a_hurry_blows_up_and_says_so(browser, tmp_path):
    with opened(browser, tmp_path, labs.flow_lab(images.sample("chelsea"), amount=90, steps=30)) as page:
        finish(page, 30)
        assert verdict(page).endswith("To cure it, take more steps or choose Runge\u2013Kutta.")
        assert "The numbers blow up: growth per step up to 8.07" in verdict(page)
        page.get_by_label("Runge\u2013Kutta 4").check()
        set_number(page, "Steps n", 100)
        finish(page, 100)
        assert "The numbers hold: no pattern grows" in verdict(page)
        page.get_by_label("Euler").check()
        set_number(page, "Angle", 180)
        set_number(page, "Steps n", 60)
        page.get_by_text("Stopped at step").wait_for()


def test_step_by_step_by_keyboard(page):
    page.get_by_role("button", name="Back to the start").press("Enter")
    assert "Nothing has moved yet" in verdict(page)
    assert page.get_by_text("after 0 of 20 steps").is_visible()
    for step in (1, 2):
        page.get_by_role("button", name="One step").press("Enter")
        finish(page, step, 20)
    page.get_by_role("button", name="To the end").press("Enter")
    finish(page, 20)
    page.get_by_role("button", name="One step").press("Enter")  # there is none left
    finish(page, 20)
    page.get_by_role("slider", name="Angle").press("ArrowRight")
    assert page.get_by_role("textbox", name="Angle").input_value() == "31"
    page.get_by_role("slider", name="Steps n").press("Home")
    finish(page, 1)


def test_every_motion_by_mouse(page):
    motion = page.get_by_role("combobox", name="Motion")
    for name, formula in (("zoom", "L = \u2212x\u00a0dx \u2212 y\u00a0dy"), ("right", "L = \u22121\u00a0dx"),
                          ("shear_y", "L = \u2212x\u00a0dy"), ("down", "L = \u22121\u00a0dy")):
        motion.select_option(name)
        finish(page, 20)
        assert page.locator(".ct-formula").inner_text() == formula
    motion.select_option("mix")
    set_number(page, "P: y", 0.5)
    set_number(page, "Q: constant", 0)
    finish(page, 20)
    assert page.locator(".ct-formula").inner_text() == "L = 0.5\u00a0y\u00a0dx"
    assert page.locator(".ct-over svg path").count() == 2
    box = page.get_by_role("slider", name="P: x").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert float(page.get_by_role("textbox", name="P: x").input_value()) == pytest.approx(1, abs=0.2)


def test_what_is_out_of_range_is_marked_and_the_last_one_stays(page):
    for name, typed in (("Angle", "NaN"), ("Angle", "900"), ("Steps n", "2.5"), ("Steps n", "")):
        set_number(page, name, typed)
        field = page.get_by_role("textbox", name=name)
        assert field.get_attribute("aria-invalid") == "true"
        assert "stays in use" in page.inner_text(".ct-lab")
        finish(page, 20)
        field.press("Escape")
        assert field.get_attribute("aria-invalid") is None and "stays in use" not in page.inner_text(".ct-lab")


def test_play_unrolls_the_flow_and_can_be_paused(browser, tmp_path):
    lab = labs.flow_lab(images.sample("chelsea"), steps=30, motion="right", amount=12)
    with opened(browser, tmp_path, lab, motion="no-preference") as page:
        finish(page, 30)
        frames, held, caption = played_and_paused(page, ".ct-flows")
        assert frames > 3 and held and not caption.startswith("after 30")
        page.get_by_role("button", name="Play").click()
        finish(page, 30)


def test_without_motion_there_is_no_play_button(page):
    assert not page.get_by_role("button", name="Play").is_visible()


def test_long_runs_leave_the_page_alive(browser, tmp_path):
    """Frames keep coming while 300 steps of Runge-Kutta are computed on the largest picture."""
    with opened(browser, tmp_path, labs.flow_lab(images.sample("camera"), steps=1, amount=90)) as page:
        finish(page, 1)
        page.get_by_label("Runge\u2013Kutta 4").check()
        finish(page, 1)
        frames = page.get_by_role("textbox", name="Steps n").evaluate("""async field => {
          const shares = new Set();
          const watch = new MutationObserver(() => shares.add(within("progress")[0].value));
          watch.observe(within("progress")[0], { attributes: true });
          field.value = "300";
          field.dispatchEvent(new Event("input"));
          for (let i = 0; i < 20; i++) await new Promise(requestAnimationFrame);
          return shares.size;
        }""")
        assert frames > 5
        finish(page, 300)


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_accessible_and_never_wider_than_the_page(browser, tmp_path, width, theme):
    lab = labs.flow_lab(images.sample("chelsea"), motion="mix", amount=1, steps=5)
    with opened(browser, tmp_path, lab, width=width, theme=theme, motion="no-preference") as page:
        finish(page, 5)
        set_number(page, "Steps n", "NaN")
        page.evaluate(AXE)
        assert not page.evaluate(AXE_RUN)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
