"""The labs in a real JupyterLab, and in Notebook 7 where it is installed: keys stay theirs, and trust is explained."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import numpy as np
import pytest
from nbformat import v4
from nbformat.sign import NotebookNotary
from playwright.sync_api import expect

from convtwist import labs

pytestmark = pytest.mark.browser
APPS = {"lab": ("jupyterlab", "LabApp", "lab/tree"), "notebook": ("notebook", "JupyterNotebookApp", "notebooks")}
PHOTO = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
KEYS = ["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight", *"jkxbam", "Enter", "Escape", "Space"]
STATE = """() => {
  const { content } = window.jupyterapp.shell.currentWidget;
  const cells = Array.from({ length: content.model.cells.length }, (_, i) => content.model.cells.get(i));
  const { type, tagName, ariaLabel } = document.activeElement.shadowRoot?.activeElement ?? {};
  return { cells: cells.map(cell => [cell.type, cell.sharedModel.getSource()]), active: content.activeCellIndex,
           held: `${tagName} ${type} ${ariaLabel}` };
}"""
SHOWN = """name => {
  const widget = window.jupyterapp?.shell.currentWidget;
  return widget?.title.label === name && widget.content?.model?.cells.length === 5;
}"""


def notebook():
    """Return a notebook with two labs that between them have every kind of control, and cells around them."""
    shown = [labs.correlation_stepper(PHOTO), labs.channel_board(), labs.answer_box(7)]
    outputs = [v4.new_output("execute_result", {"text/html": lab._repr_html_(), "text/plain": repr(lab)},
                             execution_count=1) for lab in shown]
    cells = [v4.new_code_cell("labs", outputs=[output], execution_count=1) for output in outputs]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return v4.new_notebook(cells=[v4.new_code_cell("1"), *cells, v4.new_code_cell("2")], metadata=kernel)


@pytest.fixture(scope="module", params=APPS)
def served(request, tmp_path_factory):
    """Serve a trusted and an untrusted notebook, and return the address of the folder in the program's own pages."""
    package, settings, path = APPS[request.param]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: the labs were not tried in it (pip install {package})")
    home = tmp_path_factory.mktemp(request.param)
    files = home / "files"
    files.mkdir()
    trusted = notebook()
    NotebookNotary(data_dir=str(home)).sign(trusted)
    nbformat.write(trusted, files / "trusted.ipynb")
    other = notebook()
    other.cells[0].source = "3"  # the signature is of the content
    nbformat.write(other, files / "untrusted.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/{path}"
    command = [sys.executable, "-m", package, "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
               "--IdentityProvider.token=", "--PasswordIdentityProvider.password_required=False",
               f"--ServerApp.root_dir={files}", f"--{settings}.expose_app_in_browser=True"]
    places = {f"JUPYTER_{kind}_DIR": str(home) for kind in ("DATA", "CONFIG", "RUNTIME")}
    with open(home / "log", "w") as log:
        server = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                break
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:  # it may wait for a kernel for good; a kernel left alone ends by itself
            server.kill()
            server.wait()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def opened(browser, served):
    """Return a function that opens one of the notebooks."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")

    def open_one(name):
        page = context.new_page()
        page.set_default_timeout(30_000)
        answer = page.goto(f"{served}/{name}.ipynb?reset")  # without what an earlier test had open
        assert answer.ok, f"status {answer.status}: the program is not installed completely"
        page.wait_for_function(SHOWN, arg=f"{name}.ipynb")
        return page

    yield open_one
    context.close()


def test_keys_on_a_control_are_the_control_s(opened):
    """None of the keys moves the focus, or inserts, cuts, changes, runs or selects a cell of the notebook."""
    page = opened("trusted")
    stepper, board = (page.get_by_role("group", name=f"Lab: {name}") for name in ("correlation stepper", "channel bo"))
    controls = {
        "select": board.get_by_label("Permutation"), "slider": board.get_by_role("slider"),
        "checkbox": board.get_by_role("checkbox"), "number": board.get_by_label("Channels"),
        "picker": board.get_by_role("application"), "button": board.get_by_role("button", name="Reset"),
        "radio": stepper.get_by_role("radio").first, "typed": stepper.get_by_label("Kernel row 0, column 0"),
        "grid": stepper.get_by_role("grid", name="Output").get_by_role("gridcell").first,
        "question": stepper.locator("summary"), "answer": page.get_by_label("Your answer"),
    }
    expect(stepper.get_by_role("grid", name="Output")).to_be_visible()
    before = page.evaluate(STATE)
    for name, control in controls.items():
        control.focus()
        start = page.evaluate(STATE)
        assert start["cells"] == before["cells"] and "undefined" not in start["held"].split()[0], name
        for key in KEYS:
            page.keyboard.press(key)
        now = page.evaluate(STATE)
        assert (now["cells"], now["active"]) == (start["cells"], start["active"]), name
        if name in ("grid", "radio", "typed"):  # arrows lead to the neighbour
            assert now["held"].split()[:2] == start["held"].split()[:2], name
        else:
            assert now["held"] == start["held"], name
    slider = controls["slider"]
    value = int(slider.input_value())
    slider.press("ArrowRight")
    assert int(slider.input_value()) == value + 1
    typed = controls["typed"]
    typed.fill("")
    typed.press_sequentially("-1.5")
    assert typed.input_value() == "-1.5"


def assert_says_how_to_trust(page):
    """Each of the three outputs of the notebook in front says it, and neither says that JavaScript is off."""
    front = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    said = front.get_by_text("trust the notebook (File > Trust Notebook) or run this cell again").filter(visible=True)
    expect(said).to_have_count(3, timeout=30_000)
    expect(front.get_by_text("Here a lab steps a kernel over a grid")).to_be_visible()
    assert "JavaScript, which is off" not in front.inner_text()


def test_an_untrusted_notebook_says_how_to_trust_it(opened):
    assert_says_how_to_trust(opened("untrusted"))


@pytest.mark.parametrize("served", ["lab"], indirect=True)
def test_a_trusted_notebook_in_another_tab_hides_no_sentence_of_an_untrusted_one(opened):
    """JupyterLab shows both in one page, and the style that comes with the trusted one's labs is for the whole page."""
    page = opened("trusted")
    expect(page.get_by_role("grid", name="Output")).to_be_visible(timeout=30_000)
    page.evaluate("jupyterapp.commands.execute('docmanager:open', { path: 'untrusted.ipynb' }).then(() => null)")
    page.wait_for_function(SHOWN, arg="untrusted.ipynb")
    assert_says_how_to_trust(page)
