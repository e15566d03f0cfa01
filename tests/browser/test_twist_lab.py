"""The twist lab in Chromium: its numbers against the layer, and every way to work it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.filters import gaussian_blur2d
from lab_bench import AXE, AXE_RUN, functions, give, opened, pixels, played_and_paused, settle
from PIL import Image

from convtwist import ConvTwist2d, images, kernels, labs

torch.set_num_threads(1)
CAMERA = Path(__file__).parents[2] / "images" / "camera.png"
NAMES = ("twistTerm", "perStep", "absorbed", "many")
EXTRA = """
const many = (u, settings, n) => {
  const step = stepper(u, twistGenerator(u, settings), 1);
  for (let i = 0; i < n; i++) step(u);
  return u;
};
"""
SETTINGS = [{"a": 0.7, "b": -0.4, "cx": 0.0, "cy": 0.0}, {"a": -0.3, "b": 0.9, "cx": 0.25, "cy": -0.6}]


def layer(a, b, cx, cy):
    """Return the layer u + twist that the lab says it is, with its centre as a parameter."""
    made = ConvTwist2d(1, 1, padding=1, bias=False, centers=True, padding_mode="replicate", dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(kernels.identity())
        made.twist.copy_(torch.tensor([a, b]).view(2, 1, 1))
        made.center.copy_(torch.tensor([cx, cy]).view(2, 1))
    return made.requires_grad_(False)


def picture(height, width):
    return torch.rand(height, width, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def close(found, expected):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), expected.double(), rtol=1e-5, atol=1e-5)


def number(text):
    return float(text.replace("\u2212", "-"))


def box(page, name):
    return page.get_by_role("textbox", name=name)


def value(page, name):
    return number(box(page, name).input_value())


def kernel_on_the_page(page):
    return [number(cell) for cell in page.get_by_role("table").get_by_role("cell").all_inner_texts()]


def finish(page, steps, of=None):
    page.get_by_text(re.compile(f"^after {steps} of {of or steps} applications?$")).wait_for()
    settle(page)


def photograph(page):
    return page.get_by_role("application", name="Photograph, move the centre")


@pytest.fixture
def page(browser, tmp_path):
    """Open the lab on the cat."""
    with opened(browser, tmp_path, labs.twist_lab(images.sample("chelsea"), b=0.5, steps=5)) as page:
        finish(page, 5)
        yield page


@pytest.fixture(scope="module")
def bench(browser):
    """Call the lab's own functions."""
    with functions(browser, ("core.mjs", "operators.mjs", "warp.mjs", "twist_rules.mjs"), NAMES, EXTRA) as call:
        yield call


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("size", [(17, 24), (24, 17)])
def test_the_term_and_its_repetition_are_the_layer_s(bench, settings, size):
    image = picture(*size)
    once = expected = layer(**settings)(image[None, None])
    close(bench("twistTerm", image, settings), once[0, 0] - image)
    for _ in range(4):
        expected = layer(**settings)(expected)
    close(bench("many", image, settings, 5), expected[0, 0])


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_absorbed_kernel_makes_the_centre_unnecessary(bench, settings):
    a, b, cx, cy = settings.values()
    kx = a * kernels.sobel_x() - b * kernels.sobel_y()
    ky = b * kernels.sobel_x() + a * kernels.sobel_y()
    absorbed = bench("absorbed", settings).view(3, 3)
    close(absorbed, kernels.identity() - cx * kx - cy * ky)
    free = layer(a, b, 0, 0)
    free.weight.copy_(absorbed)
    close(free(picture(9, 14)[None, None]), layer(**settings)(picture(9, 14)[None, None]))


def test_a_step_turns_by_two_b_over_the_longer_side(bench):
    assert bench("perStep", {"height": 40, "width": 64}, {"a": 0.5, "b": 0.25}).tolist() == [1 / 64, 0.5 / 64]
    # The ramp x is a complex number's real part: one step multiplies it by 1 + 2 (a + i b) / w, to the last digit.
    x = (torch.arange(64, dtype=torch.float64) - 31.5).expand(40, 64).contiguous()
    y = (torch.arange(40, dtype=torch.float64) - 19.5)[:, None].expand(40, 64)
    stepped = bench("many", x, {"a": 0.5, "b": 0.25, "cx": 0, "cy": 0}, 1)
    exact = (1 + 1 / 64) * x + (0.5 / 64) * y
    close(stepped[1:-1, 1:-1], exact[1:-1, 1:-1])


