"""From a picture's file to an array of its depth, or to a refusal that names the file and what is wrong with it.

Book: every chapter that takes the reader's own photograph.  Source: Pillow decodes; OpenCV, where Pillow would keep
eight of sixteen bits.  Both meet files here that were truncated, renamed or built to do harm: sizes are checked before
anything is unpacked, only the kinds in ``FORMATS`` are tried (Pillow would start other programs for some others), and
whatever a decoder raises or prints about a damaged file becomes one kind of error.
"""

import contextlib
import io
import logging
import os
import sys
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FORMATS", "File", "Readable", "Refusal", "decode"]


class Readable(Protocol):
    """An open binary file, or what reads like one."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes."""
        ...


File: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, Readable, "Image.Image"]
"""Where a picture can come from: a path, the bytes of a file, an open binary file, or a PIL image."""


FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")

_PNG = b"\x89PNG\r\n\x1a\n"
_ADVICE = "save it as a PNG or JPEG file and load that"
_LEAST_LIMIT = 1 << 29  # bytes of a file that are read in any case

logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would log some damage straight to the screen


class Refusal(ValueError):
    """A picture that cannot be had; the message names it, says why and what to do."""


def decode(source: File, max_pixels: int) -> tuple[np.ndarray, str, int]:
    """Return a picture upright, its name in messages, and how many frames it has.

    Args:
        source: a path, the bytes of a file, a binary file, or a PIL image.
        max_pixels: refuse a picture with more pixels, before it is unpacked.

    The array is ``(height, width)`` or ``(height, width, 3 or 4)`` in uint8, uint16 or floats.

    Raises:
        FileNotFoundError: the path names no file.
        TypeError: ``source`` is of no kind listed above.
        Refusal: the file is empty, cannot be read, is damaged, no picture or too large.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, Image.Image):
        data, name = b"", "the image"
    else:
        data, name = _bytes(source, max(_LEAST_LIMIT, 16 * max_pixels))
        if not data:
            raise Refusal(f"{name} is empty (0 bytes); choose a picture file")
    if data.startswith(_PNG):
        _check_sums(data, name)
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures, where our limit decides, and of torn notes inside the file.
            warnings.simplefilter("ignore")
            if not data:
                array, frames = _unpacked(source, name, max_pixels)
                return array, name, frames
            Image.init()
            with Image.open(io.BytesIO(data), formats=[kind for kind in FORMATS if kind in Image.OPEN]) as picture:
                array, frames = _unpacked(picture, name, max_pixels, data)
                return array, name, frames
    except Refusal:
        raise
    except UnidentifiedImageError:
        raise Refusal(f"{name} is not a picture of a known kind ({', '.join(FORMATS)}); {_ADVICE}") from None
    except Image.DecompressionBombError as error:
        raise Refusal(f"{name} is too large: {error}; shrink it first") from None
    except MemoryError as error:
        raise Refusal(f"{name} does not fit into memory; shrink it first") from error
    except Exception as error:
        # Decoders report a damaged file through errors of every type.
        raise Refusal(f"{name} is damaged or truncated ({error or type(error).__name__}); {_ADVICE}") from error


def _bytes(source: File, most: int) -> tuple[bytes, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "the data"
    if callable(read := getattr(source, "read", None)):
        data, name = read(most + 1), str(getattr(source, "name", "the file"))
        if not isinstance(data, bytes):
            raise TypeError(f"source must be a file opened in binary mode, open(path, 'rb'); this one reads "
                            f"{type(data).__name__}")
    elif isinstance(source, (str, os.PathLike)):
        if str(source).startswith(("http:", "https:")):
            raise Refusal(f"source is a web address ({source}); download the picture and load the file")
        name, path = str(source), Path(source)
        if not os.path.exists(path):  # unlike Path.exists, this takes names that no file can have
            raise FileNotFoundError(f"no file at {name}; the working folder is {Path.cwd()}")
        if not path.is_file():
            raise Refusal(f"{name} is not a file; name the picture inside it")
        try:
            with path.open("rb") as file:
                data = file.read(min(most, path.stat().st_size) + 1)
        except OSError as error:
            raise Refusal(f"{name} cannot be read ({error.strerror}); copy it to a place of your own") from error
    else:
        raise TypeError(f"source must be a path, bytes, an array or a PIL image, got {type(source).__name__}")
    if len(data) > most:
        raise Refusal(f"{name} is over {most >> 20} MB; shrink the picture first")
    return data, name


def _check_sums(data: bytes, name: str) -> None:
    # Pillow checks those of all chunks but the ones that hold the pixels.
    at, view = len(_PNG), memoryview(data)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise Refusal(f"{name} is damaged or truncated (a part of it fails its checksum); {_ADVICE}")
        if view[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4


def _unpacked(picture, name, max_pixels, data=b""):
    width, height = picture.size
    if width * height > max_pixels:
        raise Refusal(f"{name} has {width} x {height} = {width * height:,} pixels, more than max_pixels="
                      f"{max_pixels:,}; shrink it first, or raise max_pixels if you have the memory")
    frames, depth = getattr(picture, "n_frames", 1), _raw_modes(picture)
    with _hushed() if picture.format == "TIFF" else contextlib.nullcontext():
        picture.load()
    mode, see_through = picture.mode, "transparency" in picture.info
    if any(";16" in raw for raw in depth) and not mode.startswith("I"):
        array = _sixteen_bit_colour(picture, data, name)
    elif mode.startswith("I"):
        array = np.asarray(picture)
        if array.min() < 0 or array.max() > 65535:
            raise Refusal(f"{name} holds integers beyond 16 bits; scale them to 0..65535")
        array = array.astype(np.uint16)
        if see_through and isinstance(clear := picture.info["transparency"], int):
            opaque = np.where(array == clear, 0, 65535).astype(np.uint16)
            array = np.stack([array, array, array, opaque], 2)
    elif mode == "F":
        array = np.asarray(picture)
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise Refusal(f"{name} holds floats outside 0..1; divide them by the value of white")
    elif mode in ("RGBA", "LA", "PA", "La", "RGBa") or see_through:
        array = np.asarray((picture.convert("LA") if mode == "La" else picture).convert("RGBA"))
    else:
        array = np.asarray(picture.convert("RGB"))
    return _upright(array, _turn(picture)), frames


def _raw_modes(picture):
    """Return how the pixels lie in the file, one name for each part; nothing once they are unpacked."""
    names = []
    for codec, _, _, arguments in getattr(picture, "tile", []):
        raw, *more = arguments if isinstance(arguments, tuple) and arguments else (arguments,)
        names.append(f"{raw};16" if codec == "ppm" and more[0] > 255 else str(raw))
    return names


def _sixteen_bit_colour(picture, data, name):
    # Pillow has read the file, and vouches for it, but keeps eight of the sixteen bits and says nothing.
    if picture.format not in ("PNG", "TIFF"):
        raise Refusal(f"{name} has 16 bits a channel, which is read from PNG and TIFF files alone; save it as one")
    try:
        import cv2
    except ImportError:
        raise Refusal(f"{name} has 16 bits a channel, which needs OpenCV: pip install opencv-python-headless") from None
    with _hushed():
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.ndim != 3 or array.shape[1::-1] != picture.size:
        raise Refusal(f"{name} is damaged, or a kind of 16-bit picture that OpenCV does not read; {_ADVICE}")
    return array[..., [2, 1, 0, 3][: array.shape[2]]]  # OpenCV orders the channels blue, green, red


@contextlib.contextmanager
def _hushed():
    """Keep off the screen what libtiff and OpenCV's libpng print about a damaged file; the error says it anyway."""
    try:
        screen = os.dup(2)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if sys.stderr:
        sys.stderr.flush()
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(nowhere)
        os.close(screen)


def _turn(picture):
    """Return the camera's rotation note, EXIF orientation 1 to 8; a note that cannot be read counts as none."""
    try:
        return picture.getexif().get(0x0112, 1)
    except Exception:
        return 1


def _upright(array, turn):
    """Undo a camera's rotation, EXIF orientation 1 to 8 (anything else: leave as it is)."""
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)
