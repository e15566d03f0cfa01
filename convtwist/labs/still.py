"""The photograph a lab starts with: small enough to travel inside the page.

Book: every chapter whose lab shows a photograph.
"""

import base64
import io

import numpy as np

__all__ = ["LONGEST_SIDE", "to_bytes_image", "to_data_url"]

LONGEST_SIDE = 256


def to_bytes_image(photo) -> np.ndarray:
    """Return ``photo`` as uint8, shaped ``(H, W)`` or ``(H, W, 3)``.

    Args:
        photo: ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; uint8, uint16, or floating point in 0..1.
            An alpha channel is laid on white.

    Raises:
        ValueError: another shape, an empty picture, or floating-point values outside 0..1.
        TypeError: another dtype.
    """
    pixels = np.asarray(photo)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)) or pixels.size == 0:
        raise ValueError(f"photo must be shaped (H, W) or (H, W, 3), got {pixels.shape}")
    if pixels.dtype == np.uint16:
        pixels = np.round(pixels / 257).astype(np.uint8)
    elif np.issubdtype(pixels.dtype, np.floating):
        if not (np.isfinite(pixels).all() and pixels.min() >= -1e-3 and pixels.max() <= 1 + 1e-3):
            raise ValueError("a floating-point photo must lie in 0..1; divide by 255 first")
        pixels = np.round(pixels.clip(0, 1) * 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise TypeError(f"photo must be uint8, uint16 or floating point, got {pixels.dtype}")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 1:
        return pixels[..., 0]
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:] / 255
        return np.round(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return pixels


def to_data_url(photo) -> str:
    """Return ``photo`` as a JPEG data URL, at most 256 pixels on its longer side; see `to_bytes_image`."""
    from PIL import Image

    image = Image.fromarray(to_bytes_image(photo))
    scale = LONGEST_SIDE / max(image.size)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in image.size)
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
