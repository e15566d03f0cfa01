"""The channel board in Chromium: boards and measures against convtwist.channels, and every way to work it."""

import json
import math
import re

import pytest
import torch
from lab_bench import AXE, AXE_RUN, functions, settle
from lab_pages import LabPages

from convtwist import ConvTwist2d, channels, labs

torch.set_num_threads(1)
NAMES = ("connections", "measures", "ranges", "misfit")
EXTRA = """
const spelled = (value) => (value === Infinity ? "inf" : value);
const measures = (settings, alternate, residual, layers) => {
  const [plain, permuted] = [connections(settings[0], settings[1]), connections(...settings)];
  const boards = alternate ? [plain, permuted] : [permuted];
  const both = boards.reduce(union);
  const walk = stack(boards, residual);
  return JSON.stringify({ near: spelled(pathLength(both)), far: spelled(pathLength(both, true)),
    tight: clustering(both), depth: walk.depth(),
    reached: [...walk.at(layers).data], convolved: [...walk.convolved(layers).data] });
};
"""
KINDS = [(None, 1), ("cycle", 1), ("4-cycle", 1), ("shuffle", 1), ("small_world", 0), ("small_world", 1),
         ("small_world", 2)]
CELLS = """name => {
  const cells = [];
  const path = within(`.ct-board .${name}`)[0].getAttribute("d");
  for (const [, x, y, width] of path.matchAll(/M(\\d+) (\\d+)h(\\d+)/g))
    for (let i = 0; i < Number(width); i++) cells.push([Number(y), Number(x) + i]);
  return cells;
}"""


def order(size, groups, kind, links=1):
    return channels.small_world(size, groups, links=links) if kind == "small_world" else kind


def board(size, groups, kind, links=1):
    return channels.connections(size, groups, order(size, groups, kind, links))


def product(left, right):
    return (left.float() @ right.float()) > 0


@pytest.fixture(scope="module")
def bench(browser):
    """Call the lab's own functions."""
    with functions(browser, ("core.mjs", "channel_graph.mjs"), NAMES, EXTRA) as call:
        yield call


@pytest.fixture(scope="module")
def pages(browser, tmp_path_factory):
    pages = LabPages(browser, tmp_path_factory.mktemp("boards"))
    yield pages
    pages.close()


@pytest.fixture
def page(pages):
    """Open the lab on the thread's board."""
    page = pages.open(labs.channel_board(64, 16, "4-cycle"))
    yield page
    page.close()


@pytest.mark.parametrize(("size", "groups"), [(64, 16), (24, 8), (16, 16), (9, 3), (6, 1), (2, 2)])
def test_boards_and_measures_are_the_package_s(bench, size, groups):
    for kind, links in KINDS:
        if (kind in ("4-cycle", "small_world") and groups % 8) or links > size // groups:
            continue
        settings = [size, groups, kind or "none", links]
        plain, permuted = board(size, groups, None), board(size, groups, kind, links)
        assert torch.equal(bench("connections", *settings).bool(), permuted)
        for alternate, residual in ((False, True), (False, False), (True, True), (True, False)):
            both = plain | permuted if alternate else permuted
            found = json.loads(bench("measures", settings, alternate, residual, 3))
            assert float(found["near"]) == channels.path_length(both)
            assert float(found["far"]) == channels.path_length(both, directed=True)
            assert found["tight"] == pytest.approx(channels.clustering(both), abs=1e-14)
            boards = [plain, permuted] * (2 * size) if alternate else permuted
            assert found["depth"] == channels.depth_to_reach_all(boards, residual=residual)
            state = torch.eye(size).bool()
            for layer in [plain, permuted, plain] if alternate else [permuted] * 3:
                through = product(layer, state)
                state = through | state if residual else through
            assert torch.equal(torch.tensor(found["reached"]).view(size, size).bool(), state)
            assert torch.equal(torch.tensor(found["convolved"]).view(size, size).bool(), through)


def test_numbers_are_listed_in_runs(bench):
    assert bench("ranges", [0, 1, 2, 3, 8, 10, 11]) == "0\u20133, 8, 10\u201311"


