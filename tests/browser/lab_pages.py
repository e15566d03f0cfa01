"""A bare page with labs on it, opened from a file with the network watched, for the tests of the labs."""

import io
from pathlib import Path

import numpy as np
from closing import close
from lab_bench import WITHIN
from PIL import Image
from playwright.sync_api import Browser, Page

from convtwist.labs.page import joined_modules

PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Labs</title>
<body style="margin: 0 auto; max-width: 46rem; background: {paper}"><main>{body}</main></body></html>"""
PAPER = {"light": "#ffffff", "dark": "#121212"}
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"


class LabPages:
    """Opens pages and remembers everything that went wrong on them."""

    def __init__(self, browser: Browser, folder: Path):
        self.browser, self.folder = browser, folder
        self.contexts, self.faults = [], []

    def open(self, *labs, width=1280, theme="light", motion="reduce", scripts=True, touch=False, body=None) -> Page:
        """Open a page that holds ``labs`` one under another, or the HTML given as ``body``."""
        body = body if body is not None else "\n".join(lab._repr_html_() for lab in labs)
        file = self.folder / f"labs-{len(self.contexts)}.html"
        file.write_text(PAGE.format(theme=theme, paper=PAPER[theme], body=body), encoding="utf-8")
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, reduced_motion=motion, java_script_enabled=scripts,
            has_touch=touch, is_mobile=touch,
        )
        context.add_init_script(WITHIN)
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("request", lambda request: self._check(request.url))
        page.on("console", lambda entry: entry.type in ("error", "warning") and self.faults.append(entry.text))
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.goto(file.as_uri())
        if scripts:
            settle(page)
        return page

    def open_core(self) -> Page:
        """Open a page on which the labs' numerical modules lie in ``window``."""
        script = joined_modules("core.mjs", "widgets.mjs", "picture.mjs", "size_rules.mjs")
        names = (
            "correlate grid plane magnitude convolutionSize transposedSize poolingSize axisSize connections "
            "parseNumber pretty declaredSize"
        )
        exports = f"Object.assign(window, {{ {', '.join(names.split())} }});"
        return self.open(body=f'<script type="module">{script}\n{exports}</script>')

    def _check(self, address: str):
        if not address.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"request to another place: {address}")

    def close(self):
        """Close every page; fail if anything went wrong on one of them."""
        faults = "\n".join(self.faults)
        for context in self.contexts:
            close(context)
        assert not faults, faults


def settle(page: Page):
    """Wait until what was asked for is drawn."""
    page.evaluate(FRAMES)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """Return an image file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def canvas_pixels(page: Page, index: int) -> np.ndarray:
    """Return what the page's canvas number ``index`` shows, ``(H, W, 4)`` uint8."""
    height, width, values = page.locator("canvas").nth(index).evaluate(
        """c => {
          const copy = Object.assign(document.createElement("canvas"), { width: c.width, height: c.height });
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(c, 0, 0);
          return [c.height, c.width, Array.from(context.getImageData(0, 0, c.width, c.height).data)];
        }"""
    )
    return np.array(values, np.uint8).reshape(height, width, 4)


def grid_cell(page: Page, name: str, row: int, column: int):
    """Return one cell of the grid whose label begins with ``name``."""
    return page.get_by_role("grid", name=name).get_by_role("row").nth(row).get_by_role("gridcell").nth(column)
