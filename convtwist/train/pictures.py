"""The data set: one picture cut and shrunk to the size of the network's input, its label, and its key.

Book: chapter 11.  Source: the random cut is that of arXiv 1409.4842 (between a share and all of the picture's area,
sides 3:4 to 4:3), the evaluation's cut the middle, as in fastai's imagenette recipe.
"""

import math
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from convtwist import images
from convtwist.train.sampling import NOT_COUNTED

__all__ = ["ArrayPictures", "Batch", "FilePictures", "Item", "middle_cut", "random_cut"]

Item: TypeAlias = tuple[Tensor, int, int]
"""A picture ``(channels, size, size)`` in uint8, its label and its key."""

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Pictures ``(batch, channels, size, size)``, labels and keys ``(batch,)``."""


def random_cut(height: int, width: int, least: float, draw: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random rectangle with a share of the area from ``least`` to 1."""
    for _ in range(10):
        area = height * width * draw.uniform(least, 1)
        ratio = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(draw.integers(height - h + 1)), int(draw.integers(width - w + 1)), h, w
    return middle_cut(height, width)


def middle_cut(height: int, width: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the largest square in the middle."""
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _item(picture: Tensor, label: int, key: int, size: int, least: float | None) -> Item:
    """Cut and shrink ``(channels, height, width)`` in uint8; at random where ``least`` is a share."""
    _, height, width = picture.shape
    if least is None:
        top, left, h, w = middle_cut(height, width)
    else:
        top, left, h, w = random_cut(height, width, least, np.random.default_rng(key))
    if (h, w) == (size, size):
        return picture[:, top : top + h, left : left + w], label, key
    cut = picture[None, :, top : top + h, left : left + w]
    return F.interpolate(cut, (size, size), mode="bilinear", antialias=True)[0], label, key


class ArrayPictures(Dataset[Item]):
    """Pictures in memory, ``(N, height, width)`` in uint8, and their labels ``(N,)``.

    An item is ``(picture, label, key)``, the picture ``(1, size, size)`` in uint8.
    """

    pictures: Tensor
    labels: Tensor
    size: int
    least: float | None

    def __init__(self, pictures: Tensor, labels: Tensor, *, size: int, least: float | None) -> None:
        self.pictures, self.labels, self.size, self.least = pictures, labels, size, least

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, where: int | tuple[int, int]) -> Item:
        index, key = where if isinstance(where, tuple) else (where, 0)
        return _item(self.pictures[index][None], int(self.labels[index]), key, self.size, self.least)


class FilePictures(Dataset[Item]):
    """Picture files and their labels; an item is ``(picture, label, key)``, ``(3, size, size)`` in uint8.

    Args:
        paths: of the files; grey, transparent, sixteen-bit and turned pictures come as ``images.load`` brings them.
        labels: one for each file.
        size: side of the square that comes out.
        least: smallest share of the area of a random cut; ``None`` takes the middle.
        on_corrupt: ``"raise"`` names a picture that cannot be read and ends there; ``"skip"`` names it in a warning,
            and trains on the next one instead, or, where ``least`` is ``None``, leaves it out of the count.
    """

    paths: np.ndarray
    labels: np.ndarray
    size: int
    least: float | None
    on_corrupt: str

    def __init__(self, paths: Sequence[str], labels: Sequence[int], *, size: int, least: float | None,
                 on_corrupt: str) -> None:
        # Arrays rather than lists: workers share their memory without copying it as they count references.
        self.paths, self.labels = np.array(paths), np.array(labels)
        self.size, self.least, self.on_corrupt = size, least, on_corrupt

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, where: int | tuple[int, int]) -> Item:
        index, key = where if isinstance(where, tuple) else (where, 0)
        for step in range(len(self)):
            other = (index + step) % len(self)
            picture = self._read(other)
            if picture is not None:
                return _item(picture, int(self.labels[other]), key, self.size, self.least)
            if self.least is None:
                return torch.zeros(3, self.size, self.size, dtype=torch.uint8), int(self.labels[index]), NOT_COUNTED
        raise ValueError(f"none of the {len(self)} pictures can be read; the first is {self.paths[0]}")

    def _read(self, index: int) -> Tensor | None:
        path = str(self.paths[index])
        try:
            array = images.load(path)
        except (ValueError, OSError) as error:
            if self.on_corrupt == "raise":
                raise ValueError(f"{error}; remove it, or pass --data.on_corrupt skip") from error
            instead = "left out of the count" if self.least is None else "another takes its place"
            warnings.warn(f"{error}; {instead}", stacklevel=2)
            return None
        return torch.from_numpy(images.to_uint8(array)).permute(2, 0, 1)
