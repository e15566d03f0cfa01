"""Which picture comes when, and the seed of everything random that happens to it.

Both follow from the run's seed, the epoch and the picture's number alone: not from what was drawn before, not from
the number of workers.  So a run that was interrupted continues as if it had not been.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import DistributedSampler

__all__ = ["NOT_COUNTED", "KeySampler", "key_of", "seeded"]

NOT_COUNTED = -1


def key_of(*numbers: int) -> int:
    """Return a seed from 0 to 2^62 that is as good as random, always the same for the same numbers from 0 on."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 2)


@contextmanager
def seeded(key: int) -> Iterator[None]:
    """Draw from torch's generator on the CPU as if it were seeded, and leave it as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key)
        yield


class KeySampler(DistributedSampler[tuple[int, int]]):
    """Yields ``(index, key)``, the pictures of this process in their order, each with its own seed.

    All processes get equally many.  What that takes beyond the data set's length is drawn twice in training; in
    evaluation it has the key ``NOT_COUNTED``, so that no picture is judged twice.  Being a ``DistributedSampler``
    makes Lightning leave it in its place and tell it the epoch.
    """

    length: int
    training: bool

    def __init__(self, length: int, *, training: bool, seed: int, processes: int = 1, rank: int = 0) -> None:
        # Of the data set it asks no more than the length.
        super().__init__(range(length),  # pyright: ignore[reportArgumentType]
                         processes, rank, shuffle=training, seed=seed)
        self.length = length
        self.training = training

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch if self.training else 0
        order = np.arange(self.length)
        if self.training:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
        order = np.resize(order, self.total_size)
        for place in range(self.rank, self.total_size, self.num_replicas):
            index = int(order[place])
            surplus = not self.training and place >= self.length
            yield index, NOT_COUNTED if surplus else key_of(self.seed, epoch, index)
