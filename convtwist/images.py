"""Photographs in and out: samples that ship with the package, the reader's own, and tensors.

Every chapter opens with one line from here, and every figure of it follows from that line.
Pillow is imported where it is used, so that the layers need torch and numpy alone.
"""

import io
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convtwist._decoding import File, decode

__all__ = ["SAMPLES", "describe", "load", "photograph", "resize", "sample", "to_image", "to_tensor", "to_uint8",
           "upload"]

_SHOWN = {
    "brick": "a brick wall", "camera": "a man with a camera on a tripod", "chelsea": "a cat's face",
    "coffee": "a cup of coffee", "dandelion": "a dandelion clock", "gravel": "gravel", "retina": "the retina of an eye",
    "text": "a line of handwriting",
}
SAMPLES = tuple(_SHOWN)

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights that Pillow, OpenCV and kornia use
_STRIP = 1 << 20  # pixels blended at a time


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


def load(source: File | np.ndarray, *, max_side: int | None = None, max_pixels: int = 64_000_000) -> np.ndarray:
    """Return a picture as ``(height, width, 3)``, upright, in the depth it came in.

    Args:
        source: a path, the bytes of a file, an open binary file, a PIL image, or an array shaped
            ``(height, width)`` or ``(height, width, 1, 3 or 4)`` in bool, uint8, uint16 or floats from 0 to 1.
            Files are PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF or PPM.
        max_side: shrink the picture, if it is larger, until its longer side has this many pixels.
        max_pixels: refuse a picture with more pixels than this, before it is unpacked.

    Grey is repeated in three channels. Transparent parts are laid over white. A camera's rotation note
    (EXIF) is obeyed, and so is a colour profile: colours come in sRGB. Where a profile cannot be applied, as with
    sixteen bits, a warning says so. Eight-bit pictures come as ``uint8``, sixteen-bit ones as ``uint16``, floats as
    ``float32``. Of a moving picture the first frame is taken, with a warning, of a phone's multi-picture JPEG the
    photograph. The file is only ever read.

    Raises:
        FileNotFoundError: the path names no file.
        TypeError: ``source`` is of no kind listed above.
        ValueError: the file is empty, cannot be read, is damaged, of another kind or too large, and the message names
            it; the array has another shape or range; a limit is no whole number.
    """
    for limit, value in (("max_side", 1 if max_side is None else max_side), ("max_pixels", max_pixels)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{limit} must be a whole number from 1, got {value!r}")
    if isinstance(source, (np.ndarray, list)):
        array, name, notes = _numbers(source), "the array", []
    else:
        array, name, notes = decode(source, max_pixels)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    array = _three_channels(array)
    height, width = array.shape[:2]
    if height * width > max_pixels:
        raise ValueError(f"{name} has {width} x {height} = {width * height:,} pixels, more than max_pixels="
                         f"{max_pixels:,}; shrink it first, or raise max_pixels if you have the memory")
    if max_side is not None and max(height, width) > max_side:
        array = _shrink(array, max_side)
    return array if array.flags.writeable else array.copy()  # a picture to draw into, should a reader want to


def photograph(source: File | np.ndarray, *, max_side: int = 600, min_side: int = 64) -> np.ndarray:
    """Return the reader's own picture as the chapters take it: ``(height, width, 3)`` ``uint8``, of a size that suits.

    Args:
        source: what :func:`load` takes, such as ``"mine.jpg"``.
        max_side: a larger picture is shrunk until its longer side has this many pixels.
        min_side: a picture whose shorter side then has fewer pixels is refused.

    Raises:
        ValueError: the picture is too small or too narrow, or :func:`load` refuses it; the message says what to do.
    """
    array = load(source)
    name = source if isinstance(source, (str, Path)) else getattr(source, "name", "the picture")
    height, width = array.shape[:2]
    if max(height, width) > max_side:
        array = _shrink(array, max_side)
    shorter = min(array.shape[:2])
    if shorter < min_side:
        wanted = f"the chapters need at least {min_side} on the shorter side"
        if min(height, width) < min_side:
            raise ValueError(f"{name} has {width} x {height} pixels, and {wanted}; choose a larger picture")
        raise ValueError(f"{name} has {width} x {height} pixels. Shrunk to {array.shape[1]} x {array.shape[0]} it is "
                         f"too narrow: {wanted}. Cut out a piece whose longer side is at most {max_side // min_side} "
                         "times its shorter one")
    return to_uint8(array)


def upload(*, max_side: int = 600, min_side: int = 64) -> np.ndarray:
    """Ask for a picture on Google Colab and return it as :func:`photograph` does.

    Raises:
        RuntimeError: this is not Colab, or nothing was chosen.
        ValueError: see :func:`photograph`.
    """
    try:
        from google.colab import files  # pyright: ignore[reportMissingImports]  # Colab has it
    except ImportError:
        raise RuntimeError('images.upload() works on Colab only; elsewhere use images.photograph("mine.jpg")') from None
    chosen = files.upload()
    if not chosen:
        raise RuntimeError("no file was chosen; run the cell again and pick a picture")
    name, data = next(iter(chosen.items()))
    if len(chosen) > 1:
        warnings.warn(f"{len(chosen)} files were chosen; {name} is used", stacklevel=2)
    file = io.BytesIO(data)
    file.name = name  # for the message, should it be no picture
    return photograph(file, max_side=max_side, min_side=min_side)


def describe(image: np.ndarray | Tensor) -> str:
    """Return what a picture shows, for an alternative text: ``"a cat's face"``, or ``"your photograph"``.

    A sample is recognised in any size and depth, in grey too, as an array or as a tensor. What is cut out of a sample,
    turned or strongly blurred is not.

    >>> describe(sample("chelsea"))
    "a cat's face"
    >>> describe(to_tensor(load(sample("coffee"), max_side=100), grey=True))
    'a cup of coffee'
    """
    shape, mark = _mark(image)
    for name in SAMPLES:
        known, other = _sample_mark(name)
        # Rounding to whole pixels changes the sides' ratio, resizing the tones, each a little.
        if abs(known[0] * shape[1] - known[1] * shape[0]) <= 2 * max(known) and np.abs(mark - other).max() < 0.012:
            return _SHOWN[name]
    return "your photograph"


@cache
def _sample_mark(name: str) -> tuple[tuple[int, int], np.ndarray]:
    return _mark(sample(name))


def _mark(image: np.ndarray | Tensor) -> tuple[tuple[int, int], np.ndarray]:
    """Return height, width, and the grey tones of the picture shrunk to 8 by 8."""
    if not isinstance(image, torch.Tensor):
        image = to_tensor(image)
    image = image.detach().cpu().float().reshape(-1, *image.shape[-2:])
    if len(image) == 3:
        image = torch.einsum("c,chw->hw", image.new_tensor(_LUMA), image)[None]
    small = torch.nn.functional.interpolate(image[None], (8, 8), mode="bilinear", antialias=True)
    return (image.shape[-2], image.shape[-1]), small[0, 0].numpy()


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Return a picture's array in ``uint8``, 0 to 255, its shape as it was.

    Args:
        image: of any shape, in bool, uint8, uint16 or floats from 0 to 1.

    Raises:
        ValueError: another type, or values outside 0..1.

    >>> to_uint8(np.array([0, 128, 129, 65535], np.uint16))
    array([  0,   0,   1, 255], dtype=uint8)
    """
    array = _in_range(np.asarray(image))
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return np.round(array / 257).astype(np.uint8)
    return np.round(array * 255).astype(np.uint8)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture of another size in the same type: bilinear, and averaged where it shrinks.

    Args:
        image: ``(height, width)`` or ``(height, width, channels)`` in uint8, uint16 or floats.
        height: of the result, in pixels.
        width: of the result, in pixels.
    """
    array = np.ascontiguousarray(image)
    exact = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
    pixels = torch.from_numpy(exact.reshape(*array.shape[:2], -1)).permute(2, 0, 1)[None]
    pixels = torch.nn.functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)[0]
    pixels = pixels.permute(1, 2, 0).numpy().reshape(height, width, *array.shape[2:])
    return pixels.round().astype(array.dtype) if array.dtype.kind == "u" else pixels.astype(array.dtype)


