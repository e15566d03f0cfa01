"""The twist lab in Chromium: its numbers against the layer, and every way to work it."""

import re

import numpy as np
import pytest
import torch
from lab_bench import AXE, AXE_RUN, functions, give, opened, pixels, settle

from convtwist import ConvTwist2d, images, kernels, labs

torch.set_num_threads(1)
NAMES = ("twistTerm", "twistGenerator", "perStep", "absorbed")
SETTINGS = [{"a": 0.7, "b": -0.4, "cx": 0.0, "cy": 0.0}, {"a": -0.3, "b": 0.9, "cx": 0.25, "cy": -0.6}]


def layer(a, b, cx, cy):
    """The layer that the lab says it is, with its centre as a parameter."""
    made = ConvTwist2d(1, 1, padding=1, bias=False, centers=True, padding_mode="replicate", dtype=torch.float64)
    with torch.no_grad():
        made.weight.zero_()
        made.twist.copy_(torch.tensor([a, b]).view(2, 1, 1))
        made.center.copy_(torch.tensor([cx, cy]).view(2, 1))
    return made


def kernel_on_the_page(page):
    return [float(cell.get_attribute("aria-label").split(": ")[1].replace("\u2212", "-"))
            for cell in page.locator(".ct-kernels [aria-label^='row']").all()]


@pytest.fixture
def page(browser, tmp_path):
    """Open the lab on the cat."""
    with opened(browser, tmp_path, labs.twist_lab(images.sample("chelsea"), b=0.5, steps=5)) as page:
        page.get_by_text(re.compile("after 5 of 5|5 times")).first.wait_for()
        yield page


@pytest.fixture(scope="module")
def bench(browser):
    """Call the lab's own functions."""
    with functions(browser, ("core.mjs", "operators.mjs", "twist_rules.mjs"), NAMES) as call:
        yield call


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_term_is_the_layer_s(bench, settings):
    image = torch.rand(17, 24, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    with torch.no_grad():
        expected = layer(**settings)(image[None, None])[0, 0]
    torch.testing.assert_close(bench("twistTerm", image, settings), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_absorbed_kernel_makes_the_centre_unnecessary(bench, settings):
    a, b, cx, cy = settings.values()
    kx = a * kernels.sobel_x() - b * kernels.sobel_y()
    ky = b * kernels.sobel_x() + a * kernels.sobel_y()
    expected = kernels.identity() - cx * kx - cy * ky
    torch.testing.assert_close(bench("absorbed", settings).view(3, 3), expected.double(), rtol=1e-5, atol=1e-6)


def test_a_step_turns_by_two_b_over_the_longer_side(bench):
    assert bench("perStep", {"height": 40, "width": 64}, {"a": 0.5, "b": 0.25}).tolist() == [1 / 64, 0.5 / 64]


def test_the_term_on_the_page_follows_the_sliders(browser, tmp_path):
    grey = (np.add.outer(np.arange(40), 3 * np.arange(60)) % 256).astype(np.uint8)
    with opened(browser, tmp_path, labs.twist_lab(images.sample("chelsea"), b=0.5, steps=1, soften=0)) as page:
        give(page, grey)
        before = pixels(page, 2)
        page.get_by_role("textbox", name="Rotation b").fill("-0.5")
        settle(page)
        assert not torch.equal(pixels(page, 2), before)


def test_the_centre_moves_by_keys_and_by_mouse(page):
    assert kernel_on_the_page(page) == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    photo = page.get_by_role("application", name="Photograph, move the centre")
    photo.press("ArrowRight")
    centre = float(page.get_by_role("textbox", name="Centre x").input_value())
    assert centre > 0
    moved = kernel_on_the_page(page)
    assert moved[4] == 1 and moved[0] == pytest.approx(-centre * 0.5 / 8, abs=2e-3)  # -cx Kx, and Kx = -b dy
    box = photo.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    shown = page.get_by_role("textbox", name="Centre x").input_value().replace("\u2212", "-")
    assert float(shown) == pytest.approx(-0.5, abs=0.02)
    page.get_by_role("button", name="Centre in the middle").press("Enter")
    assert kernel_on_the_page(page)[4] == 1 and page.get_by_role("textbox", name="Centre x").input_value() == "0"


def test_apply_and_reset(page):
    assert page.get_by_role("button", name="Play").count() == 0  # the page asks for reduced motion
    page.get_by_role("textbox", name="Times applied").fill("3")
    settle(page)
    page.get_by_role("button", name="Apply once").click()
    page.get_by_role("textbox", name="Zoom a").fill("-0.5")
    settle(page)
    assert "ConvTwist2d" in page.get_by_label("The same layer in PyTorch").inner_text()
    page.get_by_role("button", name="Reset").click()
    assert page.get_by_role("textbox", name="Rotation b").input_value() == "0.5"


def test_play_and_pause(browser, tmp_path):
    lab = labs.twist_lab(images.sample("chelsea"), steps=100)
    with opened(browser, tmp_path, lab, motion="no-preference") as page:
        before = pixels(page, 1)
        page.get_by_role("button", name="Play").click()
        page.get_by_role("button", name="Pause").click()
        settle(page)
        assert not torch.equal(pixels(page, 1), before)


def test_what_is_no_number_is_refused_and_the_last_value_kept(page):
    field = page.get_by_role("textbox", name="Rotation b")
    before = pixels(page, 1)
    for bad in ("NaN", "", "1e9"):
        field.fill(bad)
        settle(page)
        assert field.get_attribute("aria-invalid") == "true"
        assert page.locator(".ct-fault").first.inner_text().strip()
    assert torch.equal(pixels(page, 1), before)
    field.fill("0.25")
    settle(page)
    assert field.get_attribute("aria-invalid") != "true"


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_axe_and_width(browser, tmp_path, width, theme):
    with opened(browser, tmp_path, labs.twist_lab(images.sample("chelsea"), steps=2), width=width, theme=theme) as page:
        settle(page)
        page.add_script_tag(content=AXE)
        assert page.evaluate(AXE_RUN) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("bad", [{"a": 3}, {"b": float("nan")}, {"steps": 0}, {"steps": 2.5}, {"center": (0, 0, 0)}])
def test_the_call_refuses_what_makes_no_lab(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        labs.twist_lab(images.sample("chelsea"), **bad)
