"""The checkerboard lab in Chromium: its counts and pictures against PyTorch, and every way to work it."""

import base64
import gzip
import io
import re
from importlib import resources

import numpy as np
import pytest
import torch
from closing import close
from lab_bench import WITHIN
from PIL import Image
from torch.nn import functional as F

from convtwist import arithmetic, images, labs
from convtwist.labs.page import joined_modules

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Lab</title>
<body style="margin: 0 auto; max-width: 740px; {colours}"><main><h1>Chapter</h1><h2>Lab</h2>{lab}</main>"""
RULES = ("overlapCount", "phaseSums", "repeatingCounts", "resize", "resizeThenConvolve", "stampTaps", "subsample",
         "transpose", "verdict")
SETTINGS = [(3, 2, 0), (4, 2, 0), (4, 2, 1), (4, 2, 2), (5, 3, 2), (2, 3, 0), (3, 1, 1), (1, 1, 0), (9, 1, 8),
            (9, 6, 3)]
COUNTS = """within('.ct-counts [role=gridcell]:not(.ct-outside)').map(
  cell => [Number(cell.querySelector('.ct-value').textContent), cell.getAttribute('aria-label')])"""
SETTLED = """async () => {
  for (let i = 0; i < 3; i++) await new Promise(done => requestAnimationFrame(done));
}"""
PIXELS = """canvas => {
  const { width, height } = canvas;
  const copy = Object.assign(document.createElement('canvas'), { width, height });
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, data: Array.from({ length: width * height }, (_, i) => data[4 * i]) };
}"""
SHARES = "within('.ct-heat rect[style]').map(r => Number(r.style.getPropertyValue('--share')))"


@pytest.fixture
def open_lab(browser, tmp_path):
    """Return a function that opens a page with one lab on it; the test fails if anything goes wrong there."""
    contexts, faults = [], []

    def open_one(*arguments, photo=None, width=1280, theme="light", touch=False, **options):
        photo = images.sample("chelsea") if photo is None else photo
        markup = labs.checkerboard(photo, *arguments, **options)._repr_html_()
        file = tmp_path / f"{theme}.html"
        colours = "color: #000" if theme == "light" else "background: #121212; color: #fff"
        file.write_text(PAGE.format(theme=theme, colours=colours, lab=markup), encoding="utf-8")
        screen = {"width": width, "height": 900}
        context = browser.new_context(viewport=screen, has_touch=touch, reduced_motion="reduce")
        context.add_init_script(WITHIN)
        contexts.append(context)
        page = context.new_page()
        local = ("file:", "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(local) or faults.append(request.url))
        page.on("console", lambda entry: entry.type in ("error", "warning") and faults.append(entry.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(file.as_uri())
        page.wait_for_function("within('.ct-half canvas')[2]?.style.width")
        return page

    yield open_one
    found = [*faults]
    for context in contexts:
        close(context)
    assert not found


@pytest.fixture(scope="module")
def rules(browser):
    """Return a function that calls one of the lab's own functions, with planes as tensors on both ends."""
    page = browser.new_page()
    source = joined_modules("core.mjs", "checkerboard_rules.mjs")
    page.add_script_tag(content=f"{source}\nwindow.rules = {{ {', '.join(RULES)} }};", type="module")
    page.wait_for_function("window.rules")

    def to_plane(value):
        if not isinstance(value, torch.Tensor) or value.ndim == 1:
            return value.tolist() if isinstance(value, torch.Tensor) else value
        return {"height": value.shape[0], "width": value.shape[1], "data": value.flatten().tolist()}

    def call(name, *arguments):
        answer = page.evaluate(
            """([name, values]) => {
              const plane = value => value?.data ? { ...value, data: Float64Array.from(value.data) } : value;
              const answer = window.rules[name](...values.map(plane));
              if (ArrayBuffer.isView(answer)) return [...answer];
              if (ArrayBuffer.isView(answer[0])) return answer.map(axis => [...axis]);
              return answer?.data ? { ...answer, data: [...answer.data] } : answer;
            }""",
            [name, [to_plane(argument) for argument in arguments]],
        )
        if isinstance(answer, dict) and "data" in answer:
            return torch.tensor(answer["data"], dtype=torch.float64).view(answer["height"], answer["width"])
        return answer

    yield call
    page.close()


