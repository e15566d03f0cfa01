"""Every chapter runs to its end on readers' own pictures, and what it says then follows the picture.

Each chapter runs on one picture of a single colour, on which most observations fail, and most on one or two others, so
that together they take all kinds in turn. A chapter costs 2 to 20 seconds the first time. Cells that don't depend on
the photograph are not run again, so that a further picture costs 1 to 8 seconds, and 18 in chapter 11, which trains on
it: all of it some two minutes of one core.
``CONVTWIST_ALL_PICTURES=1 pytest tests/test_own_pictures.py`` runs all chapters on all pictures and samples,
in some twenty minutes.
"""

import os

import own_pictures
import pytest
from scorecard import record

from convtwist import images

pytestmark = pytest.mark.slow
CHOSEN = {
    1: ["one_colour", "dark", "sixteen_bits"], 2: ["one_colour", "screenshot", "flat"],
    3: ["one_colour", "dark", "strip"], 4: ["one_colour", "tall"], 5: ["one_colour", "blurred", "text"],
    6: ["one_colour", "dark", "retina"], 7: ["one_colour", "sky", "transparent"], 8: ["one_colour", "dark"],
    9: ["one_colour", "screenshot"], 10: ["one_colour", "camera", "moving", "cmyk"],
    11: ["one_colour"], 12: ["one_colour"], 13: ["one_colour", "dandelion"],
}
# What a chapter says on a picture, and what it then does not say.
SAID = {
    (1, "dark"): ("The edge map does not commute with a quarter turn.", "or almost constant"),
    (1, "one_colour"): ("This picture is the same in all directions, or almost constant.", "does not commute"),
    (2, "one_colour"): ("The sum is not much weaker than the red response.", "The sum is much weaker"),
    (2, "screenshot"): ("This photograph has almost no colour.", "the colours that differ most"),
    (3, "dark"): ("The farther apart two pixels are, the more they differ.", "do not always differ more"),
    (3, "one_colour"): ("On this picture more distant pixels do not always differ more.", "The farther apart"),
    (6, "one_colour"): ("repeated: hardly a difference, the border is flat here", "repeated: up to"),
    (6, "dark"): ("repeated: up to 0.0", "the border is flat here"),
    (8, "dark"): ("The picture has moved 10 pixels to the left.", "too little along its rows to tell"),
    (8, "one_colour"): ("This picture changes too little along its rows to tell.", "The picture has moved 10 pixels"),
}


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
def test_a_chapter_runs_on_every_picture_and_says_what_it_shows(path, lines):
    number, memory = int(path.stem[:2]), own_pictures.remember(path)
    whole = [name for name in lines if name not in own_pictures.TOO_SMALL]
    names = whole if os.environ.get("CONVTWIST_ALL_PICTURES") else CHOSEN.get(number, ["one_colour", "dark"])
    failures = []
    for name in names:
        ran = own_pictures.run(path, lines[name], memory)
        failures += [f"{name}: {failure}" for failure in ran.failures]
        if ran.failures:
            continue
        said, alts = "\n".join(ran.said.values()), "\n".join(ran.alts.values()).lower()
        if (number, name) in SAID:
            present, absent = SAID[number, name]
            assert present in said and absent not in said, f"{name}:\n{said}"
        shown = images.describe(_picture(lines[name]))
        if number != 13:  # which has no figure, but a lab
            assert shown in alts, f"{name}: no figure's text says {shown!r}"
        assert not [other for other in set(images._SHOWN.values()) - {shown} if other in alts], f"{name}:\n{alts}"
        record("chapters run on a picture of the reader's", 1)
    assert not failures, "\n".join(failures)


def test_every_kind_of_picture_is_met(lines):
    """The chapters share out the readers' pictures, and those with a sentence to check are among the chosen."""
    met = {name for names in CHOSEN.values() for name in names}
    assert met >= lines.keys() - set(images.SAMPLES) - set(own_pictures.TOO_SMALL)
    assert all(name in CHOSEN[number] for number, name in SAID)
    assert sorted(CHOSEN) == [int(path.stem[:2]) for path in own_pictures.CHAPTERS]


@pytest.mark.parametrize("name", own_pictures.TOO_SMALL)
def test_too_narrow_a_picture_is_refused_with_what_to_do(name, lines):
    with pytest.raises(ValueError, match=r"need at least 64 on the shorter side.*(Cut out a piece|choose a larger)"):
        _picture(lines[name])
