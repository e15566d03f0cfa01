"""Fashion-MNIST upright, turned and displaced; the same pictures in the same order for every network of a seed.

Book: chapter 12.  A condition is written ``upright`` or ``turned``, and ``turned_4`` moves the object by 4 pixels.
A test is a condition or one of those that :func:`asked` knows.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CHUNK", "Poses", "asked", "batches", "draw", "posed", "sample", "warp"]

ZOOM = 1.4
CHUNK = 1024  # pictures warped at a time
_PURPOSES = {"sample": 1, "order": 2, "poses": 3, "test": 4, "validation": 5}


class Poses(NamedTuple):
    """How each object is seen: ``angle`` in radians, counter-clockwise; ``zoom``; ``heading`` of a displacement."""

    angle: Tensor
    zoom: Tensor
    heading: Tensor


def generator(purpose: str, seed: int = 0, epoch: int = 0) -> torch.Generator:
    """Return a generator of its own for each purpose, seed and epoch, whatever the network."""
    return torch.Generator().manual_seed(1_000_000 * _PURPOSES[purpose] + 1000 * seed + epoch)


def draw(count: int, source: torch.Generator) -> Poses:
    """Draw angles and headings uniform in the full circle, zooms log-uniform in [1 / 1.4, 1.4]."""
    numbers = 2 * torch.rand(3, count, generator=source) - 1
    return Poses(math.pi * numbers[0], torch.exp(math.log(ZOOM) * numbers[1]), math.pi * numbers[2])


def warp(pictures: Tensor, angle: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Turn and zoom square pictures ``(N, 1, side, side)`` about their middle, then move them; zeros beyond.

    Args:
        pictures: in floating point; read bilinearly.
        angle: ``(N,)``, radians, counter-clockwise as seen.
        zoom: ``(N,)``; above 1 enlarges.
        shift: ``(N, 2)``, pixels to the right and down.
    """
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    # Where each output pixel is read: the way back.  y points down, which turns the sense of the angle round.
    back = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    offset = -back @ (shift * 2 / pictures.shape[-1])[..., None]
    grid = F.affine_grid(torch.cat([back, offset], 2), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False)


def posed(pictures: Tensor, poses: Poses, condition: str) -> Tensor:
    """Return ``(N, 28, 28)`` pictures in ``uint8`` as ``(N, 1, 28, 28)`` in 0..1 under a condition."""
    kind, _, distance = condition.partition("_")
    if kind not in ("upright", "turned"):
        raise ValueError(f"a condition is upright or turned, with _2 for two pixels of displacement; got {condition!r}")
    pictures = pictures[:, None].float() / 255
    if condition == "upright":
        return pictures
    angle, zoom, heading = poses
    if kind == "upright":
        angle, zoom = torch.zeros_like(angle), torch.ones_like(zoom)
    return warp(pictures, angle, zoom, int(distance or 0) * torch.stack([torch.cos(heading), torch.sin(heading)], 1))


def asked(test: str, available: int) -> tuple[str, Poses]:
    """Return a test's condition and the poses of its pictures, which are the first of those available.

    ``angle_15`` turns 1,000 by 15 degrees; ``moved_2`` is ``turned_2`` on 2,000; ``draw_3`` is ``turned`` on 4,000 in
    other poses for each number.  Any other name is a condition itself, for all pictures.
    """
    kind, _, number = test.partition("_")
    if kind == "angle":
        angle = torch.full((min(1000, available),), math.radians(float(number)))
        return "turned", Poses(angle, torch.ones_like(angle), torch.zeros_like(angle))
    if kind == "moved":
        return f"turned_{number}", draw(min(2000, available), generator("test"))
    if kind == "draw":
        return "turned", draw(min(4000, available), generator("test", int(number)))
    if test == "validation":
        return "turned", draw(available, generator("validation"))
    return test, draw(available, generator("test"))


def sample(available: int, count: int, seed: int) -> Tensor:
    """Return which training pictures a seed learns from."""
    return torch.randperm(available, generator=generator("sample", seed))[:count]


def batches(pictures: Tensor, labels: Tensor, *, condition: str, seed: int, steps: int,
            batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield so many batches, epoch after epoch, in an order and in poses that hang on seed and epoch alone."""
    done = epoch = 0
    whole = len(pictures) // batch * batch
    if not whole:
        raise ValueError(f"{len(pictures)} pictures do not fill a batch of {batch}")
    while done < steps:
        order = torch.randperm(len(pictures), generator=generator("order", seed, epoch))[:whole]
        poses = draw(whole, generator("poses", seed, epoch))
        for start in range(0, whole, CHUNK // batch * batch or batch):
            part = slice(start, min(start + (CHUNK // batch * batch or batch), whole))
            shown = posed(pictures[order[part]], Poses(*(numbers[part] for numbers in poses)), condition)
            for images, classes in zip(shown.split(batch), labels[order[part]].split(batch), strict=True):
                if done == steps:
                    return
                yield images, classes
                done += 1
        epoch += 1
