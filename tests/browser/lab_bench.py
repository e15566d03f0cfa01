"""A bare page for one lab, and a bench for its functions: shared by the tests of single labs."""

import base64
import contextlib
import io
from importlib import resources

import numpy as np
import torch
from closing import close
from PIL import Image

from convtwist.labs.page import joined_modules

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
AXE_RUN = """async () => (await axe.run(document, {
  resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
  rules: {"label-content-name-mismatch": {enabled: true}},
})).violations.map(({id, nodes}) => [id, nodes.map(node => node.html.slice(0, 200))])"""
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Lab</title>
<body style="margin: 0 auto; max-width: 740px; {colours}"><main><h1>Chapter</h1><h2>Lab</h2>{lab}</main>"""
# Puts a function into a page: what a selector finds inside the labs, each in a shadow root of its own.
WITHIN = """globalThis.within = selector => [...document.querySelectorAll(".convtwist-lab")]
  .flatMap(lab => [...(lab.shadowRoot ?? lab).querySelectorAll(selector)]);"""
PIXELS = """canvas => {
  const { width, height } = canvas;
  const copy = Object.assign(document.createElement("canvas"), { width, height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, data: Array.from({ length: width * height }, (_, i) => data[4 * i]) };
}"""
CALL = """([name, values]) => {
  const plane = value => value?.data ? { ...value, data: Float64Array.from(value.data) } : value;
  const plain = value => ArrayBuffer.isView(value) ? [...value]
    : Array.isArray(value) ? value.map(plain) : value?.data ? { ...value, data: [...value.data] } : value;
  return plain(window.bench[name](...values.map(plane)));
}"""


@contextlib.contextmanager
def opened(browser, folder, lab, *, width=1280, theme="light", motion="reduce"):
    """Open a lab from a file and hand over the page; complain at the end about errors and requests elsewhere."""
    file, faults = folder / "lab.html", []
    colours = "color: #000" if theme == "light" else "background: #121212; color: #fff"
    file.write_text(PAGE.format(theme=theme, colours=colours, lab=lab._repr_html_()), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion=motion)
    context.add_init_script(WITHIN)
    page = context.new_page()
    page.set_default_timeout(10_000)
    local = ("file:", "data:", "blob:")
    page.on("request", lambda request: request.url.startswith(local) or faults.append(request.url))
    page.on("console", lambda entry: entry.type in ("error", "warning") and faults.append(entry.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(file.as_uri())
    settle(page)
    assert not faults
    yield page
    assert not faults
    close(context)


@contextlib.contextmanager
def functions(browser, modules, names, extra=""):
    """Hand over a function that calls one of a lab's functions, with planes as float64 tensors on both ends."""
    page = browser.new_page()
    source = f"{joined_modules(*modules)}\n{extra}\nwindow.bench = {{ {', '.join(names)} }};"
    page.add_script_tag(content=source, type="module")
    page.wait_for_function("window.bench")

    def there(value):
        if not isinstance(value, torch.Tensor):
            return value
        return {"height": value.shape[0], "width": value.shape[1], "data": value.flatten().tolist()}

    def back(value):
        if isinstance(value, dict):
            return torch.tensor(value["data"], dtype=torch.float64).view(value["height"], value["width"])
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return torch.stack([back(one) for one in value])
        return torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value

    yield lambda name, *arguments: back(page.evaluate(CALL, [name, [there(one) for one in arguments]]))
    page.close()


def settle(page):
    """Wait for the drawing that a change asked for."""
    page.evaluate("async () => { for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame); }")


def pixels(page, canvas: int) -> torch.Tensor:
    """Return the red values on one of the page's canvases."""
    picture = page.locator("canvas").nth(canvas).evaluate(PIXELS)
    return torch.tensor(picture["data"]).view(picture["height"], picture["width"])


def give(page, grey: np.ndarray, how: str = "file"):
    """Give the page a photograph of the reader's own, losslessly: chosen, dropped or pasted."""
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    if how == "file":
        file = {"name": "mine.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
        page.locator("input[type=file]").set_input_files(file)
    else:
        page.evaluate(
            """async ([how, encoded]) => {
              const bytes = Uint8Array.from(atob(encoded), char => char.charCodeAt(0));
              const files = new DataTransfer();
              files.items.add(new File([bytes], "mine.png", { type: "image/png" }));
              const event = how === "drop"
                ? new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: files, bubbles: true, cancelable: true });
              document.querySelector(".convtwist-lab").dispatchEvent(event);
            }""",
            [how, base64.b64encode(buffer.getvalue()).decode()],
        )
    page.get_by_text("It stays on this page").wait_for()
    settle(page)


def played_and_paused(page, row: str) -> tuple[int, bool, str]:
    """Press Play and, eight frames later, Pause; return how many captions came, whether the last one held, and it.

    ``row`` selects the pictures of the lab; the caption is that of the second.
    """
    return tuple(page.evaluate("""async row => {
      const button = text => within("button").find(one => one.textContent === text);
      const caption = () => within(row + " .ct-caption")[1].textContent;
      const frame = () => new Promise(requestAnimationFrame), seen = new Set();
      button("Play").click();
      for (let i = 0; i < 8; i++) { await frame(); seen.add(caption()); }
      button("Pause").click();
      const paused = caption();
      for (let i = 0; i < 3; i++) await frame();
      return [seen.size, paused === caption(), paused];
    }""", row))
