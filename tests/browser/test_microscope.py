"""The kernel microscope in Chromium: its numbers against PyTorch and convtwist, and every way to work it."""

import numpy as np
import pytest
import torch
from lab_bench import AXE, AXE_RUN, functions, give, opened, pixels, settle
from torch.nn import functional as F

from convtwist import images, kernels, labs, operators
from convtwist.labs.kernel_microscope import PRESETS

torch.set_num_threads(1)
NAMES = ("decompose", "compose", "evenPart", "oddPart", "energy", "quarterTurn", "frequencies", "outerProducts",
         "replicated", "gradient", "twistFields", "correlate")
KERNELS = {
    "identity": kernels.identity, "box": kernels.box, "gaussian": kernels.gaussian, "sharpen": kernels.sharpen,
    "sobel_x": kernels.sobel_x, "sobel_y": kernels.sobel_y, "laplacian": kernels.laplacian,
    "isotropic": lambda: kernels.laplacian("isotropic"), "emboss": kernels.emboss,
}


@pytest.fixture(scope="module")
def bench(browser):
    """Call the lab's own functions."""
    with functions(browser, ("core.mjs", "operators.mjs"), NAMES) as call:
        yield call


@pytest.fixture
def page(browser, tmp_path):
    """Open the lab on the cat."""
    with opened(browser, tmp_path, labs.kernel_microscope(images.sample("chelsea"))) as page:
        yield page


def photograph(height=40, width=56):
    return np.random.default_rng(6).integers(0, 256, (height, width), dtype=np.uint8)


def response(grey, kernel):
    image = torch.tensor(grey, dtype=torch.float64)[None, None]
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel.double()[None, None])[0, 0]


def close(found, expected):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), expected.double(), rtol=1e-5, atol=1e-5)


def spectrum(kernel):
    """The factor of each wave, frequencies from -pi to pi, y down: the sum that chapter 6 defines."""
    waves = torch.exp(1j * torch.linspace(-torch.pi, torch.pi, 65, dtype=torch.float64)[:, None] * torch.arange(-1, 2))
    return waves @ kernel.to(waves.dtype) @ waves.T


def products(page):
    return page.get_by_role("img", name="The nine products").get_attribute("aria-label").split(": ")[1].split(", ")


def number(text):
    return float(text.replace("\u2212", "-"))


def weights(page):
    cells = page.get_by_role("grid", name="Kernel, 3 by 3").get_by_role("textbox")
    return [number(text) for text in cells.evaluate_all("list => list.map(one => one.value)")]


def said(page):
    return page.inner_text(".ct-lab")


def coefficient(page, name):
    return page.get_by_label(f"Coefficient of {name}", exact=True)


@pytest.mark.parametrize("seed", range(5))
def test_decomposition_agrees_with_the_package(bench, seed):
    kernel = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    nine = kernel.flatten().tolist()
    coefficients = kernels.decompose(kernel)
    close(bench("decompose", nine), coefficients)
    close(bench("compose", coefficients.tolist()), kernel.flatten())
    close(bench("evenPart", nine), kernels.even_part(kernel).flatten())
    close(bench("oddPart", nine), kernels.odd_part(kernel).flatten())
    close(bench("energy", nine), kernel.square().sum())
    close(bench("quarterTurn", nine), kernels.rotate90(kernel).flatten())
    size, phase = bench("frequencies", nine, 65)
    close(torch.view_as_real(torch.polar(size, phase)), torch.view_as_real(spectrum(kernel)))


