"""convtwist.images.load meets files that were damaged, renamed or built to do harm: a picture, or words about the file.

The files are made and loaded by ``hostile_files.py``, in a process whose memory is limited and that a watchdog ends.
"""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hostile_files import good_files, raw_png
from PIL import Image
from scorecard import record

from convtwist import images

FILES = 10_000


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Load every hostile file once, and return what was said about it."""
    command = [sys.executable, Path(__file__).with_name("hostile_files.py"), str(FILES),
               tmp_path_factory.mktemp("hostile")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_each_hostile_file_is_a_picture_or_refused_by_name(outcome):
    """Nothing else: no other error, no hang, no warning of a decoder, no file changed or left behind."""
    found, stderr = outcome
    assert found["count"] == 0, "\n".join(map(str, found["faults"]))
    assert stderr == "", stderr[:2000]
    tally = found["tally"]
    assert tally["files"] == FILES >= 10_000
    for name, value in tally.items():
        if name in ("files", "loaded") or name.startswith("refused"):
            record(f"hostile pictures, {name}", value)
    record("hostile pictures, peak memory in MB", round(found["peak"]))


@pytest.mark.slow
def test_the_hostile_files_reach_every_answer(outcome):
    """Were all of them refused for the same reason, the mutations would be too crude to find anything."""
    tally = outcome[0]["tally"]
    least = {"loaded": 0.2, "refused: damaged": 0.2, "refused: not a picture": 0.1, "refused: too large": 0.002}
    for name, share in least.items():
        assert tally[name] > share * FILES, tally
    for mutation in ("flipped", "extreme_bytes", "huge_number", "spliced", "rechunked", "exif_junk", "truncated"):
        assert tally[f"loaded {mutation}"] > 0, tally


@pytest.mark.parametrize("name", ["x" * 5000 + ".png", "mine\0.png", "gone/mine.png"])
def test_a_name_that_no_file_has(name):
    with pytest.raises(FileNotFoundError, match="no file at"):
        images.load(name)


def test_a_file_that_is_no_file(tmp_path):
    for name, make in (("pipe", os.mkfifo), ("folder", os.mkdir)):
        make(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} is not a file"):
            images.load(tmp_path / name)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(FileNotFoundError, match="no file at"):
        images.load(tmp_path / "loop.png")


def test_a_file_too_large_to_read(tmp_path):
    path = tmp_path / "endless.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(ValueError, match=r"endless.png is over \d+ MB"):
        images.load(path, max_pixels=1000)


def test_a_file_opened_as_text(tmp_path):
    path = tmp_path / "mine.png"
    path.write_text("words")
    with path.open() as file, pytest.raises(TypeError, match="opened in binary mode"):
        images.load(file)


def test_a_torn_file_that_pillow_has_opened():
    file = good_files(np.random.default_rng(0))["png RGB"]
    with pytest.raises(ValueError, match="the image is damaged or truncated"):
        images.load(Image.open(io.BytesIO(file[: len(file) // 2])))


def test_sixteen_bits_are_kept_or_refused():
    """Pillow would hand over eight of them, and forget what is transparent."""
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7, 4), dtype=np.uint16)
    grey, alpha = deep[..., :1].astype(float), deep[..., 1:2] / 65535
    expected = np.repeat((grey * alpha + 65535 * (1 - alpha)).round().astype(np.uint16), 3, 2)
    assert np.array_equal(images.load(raw_png(deep[..., :2], 16, 4)), expected)
    assert np.array_equal(images.load(raw_png(deep[..., :3], 16, 2, interlaced=True)), deep[..., :3])
    clear = [b"tRNS", deep[2, 3, :1].astype(">u2").tobytes()]
    expected = np.repeat(deep[..., :1], 3, 2)
    expected[deep[..., 0] == deep[2, 3, 0]] = 65535
    assert np.array_equal(images.load(raw_png(deep[..., :1], 16, 0, clear)), expected)
    assert np.array_equal(images.load(cv2.imencode(".tiff", deep[..., 2::-1])[1].tobytes()), deep[..., :3])
    with pytest.raises(ValueError, match=r"16 bits a channel, which is read from PNG and TIFF"):
        images.load(b"P6 7 5 65535\n" + deep[..., :3].astype(">u2").tobytes())


@pytest.mark.parametrize(("source", "message"), [
    ([[1, 2], [3]], "equally long"), ([["a", "b"]], "uint8, uint16, bool or float"), ([], "shaped"),
    (np.zeros((3, 3), complex), "complex128"), (np.array(None), "shaped"),
])
def test_lists_and_arrays_that_are_no_picture(source, message):
    for take in (images.load, images.to_tensor):
        with pytest.raises(ValueError, match=message):
            take(source)


@pytest.mark.parametrize("limit", ["max_side", "max_pixels"])
@pytest.mark.parametrize("value", [True, 0, -3, 2.5, float("nan"), "9"])
def test_limits_that_are_no_whole_number(limit, value):
    with pytest.raises(ValueError, match=f"{limit} must be a whole number from 1"):
        images.load(np.zeros((4, 4), np.uint8), **{limit: value})


@pytest.mark.parametrize("value", ["words", None, [[1, 2], [3]], object(), np.zeros((2, 2), complex)])
def test_what_is_no_tensor_is_not_shown(value):
    with pytest.raises(TypeError, match="tensor must be"):
        images.to_image(value)


@pytest.mark.parametrize("dtype", ["float32", None, np.float32, torch.uint8, torch.complex64])
def test_brightness_needs_a_type_with_fractions(dtype):
    with pytest.raises(ValueError, match="dtype must be a floating-point type"):
        images.to_tensor(np.full((2, 2), 128, np.uint8), dtype=dtype)
