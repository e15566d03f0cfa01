"""The labs meet files that are no pictures and entries that are no numbers: they say so in words and go on."""

import base64
import functools
import io
import random
import struct
import zlib

import numpy as np
import pytest
from lab_bench import functions, opened, settle
from PIL import Image
from playwright.sync_api import expect
from scorecard import record

from convtwist import labs

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
MAKERS = {
    "stepper": labs.correlation_stepper, "checkerboard": labs.checkerboard, "microscope": labs.kernel_microscope,
    "flow": labs.flow_lab, "twist": labs.twist_lab, "channels": labs.channel_sum, "field": labs.receptive_field,
}
LABS = {name: functools.partial(make, PHOTO) for name, make in MAKERS.items()}
EVERY = {**LABS, "calculator": labs.size_calculator, "board": labs.channel_board}
OFFER = """async ([how, name, type, encoded]) => {
  const files = new DataTransfer();
  if (encoded === null) files.setData("text/plain", "only words");
  else files.items.add(new File([Uint8Array.from(atob(encoded), char => char.charCodeAt(0))], name, { type }));
  const lab = document.querySelector(".convtwist-lab"), options = { bubbles: true, cancelable: true };
  const chooser = within("input[type=file]")[0];
  if (how === "drop") lab.dispatchEvent(new DragEvent("drop", { dataTransfer: files, ...options }));
  else if (how === "paste") lab.dispatchEvent(new ClipboardEvent("paste", { clipboardData: files, ...options }));
  else { chooser.files = files.files; chooser.dispatchEvent(new Event("change", options)); }
}"""
SHOWN = """() => within("canvas").map(canvas => canvas.toDataURL())"""
WORDS = """() => within(".ct-lab")[0].innerText +
  within("[aria-label]").map(one => one.ariaLabel).join(" ")"""