def test_phase_and_rank_agree_with_pytorch(bench):
    """Also where a wave vanishes and has no phase, and for kernels of every rank."""
    draw = torch.Generator().manual_seed(1)
    rows, columns = torch.randn(2, 3, 3, generator=draw, dtype=torch.float64)
    for count in range(4):
        kernel = columns[:, :count] @ rows[:count]
        found = bench("outerProducts", kernel.flatten().tolist())
        assert len(found) == torch.linalg.matrix_rank(kernel) == count
        close(sum((torch.outer(*pair) for pair in found), torch.zeros(3, 3)), kernel)
    for name in ("identity", "gaussian", "sobel_x", "laplacian", "emboss"):
        expected = spectrum(KERNELS[name]().double())
        size, phase = bench("frequencies", KERNELS[name]().flatten().tolist(), 65)
        close(size, expected.abs())
        assert torch.equal(phase.isnan(), expected.abs() < 1e-8)
        seen = ~phase.isnan()
        # The angle between them, since pi and -pi are one phase; the lab draws pi.
        close(torch.polar(size, phase)[seen].div(expected[seen]).angle(), torch.zeros(int(seen.sum())))
        assert phase[seen].min() > -3.1415


def test_slopes_fields_and_response_agree_with_pytorch(bench):
    image = torch.rand(13, 18, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for repeat, mode in ((False, "zeros"), (True, "replicate")):
        close(bench("gradient", image, {"repeat": repeat}), torch.stack(operators.gradient(image, padding_mode=mode)))
    for bank in operators.OPERATORS:
        close(bench("twistFields", image, bank), operators.fields(image[None, None], bank)[0, :, 0])
    kernel = kernels.emboss().double()
    close(bench("correlate", bench("replicated", image), kernel), response(image.numpy(), kernel))


def test_presets_and_their_response_on_ones_own_photograph(page):
    """The after picture shows PyTorch's numbers, to the last grey level or the ends of the colour scale."""
    grey = photograph()
    for how in ("drop", "paste", "file"):
        give(page, grey if how == "file" else grey[:8], how)
        assert torch.equal(pixels(page, 0), torch.tensor(grey if how == "file" else grey[:8]))
    for name in PRESETS:
        page.get_by_role("combobox", name="Kernel").select_option(name)
        settle(page)
        kernel = torch.tensor(weights(page), dtype=torch.float64).view(3, 3)
        if name in KERNELS:
            torch.testing.assert_close(kernel, KERNELS[name]().double(), rtol=0, atol=6e-4)
            kernel = KERNELS[name]().double()
        expected = response(grey, kernel)
        picture = bool(torch.isclose(kernel.sum(), torch.ones((), dtype=torch.float64)))
        assert page.get_by_role("radio", name="as a picture").is_checked() == picture
        if picture:
            # Halves may round either way.
            assert (pixels(page, 1) - expected.clamp(0, 255)).abs().max() <= 0.5 + 1e-3
        else:
            ends = page.locator(".ct-halves .ct-scale > span").all_text_contents()
            assert float(ends[-1]) == pytest.approx(expected.abs().max().item(), abs=6e-4)


def test_weights_and_coefficients_follow_each_other_by_keyboard(page):
    first = page.get_by_label("Weight row 0, column 0", exact=True)
    first.focus()
    for row in (("0", "1", "0"), ("1", "-4", "1"), ("0", "1", "0")):
        for weight in row:
            page.keyboard.type(weight)
            page.keyboard.press("ArrowRight")  # the field's text was replaced, so the caret stands at its end
        page.keyboard.press("Home")  # to the start of the text
        page.keyboard.press("Home")  # to the start of the row
        page.keyboard.press("ArrowDown")
    assert weights(page) == [0, 1, 0, 1, -4, 1, 0, 1, 0]
    found = {name: coefficient(page, name).input_value() for name in kernels.BASIS}
    assert found == dict.fromkeys(kernels.BASIS, "0") | {"dxx": "1", "dyy": "1"}
    assert page.get_by_role("combobox", name="Kernel").input_value() == "own"
    settle(page)
    assert page.get_by_text("K = dxx + dyy", exact=True).is_visible()
    coefficient(page, "dxx").fill("0")
    coefficient(page, "dyy").fill("0")
    coefficient(page, "dx").fill("1")
    assert weights(page) == [0, 0, 0, -0.5, 0, 0.5, 0, 0, 0]
    settle(page)
    assert "Points right: a ramp that gets brighter that way by 1 per pixel is answered with 1." in said(page)


def test_parts_turns_and_scale_by_mouse(page):
    page.get_by_role("combobox", name="Kernel").select_option("emboss")
    settle(page)
    assert "even: 7.7\u00a0%" in said(page) and "odd: 92.3\u00a0%" in said(page)
    assert "Points right and down" in said(page)
    page.get_by_role("button", name="Quarter turn").click()
    settle(page)
    assert "Points left and down" in said(page)
    page.get_by_role("button", name="Keep the odd part").click()
    page.get_by_role("button", name="\u00d7 2").click()
    assert weights(page) == (2 * kernels.odd_part(kernels.rotate90(kernels.emboss()))).flatten().tolist()
    page.get_by_role("button", name="\u00d7 \u22121").click()
    page.get_by_role("button", name="\u00f7 2").click()
    settle(page)
    assert "Points right and up" in said(page)
    page.get_by_role("button", name="Keep the even part").click()
    settle(page)
    assert weights(page) == [0] * 9 and "K = 0" in said(page)
    page.get_by_role("button", name="Random odd").click()
    settle(page)
    assert "odd: 100\u00a0%" in said(page) and "Flat areas become 0" in said(page)
    page.get_by_role("button", name="Start again").click()
    assert weights(page) == kernels.sobel_x().flatten().tolist()


def test_one_pixel_by_mouse_and_keyboard(page):
    """The nine products under the pointer, and beyond the border the repeated pixels, are PyTorch's."""
    grey = photograph()
    give(page, grey)
    kernel, (height, width) = kernels.emboss().double(), grey.shape
    page.get_by_role("combobox", name="Kernel").select_option("emboss")
    patches = F.unfold(F.pad(torch.tensor(grey).double()[None, None], (1, 1, 1, 1), mode="replicate"), 3)[0]

    def shown_at(row, column):
        settle(page)
        expected = patches[:, row * width + column] * kernel.flatten()
        close([number(text) for text in products(page)], expected)
        close(expected.sum(), response(grey, kernel)[row, column])
        total = f"Row {row}, column {column}: the products add up to {expected.sum():.0f}".replace("-", "\u2212")
        assert total in said(page)

    box = page.locator("canvas").first.bounding_box()
    for row, column in ((17, 30), (height - 1, 0)):
        across, down = (column + 0.5) / width, (row + 0.5) / height
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        shown_at(row, column)
    page.mouse.move(1, 1)
    page.get_by_role("application", name="Photograph, pixel picker").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    shown_at(height - 12, 1)
    for key in ("Control+Home", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    shown_at(0, 0)


def test_numbers_are_dragged_and_stepped_and_the_scale_is_kept(page):
    dx = coefficient(page, "dx")
    dx.press("PageUp")
    assert dx.input_value() == "1.05" and weights(page) != kernels.sobel_x().flatten().tolist()
    box = dx.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] - 60, box["y"] + 20, steps=5)  # 20 steps of 4 pixels to the left
    page.mouse.up()
    page.mouse.move(box["x"] + 90, box["y"] + 20)
    assert dx.input_value() == "0.05"
    dx.fill("1")
    coefficient(page, "dxyy").fill("0.25")
    assert weights(page) == kernels.sobel_x().flatten().tolist()
    settle(page)
    end, colours = page.locator(".ct-halves .ct-scale > span").last, pixels(page, 1)
    page.get_by_role("button", name="\u00d7 2").click()
    settle(page)
    doubled = end.inner_text()
    assert torch.equal(pixels(page, 1), colours)  # the scale followed
    page.get_by_role("button", name="\u00f7 2").click()
    page.get_by_label("Keep this scale").check()
    page.get_by_role("button", name="\u00d7 2").click()
    settle(page)
    assert number(end.inner_text()) == number(doubled) / 2 and "lie beyond this scale" in said(page)
    assert not torch.equal(pixels(page, 1), colours)