def test_the_board_is_drawn_cell_by_cell(page):
    def drawn(name):
        result = torch.zeros(64, 64, dtype=torch.bool)
        for row, column in page.evaluate(CELLS, name):
            result[row, column] = True
        return result

    assert torch.equal(drawn("ct-on"), board(64, 16, "4-cycle"))
    assert torch.equal(drawn("ct-skip"), torch.eye(64).bool())
    page.get_by_role("combobox", name="Permutation").select_option("small_world")
    page.get_by_role("textbox", name="Layers stacked").fill("3")
    settle(page)
    world, before = board(64, 16, "small_world"), torch.eye(64).bool()
    for _ in range(2):
        before = product(world, before) | before
    through = product(world, before)
    assert torch.equal(drawn("ct-on") | drawn("ct-new"), through)
    assert torch.equal(drawn("ct-new"), through & ~before)
    reached = int((through | before).sum())
    caption = f"after 3 layers: {reached:,} of 4,096 pairs reached ({100 * reached / 4096:.1f}\u00a0%)"
    assert caption in page.inner_text(".ct-lab")
    page.get_by_role("checkbox", name="skip connection").uncheck()
    settle(page)
    assert not drawn("ct-skip").any()


def test_a_cell_says_who_reads_whom_by_keys_and_by_pointer(page):
    frame = page.get_by_role("application", name="Channel board, choose a cell")
    said = page.locator(".ct-sum")
    assert said.inner_text() == "Output 5 reads inputs 0\u20133. Input 0 is among them; it is read by outputs 4\u20137."
    for key in ("ArrowDown", "Shift+ArrowDown", "ArrowRight"):
        frame.press(key)
    assert said.inner_text() == (
        "Output 10 reads inputs 4\u20137. Input 1 is not among them; it is read by outputs 4\u20137.")
    frame.press("End")
    assert "Input 63 is not among them; it is read by outputs 48\u201351." in said.inner_text()
    frame.scroll_into_view_if_needed()
    area = frame.bounding_box()
    place = lambda cell: (cell + 0.3 + 0.5) / 64.6  # noqa: E731
    page.mouse.move(area["x"] + area["width"] * place(32), area["y"] + area["height"] * place(20))
    assert said.inner_text().startswith("Output 20 reads inputs 16\u201319. Input 32 is not")
    page.locator(".ct-node").nth(8).click()
    assert said.inner_text().startswith("Output 32 reads inputs 44\u201347.")
    assert page.locator(".ct-node.ct-heard").all_text_contents() == ["11"]
    assert page.locator(".ct-link.ct-lit").count() == 1 and page.locator(".ct-link").count() == 16


def test_the_lines_to_copy_give_the_numbers_on_the_page(page):
    written = lambda value: "infinite" if value == math.inf else f"{round(value, 3):g} links"  # noqa: E731
    for kind, alternate, residual in (("cycle", False, True), ("small_world", True, True), ("shuffle", False, False),
                                      ("4-cycle", True, True)):
        page.get_by_role("combobox", name="Permutation").select_option(kind)
        page.get_by_role("combobox", name="Stack").select_option("turns" if alternate else "all")
        page.get_by_role("checkbox", name="skip connection").set_checked(residual)
        settle(page)
        shown = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
        lines = page.get_by_label("The same in PyTorch").inner_text().strip().splitlines()
        names = {**vars(channels), "ConvTwist2d": ConvTwist2d}
        exec("\n".join([*lines[:-3], f"lengths = {lines[-3]}", f"depth = {lines[-2]}", lines[-1]]), names)
        near, far, tight = names["lengths"]
        assert (shown["Path length"], shown["Path length along the arrows"]) == (written(near), written(far))
        assert float(shown["Clustering"]) == round(tight, 3)
        assert shown["Layers to reach all"] == str(names["depth"] or "never")
        weights = names["layer"].weight.numel()
        assert shown["Weights of a layer"] == f"{weights:,} instead of {64 * 64 * 9:,}"
        assert shown["Weights saved"] == f"{64 * 64 * 9 - weights:,}: 1 in 16 is left"
        verdict = page.locator(".ct-verdict").inner_text()
        assert verdict.startswith(f"After {names['depth']} layers" if names["depth"] else "However many layers")


