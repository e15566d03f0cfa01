"""Every chapter runs to its end on readers' own pictures, as alone on Colab, and what it says follows the picture.

Each chapter runs on one picture of a single colour, on which most observations fail, and most on one or two others, so
that together they take all kinds in turn. It finds no package that Colab lacks and its first cell does not install, no
network, and leaves no file; test_colab_more.py has a whole session. A chapter costs 2 to 20 seconds the first time.
Cells that don't depend on the photograph are not run again, so that a further picture costs 1 to 8 seconds.
``CONVTWIST_ALL_PICTURES=1 pytest tests/test_own_pictures.py`` runs all chapters on all pictures and samples,
in some twenty minutes.
"""

import os

import own_pictures
import pytest
from colab_limits import limits

from convtwist import images

pytestmark = pytest.mark.slow
ALL = bool(os.environ.get("CONVTWIST_ALL_PICTURES"))


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Return, by the picture's name, the line that a reader puts in place of the sample's."""
    made = own_pictures.make(tmp_path_factory.mktemp("pictures"))
    lines = {name: f"photo = images.sample({name!r})" for name in images.SAMPLES}
    return lines | {name: f"photo = images.photograph({str(path)!r})" for name, path in made.items()}


def _picture(line):
    space = {"images": images}
    exec(line, space)
    return space["photo"]


@pytest.mark.filterwarnings("ignore:.*moving.gif has 2 frames")
@pytest.mark.parametrize("path", own_pictures.CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_on_every_picture_and_says_what_it_shows(path, lines, tmp_path):
    number = int(path.stem[:2])
    whole = [name for name in lines if name not in own_pictures.TOO_SMALL]
    names = whole if ALL else own_pictures.CHOSEN.get(number, ["one_colour", "dark"])
    failures, memory = [], own_pictures.remember(path) if len(names) > 1 else None
    for name in names:
        with limits(path, tmp_path) as faults:
            ran = own_pictures.run(path, lines[name], memory)
        failures += [f"{name}: {failure}" for failure in [*ran.failures, *faults]]
        if not ran.failures:
            said, alts = "\n".join(ran.said.values()), "\n".join(ran.alts.values())
            own_pictures.check(path, name, _picture(lines[name]), said, alts)
    assert not failures, "\n".join(failures)


def test_every_kind_of_picture_is_met(lines):
    """The chapters share out the readers' pictures, and those with a sentence to check are among the chosen."""
    chosen = own_pictures.CHOSEN
    met = {name for names in chosen.values() for name in names}
    assert met >= lines.keys() - set(images.SAMPLES) - set(own_pictures.TOO_SMALL)
    assert all(name in chosen[number] for number, name in own_pictures.SAID)
    assert all("one_colour" in names for names in chosen.values())
    assert sorted(chosen) == [int(path.stem[:2]) for path in own_pictures.CHAPTERS]


def test_what_a_chapter_would_lack_on_colab_is_refused(tmp_path):
    """Packages that other tests have loaded here, the network even where the error is swallowed, a file left behind."""
    (path,) = [path for path in own_pictures.CHAPTERS if path.stem.startswith("01_")]
    code = """
import contextlib, pathlib, socket, urllib.request
from importlib.util import find_spec
assert find_spec("kornia") is None and find_spec("matplotlib") is not None
import matplotlib.figure, scipy
with contextlib.suppress(OSError):
    urllib.request.urlopen("http://example.org")
with contextlib.suppress(OSError):
    socket.socket().connect(("192.0.2.1", 80))
pathlib.Path("left.txt").touch()
"""
    with limits(path, tmp_path) as faults:
        exec(code, {"__name__": "__main__"})
        with pytest.raises(ModuleNotFoundError, match="kornia"):
            exec("import kornia.filters", {"__name__": "__main__"})
        with pytest.raises(ModuleNotFoundError, match="lightning"):
            exec("def late():\n    import lightning\nlate()", {"__name__": "convtwist.somewhere"})
    assert faults == ["the network was asked for example.org", "the network was asked for ('192.0.2.1', 80)",
                      "left.txt was left behind"]
    import kornia  # noqa: F401  # here all is as it was


@pytest.mark.parametrize("name", own_pictures.TOO_SMALL)
def test_too_narrow_a_picture_is_refused_with_what_to_do(name, lines):
    with pytest.raises(ValueError, match=r"need at least 64 on the shorter side.*(Cut out a piece|choose a larger)"):
        _picture(lines[name])
