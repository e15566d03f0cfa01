"""From a picture's file to an array of its depth, or to a refusal that names the file and what is wrong with it.

Book: every chapter that takes the reader's own photograph.  Source: Pillow decodes; OpenCV, where Pillow would keep
eight of sixteen bits; Little CMS, through Pillow, brings colours to sRGB.  All meet files here that were truncated,
renamed or built to do harm: sizes are checked before anything is unpacked, only the kinds in ``FORMATS`` are tried
(Pillow would start other programs for some others), and whatever a decoder raises or prints about a damaged file
becomes one kind of error.
"""

import contextlib
import io
import logging
import os
import sys
import warnings
import zlib
from functools import lru_cache
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
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands, in the file's first box
_ADVICE = "save it as a PNG or JPEG file and load that"
_UNMANAGED = ("the colour profile of {name} is not applied ({reason}); its colours may differ from what other programs "
              "show; save it in sRGB to be sure")
_ANEW = "fetch it anew from where it came from, or choose another picture"
_LEAST_LIMIT = 1 << 29  # bytes of a file that are read in any case

logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would log some damage straight to the screen


class Refusal(ValueError):
    """A picture that cannot be had; the message names it, says why and what to do."""


def decode(source: File, max_pixels: int) -> tuple[np.ndarray, str, list[str]]:
    """Return a picture upright and in sRGB, its name in messages, and what the reader should be warned of.

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
    Image.init()
    known = [kind for kind in FORMATS if kind in Image.OPEN]
    if data.startswith(_PNG):
        _check_sums(data, name)
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures, where our limit decides, and of torn notes inside the file.
            warnings.simplefilter("ignore")
            if not data:
                return _unpacked(source, name, max_pixels)
            with Image.open(io.BytesIO(data), formats=known) as picture:
                return _unpacked(picture, name, max_pixels, data)
    except Refusal:
        raise
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
            raise Refusal(f"{name} is a picture in HEIC, as phones take them, which is not a picture of a known kind "
                          "here. Export it as JPEG (with Preview on a Mac or Photos on Windows; an iPhone takes JPEGs "
                          "after Settings, Camera, Formats, Most Compatible). Or pip install pillow-heif, call "
                          "pillow_heif.register_heif_opener() and load PIL.Image.open(file)") from None
        raise Refusal(f"{name} is not a picture of a known kind ({', '.join(known)}); {_ADVICE}") from None
    except Image.DecompressionBombError as error:
        raise Refusal(f"{name} is too large: {error}; shrink it first") from None
    except MemoryError as error:
        raise Refusal(f"{name} does not fit into memory; shrink it first") from error
    except Exception as error:
        # Decoders report a damaged file through errors of every type.
        raise Refusal(f"{name} is damaged or truncated ({error or type(error).__name__}); {_ANEW}") from error


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
            raise Refusal(f"{name} is damaged or truncated (a part of it fails its checksum); {_ANEW}")
        if view[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4


def _unpacked(picture, name, max_pixels, data=b""):
    width, height = picture.size
    if width * height > max_pixels:
        raise Refusal(f"{name} has {width} x {height} = {width * height:,} pixels, more than max_pixels="
                      f"{max_pixels:,}; shrink it first, or raise max_pixels if you have the memory")
    depth, notes = _raw_modes(picture), []
    # The other pictures of a phone's multi-picture JPEG (MPO) are its depth, its highlights or the other eye's view.
    if picture.format != "MPO" and (frames := getattr(picture, "n_frames", 1)) > 1:
        notes.append(f"{name} has {frames} frames; the first one is used")
    with _hushed() if picture.format == "TIFF" else contextlib.nullcontext():
        picture.load()
    if any(";16" in raw for raw in depth) and not picture.mode.startswith("I"):
        array = _sixteen_bit_colour(picture, data, name)
    else:
        upright = _upright(picture, in_place=bool(data))  # what was opened elsewhere stays as it is
        array = _eight_bits(upright, name, notes) if upright.mode[0] not in "IF" else _grey(upright, name)
    if array.dtype != np.uint8 and not _is_srgb(picture):
        notes.append(_UNMANAGED.format(name=name, reason="that takes 8 bits a channel"))
    return array, name, notes


def _grey(picture, name):
    """Return a grey picture of 16 bits or of floats."""
    array = np.asarray(picture)
    if picture.mode == "F":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise Refusal(f"{name} holds floats outside 0..1; divide them by the value of white")
        return array
    if array.min() < 0 or array.max() > 65535:
        raise Refusal(f"{name} holds integers beyond 16 bits; scale them to 0..65535")
    array = array.astype(np.uint16)
    if isinstance(clear := picture.info.get("transparency"), int):
        opaque = np.where(array == clear, 0, 65535).astype(np.uint16)
        array = np.stack([array, array, array, opaque], 2)
    return array


def _eight_bits(picture, name, notes):
    """Return a picture in sRGB, with its transparency if it has any; note what keeps its profile from being applied."""
    kind = "CMYK" if picture.mode == "CMYK" else "L" if picture.mode in ("1", "L", "LA", "La") else "RGB"
    clear = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    if picture.mode == "La":
        picture = picture.convert("LA")
    profile, picture = picture.info.get("icc_profile"), picture.convert("RGBA") if clear else picture
    try:
        if profile and (transform := _to_srgb(profile, kind)):
            from PIL import ImageCms

            applied = ImageCms.applyTransform(picture.convert(transform.input_mode), transform)
            assert applied is not None  # it would be if the picture itself were changed
            if clear:
                applied.putalpha(picture.getchannel("A"))
            picture = applied
    except Exception as error:
        notes.append(_UNMANAGED.format(name=name, reason=error))
    return np.asarray(picture.convert("RGBA" if clear else "RGB"))


@lru_cache(maxsize=8)
def _to_srgb(profile, kind):
    """Return Little CMS's transform from a profile's colours to sRGB, or None if it would change nothing."""
    from PIL import Image, ImageCms

    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = given.profile.xcolor_space  # pyright: ignore[reportAttributeAccessIssue]  # or the file it came from
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[space.strip()]
        transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:
        raise ValueError("it cannot be read") from None
    if kind != mode and not (kind == "L" and mode == "RGB"):
        raise ValueError(f"it is one for {mode} colours, the picture has {kind}")
    if mode == "CMYK":
        return transform
    tones = np.stack(np.meshgrid(*[np.linspace(0, 255, 9)] * 3), 3).reshape(27, 27, 3).round().astype(np.uint8)
    probe = Image.fromarray(tones).convert(mode)
    change = np.asarray(ImageCms.applyTransform(probe, transform)).astype(int) - np.asarray(probe.convert("RGB"))
    return transform if np.abs(change).max() > 1 else None


def _is_srgb(picture):
    profile = picture.info.get("icc_profile")
    try:
        return not profile or not _to_srgb(profile, "L" if picture.mode[0] in "ILF" else "RGB")
    except ValueError:
        return False


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
        raise Refusal(f"{name} is damaged, or a 16-bit picture of a kind that OpenCV does not read; {_ADVICE}")
    array = array[..., [2, 1, 0, 3][: array.shape[2]]]  # OpenCV orders the channels blue, green, red
    return np.stack([_turned(array[..., k], picture) for k in range(array.shape[2])], 2)


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


def _upright(picture, *, in_place):
    """Undo the camera's rotation that EXIF notes; a note that cannot be read counts as none."""
    from PIL import ImageOps

    with contextlib.suppress(Exception):
        return ImageOps.exif_transpose(picture, in_place=in_place) or picture
    return picture


def _turned(channel, picture):
    """Undo the rotation for a channel that OpenCV has read."""
    from PIL import Image

    turned = Image.fromarray(np.ascontiguousarray(channel))
    with contextlib.suppress(Exception):
        turned.getexif()[0x0112] = picture.getexif().get(0x0112, 1)
    return np.asarray(_upright(turned, in_place=True))