CAMERA = """() => {
  globalThis.asked = 0;
  navigator.mediaDevices.getUserMedia = async () => {
    asked++;
    if (globalThis.refuse) throw new DOMException("", "NotAllowedError");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [64, 48];
    const context = canvas.getContext("2d");
    context.fillStyle = "rgb(120, 120, 120)";
    context.fillRect(0, 0, 64, 48);
    globalThis.stream = canvas.captureStream(30);
    globalThis.painting = setInterval(() => context.fillRect(0, 0, 64, 48), 30);
    return stream;
  };
}"""


def test_the_camera_is_asked_for_only_when_pressed_and_stops_when_hidden(page):
    page.add_init_script(f"({CAMERA})()")
    page.reload()
    settle(page)
    button = page.get_by_role("button", name="camera")
    live = "stream.getTracks().some(track => track.readyState === 'live')"
    assert page.evaluate("asked") == 0
    button.click()
    page.wait_for_function("within('canvas')[0].width === 64")
    assert (pixels(page, 0) - 120).abs().max() <= 3 and button.inner_text() == "Stop the camera"
    page.evaluate("""() => {
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    assert not page.evaluate(live) and button.inner_text() == "Use the camera"
    button.click()
    page.wait_for_function(live)
    give(page, photograph())  # a photograph takes its place
    assert not page.evaluate(live) and torch.equal(pixels(page, 0), torch.tensor(photograph()))
    button.click()
    page.wait_for_function(live)
    page.evaluate("document.querySelector('.convtwist-lab').remove()")
    assert not page.evaluate(live)
    page.add_init_script("globalThis.refuse = true")
    page.reload()
    button.click()
    page.get_by_text("The browser was not allowed to use the camera").wait_for()
    page.add_init_script("delete Object.getPrototypeOf(navigator).mediaDevices")
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.reload()
    settle(page)
    assert button.count() == 0 and page.get_by_role("button", name="Random odd").is_visible()


def test_what_is_no_number_is_marked_and_the_last_one_stays(page):
    field = page.get_by_label("Weight row 1, column 2", exact=True)
    for typed in ("NaN", "", "1/0", "two", "1e999"):
        field.fill(typed)
        settle(page)
        assert field.get_attribute("aria-invalid") == "true"
        assert "is not a finite number; 0.25 stays in use" in said(page)
        assert coefficient(page, "dx").input_value() == "1"
        field.press("Escape")
        assert field.input_value() == "0.25" and field.get_attribute("aria-invalid") is None
    coefficient(page, "dx").fill("NaN")
    assert coefficient(page, "dx").get_attribute("aria-invalid") == "true"
    page.get_by_role("button", name="Quarter turn").click()
    assert coefficient(page, "dx").get_attribute("aria-invalid") is None
    assert "stays in use" not in said(page)


def test_the_other_way_of_looking(page):
    page.get_by_role("radio", name="as a picture").check()
    settle(page)
    assert "are cut off" in said(page) and not page.locator(".ct-halves .ct-scale").is_visible()


def test_operators_come_first_in_chapter_7(browser, tmp_path):
    lab = labs.kernel_microscope(images.sample("chelsea"), view="operators", kernel=[[0, 0, 0], [1, 0, -1], [0, 0, 0]])
    with opened(browser, tmp_path, lab) as page:
        order = page.get_by_role("grid").evaluate_all("list => list.map(grid => grid.ariaLabel)")
        assert order == ["Operator coefficients", "Kernel, 3 by 3"]
        assert coefficient(page, "dx").input_value() == "\u22122"
        assert page.locator(".ct-compass").get_attribute("aria-label").startswith("Points left:")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_accessible_and_never_wider_than_the_page(browser, tmp_path, width, theme):
    with opened(browser, tmp_path, labs.kernel_microscope(images.sample("chelsea")), width=width, theme=theme) as page:
        page.get_by_label("Weight row 1, column 2", exact=True).fill("NaN")
        page.evaluate("document.body.style.maxWidth = '696px'")  # the book's column at 1280
        bar = 48  # the page's own, which stays on top
        assert width == 390 or page.locator(".ct-bench").bounding_box()["height"] <= 720 - bar
        page.evaluate(AXE)
        assert not page.evaluate(AXE_RUN)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
