"""The size calculator in Chromium, by mouse and keys, against PyTorch."""

import random

import pytest
import torch
from lab_pages import LabPages, grid_cell, settle
from playwright.sync_api import expect

from convtwist import labs


@pytest.fixture
def pages(browser, tmp_path):
    """Open labs on bare pages; the test fails on any console error or outside request."""
    opened = LabPages(browser, tmp_path)
    yield opened
    opened.close()


def calculator(pages, *arguments, **options):
    page = pages.open(labs.size_calculator(*arguments, **options))
    expect(page.locator(".ct-torch code")).not_to_be_empty()
    return page


def said(page) -> str:
    """Return the sentence about the chosen cell."""
    return page.locator(".ct-sum").inner_text()


def shown_size(page) -> list[int]:
    return [int(side) for side in page.locator(".ct-size strong").inner_text().split(" \u00d7 ")]


@pytest.mark.parametrize("operation", ["convolution", "transposed", "pooling", "average"])
def test_the_line_to_copy_runs_and_gives_the_size_shown(pages, operation):
    page = calculator(pages, operation=operation)
    draw = random.Random(operation)
    page.get_by_label("height and width differ").check()
    settle(page)
    seen = 0
    for _ in range(15):
        fields = page.locator("input[type=number]")
        limits = [(4, 12), (1, 3), (1, 3), (0, 1), (1, 2), (0, 1)]  # in the order of the fields, twice each
        values = [draw.randint(*limit) for limit in limits for _ in range(2)]
        page.evaluate(
            "values => within('input[type=number]').forEach((f, i) => "
            "{ f.value = values[i]; f.dispatchEvent(new Event('input')); })",
            values,
        )
        settle(page)
        assert fields.count() == {"transposed": 12, "average": 8}.get(operation, 10)
        line = page.locator(".ct-torch code").inner_text()
        code, _, comment = line.partition("  # ")
        if page.locator(".ct-size").count() == 0:
            with pytest.raises(RuntimeError):
                eval(code, {"torch": torch})
            continue
        seen += 1
        size = eval(code, {"torch": torch})
        assert str(size) == comment
        assert list(size[2:]) == shown_size(page)
    assert seen > 5


def test_the_question_is_about_the_operation_and_its_answer_is_true(pages):
    page = calculator(pages, 4, 3, stride=2, transposed=True)
    for operation, kind in {"transposed": torch.nn.ConvTranspose2d, "convolution": torch.nn.Conv2d,
                            "pooling": torch.nn.MaxPool2d, "average": torch.nn.AvgPool2d}.items():
        page.get_by_label("Operation").select_option(operation)
        layer = kind(*([] if "Pool" in kind.__name__ else [1, 1]), 3, stride=2)
        before, after = (layer(torch.zeros(1, size, size)).shape[-1] for size in (7, 8))
        asked, answer = page.locator("summary").text_content(), page.locator(".ct-predict p").text_content()
        assert f"an output of {before}. What" in asked and answer.startswith(f"{after}"), operation
        assert page.get_by_label("Operation").evaluate("e => e.selectedOptions[0].text") in asked


def test_formula_with_its_floor(pages):
    page = calculator(pages, 8, 3, stride=2)
    assert shown_size(page) == [3, 3]
    lines = page.locator(".ct-formula").all_inner_texts()
    assert lines[1] == "= \u230a(8 + 2 \u00d7 0 \u2212 1 \u00d7 (3 \u2212 1) \u2212 1) / 2\u230b + 1"
    assert lines[2] == "= \u230a5 / 2\u230b + 1 = \u230a2.5\u230b + 1 = 2 + 1 = 3"
    assert "Never read: 1 row and 1 column." in page.locator(".ct-result").inner_text()
    assert page.locator("[aria-label$='never read']").count() == 8 * 8 - 7 * 7
    page = calculator(pages, 128, 5)
    assert shown_size(page) == [124, 124]
    assert page.get_by_text("drawn up to 24").is_visible()
    page = calculator(pages, 5, 2, stride=2, operation="pooling", ceil_mode=True)
    assert shown_size(page) == [3, 3]


