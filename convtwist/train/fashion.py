"""Fashion-MNIST from its four idx files, each checked against its SHA-256 before a number of it is believed.

Book: chapter 11.  Source: Xiao, Rasul, Vollgraf, arXiv 1708.07747; Debian packs the files as dataset-fashion-mnist.
"""

import gzip
import hashlib
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convtwist._arguments import check_choice

__all__ = ["CLASSES", "DEBIAN", "find", "load"]

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASSES: tuple[str, ...] = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                            "Ankle boot")

# Of the unpacked files, since gzip may pack the same bytes in many ways.
_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_PREFIX = {"train": "train", "test": "t10k"}
_ADVICE = (f"install Debian's package (apt-get install dataset-fashion-mnist), or put the files {', '.join(_SHA256)}, "
           "each with or without .gz, into one folder and name it")


def find(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds the four files: the given one, or Debian's.

    Raises:
        FileNotFoundError: the folder or some of its files are missing; says which, and where to get them.
    """
    place = Path(folder) if folder is not None else DEBIAN
    if not place.is_dir():
        raise FileNotFoundError(f"no folder {place} with Fashion-MNIST; {_ADVICE}")
    missing = [name for name in _SHA256 if _path(place, name) is None]
    if missing:
        raise FileNotFoundError(f"{place} lacks {', '.join(missing)}; {_ADVICE}")
    return place


def load(split: str, folder: str | os.PathLike[str] | None = None) -> tuple[Tensor, Tensor]:
    """Return pictures ``(N, 28, 28)`` in ``uint8`` and labels ``(N,)`` in ``int64``.

    Args:
        split: ``"train"`` (60,000) or ``"test"`` (10,000).
        folder: where the files are; by default where Debian's package puts them.

    Raises:
        FileNotFoundError: files are missing; see :func:`find`.
        ValueError: a file is damaged or another one than published.
    """
    prefix = _PREFIX[check_choice(split, "split", tuple(_PREFIX))]
    place = find(folder)
    images = _array(place, f"{prefix}-images-idx3-ubyte")
    labels = _array(place, f"{prefix}-labels-idx1-ubyte")
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def _path(place: Path, name: str) -> Path | None:
    """Return the file, packed or not, or None; one half-unpacked name doesn't hide the other."""
    return next((path for path in (place / name, place / f"{name}.gz") if path.is_file()), None)


def _array(place: Path, name: str) -> np.ndarray:
    path = _path(place, name)
    if path is None:
        raise FileNotFoundError(f"{place} lacks {name}; {_ADVICE}")
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({error}); {_ADVICE}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != _SHA256[name]:
        raise ValueError(f"{path} is damaged or not Fashion-MNIST: its {len(data):,} bytes have SHA-256 {digest}, "
                         f"expected {_SHA256[name]}; {_ADVICE}")
    # idx: two zero bytes, the type (8 is uint8), the number of axes, each axis in four bytes, then the numbers.
    axes = data[3]
    shape = np.frombuffer(data, ">u4", axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape.tolist()).copy()
