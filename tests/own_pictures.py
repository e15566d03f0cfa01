"""Pictures as readers have them, and a chapter's cells run on one of them, all in this process.

By hand: ``python tests/own_pictures.py 06`` runs chapter 6 on every picture and prints a line for each cell that fails;
``python tests/own_pictures.py 06 dark panorama`` on these only, and ``--slow`` adds the seconds of the slowest cells.
"""

import ast
import contextlib
import io
import json
import re
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from cell_memory import Memory, random_state
from PIL import Image, ImageDraw, ImageFilter
from scorecard import record

from convtwist import images

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]_*.ipynb"))
TOO_SMALL = ("panorama", "tiny")
# On which pictures each chapter runs.
CHOSEN = {
    1: ["one_colour", "dark", "sixteen_bits"], 2: ["one_colour", "screenshot", "flat"],
    3: ["one_colour", "dark", "strip"], 4: ["one_colour", "tall"], 5: ["one_colour", "text", "blurred"],
    6: ["one_colour", "retina", "dark"], 7: ["one_colour", "sky", "transparent"], 8: ["one_colour", "dark"],
    9: ["one_colour", "moving"], 10: ["one_colour", "camera", "moving", "cmyk"], 11: ["one_colour"],
    12: ["one_colour"], 13: ["one_colour", "dandelion"],
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


class Failure(NamedTuple):
    """What went wrong in a cell, counted among the code cells from 1."""

    cell: int
    line: int
    source: str
    error: str

    def __str__(self):
        return f"code cell {self.cell}, line {self.line}: {self.source}   {self.error}"


def _scene(height=260, width=390):
    """Return the coffee cup at these sides: a photograph that the chapters did not choose."""
    picture = Image.open(BOOK.parent / "images" / "coffee.png").convert("RGB")
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _dark(path):
    noise = np.random.default_rng(0).normal(0, 1.5, (260, 390, 3))
    Image.fromarray((np.asarray(_scene()) * 0.06 + 4 + noise).clip(0, 255).astype(np.uint8)).save(path, quality=85)


def _flat(path):
    noise = np.random.default_rng(0).integers(-1, 2, (240, 320))
    Image.fromarray((128 + noise).astype(np.uint8)).save(path)


def _screenshot(path):
    picture = Image.new("RGB", (1366, 850), "#ffffff")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 1366, 60), fill="#24292f")
    draw.rectangle((0, 60, 220, 850), fill="#f3f4f6")
    for row in range(24):
        draw.text((250, 90 + 30 * row), f"{row:02d}  a line of text that ends near the middle", fill="#111111")
        draw.text((20, 90 + 30 * row), f"entry {row}", fill="#0b57d0")
    draw.rectangle((900, 120, 1300, 420), outline="#0b57d0", fill="#e8f0fe")
    picture.save(path)


def _sky(path):
    rows = np.linspace(0, 1, 270)[:, None, None]
    sky = (1 - rows) * (90, 150, 225) + rows * (190, 215, 245) + np.zeros((270, 400, 1))
    sky[225:] = np.asarray(_scene(45, 400))
    Image.fromarray(sky.round().astype(np.uint8)).save(path, quality=90)


def _transparent(path):
    rows, columns = np.mgrid[:257, :331]
    alpha = np.clip(400 - 2 * np.hypot(rows - 128, columns - 165), 0, 255)
    Image.fromarray(np.dstack([np.asarray(_scene(257, 331)), alpha.astype(np.uint8)])).save(path)


def _sixteen_bits(path):
    grey = np.asarray(_scene().convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(path)


def _moving(path):
    frames = [_scene(200, 300), _scene(200, 300).rotate(5)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


MAKERS = {
    "dark.jpg": _dark,
    "flat.png": _flat,
    "one_colour.png": lambda path: Image.new("RGB", (300, 200), "#c04030").save(path),
    "blurred.jpg": lambda path: _scene().filter(ImageFilter.GaussianBlur(9)).save(path, quality=90),
    "panorama.jpg": lambda path: _scene(500, 8000).save(path),
    "strip.png": lambda path: _scene(80, 700).save(path),
    "tall.jpg": lambda path: _scene(1500, 420).save(path),
    "tiny.png": lambda path: _scene(40, 50).save(path),
    "screenshot.png": _screenshot,
    "transparent.png": _transparent,
    "sixteen_bits.png": _sixteen_bits,
    "cmyk.jpg": lambda path: _scene().convert("CMYK").save(path),
    "sky.jpg": _sky,
    "moving.gif": _moving,
}


def make(folder: Path, *names: str) -> dict[str, Path]:
    """Write every picture, or those named, into ``folder`` and return them by name."""
    made = {}
    for file, write in MAKERS.items():
        name = Path(file).stem
        if not names or name in names:
            made[name] = folder / file
            write(made[name])
    return made


def check(path: Path, name: str, photo: np.ndarray, said: str, alts: str) -> None:
    """Check what a chapter said on the picture ``name``, and the texts of its figures, against the ``photo``."""
    number, alts = int(path.stem[:2]), alts.lower()
    if (number, name) in SAID:
        present, absent = SAID[number, name]
        assert present in said and absent not in said, f"{name}:\n{said}"
    shown = images.describe(photo)
    if number != 13:  # which has no figure, but a lab
        assert shown in alts, f"{name}: no figure's text says {shown!r}"
    assert not [other for other in set(images._SHOWN.values()) - {shown} if other in alts], f"{name}:\n{alts}"
    record("chapters run on a picture of the reader's", 1)


def cells(path: Path) -> list[str]:
    """Return the source of a notebook's code cells, without the lines that are IPython's."""
    stored = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in stored if cell["cell_type"] == "code"]
    return [re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE) for source in sources]


