"""The photograph a lab starts with: small enough to travel inside the page.

Book: every chapter whose lab shows a photograph.
"""

import base64
import io

import numpy as np
import numpy.typing as npt

from convtwist import images

__all__ = ["LONGEST_SIDE", "to_bytes_image", "to_data_url"]

LONGEST_SIDE = 256


def to_bytes_image(photo: npt.ArrayLike) -> np.ndarray:
    """Return ``photo`` as uint8, shaped ``(H, W)`` or ``(H, W, 3)``.

    Args:
        photo: an array as :func:`convtwist.images.load` takes it: ``(H, W)`` or ``(H, W, 1, 3 or 4)`` in bool, uint8,
            uint16 or floats from 0 to 1; in floats a thousandth beyond is cut off. Transparency is laid over white.

    Raises:
        ValueError: another shape or dtype, no pixel, or floating-point values outside 0..1.
    """
    pixels = np.asarray(photo)
    if pixels.dtype.kind == "f":  # what was resampled may overshoot a little
        near = (pixels >= -1e-3) & (pixels <= 1 + 1e-3)
        pixels = np.where(near, pixels.clip(0, 1), pixels)
    grey = pixels.ndim == 2 or pixels.shape[-1] == 1
    pixels = images.to_uint8(images.load(pixels))
    return pixels[..., 0] if grey else pixels


def to_data_url(photo: npt.ArrayLike) -> str:
    """Return ``photo`` as a JPEG data URL, at most 256 pixels on its longer side; see `to_bytes_image`.

    Pillow's Lanczos filter shrinks it: of so small a picture it keeps more detail than ``images.resize``.
    """
    from PIL import Image

    image = Image.fromarray(to_bytes_image(photo))
    scale = LONGEST_SIDE / max(image.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
