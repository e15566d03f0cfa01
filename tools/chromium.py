"""Chromium for the tools that print and photograph the built book, with the network shut."""

import contextlib
import mimetypes
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first starts quickest
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
ORIGIN = "http://book.invalid/"  # never looked up: every request is answered from the folder


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium that is installed.

    Raises:
        FileNotFoundError: there is none.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise FileNotFoundError(f"found none of {', '.join(NAMES)}; Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


def page_from(browser: Browser, folder: Path, extra: dict[str, Callable[[], str]], **options) -> Page:
    """Open a page that sees ``folder`` below :data:`ORIGIN`, and nothing else.

    Args:
        browser: from :func:`chromium`.
        folder: the built book.
        extra: pages that are not in the folder; the text of each is asked for when it is opened.
        options: how the page is to be, such as ``viewport``.
    """
    page = browser.new_page(**options)

    def answer(route):
        path = unquote(urlsplit(route.request.url).path).lstrip("/")
        if not route.request.url.startswith(ORIGIN):
            route.abort()
        elif path in extra:
            route.fulfill(body=extra[path](), content_type="text/html; charset=utf-8")
        elif (folder / path).is_file():
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            route.fulfill(body=(folder / path).read_bytes(), content_type=kind)
        else:
            route.fulfill(status=404)

    page.route("**/*", answer)
    return page
