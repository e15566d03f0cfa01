"""Photographs in and out: samples that ship with the package, the reader's own, and tensors.

Every chapter opens with one line from here, and every figure of it follows from that line.
Pillow is imported where it is used, so that the layers need torch and numpy alone.
"""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["SAMPLES", "load", "sample", "to_image", "to_tensor", "upload"]

SAMPLES = ("brick", "camera", "chelsea", "coffee", "dandelion", "gravel", "retina", "text")

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights that Pillow, OpenCV and kornia use
_ADVICE = "save it as a PNG or JPEG file and load that"


def sample(name: str = "chelsea") -> np.ndarray:
    """Return one of the photographs in the package, ``(height, width, 3)`` in ``uint8``.

    ``SAMPLES`` lists the names; ``images/LICENSES.md`` says who took each picture.

    Raises:
        ValueError: no photograph has that name.

    >>> sample("chelsea").shape
    (300, 451, 3)
    """
    if name not in SAMPLES:
        raise ValueError(f"name must be one of {', '.join(SAMPLES)}; got {name!r}")
    here = Path(__file__).parent
    for folder in (here / "photographs", here.parent / "images"):  # in a wheel; in a checkout
        for path in folder.glob(f"{name}.*"):
            return load(path)
    raise FileNotFoundError(f"the photograph {name!r} is missing from this installation; reinstall convtwist")