def test_average_pooling_has_no_dilation_and_counts_its_padding(pages):
    page = calculator(pages, 6, 3, padding=1, dilation=2)
    page.get_by_label("Operation").select_option("average")
    settle(page)
    assert page.get_by_role("spinbutton", name="Dilation").count() == 0
    assert "AvgPool2d(kernel_size=3, stride=1, padding=1)" in page.locator(".ct-torch code").inner_text()
    assert shown_size(page) == [6, 6] and page.locator(".ct-outside").first.inner_text().strip() == "0"


def test_pointing_shows_connections_both_ways(pages):
    page = calculator(pages, 6, 3, stride=2, padding=1)
    grid_cell(page, "Output", 1, 2).hover()
    assert said(page) == "Output row 1, column 2 reads 9 input cells: rows 1 to 3, columns 3 to 5."
    assert page.get_by_role("grid", name="Input").locator(".ct-patch").count() == 9
    grid_cell(page, "Output", 0, 0).click()
    assert "5 of them are padding" in said(page)
    page.keyboard.press("ArrowRight")
    assert "Output row 0, column 1" in said(page)
    page.get_by_label("Input row 1, column 1", exact=True).click()
    assert said(page) == "Input row 1, column 1 feeds 4 output cells: rows 0 and 1, columns 0 and 1."
    assert page.get_by_role("grid", name="Output").locator(".ct-patch").count() == 4
    page.get_by_role("button", name="Next").press("Enter")
    assert "Output row 0, column 0" in said(page)


def test_transposed_connections(pages):
    page = calculator(pages, 3, 2, stride=3, transposed=True)
    assert shown_size(page) == [8, 8]
    assert "Fed by nothing: 2 rows and 2 columns." in page.locator(".ct-result").inner_text()
    assert "Input row 0, column 0 feeds 4 output cells" in said(page)
    page.get_by_label("Output row 2, column 0").click()
    assert "is fed by no input cell: it holds the bias alone" in said(page)


def test_keys_alone_change_the_size(pages):
    page = calculator(pages, 6, 3)
    page.get_by_role("spinbutton", name="Padding", exact=True).focus()
    page.keyboard.press("ArrowUp")
    settle(page)
    assert shown_size(page) == [6, 6]
    page.get_by_label("Operation").focus()
    page.keyboard.press("t")
    settle(page)
    assert page.get_by_role("spinbutton", name="Output padding", exact=True).is_visible()
    assert shown_size(page) == [6, 6]


def test_refusals_name_the_remedy_and_the_rule(pages):
    page = calculator(pages, 3, 5)
    remedy = "use a smaller kernel, an input of at least 5, or a padding of at least 1"
    assert remedy in page.locator(".ct-result").inner_text()
    expect(page.get_by_role("spinbutton", name="Kernel", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_role("spinbutton", name="Padding", exact=True).fill("1")
    settle(page)
    assert shown_size(page) == [1, 1]
    page.get_by_label("Operation").select_option("transposed")
    page.get_by_role("spinbutton", name="Output padding", exact=True).fill("1")
    settle(page)
    assert "output padding must be smaller than either stride or dilation" in page.locator(".ct-result").inner_text()
    page.get_by_label("Operation").select_option("pooling")
    page.get_by_role("spinbutton", name="Padding", exact=True).fill("3")
    settle(page)
    assert "pad should be smaller than or equal to half of kernel size" in page.locator(".ct-result").inner_text()


def test_what_is_no_count_is_refused(pages):
    page = calculator(pages, 6, 3)
    for typed in ["", "0", "-1", "1.5", "1e9"]:
        page.get_by_role("spinbutton", name="Stride", exact=True).fill(typed)
        settle(page)
        assert page.get_by_role("spinbutton", name="Stride", exact=True).get_attribute("aria-invalid") == "true", typed
        assert page.get_by_text("Stride needs a whole number from 1 to 99,999; 1 stays in use.").is_visible()
        assert shown_size(page) == [4, 4]
    page.get_by_role("spinbutton", name="Stride", exact=True).fill("2")
    settle(page)
    assert shown_size(page) == [2, 2]


def test_copy(pages):
    page = calculator(pages, 6, 3)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator(".ct-torch code").inner_text()
