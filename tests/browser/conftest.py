"""The built book, served and opened in Chromium with the network shut.

Fixtures: ``book_html`` (the folder), ``book_url`` (its address on this machine), ``browser``, and
``open_page(address, width=..., theme=...)``, whose pages fail the test on any error in the console, any request
beyond the book, and any that fails. What is open when a test fails is photographed into ``_build/screenshots``.
"""

import contextlib
import functools
import http.server
import os
import re
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from built_book import built_book
from chromium import NAMES
from closing import close
from playwright.sync_api import Browser, Error, Page, sync_playwright

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "_build" / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no name resolves: the network is shut
]


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: drives a browser")


@dataclass
class Watched:
    """A page and everything on it that should not have happened."""

    page: Page
    responses: list = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def photograph(browser: Browser, name: str) -> None:
    """Store a picture of each open page under the test's name; a page that can't be pictured is left out."""
    stem = re.sub(r"[^\w.-]+", "-", name)
    pages = [page for context in browser.contexts for page in context.pages]
    for number, page in enumerate(pages):
        with contextlib.suppress(Error):  # the failure of the test is what has to be reported
            page.screenshot(path=SCREENSHOTS / f"{stem}-{number}.png", full_page=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Photograph the pages of a test that failed before its fixtures close them."""
    report = yield
    if report.when == "call" and report.failed and "browser" in getattr(item, "funcargs", {}):
        photograph(item.funcargs["browser"], item.nodeid)
    return report


@pytest.fixture(scope="session")
def book_html(tmp_path_factory) -> Path:
    """Build the book once for all workers, strictly, and return the folder with its pages."""
    return built_book(tmp_path_factory)


@pytest.fixture(scope="session")
def book_url(book_html) -> str:
    """Serve the built book on this machine and return its address, with a slash at the end."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(book_html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """Start Chromium. Without one the tests are skipped, but on a build server they fail."""
    if CHROMIUM is None:
        reason = "no Chromium found: the pages were not tested (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def watch(browser, book_url, book_html):
    """Return a function that opens an address and returns a :class:`Watched` page; the caller closes it."""
    inside = (book_url, book_html.as_uri(), "data:", "blob:")

    def open_watched(address: str, width: int = 1280, height: int = 900, theme: str = "light") -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        context.add_init_script(f"localStorage.mode = localStorage.theme = {theme!r}")
        watched = Watched(context.new_page())

        def asked(request):  # nothing is held up for it: the network is shut
            if not request.url.startswith(inside):
                watched.faults.append(f"request to another place: {request.url}")

        def message(entry):
            if entry.type in ("error", "warning"):
                watched.faults.append(f"console {entry.type}: {entry.text}")

        def response(answer):
            watched.responses.append(answer)
            if answer.status >= 400:
                watched.faults.append(f"status {answer.status}: {answer.url}")

        def failed(request):
            if request.failure != "net::ERR_ABORTED":  # not cancelled because the test went on to another page
                watched.faults.append(f"request failed: {request.url}: {request.failure}")

        page = watched.page
        page.on("request", asked)
        page.on("console", message)
        page.on("pageerror", lambda error: watched.faults.append(f"page error: {error}"))
        page.on("response", response)
        page.on("requestfailed", failed)
        page.goto(address if ":" in address else book_url + address, wait_until="load")
        page.evaluate("async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }")
        return watched

    return open_watched


@pytest.fixture
def open_page(watch, browser, request):
    """Return ``watch`` for pages that close with the test, which fails if anything went wrong on them."""
    opened: list[Watched] = []

    def open_one(address: str, **options) -> Page:
        opened.append(watch(address, **options))
        return opened[-1].page

    yield open_one
    faults = [fault for watched in opened for fault in watched.faults]  # not of a request that closing cuts off
    if faults:
        photograph(browser, request.node.nodeid)
    for watched in opened:
        close(watched.page.context)
    assert not faults
