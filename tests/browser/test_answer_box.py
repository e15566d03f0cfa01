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


JUDGE = """([which, typed]) => {
  const { shadowRoot } = document.querySelectorAll(".convtwist-answer")[which];
  return typed.map(text => {
    shadowRoot.querySelector("input").value = text;
    shadowRoot.querySelector("form").requestSubmit();
    return shadowRoot.querySelector("output").textContent;
  });
}"""


def assert_said(page, cases):
    """Each case holds what is typed into one box, and what the box says to it."""
    for which, (expected, typed_and_said) in enumerate(cases):
        said = dict(zip(typed_and_said, page.evaluate(JUDGE, [which, list(typed_and_said)]), strict=True))
        assert said == typed_and_said, expected


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
        36864: {"36864": "Right.", "36865": "Not yet.", "36864.01": "Not yet.", "36,864": "Right.",
                "36,865": "Not yet. \u201c36,865\u201d was read as 36865.",
                "36,86": "Not yet. \u201c36,86\u201d was read as 36.86.",
                "36,864,1": "One entry is asked for, you typed 3."},
        (True, "left", 2): {"True, LEFT, 2": "Right.", "yes left 2.0": "Right.",
                            "1 left 2": "Entry 1, \u201c1\u201d, should be a word.",
                            "no left 2": "Not yet: 2 of 3 entries are right; look at entry 1.",
                            "yes left two": "\u201ctwo\u201d is not a number."},
        -0.0625: {"-1/16": "Right.", "-.0625": "Right.", "0.0625": "Not yet. Give 3 decimals."},
    }
    assert_said(pages.open(*map(labs.answer_box, cases)), cases.items())


def right(*typed: str) -> dict:
    return dict.fromkeys(typed, "Right.")


def test_numbers_and_words_as_people_write_them(pages):
    """As the book does, with a decimal comma, with signs of their own, or copied from Python."""
    near = "Not yet: 1 of 2 entries are right; look at entry "
    cases = [
        ([73_856, 231_211_008], {
            **right("73,856 231,211,008", "73,856, 231,211,008", "[73_856, 231_211_008]", "73856,231211008",
                    "(73,856; 231211008.0)"),
            "73,856,231,211,008": "2 entries are asked for, you typed 5. Put blanks between them.",
            "73,856 231,211,009": near + "2. \u201c231,211,009\u201d was read as 231211009.",
            "73,85 231,211,008": near + "1. \u201c73,85\u201d was read as 73.85.",
            "73.856 231,211,008": near + "1.",
        }),
        ([0.5, 2], {
            **right("1/2, 2", "0,5 2", "0,5; 2,0", ".5,2", "\u00bd 2", "(\u00bd, 2)", "1 / 2, 2", "1\u20442 2"),
            "0,5,2": "2 entries are asked for, you typed 3. Put blanks between them.",
            "0,5": "Not yet: 0 of 2 entries are right; look at entry 1. Give 3 decimals.",
            "\u00bc 2": near + "1. Give 3 decimals.",
            "0 \u00bd 2": "2 entries are asked for, you typed 3.",
        }),
        (-32, {
            **right(*(f"{dash}32" for dash in "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"),
                    "- 32", "(\u2013 32)"),
            "32": "Not yet.", "- - 32": "Write a minus and its number without a blank.",
            "Yes, No": "\u201cYes\u201d is not a number.", "constructor": "\u201cconstructor\u201d is not a number.",
        }),
        ([-1, 1.5, -2 / 3], {
            **right("- 1, 1\u00bd, - 2/3", "\u22121 1\u00bd -\u2154", "-1 1,5 -0,667", "-1; 1.5; - \u2154"),
            "-1 1\u00bd - \u2154": "Write a minus and its number without a blank.",
            "-1 1.5\u00bd -\u2154": "\u201c1.5\u00bd\u201d is not a number.",
        }),
        ([1, 0.644, "both"], {
            **right("1, 0.644, \"both\"", "(1, 0.644, 'Both')", "1 0,644 \u201cboth\u201d", "1 .644 both."),
            "1, 0.644, \"left\"": "Not yet: 2 of 3 entries are right; look at entry 3.",
            "1 0.64 left": "Not yet: 1 of 3 entries are right; look at entry 2. Give 3 decimals.",
            "1 0.644 2": "Entry 3, \u201c2\u201d, should be a word.",
        }),
        ("b", {
            **right("b", "(b)", "B.", "\"b\"", "['b']", "b)", "\u201eb\u201c"),
            "(c)": "Not yet.", "2": "\u201c2\u201d should be a word.", "b c": "One entry is asked for, you typed 2.",
        }),
        ([True, False], {
            **right("yes no", "Yes, No.", "yes,no", "'True', 'False'"),
            "no yes": "Not yet: 0 of 2 entries are right; look at entry 1.",
        }),
    ]
    assert_said(pages.open(*(labs.answer_box(expected) for expected, _ in cases)), cases)
    page = pages.open(labs.answer_box([0.3, 0.6], places=1))
    assert_said(page, [(0.3, {"0.3 0.5": near + "2. Give 1 decimal.", "0,3 0,6": "Right."})])


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
    assert "271828" not in box and "3.14" not in box and "3141" not in box and len(box) < 8000
    assert box == labs.answer_box(torch.tensor([271828, -3.14159], dtype=torch.float64))._repr_html_()
    other = labs.answer_box([271828, -3.14159], asks="Another")._repr_html_()
    assert len({*settings(box)["marks"], *settings(other)["marks"]}) == 4


@pytest.mark.parametrize(("expected", "message"), [
    ([], "1 to 24 entries, got 0"), (torch.zeros(5, 5), "1 to 24 entries, got 25"), ("two words", "one plain word"),
    (float("nan"), "a number or one plain word"), (None, "got None"), (1e13, "too large"), ("1/2", "one plain word"),
    ("don't", "one plain word"), ("yes!", "one plain word"),
])
def test_refuses_what_cannot_be_typed(expected, message):
    with pytest.raises(ValueError, match=message):
        labs.answer_box(expected)
