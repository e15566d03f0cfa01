"""The receptive field in Chromium: fields and places against PyTorch's gradients, and every way to work it."""

import json
import random
import re

import numpy as np
import pytest
import torch
from lab_bench import AXE, AXE_RUN, functions, give, opened, settle

from convtwist import images, labs
from convtwist.arithmetic import receptive_field

torch.set_num_threads(1)
EXTRA = """
const seen = (input, layers, cell) => {
  const stages = fieldStages(input, layers), last = stages.at(-1);
  const [from, to] = seenBy(last, cell);
  return JSON.stringify({ sizes: stages.map(one => one.size), field: last.field, from, to });
};
"""


@pytest.fixture
def page(browser, tmp_path):
    """Open the lab on the cat."""
    with opened(browser, tmp_path, labs.receptive_field(images.sample("chelsea"))) as page:
        page.wait_for_function("within('.ct-seen rect').length")
        yield page


def said(page):
    return page.locator(".ct-sum").inner_text().replace("\u2212", "-")


def row(page, number):
    return page.get_by_role("group", name=f"Layer {number}", exact=True)


def test_the_field_is_where_the_gradient_is(browser):
    """Sizes, field and place of random stacks: a cell of the last map depends on just the pixels from ... to ..."""
    draw, compared = random.Random(0), 0
    with functions(browser, ("core.mjs", "field_rules.mjs"), ["seen"], EXTRA) as call:
        while compared < 40:
            layers = [{"kernel": draw.randint(1, 5), "stride": draw.randint(1, 3), "dilation": draw.randint(1, 3),
                       "padding": draw.randint(0, 3)} for _ in range(draw.randint(1, 4))]
            input, sizes = torch.ones(1, 1, draw.randint(30, 120), dtype=torch.float64, requires_grad=True), []
            u = input
            try:
                for one in layers:
                    weight = torch.ones(1, 1, one["kernel"], dtype=torch.float64)
                    u = torch.conv1d(u, weight, stride=one["stride"], padding=one["padding"], dilation=one["dilation"])
                    sizes.append(u.shape[-1])
            except RuntimeError:
                continue
            cell = draw.randrange(sizes[-1])
            gradient = torch.autograd.grad(u[0, 0, cell], input)[0][0, 0]
            expected = gradient.nonzero().flatten().tolist()
            found = json.loads(call("seen", input.shape[-1], layers, cell))
            assert found["sizes"] == sizes
            numbers = [(one["kernel"], one["stride"], one["dilation"]) for one in layers]
            assert found["field"] == receptive_field(numbers)
            if expected and found["from"] >= 0 and found["to"] < input.shape[-1]:
                assert (found["from"], found["to"]) == (expected[0], expected[-1]), layers
                compared += 1


def test_the_formula_and_the_lines_to_copy(page):
    assert page.locator(".ct-verdict").inner_text().startswith("One cell of the last map sees 10 \u00d7 10 pixels")
    formula = page.locator(".ct-formula").inner_text().replace("\u2212", "-").replace("\u00d7", "*")
    left, _, right = formula.removeprefix("field = ").rpartition(" = ")
    assert eval(left) == int(right) == 10
    code = page.get_by_label("The same stack in PyTorch").inner_text()
    names = {}
    exec(code.replace("receptive_field([", "field = receptive_field(["), names)
    assert names["field"] == 10
    out = names["net"](torch.zeros(1, 1, 170, 256))
    shown = [re.search(r"map (\d+) \u00d7 (\d+)", text) for text in page.locator(".ct-after").all_inner_texts()]
    assert [int(side) for side in shown[-1].groups()] == list(out.shape[2:])


def test_layers_are_changed_added_and_removed(page):
    row(page, 1).get_by_label("Stride").fill("2")
    row(page, 4).get_by_label("Dilation").fill("3")
    row(page, 4).get_by_label("Padding").fill("3")
    settle(page)
    assert page.locator(".ct-formula").inner_text().endswith("= 33")  # 1 + 2 + 2 * 2 + 1 * 2 + 2 * 3 * 4
    page.get_by_role("button", name="Add a layer").click()
    settle(page)
    assert page.locator(".ct-layer").count() == 5 and page.locator(".ct-formula").inner_text().endswith("= 41")
    row(page, 2).get_by_role("button", name="Remove").press("Enter")
    settle(page)
    assert page.locator(".ct-layer").count() == 4
    row(page, 2).get_by_label("Padding").fill("2")  # the pooling layer has moved up
    settle(page)
    assert "pads a pooling window by at most half of its kernel, here 1" in page.locator(".ct-verdict").inner_text()
    row(page, 2).get_by_role("combobox", name="Layer").select_option("conv")
    settle(page)
    assert "One cell of the last map sees" in page.locator(".ct-verdict").inner_text()
    for _ in range(9):
        page.get_by_role("button", name="Add a layer").dispatch_event("click")
    assert page.locator(".ct-layer").count() == 10
    page.get_by_role("button", name="Start again").click()
    assert page.locator(".ct-layer").count() == 4
    for number in (2, 2, 2):
        row(page, number).get_by_role("button", name="Remove").click()
    assert page.get_by_role("button", name="Remove").count() == 0


def test_the_frame_moves_by_mouse_and_keys(page):
    photo = page.get_by_role("application")
    photo.press("Control+Home")
    settle(page)
    assert said(page).startswith("Row 0, column 0 of the last map sees rows -4 to 5 and columns -4 to 5")
    assert "is padding" in said(page)
    photo.press("ArrowRight")
    photo.press("Shift+ArrowDown")
    settle(page)
    assert said(page).startswith("Row 5, column 1 of the last map sees rows 6 to 15 and columns -2 to 7")
    assert said(page).endswith("of the photograph; what lies outside 0 to 169 and 0 to 255 is padding.")
    photo.scroll_into_view_if_needed()
    box = photo.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 100.5 / 256, box["y"] + box["height"] * 60.5 / 170)
    settle(page)
    assert said(page) == "Row 30, column 50 of the last map sees rows 56 to 65 and columns 96 to 105 of the photograph."
    frame = page.locator(".ct-seen .ct-light").last
    assert [float(frame.get_attribute(name)) for name in ("x", "y", "width", "height")] == [96 - 128, 56 - 85, 10, 10]


def test_what_does_not_fit_is_said(page):
    row(page, 1).get_by_label("Kernel").fill("99")
    assert page.get_by_text("Layer 1: kernel needs a whole number from 1 to 11; 3 stays in use.").is_visible()
    row(page, 1).get_by_label("Kernel").fill("5")
    assert not page.locator("p.ct-fault").first.inner_text()
    give(page, np.zeros((3, 3), np.uint8))
    row(page, 1).get_by_label("Padding").fill("0")
    settle(page)
    assert "Layer 1 finds no place for its kernel" in page.locator(".ct-verdict").inner_text()
    for bad, words in (([], "1 to 10 layers"), ([("dense", 3)], "layer 1"), ([("conv", 3), ("conv", 12)], "layer 2"),
                       ([("conv", 3, 0)], "stride of layer 1"), ([("pool",)], "layer 1")):
        with pytest.raises(ValueError, match=words):
            labs.receptive_field(images.sample("chelsea"), bad)


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_axe_and_width(browser, tmp_path, width, theme):
    with opened(browser, tmp_path, labs.receptive_field(images.sample("chelsea")), width=width, theme=theme) as page:
        row(page, 1).get_by_label("Kernel").fill("")
        page.locator("summary").click()
        page.evaluate(AXE)
        assert page.evaluate(AXE_RUN) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
