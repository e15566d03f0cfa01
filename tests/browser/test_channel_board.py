"""The channel board in Chromium: boards and measures against convtwist.channels, and every way to work it."""

import itertools

import pytest
import torch
from lab_bench import AXE, AXE_RUN, functions, opened, settle

from convtwist import channels, labs

torch.set_num_threads(1)
NAMES = ("connections", "pathLength", "clustering", "depth", "reached")
EXTRA = """
const board = (settings) => connections(...settings);
const depth = (settings, plain) => stack(plain ? [board(plain), board(settings)] : [board(settings)]).depth() ?? -1;
const reached = (settings, n) => stack([board(settings)]).at(n);
"""
KINDS = [None, "cycle", "4-cycle", "shuffle", "small_world"]


def ours(size, groups, kind, links=1):
    return channels.connections(size, groups,
                                channels.small_world(size, groups, links=links) if kind == "small_world" else kind)


@pytest.fixture(scope="module")
def bench(browser):
    """Call the lab's own functions."""
    with functions(browser, ("core.mjs", "channel_graph.mjs"), NAMES, EXTRA) as call:
        yield call


@pytest.mark.parametrize(("size", "groups"), [(64, 16), (32, 8), (24, 8)])
def test_boards_and_measures_are_the_package_s(bench, size, groups):
    for kind, links in itertools.product(KINDS, (1, 2)):
        board = ours(size, groups, kind, links)
        assert torch.equal(bench("connections", size, groups, kind or "none", links).bool(), board)
        plane = board.double()
        for directed in (False, True):
            length = bench("pathLength", plane, directed)
            expected = channels.path_length(board, directed=directed)
            assert length == pytest.approx(expected) or (length is None and expected == float("inf"))
        assert bench("clustering", plane) == pytest.approx(channels.clustering(board))
        settings = [size, groups, kind or "none", links]
        assert bench("depth", settings, None) == (channels.depth_to_reach_all(board) or -1)


def test_a_stack_reaches_what_the_package_says(bench):
    board = ours(64, 16, "small_world").float()
    known = torch.eye(64)
    for layers in (1, 2, 3):
        known = ((board @ known + known) > 0).float()
        assert torch.equal(bench("reached", [64, 16, "small_world", 1], layers).float(), known)


@pytest.fixture
def page(browser, tmp_path):
    """Open the lab on the thread's board."""
    with opened(browser, tmp_path, labs.channel_board(64, 16, "4-cycle")) as page:
        yield page


def test_a_cell_says_who_reads_whom_by_keys_and_by_mouse(page):
    board = page.get_by_role("application", name="Channel board, choose a cell")
    board.press("ArrowDown")
    assert page.get_by_text("Output 6 reads inputs 0\u20133").or_(page.get_by_text("Output 1 reads")).first.is_visible()
    box = board.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * (20.8 / 64.6))
    settle(page)
    order = channels.connections(64, 16, "4-cycle")[20].nonzero().flatten().tolist()
    page.get_by_text(f"Output 20 reads inputs {order[0]}\u2013{order[-1]}").first.wait_for()


def test_the_facts_follow_the_settings(page):
    assert page.get_by_text("never", exact=True).first.is_visible()
    page.get_by_role("combobox", name="Permutation").select_option("shuffle")
    settle(page)
    facts = page.locator(".convtwist-lab").inner_text()
    assert "2.32" in facts and "2,304 instead of 36,864" in " ".join(facts.split())
    page.get_by_role("textbox", name="Layers stacked").fill("3")
    settle(page)
    assert "4,096 of 4,096" in page.locator(".convtwist-lab").inner_text()


@pytest.mark.parametrize("bad", ["", "15", "1000"])
def test_groups_that_do_not_fit_are_refused_and_the_board_stays(page, bad):
    board = page.locator(".ct-board svg").inner_html()
    field = page.get_by_role("spinbutton", name="Groups")
    field.evaluate("(field, value) => { field.value = value; field.dispatchEvent(new Event('input')); }", bad)
    settle(page)
    assert field.get_attribute("aria-invalid") == "true"
    assert page.locator(".ct-board svg").inner_html() == board
    page.get_by_role("button", name="Reset").click()
    assert field.input_value() == "16"


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_axe_and_width(browser, tmp_path, width, theme):
    with opened(browser, tmp_path, labs.channel_board(32, 8, "small_world"), width=width, theme=theme) as page:
        page.add_script_tag(content=AXE)
        assert page.evaluate(AXE_RUN) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("arguments", "message"), [
    ((64, 15), "15"), ((64, 16, "ring"), "ring"), ((1000, 10), "128"), ((64, 6, "4-cycle"), "4"),
])  # fmt: skip
def test_the_call_refuses_what_makes_no_board(arguments, message):
    with pytest.raises(ValueError, match=message):
        labs.channel_board(*arguments)