def test_the_lines_to_copy_give_the_picture_on_the_page(page):
    grey = np.array(Image.open(CAMERA).convert("L").resize((96, 64)))
    give(page, grey)
    for name, entry in (("Zoom a", "-0.3"), ("Rotation b", "0.6"), ("Centre x", "0.25"), ("Centre y", "-1/8"),
                        ("Times applied", "7"), ("Soften first", "1.5")):
        box(page, name).fill(entry)
    finish(page, 7)
    settle(page)
    start = gaussian_blur2d(torch.tensor(grey, dtype=torch.float64)[None, None], (13, 13), (1.5, 1.5),
                            border_type="replicate")
    names = {"u": start.float()}
    lines = page.get_by_label("The same layer in PyTorch").inner_text()
    imports, chosen, layers = re.split(r"^(u = .*\n)", lines, flags=re.MULTILINE)
    example = {}
    exec(imports + chosen, example)  # the lines run as they stand
    assert example["u"].shape == (1, 1, 300, 451)
    exec(imports + layers, names)
    assert (pixels(page, 0) - start[0, 0]).abs().max() <= 0.501
    assert (pixels(page, 1) - names["u"][0, 0].clamp(0, 255)).abs().max() <= 0.501
    added = layer(-0.3, 0.6, 0.25, -0.125)(start) - start
    ends = [number(end) for end in page.locator(".ct-scale > span:not(.ct-bar)").all_inner_texts()]
    assert ends == pytest.approx([-added.abs().max().item(), added.abs().max().item()], rel=1e-3)
    strongest = added[0, 0].abs() == added.abs().max()
    assert set(pixels(page, 2)[strongest].tolist()) <= {33, 178}  # the two ends of the colours


def test_a_photograph_is_dropped_or_pasted(page):
    box(page, "Soften first").fill("0")
    for how, shape in (("drop", (30, 70)), ("paste", (80, 50))):
        grey = (255 * picture(*shape)).round().to(torch.uint8)
        give(page, grey.numpy(), how)
        settle(page)
        assert torch.equal(pixels(page, 0), grey)


def test_what_a_step_and_all_steps_do_is_said(page):
    facts = page.locator(".ct-facts")
    angle = 2 * 0.5 / 256
    assert f"{math.degrees(angle):.3f}\u00b0 clockwise, size unchanged" in facts.inner_text()
    assert f"(2b/w = {angle:.5f} radians)" in facts.inner_text()
    assert f"All 5 together: about {math.degrees(5 * angle):.2f}\u00b0 clockwise" in facts.inner_text()
    box(page, "Zoom a").fill("-1")
    box(page, "Rotation b").fill("0")
    settle(page)
    assert "no turn, 0.781\u00a0% larger (2a/w = \u22120.00781)" in facts.inner_text()
    assert f"size \u00d7\u00a0{math.exp(10 / 256):.2f}" in facts.inner_text()
    box(page, "Zoom a").fill("0")
    finish(page, 5)
    assert "nothing moves" in page.locator(".ct-verdict").inner_text()


def test_haste_blows_up_and_says_so(page):
    assert "The picture holds" in page.locator(".ct-verdict").inner_text()
    box(page, "Rotation b").fill("2")
    box(page, "Times applied").fill("100")
    page.get_by_text("The numbers blow up").wait_for()


def test_a_first_drag_of_the_centre_does_not_blow_up(browser, tmp_path):
    """As it opens, with the centre dragged into a corner, the picture is still one."""
    with opened(browser, tmp_path, labs.twist_lab(images.sample("chelsea"))) as page:
        finish(page, 60)
        photograph(page).click(position={"x": 2, "y": 2})
        finish(page, 60)
        assert value(page, "Centre x") < -0.95
        page.wait_for_timeout(300)
        assert "blow up" not in page.locator(".ct-verdict").inner_text()


def test_the_centre_moves_by_keys(page):
    assert kernel_on_the_page(page) == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    photo = photograph(page)
    photo.press("ArrowRight")
    assert value(page, "Centre x") == pytest.approx(8 / 256, abs=1e-3)  # four pixels of 256
    photo.press("Shift+ArrowUp")
    assert value(page, "Centre y") == pytest.approx(-32 / 256, abs=1e-3)
    settle(page)
    kernel = kernels.identity() + 8 / 256 * 0.5 * kernels.sobel_y() + 32 / 256 * 0.5 * kernels.sobel_x()
    assert kernel_on_the_page(page) == pytest.approx(kernel.flatten().tolist(), abs=1e-4)
    assert "Centre at x 0.031, y \u22120.125." in page.inner_text(".ct-lab")
    page.get_by_role("button", name="Centre in the middle").press("Enter")
    settle(page)
    assert kernel_on_the_page(page)[4] == 1 and value(page, "Centre x") == 0