def saved(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + bytes(64)


photo = Image.fromarray(PHOTO)
BIG = "has 100 megapixels; this page stops at 64"
DAMAGED = "could not be read: it is damaged"
REFUSED = {
    "notes.txt": ("text/plain", b"only words", "is not a picture"), "notes": ("", b"only words", DAMAGED),
    "empty.png": ("image/png", b"", "is empty"), "torn.png": ("image/png", saved(photo)[:99], DAMAGED),
    "huge.png": ("image/png", png_header(10_000, 10_000), BIG),
    "huge.gif": ("image/gif", b"GIF89a" + struct.pack("<HH", 10_000, 10_000) + bytes(64), BIG),
    "huge.bmp": ("image/bmp", b"BM" + bytes(16) + struct.pack("<ii", 10_000, -10_000) + bytes(64), BIG),
    "huge.webp": ("image/webp", b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x0f\x27\0\x0f\x27\0" + bytes(64), BIG),
    "huge.jpg": ("image/jpeg", b"\xff\xd8\xff\xff\xc0\0\x11\x08\x27\x10\x27\x10\3" + bytes(64), BIG),
    "drawing.svg": ("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is a drawing"),
}
TAKEN = {
    "moving.gif": ("image/gif", saved(photo, "GIF", save_all=True, append_images=[photo.rotate(180)], loop=0)),
    "black.png": ("image/png", saved(Image.new("L", (40, 30)))),
    "dot.png": ("image/png", saved(Image.new("L", (1, 1)))),
    "line.png": ("image/png", saved(Image.new("L", (1, 999), 200))), "good.png": ("image/png", saved(photo)),
}


def offer(page, how, name, kind, data):
    page.evaluate(OFFER, [how, name, kind, None if data is None else base64.b64encode(data).decode()])


def no_nonsense(page):
    settle(page)
    words = page.evaluate(WORDS)
    for nonsense in ("NaN", "undefined", "Infinity", "[object"):
        assert nonsense not in words, words[max(0, words.index(nonsense) - 80) :][:200]


@pytest.mark.parametrize("lab", LABS)
def test_files_that_are_no_pictures(browser, tmp_path, lab):
    """Each is refused in words, the picture before it stays; the next good one is taken."""
    ways = ("drop", "paste", "choose")
    with opened(browser, tmp_path, LABS[lab]()) as page:
        status = page.locator(".ct-picker [role=status]")
        offer(page, "drop", "mine.png", "image/png", saved(photo))
        expect(status).to_contain_text("mine.png")
        page.wait_for_timeout(300)  # flows run for some frames
        before = page.evaluate(SHOWN)
        for i, (name, (kind, data, words)) in enumerate(REFUSED.items()):
            offer(page, ways[i % 3], name, kind, data)
            expect(status).to_contain_text(name)
            expect(status).to_contain_text(words)
            expect(status).to_have_class("ct-note ct-fault")
        offer(page, "drop", "", "", None)
        expect(status).to_contain_text("not a file")
        settle(page)
        assert page.evaluate(SHOWN) == before
        for i, (name, (kind, data)) in enumerate(TAKEN.items()):
            offer(page, ways[i % 3], name, kind, data)
            part = ", its first frame," if name == "moving.gif" else ""
            expect(status).to_contain_text(f"\u201c{name}\u201d{part} is shown at")
            no_nonsense(page)
            for button in page.locator(".ct-play, .ct-line[role=group] button").all():
                button.dispatch_event("click")
            no_nonsense(page)
        record("hostile files given to labs", len(REFUSED) + len(TAKEN) + 1)


ENTRIES = ["NaN", "", "--", "1e308", "-1e308", "Infinity", "1e999", "0x10", "1/0", "99999999999", "1e-320", "-1", "0.5"]
TYPE = """async ([field, entries]) => {
  const frames = async () => { for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame); };
  const type = async (text) => {
    // A field for numbers hands over nothing where it holds none, and complains if a script writes it.
    const number = /^-?[.0-9]+(e-?[0-9]+)?$/.test(text) && Number.isFinite(Number(text));
    field.value = field.type === "number" && !number ? "" : text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    await frames();
    const words = within(".ct-fault").map((one) => one.textContent.trim()).join(" ");
    return [text, field.getAttribute("aria-invalid") === "true", words];
  };
  const first = field.value, found = [];
  for (const entry of entries) found.push(await type(entry));
  return [found, await type(first)];
}"""


@pytest.mark.parametrize("lab", EVERY)
def test_entries_that_are_no_numbers(browser, tmp_path, lab):
    """Each is marked and explained, the number before it stays in use; a good one puts all right again."""
    with opened(browser, tmp_path, EVERY[lab]()) as page:
        fields = [one for one in page.locator("input[type=text], input[type=number]").all() if one.is_visible()]
        for field in random.Random(0).sample(fields, min(len(fields), 8)):
            found, (_, still, words) = page.evaluate(TYPE, [field.element_handle(), ENTRIES])
            for text, invalid, said in found:
                if text not in ("0.5", "-1", "1e-320"):
                    assert invalid, f"{text!r} was taken"
                assert not invalid or len(said) > 30, f"{text!r} is marked without a word"
            assert not still and not words, (still, words)
            no_nonsense(page)
            record("hostile entries typed into labs", len(found))


def test_cells_are_counted_without_visiting_them(browser):
    """The same as visiting each, for small numbers of every kind."""
    visit = """const visited = (axis) => {
      const { reads, feeds } = connections(axis), { size } = axisSize(axis);
      const transposed = axis.operation === "transposed";
      let idle = 0;
      for (let i = 0; i < (transposed ? size : axis.input); i++) idle += (transposed ? reads : feeds)(i).length === 0;
      return idle;
    };
    const sized = (axis) => !axisSize(axis).fault;"""
    draw, counted = random.Random(0), 0
    with functions(browser, ["core.mjs", "size_rules.mjs"], ["idleCells", "visited", "sized"], visit) as call:
        while counted < 300:
            most = {"input": 20, "kernel": 6, "stride": 7, "dilation": 6}
            axis = {name: draw.randint(1, value) for name, value in most.items()}
            axis |= {"operation": draw.choice(["convolution", "transposed", "pooling"]), "padding": draw.randint(0, 5),
                     "outputPadding": draw.randint(0, 2), "ceilMode": draw.random() < 0.5}
            if call("sized", axis):
                assert call("idleCells", axis) == call("visited", axis), axis
                counted += 1


@pytest.mark.parametrize(("operation", "numbers", "words"), [
    ("convolution", (99_999, 50_000, 1, 0), "Every input cell is read."),
    ("transposed", (99_999, 99_998, 99_999, 0), "Fed by nothing: 99998 rows and 99998 columns."),
    ("pooling", (99_999, 2, 99_999, 0), "Never read: 99997 rows and 99997 columns."),
])
def test_the_calculator_never_freezes(browser, tmp_path, operation, numbers, words):
    """Visiting every cell of these would take minutes."""
    with opened(browser, tmp_path, labs.size_calculator()) as page:
        page.get_by_label("Operation").select_option(operation)
        for label, number in zip(("Input", "Kernel", "Stride", "Padding"), numbers, strict=True):
            page.get_by_label(label, exact=True).fill(str(number))
        expect(page.locator(".ct-result")).to_contain_text(words)