def to_tensor(image: np.ndarray, *, grey: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn a picture into a batch of one: ``(1, channels, height, width)``, from 0 (black) to 1 (white).

    With ``grey=True`` there is one channel, the luma 0.299 R + 0.587 G + 0.114 B.

    Raises:
        ValueError: shape or range are not those of a picture (see :func:`load`), or ``dtype`` holds no fractions.

    >>> to_tensor(np.zeros((4, 6, 3), np.uint8)).shape
    torch.Size([1, 3, 4, 6])
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point type, since values run from 0 to 1, got {dtype!r}")
    array = _three_channels(_numbers(image))
    scale = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    pixels = torch.from_numpy(array.astype(np.float64) / scale).permute(2, 0, 1)
    if grey:
        pixels = torch.einsum("c,chw->hw", pixels.new_tensor(_LUMA), pixels)[None]
    return pixels[None].to(dtype).contiguous()


def to_image(tensor: Tensor | np.ndarray, *, clip: bool = False) -> np.ndarray:
    """Turn one picture's tensor into ``uint8``: ``(height, width, 3)``, or ``(height, width)`` for one channel.

    Args:
        tensor: ``(1, channels, height, width)``, ``(channels, height, width)`` or ``(height, width)``,
            1 or 3 channels, values from 0 to 1.
        clip: cut values outside 0..1 instead of refusing them.

    Raises:
        TypeError: ``tensor`` is no tensor, nor an array of numbers, or complex.
        ValueError: another shape; values that are no numbers, or outside 0..1 while ``clip`` is off.
    """
    try:
        tensor = torch.as_tensor(tensor)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"tensor must be a tensor or an array, got {type(tensor).__name__} ({error})") from None
    if tensor.is_complex():
        raise TypeError(f"tensor must be real, got {tensor.dtype}; take tensor.abs() or tensor.real")
    pixels = tensor.detach().cpu().double()
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


