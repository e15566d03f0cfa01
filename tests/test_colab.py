"""Every second notebook, alone on Colab with a telephone's photograph; test_colab_more.py has the others.

Two files, because one file stays on one worker and these are the longest tests.
"""

import colab_session
import nbformat
import pytest
from environments import distributions
from scorecard import record

pytestmark = pytest.mark.slow
GUARD = 'try:\n    import convtwist\nexcept ModuleNotFoundError:\n    %pip install --quiet convtwist\n'
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


@pytest.mark.parametrize("path", colab_session.NOTEBOOKS[::2], ids=lambda path: path.stem)
def test_runs_alone_on_an_own_photograph(path, picture, tmp_path, tmp_path_factory):
    colab_session.run(path, picture, distributions(tmp_path_factory), tmp_path)
    record("notebooks run alone, as on Colab", 1)


def test_a_notebook_that_needs_more_is_caught(picture, tmp_path, tmp_path_factory):
    """The picture is the uploaded one, upright and shrunk; kornia must be asked for; the network is shut."""
    cells = [nbformat.v4.new_code_cell(text) for text in (GUARD, SETUP, PROBE)]
    path = tmp_path / "probe.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    with pytest.raises(AssertionError) as caught:
        colab_session.run(path, picture, distributions(tmp_path_factory), tmp_path)
    faults = str(caught.value)
    assert "socket.connect ('192.0.2.1', 80)" in faults and "socket.getaddrinfo example.org" in faults
    assert "files were left behind: ['left.txt']" in faults
    assert "installed" not in faults and "another convtwist" not in faults
