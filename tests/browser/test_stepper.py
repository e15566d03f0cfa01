"""The correlation stepper in Chromium: by mouse, by keys, with a reader's own numbers and pictures."""

import struct
import zlib
from itertools import product

import numpy as np
import pytest
import torch
from lab_pages import LabPages, canvas_pixels, encoded, grid_cell, settle
from PIL import Image
from playwright.sync_api import expect
from torch.nn import functional as F

from convtwist import labs

PHOTO = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
COUNTING = [[19, 25], [37, 43]]


@pytest.fixture
def pages(browser, tmp_path):
    """Open labs on bare pages; the test fails on any console error or outside request."""
    opened = LabPages(browser, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def stepper(pages):
    """Open the correlation stepper on a page as wide as a desk's screen, at the smallest example."""
    page = pages.open(labs.correlation_stepper(PHOTO))
    expect(page.locator(".ct-bar")).to_be_visible()
    page.get_by_label("Example").select_option("counting")
    return page


def grid_values(page, name: str) -> list[list[float]]:
    """Return the numbers in a grid as a reader sees them."""
    rows = page.get_by_role("grid", name=name).evaluate(
        "g => [...g.querySelectorAll('[role=row]')].map(r => [...r.querySelectorAll('[role=gridcell]')].map("
        "c => (c.querySelector('input')?.value ?? c.querySelector('.ct-value').textContent)))"
    )
    return [[float(text.replace("\u2212", "-")) for text in row] for row in rows]


def sums(page) -> tuple[str, str]:
    """Return the two sentences: under the numbers, and under the photograph."""
    texts = page.locator(".ct-sum").all_inner_texts()
    first, second = (text.replace("\u00a0", " ").replace("\u2212", "-") for text in texts)
    return first, second


def test_it_opens_on_an_edge(pages):
    page = pages.open(labs.correlation_stepper(PHOTO))
    assert grid_values(page, "Output") == [[0, 180, 180, 0]] * 4
    assert page.get_by_label("Example").input_value() == "edge"
    page.locator("summary").click()
    assert page.get_by_text("3 \u00d7 30 \u00d7 2 = 180").is_visible()


def test_no_number_is_cut_or_touches_the_next(stepper):
    """Every kernel of the menu, in both directions: what a cell says fits into it, its weight in the corner too."""
    options = stepper.get_by_role("combobox", name="Kernel").locator("option").all()
    assert len(options) == 7
    for option in options:
        if option.get_attribute("value") == "own":
            continue
        for example in ("six", "edge"):
            stepper.get_by_label("Example").select_option(example)
            stepper.get_by_role("combobox", name="Kernel").select_option(option.get_attribute("value"))
            settle(stepper)
            cut = stepper.evaluate("""() => within(".ct-cell").flatMap(cell => {
              const room = cell.getBoundingClientRect();
              const over = [...cell.querySelectorAll("span")]
                .filter(one => one.getBoundingClientRect().width > room.width - 2);
              const field = cell.querySelector("input");
              if (field) {
                const measure = document.createElement("canvas").getContext("2d");
                measure.font = getComputedStyle(field).font;
                if (measure.measureText(field.value).width > room.width - 3) over.push(field);
              }
              return over.map(one => one.outerHTML);
            })""")
            assert cut == [], (option.inner_text(), cut[:3])


def test_sizes_are_chosen_and_edits_are_called_custom(stepper):
    example, kernel = stepper.get_by_label("Example"), stepper.get_by_role("combobox", name="Kernel")
    side = lambda which, name: stepper.get_by_role("group", name=f"Size of the {which}").get_by_label(name)  # noqa: E731
    side("input", "width").fill("5")
    assert grid_values(stepper, "Input") == [[0, 1, 2, 0, 0], [3, 4, 5, 0, 0], [6, 7, 8, 0, 0]]
    assert (example.input_value(), kernel.input_value()) == ("own", "hand")
    side("kernel", "height").fill("3")
    assert grid_values(stepper, "Kernel") == [[0, 1], [2, 3], [0, 0]] and kernel.input_value() == "own"
    assert grid_values(stepper, "Output") == [[19, 25, 10, 0]]
    side("kernel", "height").fill("4")
    wrong = "a height of 4 does not fit into an input with a height of 3; 3 stays in use"
    assert stepper.get_by_text(wrong).is_visible()
    assert side("kernel", "height").get_attribute("aria-invalid") == "true"
    side("input", "height").fill("13")
    assert "needs a whole number from 1 to 12; 3 stays in use" in stepper.locator("p.ct-fault").first.inner_text()
    example.select_option("counting")
    assert stepper.get_by_text("stays in use").count() == 0 and side("kernel", "height").input_value() == "2"
    stepper.get_by_label("Kernel row 0, column 0").fill("4")
    assert (example.input_value(), kernel.input_value()) == ("own", "own")
    assert kernel.locator("option:checked").inner_text() == "custom"


def test_the_smallest_example(stepper):
    assert grid_values(stepper, "Input") == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert grid_values(stepper, "Output") == COUNTING
    assert sums(stepper)[0] == "Output row 0, column 0: 0 \u00d7 0 + 1 \u00d7 1 + 3 \u00d7 2 + 4 \u00d7 3 = 19"


def test_mouse_shows_the_patch_and_the_sum(stepper):
    grid_cell(stepper, "Output", 1, 0).hover()
    assert sums(stepper)[0].endswith("3 \u00d7 0 + 4 \u00d7 1 + 6 \u00d7 2 + 7 \u00d7 3 = 37")
    patch = [(r, c) for r in range(3) for c in range(3)
             if "ct-patch" in grid_cell(stepper, "Input", r, c).get_attribute("class")]
    assert patch == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert grid_cell(stepper, "Input", 2, 1).inner_text().strip() == "\u00d73"
    grid_cell(stepper, "Output", 1, 1).click()
    assert sums(stepper)[0].endswith("= 43")
    expect(grid_cell(stepper, "Output", 1, 1)).to_have_attribute("aria-selected", "true")


def test_keys_alone(stepper):
    keyboard = stepper.keyboard
    grid_cell(stepper, "Output", 0, 0).focus()
    for key, wanted in [("ArrowRight", 25), ("ArrowDown", 43), ("ArrowLeft", 37), ("End", 43), ("Control+Home", 19)]:
        keyboard.press(key)
        assert sums(stepper)[0].endswith(f"= {wanted}"), key
    stepper.get_by_role("button", name="Next").first.focus()
    keyboard.press("Enter")
    assert sums(stepper)[0].endswith("= 25")
    stepper.get_by_role("button", name="Previous").first.press("Space")
    assert sums(stepper)[0].endswith("= 19")
    stepper.get_by_label("Kernel row 0, column 0").focus()
    keyboard.type("10")
    assert grid_values(stepper, "Output") == [[19, 35], [67, 83]]
    keyboard.press("ArrowDown")
    held = stepper.evaluate("document.activeElement.shadowRoot.activeElement.getAttribute('aria-label')")
    assert held == "Kernel row 1, column 0"
    stepper.get_by_label("true convolution").press("Space")
    assert grid_values(stepper, "Output")[0] == [0 * 3 + 1 * 2 + 3 * 1 + 4 * 10, 1 * 3 + 2 * 2 + 4 * 1 + 5 * 10]


def test_one_tab_stop_for_each_grid(stepper):
    stops = stepper.evaluate(
        "within('[role=grid]')"
        ".map(g => [...g.querySelectorAll('*')].filter(e => e.tabIndex === 0).length)"
    )
    assert stops == [1, 1, 1]


def test_every_example_equals_torch(stepper):
    names = stepper.get_by_label("Example").locator("option").all_inner_texts()
    assert names.pop() == "custom" and len(names) == 5
    for name, flip in product(names, [False, True]):
        stepper.get_by_label("true convolution" if flip else "cross-correlation").check()
        stepper.get_by_label("Example").select_option(label=name)
        x, k = (torch.tensor(grid_values(stepper, grid)) for grid in ("Input", "Kernel"))
        used = k.flip(0, 1) if flip else k
        assert grid_values(stepper, "Output") == F.conv2d(x[None, None], used[None, None])[0, 0].tolist(), name
        assert stepper.get_by_text("as applied: turned by 180\u00b0").is_visible() == flip


def test_the_worked_numbers(stepper):
    stepper.get_by_label("Example").select_option("edge")
    assert grid_values(stepper, "Output") == [[0, 180, 180, 0]] * 4
    stepper.get_by_label("Example").select_option("six")
    assert grid_values(stepper, "Output")[0] == [-10, -8, 0, 16]
    stepper.get_by_label("Example").select_option("edges")
    assert grid_values(stepper, "Output") == [[0, 1, 0, 0, 0, -1, 0]] * 6
    stepper.get_by_label("Example").select_option("edgesDown")
    assert grid_values(stepper, "Output") == [[0] * 8] * 5


def test_what_is_no_number_is_refused_and_the_last_good_one_stays(stepper):
    field = stepper.get_by_label("Input row 0, column 1")
    for typed in ["NaN", "", "Infinity", "1e999", "1/0", "cat", "5e12"]:
        field.fill(typed)
        assert field.get_attribute("aria-invalid") == "true", typed
        assert "1 stays in use" in stepper.get_by_text("Input row 0, column 1:").inner_text()
        assert sums(stepper)[0].endswith("= 19")
        field.press("Escape")
        assert field.get_attribute("aria-invalid") is None
        assert field.input_value() == "1"
    field.fill("1/2")
    assert sums(stepper)[0].endswith("= 18.5")
    assert stepper.get_by_text("stays in use").count() == 0


def test_start_again(stepper):
    stepper.get_by_label("Example").select_option("six")
    stepper.get_by_label("true convolution").check()
    stepper.get_by_role("button", name="Start again").click()
    assert grid_values(stepper, "Output") == [[0, 180, 180, 0]] * 4
    assert stepper.get_by_label("cross-correlation").is_checked()


def test_play_walks_and_stops(pages):
    page = pages.open(labs.correlation_stepper(PHOTO), motion="no-preference")
    page.get_by_label("Example").select_option("counting")
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".ct-sum").first).to_contain_text("= 25", timeout=3000)
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Play").is_visible()


