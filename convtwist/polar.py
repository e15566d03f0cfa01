"""A picture by distance and angle: in front of any network, turns and zooms about the centre become shifts.

Book: chapter 9.  Source: Henriques and Vedaldi, arXiv 1612.09508; Esteves et al., arXiv 1709.01889.
"""

import math
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convtwist._arguments import as_shown, check_tensors, check_whole

__all__ = ["LogPolar", "from_log_polar", "log_polar"]


def log_polar(input: Tensor, angles: int | None = None, radii: int | None = None, *, smallest: float = 0.05,
              largest: float = 1.0) -> Tensor:
    """Return the picture over angle, downward, and the logarithm of the distance from the centre, to the right.

    Turning the picture by ``360 / angles`` degrees clockwise moves the result down by one row, around the end; zooming
    it by ``(largest / smallest) ** (1 / (radii - 1))`` moves it one column to the right.

    Args:
        input: ``(batch, channels, height, width)`` in floating point, read bilinearly, with zeros beyond the border.
        angles: rows of the result; row 0 looks to the right, and they go clockwise. By default the height.
        radii: columns of the result, at least 2. By default the width.
        smallest: distance of the first column, in halves of the longer side.
        largest: distance of the last column.

    Returns:
        ``(batch, channels, angles, radii)``. A network that reads it should pad the rows circularly.

    Raises:
        ValueError: ``input`` is no such batch, a count is too small, or not ``0 < smallest < largest``.
        TypeError: ``input`` holds whole numbers or is no tensor, or a distance is no number.

    >>> log_polar(torch.rand(1, 3, 28, 28), angles=36).shape
    torch.Size([1, 3, 36, 28])
    """
    height, width = _sides(input)
    angles = height if angles is None else check_whole(angles, "angles")
    radii = check_whole(width if radii is None else radii, "radii", 2)
    _check_range(smallest, largest)
    options = {"dtype": torch.promote_types(input.dtype, torch.float32), "device": input.device}
    theta = 2 * math.pi / angles * torch.arange(angles, **options).view(-1, 1)
    r = torch.linspace(math.log(smallest), math.log(largest), radii, **options).exp()
    side = max(height, width)
    places = torch.stack([r * theta.cos() * (side / width), r * theta.sin() * (side / height)], -1)
    return _read(input, places)


def from_log_polar(input: Tensor, height: int, width: int, *, smallest: float = 0.05, largest: float = 1.0) -> Tensor:
    """Return the picture that :func:`log_polar` showed by distance and angle, up to what it resampled away.

    Args:
        input: ``(batch, channels, angles, radii)`` in floating point.
        height: rows of the picture.
        width: columns of the picture.
        smallest: as it was given to :func:`log_polar`. Nearer to the centre the first column is repeated.
        largest: likewise. Beyond it there are zeros.

    Raises:
        ValueError: as for :func:`log_polar`.
        TypeError: likewise.

    >>> from_log_polar(torch.ones(1, 1, 36, 28), 5, 5)[0, 0, 2].round(decimals=4).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    angles, radii = _sides(input)
    if radii < 2:
        raise ValueError(f"input must have at least 2 columns, for a smallest and a largest distance; got {radii}")
    height, width = check_whole(height, "height"), check_whole(width, "width")
    _check_range(smallest, largest)
    options = {"dtype": torch.promote_types(input.dtype, torch.float32), "device": input.device}
    x = (2 * torch.arange(width, **options) + 1 - width) / max(height, width)
    y = ((2 * torch.arange(height, **options) + 1 - height) / max(height, width)).view(-1, 1)
    r = torch.hypot(x, y)
    row = (torch.atan2(y, x.expand_as(r)) / (2 * math.pi) % 1) * angles + 1  # behind one row of the other end
    column = (r.clamp(min=smallest).log() - math.log(smallest)) * ((radii - 1) / math.log(largest / smallest))
    places = torch.stack([(2 * column + 1) / radii - 1, (2 * row + 1) / (angles + 2) - 1], -1)
    around = torch.cat([input[..., -1:, :], input, input[..., :1, :]], -2)
    return _read(around, places) * (r <= largest).to(input.dtype)


class LogPolar(nn.Module):
    """:func:`log_polar` as a first layer, ``nn.Sequential(LogPolar(), model)``; it has no parameters.

    Args:
        angles, radii, smallest, largest: see :func:`log_polar`.

    >>> LogPolar(angles=36)(torch.rand(1, 3, 28, 28)).shape
    torch.Size([1, 3, 36, 28])
    """

    angles: int | None
    radii: int | None
    smallest: float
    largest: float

    def __init__(self, angles: int | None = None, radii: int | None = None, *, smallest: float = 0.05,
                 largest: float = 1.0) -> None:
        super().__init__()
        self.angles = angles if angles is None else check_whole(angles, "angles")
        self.radii = radii if radii is None else check_whole(radii, "radii", 2)
        _check_range(smallest, largest)
        self.smallest, self.largest = smallest, largest

    def forward(self, input: Tensor) -> Tensor:
        """Take ``(batch, channels, height, width)`` to ``(batch, channels, angles, radii)``."""
        return log_polar(input, self.angles, self.radii, smallest=self.smallest, largest=self.largest)

    def extra_repr(self) -> str:
        """Name what differs from the default."""
        defaults = {"angles": None, "radii": None, "smallest": 0.05, "largest": 1.0}
        return ", ".join(f"{name}={getattr(self, name)}" for name, value in defaults.items()
                         if getattr(self, name) != value)


def _sides(input: Tensor) -> tuple[int, int]:
    check_tensors(input=input)
    if input.dim() != 4:
        raise ValueError(f"input must be (batch, channels, height, width), got shape {tuple(input.shape)}; a single "
                         "picture needs input[None]")
    if not input.is_floating_point():
        raise TypeError(f"input must be floating point, got {input.dtype}; for a picture use input.float() / 255")
    height, width = input.shape[-2:]
    if height < 1 or width < 1:
        raise ValueError(f"input must have at least one pixel, got shape {tuple(input.shape)}")
    return height, width


def _check_range(smallest: float, largest: float) -> None:
    for name, distance in (("smallest", smallest), ("largest", largest)):
        if isinstance(distance, bool) or not isinstance(distance, Real):
            raise TypeError(f"{name} must be a number, got {as_shown(distance)}")
    if not 0 < smallest < largest < math.inf:
        raise ValueError(f"the distances must satisfy 0 < smallest < largest, got smallest={smallest}, "
                         f"largest={largest}")


def _read(input: Tensor, places: Tensor) -> Tensor:
    """Read a batch at places in PyTorch's units, from -1 to 1 across each side; summed up in float32 at least."""
    working = places.expand(input.shape[0], *places.shape)
    return F.grid_sample(input.to(places.dtype), working, align_corners=False).to(input.dtype)
