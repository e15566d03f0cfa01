"""A tiny folder of pictures for the tests of training, and a callback that shows or ends a run."""

import hashlib
import os
import signal
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback
from PIL import Image


def write_pictures(root: Path, counts: dict[str, int], side=(20, 26)) -> Path:
    """Write ``counts[split]`` pictures of noise for each of three classes, each class with a tint of its own."""
    draw = np.random.default_rng(0)
    for split, count in counts.items():
        for channel, name in enumerate(("ants", "bees", "crabs")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                array = draw.integers(0, 120, (*side, 3), np.uint8)
                array[..., channel] += 100
                Image.fromarray(array).save(folder / f"{i}.JPEG")
    return root


class ShowWeights(Callback):
    """Writes a digest of every process's parameters when training ends, into the folder ``SHOW_WEIGHTS``."""

    def on_train_end(self, trainer, pl_module):
        digest = hashlib.sha256()
        for parameter in pl_module.network.parameters():
            digest.update(parameter.detach().numpy().tobytes())
        Path(os.environ["SHOW_WEIGHTS"], str(trainer.global_rank)).write_text(digest.hexdigest())


class Stop(Callback):
    """Sends the process, or all of its group, a signal after the second batch of an epoch."""

    def __init__(self, number: int, epoch: int = 1, group: bool = False):
        self.number, self.epoch, self.group = number, epoch, group

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            (os.killpg if self.group else os.kill)(os.getpid(), self.number)


class Kill(Callback):
    """Ends the process as a power cut would, after the second batch of the second epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)
