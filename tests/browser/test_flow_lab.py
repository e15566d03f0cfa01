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
from torch.nn import functional as F

from convtwist import images, labs
from convtwist.flow import GENERATORS, exact_warp, flow
from convtwist.operators import gradient

torch.set_num_threads(1)
NAMES = ("warp", "warpPattern", "shareOfNothing", "outOfRange", "farthest", "growth", "soften", "many", "coverage",
         "named", "pattern", "path", "strongest", "waveFactor")
# Functions that return functions are called right where they are made.
EXTRA = """
const of = (generator, u) => generator === "whirl" ? whirl(u) : generator;
const many = (u, generator, t, n, method) => {
  const step = stepper(u, of(generator, u), t / n, method);
  for (let i = 0; i < n; i++) step(u);
  return u;
};
const named = (name) => GENERATORS[name];
const warp = (u, generator, t) => exactWarp(u, of(generator, u), t);
const warpPattern = (name, generator, t) => exactWarp(pattern(name), generator, t, null, PATTERNS[name].look);
const path = (u, generator, t, point) => trail(of(generator, u), t, point);
const farthest = (u, generator, h) => longestStep(u, of(generator, u), h);
const strongest = (u, generator) => steepest(u, of(generator, u)).factor;
const coverage = (u, generator, t) => {
  const known = new Uint8Array(u.data.length);
  exactWarp(u, of(generator, u), t, known);
  return { ...u, data: Float64Array.from(known) };
};
"""
MIXED = ((0.1, 0.3, -2.0), (-0.2, 0.05, 1.5))
FLOWS = [("dx", 1.5), ("down", -2.5), ("rotate", 0.4), ("zoom", -0.2), ("shear_x", 0.3), ("shear_y", 0.2),
         (MIXED, 0.7)]


@pytest.fixture(scope="module")
def bench(browser):
    """Call the lab's own functions."""
    with functions(browser, ("core.mjs", "operators.mjs", "warp.mjs", "patterns.mjs"), NAMES, EXTRA) as call:
        yield call


@pytest.fixture
def page(browser, tmp_path):
    """Open the lab on the cat, at rest after its first run."""
    with opened(browser, tmp_path, turning(steps=20)) as page:
        to_the_end(page, 20)
        yield page


def turning(sample="chelsea", **options):
    return labs.flow_lab(images.sample(sample), **{"motion": "rotate", "soften": 3, **options})


def to_the_end(page, steps):
    page.get_by_role("button", name="To the end").click()
    finish(page, steps)


def camera(size=128):
    image = Image.open(Path(__file__).parents[2] / "images" / "camera.png").convert("L").resize((size, size))
    return np.array(image)


def soft(grey, sigma=3.0):
    reach = 2 * math.ceil(4 * sigma) + 1
    image = torch.tensor(grey, dtype=torch.float64)[None, None]
    return gaussian_blur2d(image, (reach, reach), (sigma, sigma), border_type="replicate")[0, 0]


def places(image):
    height, width = image.shape[-2:]
    return torch.arange(width).double() - (width - 1) / 2, torch.arange(height).double()[:, None] - (height - 1) / 2


def share_of_nothing(result, start, expected):
    """Chapter 8's measure: 1 is the error of doing nothing."""
    x, y = places(expected)
    inside = (x**2 + y**2).sqrt() < 0.7 * min(expected.shape) / 2
    return ((result - expected)[inside].norm() / (start - expected)[inside].norm()).item()


def out_of_range(u):
    return ((u / 255 < -1e-4) | (u / 255 > 1 + 1e-4)).double().mean().item()


def largest_factor(P, Q):
    """The largest number by which P dx + Q dy multiplies any wave, looked for on a fine grid of frequencies."""
    w = torch.linspace(-math.pi, math.pi, 1201, dtype=torch.float64)
    one = torch.outer(torch.sin(w), (1 + torch.cos(w)) / 2)
    return (P * one + Q * one.T).max().item()


def close(found, expected):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), expected.double(), rtol=1e-5, atol=1e-5)


def rows(generator):
    return [list(row) for row in (GENERATORS[generator] if isinstance(generator, str) else generator)]


def finish(page, steps, of=None):
    page.get_by_text(re.compile(f"^after {steps} of {of or steps} steps?$")).wait_for()
    settle(page)