def with_picture(sources: list[str], line: str) -> list[str]:
    """Put another line in place of the one that picks the photograph."""
    changed = [re.subn(r"^photo = images\.sample\(.*$", lambda _: line, source, flags=re.M) for source in sources]
    assert sum(count for _, count in changed) == 1, "one line picks the photograph"
    return [source for source, _ in changed]


class Ran(NamedTuple):
    """What a run of a chapter said and what failed in it, and which code cells ran, counted from 1."""

    failures: list[Failure]
    said: dict[int, str]
    alts: dict[int, str]
    seconds: list[tuple[float, int]]


def remember(path: Path) -> Memory:
    """Return an empty memory for a chapter's cells that don't depend on the photograph."""
    return Memory(cells(path), "photo")


def run(path: Path, line: str, memory: Memory | None = None) -> Ran:
    """Run a chapter's cells with ``line`` in place of the one that picks the photograph.

    With ``memory``, cells that don't depend on the photograph run the first time only. After a failure the run goes on;
    a name that is missing because of it is not counted again.
    """
    if memory is None:
        memory = remember(path)
        memory.needed = range(len(cells(path)))
    ran, first = _run(path, line, memory), memory.needed is None
    if first:
        memory.finish(whole=not ran.failures)
    elif not memory.holds():  # this picture made a cell change what others share
        return run(path, line)
    return ran


def _run(path, line, memory):
    torch.set_num_threads(1)
    ran, space = Ran([], {}, {}, []), memory.space
    memory.start()
    for number, source in enumerate(with_picture(cells(path), line), start=1):
        if memory.recall(number - 1):
            continue
        name, printed = f"<{path.stem} cell {number}>", io.StringIO()
        started, before = time.process_time(), random_state()
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
                warnings.simplefilter("ignore")
                alt = _execute(source, name, space)
            if alt:
                ran.alts[number] = alt
        except Exception as error:
            if not (ran.failures and isinstance(error, NameError)):
                ran.failures.append(_failure(number, source, name, error))
        ran.said[number] = printed.getvalue()
        ran.seconds.append((time.process_time() - started, number))
        if memory.needed is None:
            memory.note(number - 1, before)
    return ran


def _failure(number, source, name, error):
    at = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    line = at[-1] if at else getattr(error, "lineno", None) or 1
    reason = " ".join(str(error).split())[:160]
    return Failure(number, line, source.splitlines()[line - 1].strip(),
                   f"{type(error).__name__}: {reason}".rstrip(": "))


def _execute(source, name, space):
    """Run a cell, show the value of its last line as a notebook would, and return a figure's alternative text."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), space)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), name, "eval"), space)
        if hasattr(value, "figure") and hasattr(value, "alt"):
            value.figure.draw_without_rendering()
            return value.alt
        if hasattr(value, "_repr_html_"):
            value._repr_html_()
        else:
            repr(value)
    return None


def main():
    """Run one chapter on all pictures, or on those named."""
    chapter, *names = [word for word in sys.argv[1:] if not word.startswith("-")]
    path = next(path for path in CHAPTERS if path.stem.startswith(chapter.zfill(2)))
    with tempfile.TemporaryDirectory() as folder:
        lines = {name: f"photo = images.sample({name!r})" for name in images.SAMPLES}
        lines |= {name: f"photo = images.photograph({str(file)!r})" for name, file in make(Path(folder)).items()}
        memory = remember(path)
        for name in names or [name for name in lines if name not in TOO_SMALL]:
            started = time.process_time()
            ran = run(path, lines[name], memory)
            print(f"{name}: {len(ran.failures) or 'nothing'} failed, {time.process_time() - started:.1f} s", flush=True)
            for failure in ran.failures:
                print(f"    {failure}")
            if "--slow" in sys.argv:
                print("    slowest:", ", ".join(f"cell {n} {s:.1f} s" for s, n in sorted(ran.seconds)[-4:]))


if __name__ == "__main__":
    main()