def load(source, *, max_side: int | None = None, max_pixels: int = 50_000_000) -> np.ndarray:
    """Return a picture as ``(height, width, 3)``, upright, in the depth it came in.

    Args:
        source: a path, the bytes of a file, an open binary file, a PIL image, or an array shaped
            ``(height, width)`` or ``(height, width, 1, 3 or 4)`` in bool, uint8, uint16 or floats from 0 to 1.
        max_side: shrink the picture, if it is larger, until its longer side has this many pixels.
        max_pixels: refuse a picture with more pixels than this, before it is unpacked.

    Grey is repeated in three channels. Transparent parts are laid over white. A camera's rotation note
    (EXIF) is obeyed. Eight-bit pictures come as ``uint8``, sixteen-bit ones as ``uint16``, floats as ``float32``.

    Raises:
        FileNotFoundError: the path names no file.
        TypeError: ``source`` is of no kind listed above.
        ValueError: the file is empty, truncated, no picture or too large; the array has another shape or range.
    """
    for name, value in (("max_side", max_side), ("max_pixels", max_pixels)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    array = np.asarray(source) if isinstance(source, (np.ndarray, list)) else _read(source, max_pixels)
    array = _three_channels(array)
    height, width = array.shape[:2]
    if height * width > max_pixels:
        raise ValueError(_too_large("the array", width, height, max_pixels))
    if max_side is not None and max(height, width) > max_side:
        array = _shrink(array, max_side)
    return array if array.flags.writeable else array.copy()  # a picture to draw into, should a reader want to


def upload(*, max_side: int | None = None) -> np.ndarray:
    """Ask for a picture on Google Colab and return it as :func:`load` does.

    Raises:
        RuntimeError: this is not Colab, or nothing was chosen.
    """
    try:
        from google.colab import files
    except ImportError:
        raise RuntimeError('images.upload() works on Colab only; elsewhere use images.load("mine.jpg")') from None
    chosen = files.upload()
    if not chosen:
        raise RuntimeError("no file was chosen; run the cell again and pick a picture")
    return load(next(iter(chosen.values())), max_side=max_side)


def to_tensor(image: np.ndarray, *, grey: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn a picture into a batch of one: ``(1, channels, height, width)``, from 0 (black) to 1 (white).

    With ``grey=True`` there is one channel, the luma 0.299 R + 0.587 G + 0.114 B.

    Raises:
        ValueError: shape or range are not those of a picture (see :func:`load`).

    >>> to_tensor(np.zeros((4, 6, 3), np.uint8)).shape
    torch.Size([1, 3, 4, 6])
    """
    array = _three_channels(np.asarray(image))
    scale = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    pixels = torch.from_numpy(array.astype(np.float64) / scale).permute(2, 0, 1)
    if grey:
        pixels = torch.einsum("c,chw->hw", pixels.new_tensor(_LUMA), pixels)[None]
    return pixels[None].to(dtype).contiguous()


def to_image(tensor: Tensor, *, clip: bool = False) -> np.ndarray:
    """Turn one picture's tensor into ``uint8``: ``(height, width, 3)``, or ``(height, width)`` for one channel.

    Args:
        tensor: ``(1, channels, height, width)``, ``(channels, height, width)`` or ``(height, width)``,
            1 or 3 channels, values from 0 to 1.
        clip: cut values outside 0..1 instead of refusing them.

    Raises:
        ValueError: another shape; values that are no numbers, or outside 0..1 while ``clip`` is off.
    """
    pixels = torch.as_tensor(tensor).detach().cpu().double()
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or pixels.numel() == 0:
        raise ValueError(f"tensor must hold one picture of 1 or 3 channels, got shape {tuple(tensor.shape)}; "
                         "show feature maps with convtwist.plot.feature_maps")
    if not pixels.isfinite().all():
        raise ValueError("tensor holds NaN or infinite values; find where they arise before showing it")
    low, high = pixels.min().item(), pixels.max().item()
    if not clip and (low < -1e-6 or high > 1 + 1e-6):
        raise ValueError(f"tensor must lie in 0..1, got {low:.3g} to {high:.3g}; "
                         "pass clip=True to cut it, or show it with convtwist.plot")
    pixels = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def _read(source, max_pixels):
    """Decode a file, bytes or a PIL image into an array, checking its size before unpacking it."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, Image.Image):
        return _decode(source, "the image", max_pixels)
    data, name = _bytes(source)
    if not data:
        raise ValueError(f"{name} is empty (0 bytes); choose a picture file")
    try:
        with warnings.catch_warnings():
            # Our own limit on pixels replaces Pillow's warning about decompression bombs.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as picture:
                return _decode(picture, name, max_pixels, data)
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture that Pillow can read; {_ADVICE}") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} is too large: {error}; shrink it first") from None
    except (OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        # Decoders report a damaged file through any of these.
        raise ValueError(f"{name} is damaged or truncated ({error}); {_ADVICE}") from error


def _bytes(source):
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "the data"
    if hasattr(source, "read"):
        return source.read(), "the file"
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a path, bytes, an array or a PIL image, got {type(source).__name__}")
    if str(source).startswith(("http:", "https:")):
        raise ValueError(f"source is a web address ({source}); download the picture and load the file")
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"no file at {path}; the working folder is {Path.cwd()}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; name the picture inside it")
    return path.read_bytes(), str(path)


def _decode(picture, name, max_pixels, data=b""):
    width, height = picture.size
    if width * height > max_pixels:
        raise ValueError(_too_large(name, width, height, max_pixels))
    if getattr(picture, "n_frames", 1) > 1:
        warnings.warn(f"{name} has {picture.n_frames} frames; the first one is used", stacklevel=4)
    turn = picture.getexif().get(0x0112, 1)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[24] == 16 and data[25] in (2, 6):
        array = _sixteen_bit_colour(data, name)
    elif picture.mode in ("I;16", "I;16B", "I;16L", "I"):
        array = np.asarray(picture).astype(np.int64)
        if array.min() < 0 or array.max() > 65535:
            raise ValueError(f"{name} holds integers beyond 16 bits; scale them to 0..65535")
        array = array.astype(np.uint16)
    elif picture.mode == "F":
        array = np.asarray(picture)
    elif picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        array = np.asarray(picture.convert("RGBA"))
    else:
        array = np.asarray(picture.convert("RGB"))
    return _upright(array, turn)


def _sixteen_bit_colour(data, name):
    # Pillow keeps only eight of the sixteen bits of a colour PNG, and says nothing.
    try:
        import cv2
    except ImportError:
        raise ValueError(f"{name} has 16 bits a channel, which needs OpenCV: "
                         "pip install opencv-python-headless") from None
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError(f"{name} is damaged or truncated; {_ADVICE}")
    return array[..., [2, 1, 0, 3][: array.shape[2]]]  # OpenCV orders the channels blue, green, red


def _upright(array, turn):
    """Undo a camera's rotation, EXIF orientation 1 to 8 (anything else: leave as it is)."""
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _three_channels(array):
    """Check an array and bring it to ``(height, width, 3)``; transparency is laid over white."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise ValueError("a picture is shaped (height, width) or (height, width, 1, 3 or 4), "
                         f"got {tuple(array.shape)}; for a tensor use convtwist.images.to_image first")
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype not in (np.uint8, np.uint16):
        if array.dtype.kind != "f":
            raise ValueError(f"a picture is uint8, uint16, bool or float, got {array.dtype}; convert it first")
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError("a floating-point picture must lie in 0..1 without NaN; divide it by its white value")
        array = array.astype(np.float32)
    if array.shape[2] == 4:
        white = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
        colour, alpha = array[:, :, :3].astype(np.float64), array[:, :, 3:].astype(np.float64) / white
        blend = colour * alpha + white * (1 - alpha)
        array = (blend.round() if array.dtype.kind == "u" else blend).astype(array.dtype)
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


def _shrink(array, max_side):
    scale = max_side / max(array.shape[:2])
    size = [max(1, round(side * scale)) for side in array.shape[:2]]
    resize = torch.nn.functional.interpolate(
        to_tensor(array, dtype=torch.float64), size, mode="bilinear", antialias=True)
    pixels = resize[0].permute(1, 2, 0).numpy()
    if array.dtype.kind == "f":
        return np.clip(pixels, 0, 1).astype(array.dtype)
    return np.clip(pixels * np.iinfo(array.dtype).max, 0, np.iinfo(array.dtype).max).round().astype(array.dtype)


def _too_large(name, width, height, max_pixels):
    return (f"{name} has {width} x {height} = {width * height:,} pixels, more than max_pixels={max_pixels:,}; "
            "shrink it first, or raise max_pixels if you have the memory")