def set_number(page, name, value):
    page.get_by_role("textbox", name=name).fill(str(value))


def facts(page):
    return page.locator(".ct-facts strong").all_inner_texts()


def end_of_path(page, picture):
    dot = page.locator(".ct-flows .ct-half").nth(picture).locator(".ct-end")
    return [float(dot.get_attribute(name)) for name in ("cx", "cy")]


def verdict(page):
    return page.locator(".ct-verdict").inner_text()


@pytest.mark.parametrize(("generator", "t"), FLOWS, ids=lambda value: value if isinstance(value, str) else "")
def test_flows_and_warps_agree_with_the_package(bench, generator, t):
    image = torch.rand(21, 30, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    for method in ("euler", "rk4"):
        expected = flow(image, generator, t, 7, method)
        close(bench("many", image, rows(generator), t, 7, method), expected)
    warped = exact_warp(image, generator, t)
    close(bench("warp", image, rows(generator), t), warped)
    # The lab counts from 0 to 255, and calls less than a thousandth of white no motion.
    measured = [255 * one for one in (expected, image, warped)]
    close(bench("shareOfNothing", *measured), torch.tensor(share_of_nothing(*measured)))
    close(bench("outOfRange", 255 * (2 * expected - 0.5)), torch.tensor(out_of_range(255 * (2 * expected - 0.5))))
    assert bench("shareOfNothing", 255 * image, 255 * image, 255 * image) is None
    # A picture of ones stays 1 where all four corners of the look-up are inside.
    known = bench("coverage", image, rows(generator), t)
    close(known, (exact_warp(torch.ones_like(image), generator, t) > 1 - 1e-9).double())


def test_a_whirl_agrees_with_pytorch(bench):
    """Its steps are those of exercise 8.7; exactly, each circle turns by an angle of its own, with its points."""
    image = torch.rand(21, 30, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (x, y), t = places(image), 1.3
    share = (1 - (x**2 + y**2) / 10.5**2).clamp(min=0) ** 2
    P, Q = share * y, -share * x
    u = image
    for _ in range(9):
        dx, dy = gradient(u, padding_mode="replicate")
        u = u + t / 9 * (P * dx + Q * dy)
    close(bench("many", image, "whirl", t, 9, "euler"), u)
    cos, sin = torch.cos(t * share), torch.sin(t * share)
    grid = torch.stack([(cos * x + sin * y) * 2 / 30, (cos * y - sin * x) * 2 / 21], -1)
    close(bench("warp", image, "whirl", t), F.grid_sample(image[None, None], grid[None], align_corners=False)[0, 0])
    assert torch.hypot(P, Q).max() == pytest.approx(bench("farthest", image, "whirl", 1), rel=0.02)
    # A point is carried against (P, Q): follow the arrows in 4000 small steps.
    point = torch.tensor([4.0, 2.0], dtype=torch.float64)
    for _ in range(4000):
        strength = (1 - point.square().sum() / 10.5**2).clamp(min=0) ** 2
        point = point - t / 4000 * strength * torch.stack([point[1], -point[0]])
    torch.testing.assert_close(bench("path", image, "whirl", t, [4, 2])[-1], point, rtol=0, atol=2e-3)


def test_a_point_s_path_is_that_of_the_picture(bench):
    """A spot moved exactly stands at the end of its centre's path, which begins at its centre."""
    x, y = places(torch.empty(128, 128))
    spot = torch.exp(-((x - 24) ** 2 + y**2) / 72)
    for generator, t in (("rotate", 0.4), ("zoom", -0.2), (MIXED, 0.7)):
        path = bench("path", torch.zeros(1, 1), rows(generator), t, [24, 0])
        moved = exact_warp(spot, rows(generator), t)
        centre = torch.stack([(moved * x).sum(), (moved * y).sum()]) / moved.sum()
        assert path[0].tolist() == [24, 0] and len(path) > 20
        torch.testing.assert_close(path[-1], centre, rtol=0, atol=0.02)


def test_pictures_with_a_formula(bench):
    x, y = places(torch.empty(128, 128))
    r = x**2 + y**2
    expected = {"spot": torch.exp(-((x - 24) ** 2 + y**2) / 72), "zone": (1 + torch.cos(math.pi * r / 128)) / 2}
    for name, period in (("stripes", 16), ("fine", 4)):
        expected[name] = ((1 + torch.cos(2 * math.pi * x / period)) / 2).expand(128, 128)
    expected["packet"] = (1 + torch.exp(-r / 450) * torch.cos(2.3 * x)) / 2
    for name, wanted in expected.items():
        close(bench("pattern", name), 255 * wanted)
    # Moved exactly, they are looked up in the formula, even between pixels.
    fine = (1 + torch.cos(math.pi / 2 * (x - 0.5))).expand(128, 128) * 127.5
    close(bench("warpPattern", "fine", rows("right"), 0.5)[:, 1:], fine[:, 1:])


def test_named_generators_are_the_package_s(bench):
    for name in ("dx", "right", "down", "rotate", "zoom", "shear_x", "shear_y"):
        assert bench("named", name).tolist() == rows(name)


def test_growth_is_that_of_the_method(bench):
    """One step multiplies a stripe pattern by the method's polynomial at i s; for Euler that is sqrt(1 + s^2)."""
    for s in (0.1, 1.0, 2.7, 2.9, 5.0):
        z = 1j * s
        close(bench("growth", s, "euler"), torch.tensor(abs(1 + z)))
        worst = max(abs(1 + k + k**2 / 2 + k**3 / 6 + k**4 / 24) for k in (z * share / 50 for share in range(51)))
        close(bench("growth", s, "rk4"), torch.tensor(worst))
    corner = math.hypot(29 / 2, 20 / 2)
    close(bench("farthest", torch.zeros(21, 30), rows("rotate"), 0.1), torch.tensor(0.1 * corner))
    # What Sobel's kernels make of the worst wave there is less than the speed, unless it moves along an axis.
    close(bench("strongest", torch.zeros(21, 30), rows("rotate")), torch.tensor(largest_factor(10, 14.5)))
    close(bench("strongest", torch.zeros(21, 30), rows("right")), torch.tensor(1.0))
    along = [bench("waveFactor", 0.0, 2.0, omega) for omega in (0.3, math.pi / 2, 2.5)]
    close(torch.tensor(along), 2 * torch.sin(torch.tensor([0.3, math.pi / 2, 2.5])))


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


@pytest.mark.parametrize(("degrees", "steps", "method"), [(30, 100, "euler"), (90, 1000, "euler"), (90, 40, "rk4")])
def test_the_error_on_the_page_is_the_chapter_s(browser, tmp_path, degrees, steps, method):
    """Also with as many steps as the chapter advises."""
    with opened(browser, tmp_path, turning(amount=degrees, steps=2, method=method)) as page:
        give(page, camera(), "file" if method == "euler" else "drop")
        set_number(page, "Steps n", steps)
        finish(page, steps)
        image, angle = soft(camera()), math.radians(degrees)
        moved, target = flow(image, "rotate", angle, steps, method), exact_warp(image, "rotate", angle)
        error, out = (float(text.split("\u00a0")[0]) for text in facts(page)[:2])
        assert error == pytest.approx(100 * share_of_nothing(moved, image, target), rel=6e-3)
        assert out == pytest.approx(100 * out_of_range(moved), rel=0.06)
        assert (pixels(page, 1) - moved.clamp(0, 255)).abs().max() <= 0.5 + 1e-6
        assert (pixels(page, 2) - target).abs().max() <= 0.5 + 1e-6


def test_a_quarter_turn_in_a_hurry_blows_up_and_says_so(browser, tmp_path):
    with opened(browser, tmp_path, turning(amount=90, steps=30)) as page:
        to_the_end(page, 30)
        assert verdict(page).endswith("To cure it, take more steps or choose Runge\u2013Kutta.")
        height, width = pixels(page, 1).shape
        growth = math.hypot(1, math.radians(3) * largest_factor((height - 1) / 2, (width - 1) / 2))
        said = re.match(r"The numbers blow up: growth per step up to ([\d.]+), because", verdict(page))
        assert float(said[1]) == pytest.approx(growth, rel=1e-3)
        page.get_by_label("Runge\u2013Kutta 4").check()
        set_number(page, "Steps n", 100)
        finish(page, 100)
        assert "The numbers hold: no wave grows" in verdict(page)
        page.get_by_label("Euler").check()
        set_number(page, "Angle", 180)
        set_number(page, "Steps n", 60)
        page.get_by_text("Stopped at step").wait_for()


def test_it_opens_on_the_first_experiment_and_other_pictures_follow(browser, tmp_path):
    """At rest until it is played; then the picture is that of chapter 8. A spot ends where the point's path does."""
    with opened(browser, tmp_path, labs.flow_lab(images.sample("chelsea")), motion="no-preference") as page:
        grey = pixels(page, 0).double()
        page.wait_for_timeout(200)
        assert verdict(page) == "Nothing has moved yet." and torch.equal(pixels(page, 1).double(), grey)
        assert page.locator(".ct-formula").inner_text() == "L = dx"
        to_the_end(page, 100)
        assert (pixels(page, 1) - flow(grey, "dx", 10, 100).clamp(0, 255)).abs().max() <= 0.5 + 1e-6
        growth = math.sqrt(1 + 0.1**2)
        assert facts(page)[2:] == ["0.1 pixels", f"{growth:.3f}"]
        assert f"which is {growth**100:.2f} in 100 steps" in page.inner_text(".ct-facts")
        curve = page.locator(".ct-curve [role=img]").get_attribute("aria-label")
        assert f"{growth:.3f} at \u03c0/2" in curve and "1 for flat areas" in curve

        page.get_by_role("combobox", name="Picture").select_option("spot")
        page.get_by_role("combobox", name="Motion").select_option("whirl")
        set_number(page, "Angle in the middle", 180)
        set_number(page, "Steps n", 200)
        finish(page, 200)
        x, y = places(torch.empty(128, 128))
        for picture, off in ((2, 1), (1, 3)):  # moved exactly, and by Euler's steps
            u = pixels(page, picture).double()
            u = u * (u > 0.9 * u.max())  # the top of the spot: the whirl bends the rest
            centre = [((u * x).sum() / u.sum()).item(), ((u * y).sum() / u.sum()).item()]
            assert end_of_path(page, picture) == pytest.approx(centre, abs=off) and centre[1] > 15
        before = end_of_path(page, 1)
        page.get_by_role("application", name="Picture, move the point").press("Shift+ArrowLeft")
        settle(page)
        assert end_of_path(page, 1) != before and math.hypot(*end_of_path(page, 1)) == pytest.approx(8, abs=0.2)

        page.get_by_role("combobox", name="Motion").select_option("dx")
        page.get_by_role("combobox", name="Picture").select_option("packet")
        page.get_by_label("Runge\u2013Kutta 4").check()
        set_number(page, "Steps n", 40)
        finish(page, 40)
        wave = (pixels(page, 1).double() - 127.5) ** 2
        assert ((wave * x).sum() / wave.sum()).item() == pytest.approx(-10 * math.cos(2.3), abs=0.3)  # backwards


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
    for name, formula in (("zoom", "L = \u2212x\u00a0dx \u2212 y\u00a0dy"), ("right", "L = \u2212dx"),
                          ("shear_y", "L = \u2212x\u00a0dy"), ("down", "L = \u2212dy")):
        motion.select_option(name)
        finish(page, 20)
        assert page.locator(".ct-formula").inner_text() == formula
    motion.select_option("mix")
    set_number(page, "P: y", 0.5)
    set_number(page, "Q: constant", 0)
    finish(page, 20)
    assert page.locator(".ct-formula").inner_text() == "L = 0.5\u00a0y\u00a0dx"
    assert page.locator(".ct-over path:not(.ct-trail)").count() == 2
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
        frames, held, caption = played_and_paused(page, ".ct-flows")
        assert frames > 3 and held and not caption.startswith("after 30")
        page.get_by_role("button", name="Play").click()
        finish(page, 30)


def test_without_motion_there_is_no_play_button(page):
    assert not page.get_by_role("button", name="Play").is_visible()


def test_long_runs_leave_the_page_alive(browser, tmp_path):
    """Frames keep coming while 300 steps of Runge-Kutta are computed on the largest picture."""
    with opened(browser, tmp_path, turning("camera", steps=1, amount=90)) as page:
        to_the_end(page, 1)
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
        to_the_end(page, 5)
        set_number(page, "Steps n", "NaN")
        page.evaluate(AXE)
        assert not page.evaluate(AXE_RUN)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
