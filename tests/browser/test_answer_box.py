"""The answer box in Chromium: what is typed is judged as Python would, by keyboard, in light and dark."""

import html
import json
import re

import numpy as np
import pytest
import torch
from lab_pages import LabPages
from playwright.sync_api import expect
from test_labs_on_a_page import AXE, RUN_AXE

from convtwist import labs

SIX = [-1, 1, 0, 0, 1, -1]


@pytest.fixture
def pages(browser, tmp_path):
    """Open boxes on bare pages; the test fails on any console error or outside request."""
    opened = LabPages(browser, tmp_path)
    yield opened
    opened.close()


def verdict(page, typed: str, which: int = 0) -> str:
    """Type an answer, press Enter and return the sentence that appears."""
    page.get_by_role("textbox").nth(which).fill(typed)
    page.get_by_role("textbox").nth(which).press("Enter")
    return page.get_by_role("status").nth(which).inner_text()


def test_right_and_wrong(pages):
    page = pages.open(labs.answer_box(SIX, asks="Six numbers", hint="Start on the left."))
    for right in ("-1 1 0 0 1 -1", "[-1, 1, 0, 0, 1, -1]", "(\u22121; 1; 0; -0; 1.0; -2/2)", " -1,1,0,0,1,-1, ",
                  "-1 1 0 .0 1e0 -1"):
        assert verdict(page, right) == "Right.", right
    for typed, said in {
        "-1 1 0 0 1 1": "Not yet: 5 of 6 entries are right; look at entry 6. Start on the left.",
        "1 1 0 0 1 1": "Not yet: 4 of 6 entries are right; look at entry 1. Start on the left.",
        "-1.4 1 0 0 1 -1": "Not yet: 5 of 6 entries are right; look at entry 1. Start on the left.",
        "1 2": "6 entries are asked for, you typed 2.",
        "-1 1 o 0 1 -1": "\u201co\u201d is not a number.",
        "-1 1 1/0 0 1 -1": "\u201c1/0\u201d is not a number.",
        " , ": "Type your answer first.",
    }.items():
        assert verdict(page, typed) == said


def test_fractions_words_and_large_numbers(pages):
    cases = {
        1 / 3: {"1/3": "Right.", "0.3333": "Right.", ".333": "Right.", "0.33": "Not yet. Give 3 decimals."},
        36864: {"36864": "Right.", "36865": "Not yet.", "36864.01": "Not yet.",
                "36,864": "One entry is asked for, you typed 2. Write a number without commas."},
        (True, "left", 2): {"True, LEFT, 2": "Right.", "yes left 2.0": "Right.", "1 left 2": "Entry 1 is a word.",
                            "no left 2": "Not yet: 2 of 3 entries are right; look at entry 1.",
                            "yes left two": "\u201ctwo\u201d is not a number."},
        -0.0625: {"-1/16": "Right.", "-.0625": "Right.", "0.0625": "Not yet. Give 3 decimals."},
    }
    page = pages.open(*map(labs.answer_box, cases))
    for which, typed_and_said in enumerate(cases.values()):
        for typed, said in typed_and_said.items():
            assert verdict(page, typed, which) == said


def test_python_and_the_page_agree_on_many_numbers(pages):
    draw = np.random.default_rng(0)
    for scale in (1, 1e-3, 1e6):
        numbers = (draw.normal(0, scale, 24)).tolist()
        page = pages.open(labs.answer_box(torch.tensor(numbers, dtype=torch.float64).view(4, 6)))
        assert verdict(page, " ".join(map(repr, numbers))) == "Right."
        off = [n + 0.002 if k == 7 else n for k, n in enumerate(numbers)]
        assert "23 of 24 entries are right; look at entry 8." in verdict(page, " ".join(map(repr, off)))


def test_by_keyboard_and_with_its_keys_kept(pages):
    page = pages.open(labs.answer_box(7, asks="A number"))
    page.keyboard.press("Tab")
    page.keyboard.type("8")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_have_text("Not yet.")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("7")
    expect(page.get_by_role("status")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Right.")
    for role in ("textbox", "button"):
        assert page.get_by_role(role).get_attribute("data-lm-suppress-shortcuts") == "true"
    assert page.get_by_label("A number").input_value() == "7"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_accessible_and_narrow_enough(pages, theme, width):
    page = pages.open(labs.answer_box(7), labs.answer_box(SIX, asks="Six numbers, from left to right"),
                      width=width, theme=theme)
    page.evaluate(AXE)
    for typed in ("7", "8"):
        verdict(page, typed)
        assert not page.evaluate(RUN_AXE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for control in page.get_by_role("textbox").all() + page.get_by_role("button").all():
        assert control.bounding_box()["height"] >= 44


def test_a_theme_of_the_page_reaches_the_box_and_its_rules_do_not(pages):
    box = labs.answer_box(7)._repr_html_()
    hostile = "<style>input, button, form { display: none !important; color: red !important }</style>"
    page = pages.open(body=hostile + box, theme="dark")
    assert verdict(page, "7") == "Right."
    colour = page.get_by_role("textbox").evaluate("e => getComputedStyle(e).color")
    assert colour == "rgb(231, 234, 238)"


def test_without_scripts_a_sentence(pages):
    page = pages.open(labs.answer_box(7), scripts=False)
    assert page.locator("noscript p").is_visible()
    assert page.locator("noscript p").inner_text().startswith("The answer box needs JavaScript. ")


def settings(box: str) -> dict:
    """Return what a box's markup tells its script."""
    return json.loads(html.unescape(re.search(r'data-config="([^"]*)"', box)[1]))


def test_the_page_does_not_hold_the_answer():
    box = labs.answer_box([271828, -3.14159])._repr_html_()
    assert "271828" not in box and "3.14" not in box and "3141" not in box and len(box) < 7000
    assert box == labs.answer_box(torch.tensor([271828, -3.14159], dtype=torch.float64))._repr_html_()
    other = labs.answer_box([271828, -3.14159], asks="Another")._repr_html_()
    assert len({*settings(box)["marks"], *settings(other)["marks"]}) == 4


@pytest.mark.parametrize(("expected", "message"), [
    ([], "1 to 24 entries, got 0"), (torch.zeros(5, 5), "1 to 24 entries, got 25"), ("two words", "one plain word"),
    (float("nan"), "a number or one plain word"), (None, "got None"), (1e13, "too large"), ("1/2", "one plain word"),
])
def test_refuses_what_cannot_be_typed(expected, message):
    with pytest.raises(ValueError, match=message):
        labs.answer_box(expected)