def _numbers(source: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"no array can be made of the numbers ({error}); rows must be equally long") from None


def _three_channels(array: np.ndarray) -> np.ndarray:
    """Check an array and bring it to ``(height, width, 3)``; transparency is laid over white."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise ValueError("a picture is shaped (height, width) or (height, width, 1, 3 or 4), "
                         f"got {tuple(array.shape)}; for a tensor use convtwist.images.to_image first")
    array = _in_range(array)
    if array.shape[2] == 4:
        array = _over_white(array)
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


def _in_range(array: np.ndarray) -> np.ndarray:
    """Return an array of pixels in uint8, uint16 or float32."""
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype in (np.uint8, np.uint16):
        return array
    if array.dtype.kind != "f":
        raise ValueError(f"a picture is uint8, uint16, bool or float, got {array.dtype}; convert it first")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise ValueError("a floating-point picture must lie in 0..1 without NaN; divide it by its white value")
    return array.astype(np.float32)


def _over_white(array: np.ndarray) -> np.ndarray:
    white = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    result = np.empty((*array.shape[:2], 3), array.dtype)
    rows = max(1, _STRIP // array.shape[1])
    for top in range(0, len(array), rows):  # in strips, since floats take eight times the memory
        strip = array[top : top + rows].astype(np.float64)
        alpha = strip[:, :, 3:] / white
        blend = strip[:, :, :3] * alpha + white * (1 - alpha)
        result[top : top + rows] = blend.round() if array.dtype.kind == "u" else blend
    return result


def _shrink(array: np.ndarray, max_side: int) -> np.ndarray:
    scale = max_side / max(array.shape[:2])
    height, width = (max(1, round(side * scale)) for side in array.shape[:2])
    return resize(array, height, width)
