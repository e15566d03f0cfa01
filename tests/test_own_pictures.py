"""Every chapter runs to its end on readers' own pictures, and what it says then follows the picture.

Each chapter runs on one picture of a single colour, on which most observations fail, and most on one or two others, so
that together they take all kinds in turn. test_colab.py and test_colab_more.py run it on one of them, with the same
checks; here are the others. A chapter costs 2 to 20 seconds the first time. Cells that don't depend on the photograph
are not run again, so that a further picture costs 1 to 8 seconds, and 18 in chapter 11, which trains on it.
``CONVTWIST_ALL_PICTURES=1 pytest tests/test_own_pictures.py`` runs all chapters on all pictures and samples,
in some twenty minutes.
"""

import os

import own_pictures
import pytest

from convtwist import images

pytestmark = pytest.mark.slow
ALL = bool(os.environ.get("CONVTWIST_ALL_PICTURES"))
HERE = [path for path in own_pictures.CHAPTERS if ALL or own_pictures.CHOSEN.get(int(path.stem[:2]), True)]


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
@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_a_chapter_runs_on_every_picture_and_says_what_it_shows(path, lines):
    number, memory = int(path.stem[:2]), own_pictures.remember(path)
    whole = [name for name in lines if name not in own_pictures.TOO_SMALL]
    names = whole if ALL else own_pictures.CHOSEN.get(number, ["one_colour", "dark"])
    failures = []
    for name in names:
        ran = own_pictures.run(path, lines[name], memory)
        failures += [f"{name}: {failure}" for failure in ran.failures]
        if not ran.failures:
            said, alts = "\n".join(ran.said.values()), "\n".join(ran.alts.values())
            own_pictures.check(path, name, _picture(lines[name]), said, alts)
    assert not failures, "\n".join(failures)


def test_every_kind_of_picture_is_met(lines):
    """The chapters share out the readers' pictures, and those with a sentence to check are among the chosen."""
    chosen = {number: [*names, *filter(None, [own_pictures.ON_COLAB.get(number)])]
              for number, names in own_pictures.CHOSEN.items()}
    met = {name for names in chosen.values() for name in names}
    assert met >= lines.keys() - set(images.SAMPLES) - set(own_pictures.TOO_SMALL)
    assert all(name in chosen[number] for number, name in own_pictures.SAID)
    assert all("one_colour" in names for names in chosen.values())
    assert sorted(chosen) == [int(path.stem[:2]) for path in own_pictures.CHAPTERS]


@pytest.mark.parametrize("name", own_pictures.TOO_SMALL)
def test_too_narrow_a_picture_is_refused_with_what_to_do(name, lines):
    with pytest.raises(ValueError, match=r"need at least 64 on the shorter side.*(Cut out a piece|choose a larger)"):
        _picture(lines[name])
