"""Mixup, and the loss against mixed and smoothed labels.

Book: chapter 11.  Source: arXiv 1710.09412 (mixup), with a share for each picture of its own that is at least a
half, as in fastai; arXiv 1512.00567 (label smoothing).  kornia's mixup draws its shares evenly from a range, and
torchvision's one for a whole batch, neither of which is the recipe's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["mixup", "soft_cross_entropy"]


def mixup(pictures: Tensor, labels: Tensor, classes: int, alpha: float) -> tuple[Tensor, Tensor]:
    """Blend every picture with another of the batch; return the blends and their labels as shares.

    Shares are drawn from Beta(alpha, alpha) by torch's generator on the CPU, whatever the pictures' device.

    Args:
        pictures: ``(batch, channels, height, width)``.
        labels: ``(batch,)`` in ``int64``.
        classes: how many there are.
        alpha: 0 blends nothing, 0.2 a little, 1 evenly.

    Returns:
        pictures as before, and ``(batch, classes)``, whose rows sum to 1.

    Raises:
        ValueError: ``alpha`` is negative.
    """
    if alpha < 0:
        raise ValueError(f"mixup must be 0 (off) or a positive alpha, got {alpha!r}")
    shares = F.one_hot(labels, classes).to(pictures.dtype)
    if alpha == 0:
        return pictures, shares
    count = len(labels)
    own = torch.distributions.Beta(alpha, alpha).sample((count,))
    own = torch.maximum(own, 1 - own).to(pictures)
    other = torch.randperm(count).to(labels.device)
    blended = torch.lerp(pictures[other], pictures, own.view(-1, 1, 1, 1))
    return blended, torch.lerp(shares[other], shares, own.view(-1, 1))


def soft_cross_entropy(outputs: Tensor, shares: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean of ``-sum(q log softmax(outputs))``, ``q = (1 - smoothing) shares + smoothing / classes``."""
    return F.cross_entropy(outputs, shares, label_smoothing=smoothing)
