"""What happens to a batch before the network sees it: kornia's flips, turns, zooms and erasures, and normalisation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convtwist._arguments import check_choice
from convtwist.train.sampling import seeded

__all__ = ["Augment"]


class Augment(nn.Module):
    """Takes ``(batch, channels, height, width)`` in uint8 to floats about 0, changed at random if asked to.

    Args:
        mean, std: of every channel, for white = 1.
        flip: probability of a mirrored picture, left and right exchanged.
        degrees: turn by an angle up to this one, either way, about the centre.
        zoom: enlarge or shrink by a factor up to this one, each equally likely, about the centre.
        border: what comes in from outside: ``"zeros"`` (black), ``"border"`` or ``"reflection"``.
        erase: probability of a random rectangle of grey, the mean.

    Raises:
        ValueError: an argument is out of range.
    """

    mean: Tensor
    std: Tensor
    degrees: float
    zoom: float
    border: str
    flips: nn.Module | None
    erasures: nn.Module | None

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, flip: float = 0.0, degrees: float = 0.0,
                 zoom: float = 1.0, border: str = "zeros", erase: float = 0.0) -> None:
        super().__init__()
        for name, value in (("flip", flip), ("erase", erase)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is a probability, from 0 to 1, got {value!r}")
        if not 0 <= degrees <= 180:
            raise ValueError(f"degrees must lie from 0 to 180, got {degrees!r}")
        if not 1 <= zoom:
            raise ValueError(f"zoom is a factor from 1, got {zoom!r}")
        check_choice(border, "border", ("zeros", "border", "reflection"))
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.degrees, self.zoom, self.border = degrees, zoom, border
        self.flips = self.erasures = None
        if flip or erase:
            import kornia.augmentation as K

            # Erasing comes after normalisation, where the mean is zero.
            self.flips = K.RandomHorizontalFlip(p=flip) if flip else None
            self.erasures = K.RandomErasing(p=erase, value=0.0) if erase else None

    def forward(self, pictures: Tensor, key: int | None) -> Tensor:
        """Normalise; change at random as ``key`` says, or not at all if it is ``None``."""
        batch = pictures.float() / 255
        if key is None:
            return (batch - self.mean.to(batch)) / self.std.to(batch)
        with seeded(key):
            if self.flips is not None:
                batch = self.flips(batch)
            batch = (self._turned(batch) - self.mean.to(batch)) / self.std.to(batch)
            return batch if self.erasures is None else self.erasures(batch)

    def _turned(self, batch: Tensor) -> Tensor:
        if not self.degrees and self.zoom == 1:
            return batch
        from kornia.geometry.transform import get_rotation_matrix2d, warp_affine

        count, _, height, width = batch.shape
        # The middle of the pixels, as the layers' coordinates have it; kornia's random affine takes the same.
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(count, 2)
        angle = (2 * torch.rand(count) - 1) * self.degrees
        scale = torch.exp((2 * torch.rand(count) - 1) * math.log(self.zoom))
        matrix = get_rotation_matrix2d(centre, angle, scale[:, None].expand(count, 2)).to(batch)
        return warp_affine(batch, matrix, (height, width), mode="bilinear", padding_mode=self.border)