def set_numbers(page, kernel, stride, padding):
    for name, value in (("Kernel", kernel), ("Stride", stride), ("Padding", padding)):
        page.get_by_label(name, exact=True).fill(str(value))
    page.evaluate(SETTLED)


def choose(page, name, value):
    page.get_by_role("combobox", name=name).select_option(value)
    page.evaluate(SETTLED)


def detail(page, index):
    """Return the brightness on one of the lab's canvases: 0 photograph, 1 given, 2 transposed, 3 resized."""
    picture = page.locator(".ct-half canvas").nth(index).evaluate(PIXELS)
    return torch.tensor(picture["data"]).view(picture["height"], picture["width"])


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def load(page, pixels, name="mine.png"):
    page.locator("input[type=file]").set_input_files([{"name": name, "mimeType": "image/png", "buffer": png(pixels)}])
    page.locator(".ct-picker [role=status]", has_text=name).wait_for()
    page.evaluate(SETTLED)


def test_the_counts_on_the_page_equal_pytorch(open_lab):
    page = open_lab()
    for kernel, stride, padding in SETTINGS:
        set_numbers(page, kernel, stride, padding)
        size = max(6, -(-kernel // stride) + 2)
        expected = F.conv_transpose1d(torch.ones(1, 1, size), torch.ones(1, 1, kernel), stride=stride, padding=padding)
        counts = page.evaluate(COUNTS)
        assert [count for count, _ in counts] == expected[0, 0].tolist()
        assert [label for _, label in counts] == [f"output {i}: {n:.0f}" for i, n in enumerate(expected[0, 0])]
        line = page.locator(".ct-code code").text_content()
        names = {}
        exec(line.replace("F.conv", "table = F.conv"), names)  # the lines a reader would copy
        table = names["table"][0, 0]
        assert table.shape == (len(counts), len(counts))
        numbers = page.locator(".ct-heat text").all_text_contents()
        assert [int(n) for n in numbers] == (table.flatten().tolist() if len(counts) <= 16 else [])
        assert page.evaluate(SHARES) == [int(45 * n / table.max() + 0.5) for n in table.flatten().tolist()]
        even = kernel % stride == 0
        assert page.locator(".ct-verdict").text_content().startswith("Even" if even else "Uneven")


def test_the_verdict_names_kernel_stride_and_counts(open_lab):
    page = open_lab()
    verdict = page.locator(".ct-verdict")
    assert "kernel 3 is no multiple of stride 2, so the counts alternate 1 2 1 2" in verdict.text_content()
    assert "1, 2 and 4. Even at this stride: kernel 2 or 4." in verdict.text_content()
    set_numbers(page, 4, 2, 0)
    assert verdict.text_content() == (
        "Even: kernel 4 is 2 \u00d7 stride 2, so every cell away from the edges is reached by 2 input cells, in two "
        "dimensions by 4. The first and last 2 cells get fewer; padding 2 cuts them off.")
    set_numbers(page, 2, 3, 0)
    assert "the stamps leave gaps, so the counts repeat 0 1 1 0 1 1" in verdict.text_content()


def test_the_verdict_holds_for_every_setting(rules):
    for kernel in range(1, 10):
        for stride in range(1, 7):
            inside = arithmetic.overlap_count(20, kernel, stride)[kernel:-kernel]
            counts = rules("repeatingCounts", kernel, stride)
            assert any(inside[:stride] == counts[i:] + counts[:i] for i in range(stride)), (kernel, stride)
            assert rules("verdict", kernel, stride)["even"] == (len(set(inside)) == 1)
            for padding in range(kernel):
                size = max(6, -(-kernel // stride) + 2)
                expected = arithmetic.overlap_count(size, kernel, stride, padding=padding)
                assert rules("overlapCount", size, kernel, stride, padding) == expected
                text = rules("verdict", kernel, stride, padding)["text"]
                thin = re.search(r"first and last (\d*) ?cells? get fewer", text)
                if kernel % stride == 0:
                    fewer = int(thin[1] or 1) if thin else 0
                    assert (set(expected[fewer:-fewer] if fewer else expected)) == {kernel // stride}


@pytest.mark.parametrize(("kernel", "stride", "padding"), SETTINGS)
@pytest.mark.parametrize("weights", ["ones", "bilinear", "random"])
def test_the_arithmetic_equals_pytorch(rules, kernel, stride, padding, weights):
    u = torch.rand(13, 11, generator=torch.Generator().manual_seed(kernel), dtype=torch.float64)
    taps = rules("stampTaps", weights, kernel)
    down, across = torch.tensor(taps, dtype=u.dtype)
    w = torch.outer(down, across)
    assert w.shape == (kernel, kernel) and (w > 0).all()
    close = {"atol": 1e-5, "rtol": 0}
    stamped = F.conv_transpose2d(u[None, None], w[None, None], stride=stride, padding=padding)[0, 0]
    torch.testing.assert_close(rules("transpose", u, taps, {"stride": stride, "padding": padding}), stamped, **close)
    torch.testing.assert_close(rules("subsample", u, stride), u[::stride, ::stride], **close)
    ones = F.conv_transpose2d(torch.ones(1, 1, 12, 12, dtype=u.dtype), w[None, None], stride=stride)[0, 0]
    first = stride * (-(-kernel // stride) + 1)
    inside = ones[first : first + stride, first : first + stride]
    sums = [torch.tensor(rules("phaseSums", axis, stride), dtype=u.dtype) for axis in taps]
    torch.testing.assert_close(torch.outer(*sums), inside, **close)
    for mode in ("nearest", "bilinear"):
        large = F.interpolate(u[None, None], scale_factor=stride, mode=mode)
        torch.testing.assert_close(rules("resize", u, stride, mode), large[0, 0], **close)
        around = ((kernel - 1) // 2, kernel // 2) * 2
        cured = F.conv2d(F.pad(large, around, "replicate"), w[None, None])[0, 0]
        torch.testing.assert_close(rules("resizeThenConvolve", u, taps, stride, mode), cured, **close)


def test_the_bilinear_stamp_is_bilinear_resizing(rules):
    u = torch.rand(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for stride in (2, 3, 4):  # the kernel size that makes it exact, inside
        taps = rules("stampTaps", "bilinear", 2 * stride - stride % 2)
        stamped = rules("transpose", u, taps, {"stride": stride, "padding": stride // 2})
        large = F.interpolate(u[None, None], scale_factor=stride, mode="bilinear")[0, 0]
        torch.testing.assert_close(stamped[stride:-stride, stride:-stride], large[stride:-stride, stride:-stride])


def test_the_pictures_are_what_pytorch_makes_of_a_readers_photograph(open_lab):
    page = open_lab()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 60), dtype=np.uint8)
    load(page, pixels)
    grey = torch.from_numpy(pixels).double()[None, None]
    assert torch.equal(detail(page, 0), grey[0, 0].long())
    for kernel, stride, padding, resize in [(3, 2, 0, "nearest"), (4, 2, 1, "bilinear"), (5, 3, 1, "bilinear")]:
        set_numbers(page, kernel, stride, padding)
        choose(page, "Resize", resize)
        small = grey[..., ::stride, ::stride]
        ones = torch.ones(1, 1, kernel, kernel, dtype=grey.dtype)
        stamped = F.conv_transpose2d(small, ones * stride**2 / kernel**2, stride=stride, padding=padding)[0, 0]
        around = ((kernel - 1) // 2, kernel // 2) * 2
        large = F.interpolate(small, scale_factor=stride, mode=resize)
        cured = F.conv2d(F.pad(large, around, "replicate"), ones / kernel**2)[0, 0]
        given, left, right = (detail(page, i) for i in (1, 2, 3))
        assert torch.equal(given, small[0, 0].long())
        # A stamp's middle is off its pixel's place, so the pictures start that much further in.
        shifts = int((kernel - 1) / 2 - padding + 0.5), (stride - 1) // 2
        for shown, expected, shift in zip((left, right), (stamped, cured), shifts, strict=True):
            part = expected.clamp(0, 255)[shift : shift + 48, shift : shift + 60]
            assert (shown[: part.shape[0], : part.shape[1]] - part).abs().max() <= 0.5 + 1e-4


def test_a_flat_grey_shows_the_numbers_of_the_caption(open_lab):
    page = open_lab()
    load(page, np.full((64, 64), 100))
    notes = page.locator(".ct-half .ct-note")
    assert notes.nth(2).text_content() == "A flat grey of 100 becomes 44 to 178."
    assert set(detail(page, 2)[8:-8, 8:-8].flatten().tolist()) == {44, 89, 178}
    for weights in ("ones", "bilinear", "random"):
        choose(page, "Weights", weights)
        assert set(detail(page, 3).flatten().tolist()) == {100}  # the cure leaves no pattern, whatever the weights
    choose(page, "Weights", "bilinear")
    assert notes.nth(2).text_content() == "A flat grey of 100 stays 100."
    assert set(detail(page, 2)[8:-8, 8:-8].flatten().tolist()) == {100}
    assert "these weights make up for it" in page.locator(".ct-photograph > p[aria-live]").text_content()
    set_numbers(page, 4, 2, 0)
    choose(page, "Weights", "random")
    low, high = map(int, re.findall(r"\d+", notes.nth(2).text_content())[1:])
    inside = detail(page, 2)[8:-8, 8:-8]
    assert low == inside.min() and high == inside.max() and low < 100 < high


def test_each_cell_covers_the_same_number_of_screen_pixels(open_lab):
    page = open_lab()
    for side in ("64", "128", "256"):
        choose(page, "Detail", side)
        for index in (2, 3):
            canvas = page.locator(".ct-half canvas").nth(index)
            shown = canvas.evaluate("canvas => canvas.getBoundingClientRect().width / canvas.width")
            assert shown >= 1 and shown == pytest.approx(round(shown), abs=1e-3)


def test_it_works_from_the_keyboard_alone(open_lab):
    page = open_lab()
    page.get_by_label("Kernel", exact=True).focus()
    page.keyboard.press("ArrowUp")
    page.evaluate(SETTLED)
    assert page.locator(".ct-verdict").text_content().startswith("Even: kernel 4")
    said = page.locator(".ct-sum")
    page.locator(".ct-counts [role=gridcell][tabindex='0']").focus()
    page.keyboard.press("Home")
    assert "output 0 is reached by input 0: count 1." in said.text_content()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "output 2 is reached by inputs 0 and 1: count 2." in said.text_content()
    assert page.locator(".ct-stamp.ct-patch").all_text_contents() == ["0", "1"]
    page.get_by_role("application", name="Counts in two dimensions, cell picker").focus()
    page.keyboard.press("Control+Home")
    assert said.text_content().endswith("row 0, column 0: 1 \u00d7 1 = 1 input cell.")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert said.text_content().endswith("row 2, column 0: 2 \u00d7 1 = 2 input cells.")
    page.get_by_role("application", name="Photograph, choose the detail").focus()
    before = detail(page, 2)
    page.keyboard.press("Shift+ArrowRight")
    page.evaluate(SETTLED)
    moved = detail(page, 2)
    assert torch.equal(moved[:, :-32], before[:, 32:])


def test_mouse_touch_drop_and_paste(open_lab):
    page = open_lab(touch=True, width=390)
    heat = page.locator(".ct-heat svg")
    heat.scroll_into_view_if_needed()
    box = heat.bounding_box()
    page.touchscreen.tap(box["x"] + 0.5 * box["width"] / 13, box["y"] + 2.5 * box["height"] / 13)
    assert page.locator(".ct-sum").text_content().endswith("row 2, column 0: 2 \u00d7 1 = 2 input cells.")
    page.locator(".ct-counts [role=gridcell]").nth(1).tap()
    assert "output 1 is reached by input 0" in page.locator(".ct-sum").text_content()
    for kind, grey in (("drop", 30), ("paste", 200)):
        page.evaluate(
            """([kind, bytes]) => {
              const content = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
              const file = new File([content], `${kind}.png`, { type: 'image/png' });
              const data = new DataTransfer();
              data.items.add(file);
              const options = { bubbles: true, cancelable: true };
              const event = kind === 'drop' ? new DragEvent('drop', { ...options, dataTransfer: data })
                : new ClipboardEvent('paste', { ...options, clipboardData: data });
              document.querySelector('.convtwist-lab').dispatchEvent(event);
            }""",
            [kind, base64.b64encode(png(np.full((20, 30), grey))).decode()],
        )
        page.locator(".ct-picker [role=status]", has_text=f"{kind}.png").wait_for()
        page.evaluate(SETTLED)
        assert set(detail(page, 1).flatten().tolist()) == {grey}


def test_faults_are_named_and_mended(open_lab):
    page = open_lab()
    fault, padding = page.locator(".ct-fault[role=status]").first, page.get_by_label("Padding", exact=True)
    set_numbers(page, 3, 2, 7)
    assert fault.text_content() == "Padding 7 cuts 14 cells from an output of 13: use at most 6."
    assert padding.get_attribute("aria-invalid") == "true"
    padding.fill("9")
    page.evaluate(SETTLED)
    assert "Padding needs a whole number from 0 to 8; 7 stays in use." in fault.text_content()
    page.get_by_role("button", name="Start again").click()
    page.evaluate(SETTLED)
    assert fault.text_content() == "" and padding.get_attribute("aria-invalid") is None
    assert len(page.evaluate(COUNTS)) == 13
    load(page, np.full((1, 1), 7))
    set_numbers(page, 3, 2, 2)
    assert "too small for this padding" in page.locator(".ct-photograph > p[aria-live]").text_content()
    set_numbers(page, 3, 2, 1)
    assert detail(page, 1).tolist() == [[7]]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_and_fits(open_lab, width, theme):
    page = open_lab(width=width, theme=theme)
    page.evaluate(AXE)
    for numbers in ((3, 2, 0), (4, 2, 1), (9, 6, 0), (3, 2, 8)):
        set_numbers(page, *numbers)
        assert page.evaluate("async () => (await axe.run()).violations.map(v => [v.id, v.nodes[0].html])") == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.getAnimations().length") == 0
    # Numbers over the darkest and lightest cells of the heat map, which axe does not read.
    set_numbers(page, 3, 2, 0)
    contrasts = page.evaluate("""() => {
      const light = colour => { const canvas = document.createElement('canvas').getContext('2d');
        canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
          .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ink = light(getComputedStyle(within('.ct-heat text')[0]).fill);
      return within('.ct-heat rect[style]').map(rect => light(getComputedStyle(rect).fill))
        .map(paper => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
    }""")
    assert min(contrasts) >= 4.5


@pytest.mark.parametrize(("options", "message"), [
    ({"kernel": 0}, "kernel must be .* got 0"),
    ({"kernel": 10}, "kernel must be at most 9"),
    ({"stride": 1.5}, "stride must be .* got 1.5"),
    ({"padding": -1}, "padding must be .* from 0, got -1"),
    ({"padding": 7}, "padding=7 cuts everything off an output of 13"),
    ({"input": 9}, "input must be at most 8"),
    ({"weights": "two"}, "weights must be one of 'ones', 'bilinear', 'random', got 'two'"),
    ({"resize": "cubic"}, "resize must be one of 'nearest', 'bilinear', got 'cubic'"),
])
def test_refusals_name_the_argument(options, message):
    with pytest.raises(ValueError, match=message):
        labs.checkerboard(np.zeros((4, 4)), **options)


def test_what_it_starts_with_and_what_it_weighs():
    lab = labs.checkerboard(images.sample("chelsea"), 4, 2, 1, weights="bilinear", resize="bilinear", alt="A cat")
    markup = lab._repr_html_()
    assert repr(lab) == "<convtwist lab: checkerboard>" and 'alt="A cat"' in markup and "<noscript>" in markup
    assert len(joined_modules("checkerboard_rules.mjs", "checkerboard.mjs")) < 24_000
    assert len(gzip.compress(re.sub(r'src="data:[^"]*"', "", markup).encode())) < 20_000