def test_the_centre_is_dragged_by_mouse_and_by_finger(page):
    photo = photograph(page)
    photo.scroll_into_view_if_needed()
    area = photo.bounding_box()
    at = lambda x, y: (area["x"] + area["width"] * x, area["y"] + area["height"] * y)  # noqa: E731
    page.mouse.move(*at(0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*at(0.25, 0.5), steps=4)
    page.mouse.up()
    assert value(page, "Centre x") == pytest.approx(-0.5, abs=0.01)
    page.mouse.click(*at(0.5, 0.75))
    assert value(page, "Centre x") == pytest.approx(0, abs=0.01)
    handle = page.locator(".ct-handle").bounding_box()
    assert handle["x"] + handle["width"] / 2 == pytest.approx(at(0.5, 0)[0], abs=1.5)
    assert min(handle["width"], handle["height"]) >= 44
    session = page.context.new_cdp_session(page)
    touch = lambda kind, *points: session.send(  # noqa: E731
        "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})
    touch("touchStart", at(0.5, 0.75))
    for share in (0.55, 0.65, 0.75):
        touch("touchMove", at(share, 0.75))
    touch("touchEnd")
    assert value(page, "Centre x") == pytest.approx(0.5, abs=0.02)


def test_step_by_step_and_reset(page):
    assert page.get_by_role("button", name="Play").count() == 0  # the page asks for reduced motion
    page.get_by_role("button", name="Back to the start").press("Enter")
    finish(page, 0, 5)
    start = pixels(page, 0)
    assert torch.equal(pixels(page, 1), start)
    page.get_by_role("button", name="Apply once").press("Enter")
    finish(page, 1, 5)
    assert not torch.equal(pixels(page, 1), start)
    page.get_by_role("button", name="To the end").click()
    finish(page, 5)
    page.get_by_role("button", name="Apply once").press("Enter")  # there is none left
    finish(page, 5)
    page.get_by_role("slider", name="Zoom a").press("ArrowRight")
    photograph(page).press("ArrowDown")
    page.get_by_role("button", name="Reset").click()
    assert [value(page, name) for name in ("Zoom a", "Rotation b", "Centre y")] == [0, 0.5, 0]


def test_play_moves_and_pause_holds(browser, tmp_path):
    lab = labs.twist_lab(images.sample("chelsea"), steps=40)
    with opened(browser, tmp_path, lab, motion="no-preference") as page:
        finish(page, 40)
        frames, held, caption = played_and_paused(page, ".ct-two")
        assert frames > 3 and held and not caption.startswith("after 40")
        page.get_by_role("button", name="Play").click()
        finish(page, 40)


def test_what_is_no_number_is_refused_and_the_last_value_kept(page):
    before = pixels(page, 1), page.get_by_label("The same layer in PyTorch").inner_text()
    for name, bad, good in (("Rotation b", "NaN", 0.5), ("Times applied", "2.5", 5), ("Centre y", "1e9", 0),
                            ("Zoom a", "", 0)):
        box(page, name).fill(bad)
        assert box(page, name).get_attribute("aria-invalid") == "true"
        assert "stays in use" in page.locator("p.ct-fault[role=status]").last.inner_text()
        assert page.get_by_label("The same layer in PyTorch").inner_text() == before[1]
        box(page, name).press("Escape")
        assert box(page, name).get_attribute("aria-invalid") is None and value(page, name) == good
    settle(page)
    assert torch.equal(pixels(page, 1), before[0])


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "dark")])
def test_axe_and_width(browser, tmp_path, width, theme):
    lab = labs.twist_lab(images.sample("chelsea"), steps=2, center=(0.3, -0.2))
    with opened(browser, tmp_path, lab, width=width, theme=theme, motion="no-preference") as page:
        box(page, "Zoom a").fill("NaN")
        page.evaluate(AXE)
        assert page.evaluate(AXE_RUN) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_light_and_the_same_every_time():
    first, second = (labs.twist_lab(images.sample("chelsea"))._repr_html_() for _ in range(2))
    assert first == second
    assert len(re.sub(r'src="data:[^"]*"', "", first)) < 60_000
    assert 'alt="The photograph of this chapter"' in first and "<noscript><p>Here a lab turns" in first


@pytest.mark.parametrize("bad", [{"a": 3}, {"b": float("nan")}, {"steps": 0}, {"steps": 2.5}, {"center": (0, 0, 0)}])
def test_the_call_refuses_what_makes_no_lab(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        labs.twist_lab(images.sample("chelsea"), **bad)