def test_settings_that_do_not_fit_are_refused_and_the_board_stays(page):
    groups, message = page.get_by_role("spinbutton", name="Groups"), page.locator("p.ct-fault")
    before = page.locator(".ct-board svg").inner_html()
    for typed, words in (("", "whole number"), ("15", "64 channels do not split into 15"), ("1000", "from 1 to 128"),
                         ("2", "need a multiple of 4, not 2")):
        groups.fill(typed)
        settle(page)
        assert groups.get_attribute("aria-invalid") == "true"
        assert words in message.inner_text()
        assert "Still on show: 64 channels in 16 groups, 4-cycles." in message.inner_text()
        assert page.locator(".ct-board svg").inner_html() == before
    layers = page.get_by_role("textbox", name="Layers stacked")
    layers.fill("NaN")
    assert layers.get_attribute("aria-invalid") == "true" and "Layers stacked" in message.inner_text()
    page.get_by_role("button", name="Reset").click()
    assert groups.input_value() == "16" and groups.get_attribute("aria-invalid") is None and not message.inner_text()
    # Two fields that only fit together can be typed one after the other.
    page.get_by_role("spinbutton", name="Channels").fill("36")
    groups.fill("12")
    settle(page)
    assert not message.inner_text() and "12 groups of 3 channels" in page.inner_text(".ct-lab")
    page.get_by_role("combobox", name="Permutation").select_option("small_world")
    page.get_by_role("spinbutton", name="Links per group").fill("4")
    assert "at most 3, not 4" in message.inner_text()


def test_no_text_names_a_colour_that_changes_with_the_theme(page):
    assert "256 of 4,096 cells marked" in page.inner_text(".ct-lab")
    assert "A marked cell of one layer costs nine weights" in page.inner_text(".ct-lab")
    assert not re.search(r"\b(dark|white|black)\b", page.locator(".ct-lab").text_content())


def test_the_smallest_and_the_largest_boards(page):
    page.get_by_role("combobox", name="Permutation").select_option("none")
    for size, groups in ((2, 1), (128, 128), (128, 1)):
        page.get_by_role("spinbutton", name="Groups").fill("1")
        page.get_by_role("spinbutton", name="Channels").fill(str(size))
        page.get_by_role("spinbutton", name="Groups").fill(str(groups))
        settle(page)
        assert page.locator(".ct-node").count() == groups
        assert f"{9 * size**2 // groups:,} instead of" in page.inner_text("dl")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "dark")])
def test_axe_and_width(pages, width, theme):
    lab = labs.channel_board(32, 8, "small_world", layers=2, alternate=True)
    page = pages.open(lab, width=width, theme=theme)
    page.get_by_role("spinbutton", name="Groups").fill("7")
    page.evaluate(AXE)
    assert page.evaluate(AXE_RUN) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_board_and_a_sentence_remain(pages):
    page = pages.open(labs.channel_board(), scripts=False)
    assert "256 cells are marked" in page.get_by_role("img").get_attribute("alt")
    assert "Here a lab draws which input channel feeds which output channel" in page.inner_text("main")


def test_light_and_the_same_every_time():
    first, second = (labs.channel_board()._repr_html_() for _ in range(2))
    assert first == second
    assert len(re.sub(r'src="data:[^"]*"', "", first)) < 60_000


@pytest.mark.parametrize(("arguments", "message"), [
    ({"groups": 15}, "15"), ({"permute": "ring"}, "ring"), ({"channels": 1000}, "128"), ({"groups": 2}, "4-cycle"),
    ({"layers": 0}, "layers"), ({"permute": "small_world", "links": 5}, "links"), ({"links": True}, "links"),
])
def test_the_call_refuses_what_makes_no_board(arguments, message):
    with pytest.raises(ValueError, match=message):
        labs.channel_board(**arguments)
