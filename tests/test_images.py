"""convtwist.images: every kind of picture either arrives unharmed or is refused by name."""

import inspect
import io
import re
import struct
import sys
import types
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile_files import ADOBE, icc, raw_png
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms, ImageOps

from convtwist import images

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = COLOUR[:, :, 0]
ALPHA = RNG.integers(0, 256, (5, 7, 1), dtype=np.uint8)


def encoded(array, format="PNG", mode=None, **options):
    buffer = io.BytesIO()
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(buffer, format, **options)
    return buffer.getvalue()


def png(width, height, depth, colour, rows=b""):
    """A PNG file written by hand, for headers that no library would write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", images.SAMPLES)
def test_sample_is_a_colour_photograph(name):
    photo = images.sample(name)
    assert photo.dtype == np.uint8 and photo.shape[2] == 3
    assert min(photo.shape[:2]) >= 172 and photo.std() > 10
    assert photo.flags.writeable


def test_unknown_sample_names_the_known_ones():
    with pytest.raises(ValueError, match=r"chelsea.*got 'panda'"):
        images.sample("panda")


@pytest.mark.parametrize("as_source", [
    lambda data, path: path, lambda data, path: str(path), lambda data, path: data,
    lambda data, path: io.BytesIO(data), lambda data, path: Image.open(path), lambda data, path: COLOUR,
])
def test_load_from_every_kind_of_source(as_source, tmp_path):
    data, path = encoded(COLOUR), tmp_path / "mine.png"
    path.write_bytes(data)
    assert np.array_equal(images.load(as_source(data, path)), COLOUR)


def test_load_repeats_grey_in_three_channels():
    assert np.array_equal(images.load(encoded(GREY)), np.repeat(GREY[:, :, None], 3, 2))
    assert np.array_equal(images.load(GREY), images.load(encoded(GREY)))


def test_load_lays_transparency_over_white():
    rgba = np.concatenate([COLOUR, ALPHA], axis=2)
    expected = np.round(COLOUR * (ALPHA / 255) + 255 * (1 - ALPHA / 255))
    assert np.array_equal(images.load(encoded(rgba)), expected)
    assert np.array_equal(images.load(rgba), expected)
    rgba[..., 3] = 0
    assert (images.load(encoded(rgba)) == 255).all()


@pytest.mark.parametrize("mode", ["P", "L", "LA", "1", "CMYK"])
def test_load_agrees_with_pillow_in_every_mode(mode):
    format = "TIFF" if mode == "CMYK" else "PNG"
    data = encoded(COLOUR, format, mode)
    assert np.array_equal(images.load(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_load_respects_a_transparent_palette_entry():
    picture = Image.fromarray(COLOUR).convert("P")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=int(np.asarray(picture)[0, 0]))
    assert (images.load(buffer.getvalue())[0, 0] == 255).all()


def test_load_keeps_sixteen_bits():
    grey = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    assert np.array_equal(images.load(encoded(grey)), np.repeat(grey[:, :, None], 3, 2))
    colour = RNG.integers(0, 65536, (2, 3, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    loaded = images.load(png(3, 2, 16, 2, rows))
    assert loaded.dtype == np.uint16 and np.array_equal(loaded, colour)
    assert images.to_tensor(loaded)[0, 1, 1, 2].item() == pytest.approx(colour[1, 2, 1] / 65535, abs=1e-7)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_turns_a_rotated_photograph_upright(orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(COLOUR, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(images.load(data), upright)
    assert upright.shape[0] == (7 if orientation > 4 else 5)


def test_load_shrinks_only_when_asked():
    photo = images.sample("coffee")
    small = images.load(photo, max_side=60)
    assert small.shape == (40, 60, 3) and small.dtype == np.uint8
    assert abs(small.mean() - photo.mean()) < 1
    assert np.array_equal(images.load(photo, max_side=600), photo)
    assert (images.load(np.full((50, 50, 3), 65535, np.uint16), max_side=10) == 65535).all()


def test_load_takes_the_first_frame_and_says_so():
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="2 frames"):
        assert np.array_equal(images.load(buffer.getvalue()), COLOUR)


def test_a_phones_multi_picture_jpeg_is_its_photograph(tmp_path):
    photo, gain = Image.fromarray(images.sample("coffee")), Image.fromarray(GREY)
    photo.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[gain])
    assert Image.open(tmp_path / "phone.jpg").n_frames == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(images.load(tmp_path / "phone.jpg"), images.load(encoded(np.asarray(photo), "JPEG")))


def srgb(linear):
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0) ** (1 / 2.4) - 0.055).clip(0, 1)


def test_load_brings_colours_to_srgb():
    # Moderate colours, since what sRGB cannot hold is cut off.
    photo = (COLOUR // 3 + 80).astype(np.uint8)
    of_srgb = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])
    expected = srgb((photo / 255) ** (563 / 256) @ ADOBE @ np.linalg.inv(of_srgb))
    assert np.abs(expected - photo).max() > 10
    for file in (encoded(photo, icc_profile=icc()), encoded(photo, "TIFF", icc_profile=icc()),
                 encoded(photo, "WEBP", lossless=True, icc_profile=icc())):
        assert np.abs(images.load(file) - expected).max() <= 1.5
    clear = encoded(np.dstack([photo, ALPHA]), icc_profile=icc())
    over_white = expected * (ALPHA / 255) + 255 * (1 - ALPHA / 255)
    assert np.abs(images.load(clear) - over_white).max() <= 1.5
    linear = images.load(encoded(GREY, icc_profile=icc("GRAY")))
    light = GREY > 40  # Little CMS looks eight-bit grey up in a table that is coarse near black
    assert np.abs(linear - srgb(GREY / 255)[:, :, None])[light].max() <= 1.5
    ink = images.load(encoded(np.full((4, 4, 3), (0, 255, 255), np.uint8), "TIFF", "CMYK", icc_profile=icc("CMYK")))
    assert ink.max() < 5  # cyan, were the profile ignored
    palette = Image.fromarray(photo).quantize(4)
    plain = images.load(palette)
    palette.info["icc_profile"] = icc()
    assert np.abs(images.load(palette).astype(int) - plain).max() > 10 and palette.mode == "P"
    turned = Image.Exif()
    turned[0x0112] = 6
    assert images.load(encoded(photo, icc_profile=icc(), exif=turned)).shape == (7, 5, 3)


def test_a_profile_that_changes_nothing_leaves_every_value():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(images.load(encoded(COLOUR, icc_profile=profile)), COLOUR)
        deep = GREY.astype(np.uint16) * 257
        assert np.array_equal(images.load(encoded(deep, icc_profile=profile)), np.repeat(deep[:, :, None], 3, 2))


@pytest.mark.parametrize(("file", "expected", "reason"), [
    (encoded(COLOUR, icc_profile=b"words"), COLOUR, "cannot be read"),
    (encoded(COLOUR, icc_profile=icc("CMYK")), COLOUR, "it is one for CMYK colours, the picture has RGB"),
    (encoded(COLOUR, icc_profile=icc("GRAY")), COLOUR, "it is one for L colours, the picture has RGB"),
    (encoded(COLOUR, "TIFF", "CMYK", icc_profile=icc()), COLOUR, "it is one for RGB colours, the picture has CMYK"),
    (encoded(GREY.astype(np.uint16) * 257, icc_profile=icc("GRAY")), GREY[:, :, None], "8 bits a channel"),
])
def test_a_profile_that_is_not_applied_is_mentioned(file, expected, reason):
    with pytest.warns(UserWarning, match=f"colour profile of the data is not applied .*{reason}.*save it in sRGB"):
        assert np.array_equal(images.to_uint8(images.load(file)), np.broadcast_to(expected, COLOUR.shape))


@pytest.mark.parametrize("turn", range(1, 9))
def test_sixteen_bit_colours_are_turned_upright_too(turn):
    deep = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    note = Image.Exif()
    note[0x0112] = turn
    small = Image.fromarray((deep >> 8).astype(np.uint8))
    small.getexif()[0x0112] = turn
    loaded = images.load(raw_png(deep, 16, 2, [b"eXIf", note.tobytes()[6:]]))
    assert loaded.dtype == np.uint16 and np.array_equal(loaded >> 8, ImageOps.exif_transpose(small))


def test_what_was_opened_elsewhere_stays_as_it_is():
    picture = Image.fromarray(COLOUR)
    picture.getexif()[0x0112] = 6
    assert images.load(picture).shape == (7, 5, 3) and picture.size == (7, 5) and picture.getexif()[0x0112] == 6


def test_the_labs_stop_at_as_many_pixels_as_load():
    module = Path(images.__file__).with_name("labs") / "picture.mjs"
    megapixels = int(re.search(r"MOST_MEGAPIXELS = (\d+);", module.read_text(encoding="utf-8"))[1])
    assert megapixels * 10**6 == inspect.signature(images.load).parameters["max_pixels"].default


@pytest.mark.parametrize(("source", "error", "message"), [
    ("nowhere.png", FileNotFoundError, "no file at nowhere.png"),
    ("https://example.org/a.png", ValueError, "download the picture"),
    (b"", ValueError, "empty"),
    (b"these are words", ValueError, "not a picture"),
    (encoded(COLOUR)[:60], ValueError, "damaged or truncated"),
    (encoded(images.sample("coffee"), "JPEG")[:9000], ValueError, "damaged or truncated .*; fetch it anew"),
    (b"\0\0\0\x1cftypheic" + bytes(40), ValueError, "in HEIC.*Export it as JPEG.*pip install pillow-heif"),
    (b"\0\0\0\x1cftypmif1" + bytes(40), ValueError, "in HEIC"),
    (b"\0\0\0\x1cftypqt  " + bytes(40), ValueError, r"not a picture of a known kind \(PNG, JPEG"),
    (png(3, 2, 16, 2, b"\0" * 5), ValueError, "damaged or truncated"),
    (7, TypeError, "got int"),
    (np.zeros((4, 4, 2), np.uint8), ValueError, r"\(4, 4, 2\)"),
    (np.zeros((0, 4, 3), np.uint8), ValueError, r"\(0, 4, 3\)"),
    (np.zeros((4, 4), np.int64), ValueError, "int64"),
    (np.full((4, 4), 1.5), ValueError, "0..1"),
    (np.full((4, 4), np.nan), ValueError, "NaN"),
])
def test_load_refuses_what_is_no_picture(source, error, message):
    with pytest.raises(error, match=message):
        images.load(source)


def test_load_refuses_a_folder(tmp_path):
    with pytest.raises(ValueError, match="not a file"):
        images.load(tmp_path)


@pytest.mark.parametrize("depth", [8, 16])
def test_load_refuses_a_decompression_bomb_before_unpacking_it(depth):
    with pytest.raises(ValueError, match=r"is too large|more than max_pixels"):
        images.load(png(60_000, 60_000, depth, 2))
    with pytest.raises(ValueError, match="60 x 50 = 3,000 pixels, more than max_pixels=2,000"):
        images.load(encoded(np.zeros((50, 60, 3), np.uint8)), max_pixels=2000)


@pytest.mark.parametrize("name", ["max_side", "max_pixels"])
def test_load_refuses_a_senseless_limit(name):
    with pytest.raises(ValueError, match=f"{name} must be a whole number from 1, got 0"):
        images.load(COLOUR, **{name: 0})


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_load_survives_damaged_files(data):
    """A file with any bytes changed either loads or raises one of the documented errors."""
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF"]))
    file = bytearray(encoded(COLOUR, kind))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = images.load(bytes(file), max_pixels=100_000)
    except ValueError as error:
        assert len(str(error)) > 20
    else:
        assert picture.ndim == 3 and picture.shape[2] == 3


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_to_image_undoes_to_tensor(photo):
    assert np.array_equal(images.to_image(images.to_tensor(photo)), photo)


def test_to_tensor_shape_range_and_grey():
    tensor = images.to_tensor(COLOUR)
    assert tensor.shape == (1, 3, 5, 7) and tensor.dtype == torch.float32
    assert tensor[0, 2, 4, 6].item() == pytest.approx(COLOUR[4, 6, 2] / 255)
    grey = images.to_tensor(COLOUR, grey=True)
    assert grey.shape == (1, 1, 5, 7)
    expected = COLOUR[3, 3] @ np.array([0.299, 0.587, 0.114]) / 255
    assert grey[0, 0, 3, 3].item() == pytest.approx(expected, abs=1e-6)
    assert torch.allclose(images.to_tensor(GREY, grey=True)[0, 0], torch.from_numpy(GREY / 255.0).float())


@pytest.mark.parametrize(("tensor", "message"), [
    (torch.zeros(2, 3, 4, 4), r"\(2, 3, 4, 4\)"),
    (torch.zeros(8, 4, 4), "feature_maps"),
    (torch.full((1, 4, 4), 1.2), "0..1, got 1.2 to 1.2"),
    (torch.full((1, 4, 4), torch.nan), "NaN"),
])
def test_to_image_refuses_what_is_no_picture(tensor, message):
    with pytest.raises(ValueError, match=message):
        images.to_image(tensor)


def test_to_image_clips_when_asked():
    assert images.to_image(torch.tensor([[-1.0, 0.5, 2.0]]), clip=True).tolist() == [[0, 128, 255]]


def test_photograph_is_what_the_chapters_take(tmp_path):
    large = np.kron(COLOUR, np.ones((300, 300, 1))).astype(np.uint8)
    for source in (large, large.astype(np.uint16) * 257, large / 255, encoded(large)):
        photo = images.photograph(source)
        assert photo.shape == (429, 600, 3) and photo.dtype == np.uint8 and photo.flags.writeable
        assert np.abs(photo.astype(int) - images.load(large, max_side=600)).max() <= 1
    assert np.array_equal(images.photograph(images.sample("chelsea")), images.sample("chelsea"))
    assert images.photograph(np.zeros((100, 64, 3), np.uint8)).shape == (100, 64, 3)
    Image.fromarray(COLOUR).resize((640, 69)).save(tmp_path / "strip.png")
    assert images.photograph(tmp_path / "strip.png").shape == (65, 600, 3)


@pytest.mark.parametrize(("size", "message"), [
    ((50, 40), r"mine.png has 50 x 40 pixels, and the chapters need at least 64 on the shorter side; choose a larger"),
    ((800, 63), r"mine.png has 800 x 63 pixels, and .* choose a larger picture"),
    ((8000, 500), r"mine.png has 8000 x 500 pixels. Shrunk to 600 x 38 it is too narrow: .* at most 9 times"),
    ((70, 900), r"Shrunk to 47 x 600 it is too narrow"),
])
def test_photograph_refuses_what_is_too_small_and_says_what_to_do(tmp_path, size, message):
    Image.new("RGB", size).save(tmp_path / "mine.png")
    with pytest.raises(ValueError, match=message):
        images.photograph(tmp_path / "mine.png")
    assert images.load(tmp_path / "mine.png").shape == (*size[::-1], 3)


@pytest.mark.parametrize("name", images.SAMPLES)
def test_describe_knows_a_sample_in_any_dress(name):
    photo, shown = images.sample(name), images.describe(images.sample(name))
    assert shown != "your photograph"
    for side in (300, 64, 40):
        small = images.load(photo, max_side=side)
        dresses = (small, small.astype(np.uint16) * 257, images.to_tensor(small), images.to_tensor(small, grey=True)[0])
        assert [images.describe(dress) for dress in dresses] == [shown] * 4
    height, width = photo.shape[:2]
    others = (photo[::-1], photo[: height // 2], photo[:, width // 3 :], 255 - photo, photo // 4 * 3,
              np.full_like(photo, round(photo.mean())), np.ascontiguousarray(photo.swapaxes(0, 1)))
    for other in others:
        assert images.describe(other) == "your photograph"


def test_to_uint8_rounds_to_the_nearest():
    sixteen = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(images.to_uint8(sixteen), np.round(sixteen / 65535 * 255))
    assert images.to_uint8([[True, False]]).tolist() == [[255, 0]]
    assert images.to_uint8(np.array([0, 0.5, 1])).tolist() == [0, 128, 255]
    assert images.to_uint8(COLOUR) is COLOUR
    for wrong, message in ((np.array([1.5]), "0..1"), (np.array([np.nan]), "NaN"), (np.array([1]), "int64")):
        with pytest.raises(ValueError, match=message):
            images.to_uint8(wrong)


def test_resize_keeps_the_type_and_the_mean():
    photo = images.sample("coffee")
    for image in (photo, photo[..., 0], photo.astype(np.uint16) * 257, (photo / 255).astype(np.float32), photo / 255):
        small = images.resize(image, 50, 75)
        assert small.shape == (50, 75, *image.shape[2:]) and small.dtype == image.dtype
        assert small.mean() == pytest.approx(image.mean(), rel=0.01)
    # Three pixels shrunk to one are their weighted mean: a triangle three pixels wide to each side.
    assert images.resize(np.array([[0, 90, 180]], np.uint8), 1, 1).tolist() == [[90]]
    assert images.resize(np.array([[7]], np.uint8), 2, 3).tolist() == [[7, 7, 7], [7, 7, 7]]


def test_upload_asks_colab(monkeypatch):
    photo = images.sample("chelsea")
    files = types.SimpleNamespace(upload=lambda: {"mine.png": encoded(photo)})
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(files=files))
    assert np.array_equal(images.upload(), photo)
    assert images.upload(max_side=150).shape == (100, 150, 3)
    files.upload = lambda: {"mine.png": encoded(COLOUR)}
    with pytest.raises(ValueError, match=r"mine.png has 7 x 5 pixels, and the chapters need at least 64"):
        images.upload()
    files.upload = dict
    with pytest.raises(RuntimeError, match="no file was chosen"):
        images.upload()


def test_upload_says_where_it_works():
    with pytest.raises(RuntimeError, match="Colab only"):
        images.upload()