def test_no_play_for_readers_who_want_stillness(stepper):
    assert not stepper.get_by_role("button", name="Play").is_visible()


# The photograph

def luminance(pixels: np.ndarray) -> np.ndarray:
    return np.round(pixels[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def load(page, name: str, content: bytes, kind: str):
    """Choose a file as a reader does, and return what the lab says about it."""
    status = page.locator(".ct-picker [role=status]")
    status.evaluate("s => (s.textContent = '')")
    page.get_by_label("Your own photograph").set_input_files({"name": name, "mimeType": kind, "buffer": content})
    expect(status).not_to_be_empty()
    settle(page)
    return status.inner_text()


def colours(response: np.ndarray) -> np.ndarray:
    """Return the lab's colours, computed here: blue below zero, near-white at it, red above."""
    share = np.floor(255 + response * (255 / np.abs(response).max()) + 0.5) - 255
    share = (share / 255)[..., None]
    end = np.where(share < 0, [33, 102, 172], [178, 24, 43])
    return 247 + np.abs(share) * (end - 247)


def test_own_picture_before_and_after_equal_torch(stepper):
    pixels = np.random.default_rng(4).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    stepper.get_by_label("Example").select_option("edges")
    note = load(stepper, "mine.png", encoded(pixels), "image/png")
    assert "mine.png" in note and "70 \u00d7 40" in note and "stays on this page" in note
    grey = luminance(pixels)
    before, after = canvas_pixels(stepper, 0), canvas_pixels(stepper, 1)
    assert np.abs(before[..., 0] - grey).max() <= 1
    kernel = torch.tensor([[[[1.0, -1.0]]]], dtype=torch.float64)
    response = F.conv2d(torch.from_numpy(before[..., 0].astype(np.float64))[None, None], kernel)[0, 0].numpy()
    assert after.shape[:2] == response.shape
    assert np.abs(after[..., :3] - colours(response)).max() <= 1
    assert (after[..., 3] == 255).all()


def test_pick_a_pixel_by_mouse_and_keys(stepper):
    stepper.get_by_label("Example").select_option("edges")
    grey = canvas_pixels(stepper, 0)[..., 0].astype(int)
    picker = stepper.get_by_role("application", name="Response")
    box = picker.bounding_box()
    height, width = grey.shape[0], grey.shape[1] - 1
    picker.click(position={"x": (20.5 / width) * box["width"], "y": (10.5 / height) * box["height"]})
    settle(stepper)
    shade = lambda level: f"{round(level / 255, 3):g}"  # noqa: E731
    difference = lambda row, column: shade(int(grey[row, column]) - int(grey[row, column + 1]))  # noqa: E731
    products = f"{shade(grey[10, 20])} \u00d7 1 + {shade(grey[10, 21])} \u00d7 (-1)"
    wanted = f"Row 10, column 20: {products} = {difference(10, 20)}"
    assert sums(stepper)[1] == wanted
    walk = [("ArrowRight", 10, 21), ("ArrowDown", 11, 21), ("Shift+ArrowLeft", 11, 11), ("End", 11, width - 1)]
    for key, row, column in walk:
        picker.press(key)
        settle(stepper)
        assert sums(stepper)[1].startswith(f"Row {row}, column {column}:")
        assert sums(stepper)[1].endswith(f"= {difference(row, column)}")


def test_pictures_of_every_kind(stepper):
    rng = np.random.default_rng(5)
    half = np.zeros((20, 30, 4), np.uint8)
    half[:, 15:, 3] = 255  # transparent black on the left, opaque black on the right
    load(stepper, "alpha.png", encoded(half), "image/png")
    grey = canvas_pixels(stepper, 0)[..., 0]
    assert (grey[:, :15] == 255).all() and (grey[:, 15:] == 0).all()
    values = rng.integers(0, 256, (25, 31), dtype=np.uint8)
    load(stepper, "grey.png", encoded(values), "image/png")
    assert np.abs(canvas_pixels(stepper, 0)[..., 0].astype(int) - values).max() <= 1
    wide = np.zeros((20, 40), np.uint8)
    wide[:, :20] = 255  # light on the left; the camera was held so that this is the top
    exif = Image.Exif()
    exif[0x0112] = 6
    load(stepper, "turned.jpg", encoded(wide, "JPEG", quality=95, exif=exif), "image/jpeg")
    grey = canvas_pixels(stepper, 0)[..., 0]
    assert grey.shape == (40, 20) and grey[:18].min() > 200 and grey[22:].max() < 55
    note = load(stepper, "large.jpg", encoded(np.full((1500, 1000), 90, np.uint8), "JPEG"), "image/jpeg")
    assert "reduced from 1000 \u00d7 1500" in note
    assert canvas_pixels(stepper, 0).shape[:2] == (256, 171)
    note = load(stepper, "16bit.png", encoded((np.arange(600).reshape(20, 30) * 100).astype(np.uint16)), "image/png")
    assert "stays on this page" in note
    note = load(stepper, "thin.png", encoded(np.zeros((1, 50), np.uint8)), "image/png")
    assert "smaller than the kernel" in sums(stepper)[1]


def declared_png(width: int, height: int) -> bytes:
    """Return the start of a PNG that promises far more than it holds."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def test_what_is_no_picture_is_said_and_the_last_one_stays(stepper):
    before = canvas_pixels(stepper, 0)
    good = encoded(PHOTO, "JPEG")
    huge = good.replace(struct.pack(">HH", 60, 90), struct.pack(">HH", 12000, 12000), 1)
    for name, content, kind, message in [
        ("notes.txt", b"dear diary", "text/plain", "is not a picture"),
        ("notes.png", b"dear diary", "image/png", "could not be read"),
        ("cut.png", encoded(PHOTO)[:300], "image/png", None),
        ("empty.png", b"", "image/png", "is empty"),
        ("vast.png", declared_png(10000, 10000), "image/png", "100 megapixels"),
        ("vast.jpg", huge, "image/jpeg", "144 megapixels"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "is a drawing"),
    ]:
        note = load(stepper, name, content, kind)
        if message is None:  # browsers may show what there is of a cut file, or refuse it: either is said
            assert "cut.png" in note
            load(stepper, "back.png", encoded(PHOTO), "image/png")
            before = canvas_pixels(stepper, 0)
            continue
        assert message in note and name in note, note
        assert (canvas_pixels(stepper, 0) == before).all()


def test_drop_and_paste(stepper):
    content = list(encoded(np.full((12, 17), 77, np.uint8)))
    send = """([content, how]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(content)], how + ".png", { type: "image/png" }));
      const lab = document.querySelector(".convtwist-lab");
      const options = { bubbles: true, cancelable: true, composed: true };
      const event = how === "drop" ? new DragEvent("drop", { dataTransfer: data, ...options })
        : new ClipboardEvent("paste", { clipboardData: data, ...options });
      (how === "drop" ? lab : within("input")[0]).dispatchEvent(event);
    }"""
    for how in ("drop", "paste"):
        stepper.evaluate(send, [content, how])
        expect(stepper.locator(".ct-picker [role=status]")).to_contain_text(f"{how}.png")
        settle(stepper)
        assert canvas_pixels(stepper, 0).shape == (12, 17, 4)
        load(stepper, "other.png", encoded(PHOTO), "image/png")
    stepper.evaluate("document.querySelector('.convtwist-lab').dispatchEvent("
                     "new DragEvent('drop', { dataTransfer: new DataTransfer(), bubbles: true, cancelable: true }))")
    expect(stepper.locator(".ct-picker [role=status]")).to_contain_text("a link or text, not a file")
