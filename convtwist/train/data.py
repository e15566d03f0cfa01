"""The data module: a folder, an archive or Fashion-MNIST in, batches out.

Book: chapter 11.
"""

import os
import warnings

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from convtwist._arguments import check_choice, check_whole
from convtwist.train import archives, fashion, folders
from convtwist.train.augment import Augment
from convtwist.train.pictures import ArrayPictures, Batch, FilePictures, Item
from convtwist.train.sampling import KeySampler, key_of

__all__ = ["Pictures"]

_STATISTICS = {  # mean and standard deviation by channel: ImageNet's, and Fashion-MNIST's training set's
    "folder": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "fashion_mnist": ((0.286,), (0.353,)),
}


class Pictures(LightningDataModule):
    """Reads pictures and gives batches ``(pictures, labels, keys)``.

    Args:
        kind: ``folder`` or ``fashion_mnist``.
        path: for ``folder``, a folder with ``train/CLASS/...`` and ``val/CLASS/...``, perhaps ``test/CLASS/...``; or
            one of ``CLASS/...``; or an archive of either (.tgz, .tar.gz, .tar, .zip), which is checked and unpacked
            beside itself.  For ``fashion_mnist``, the folder of the idx files; by default Debian's.
        sha256: of the archive, if you have it.
        size: side of the network's input in pixels.
        batch_size: pictures in a batch of one process.
        workers: processes that read pictures, for each training process; 0 reads in between.
        validation: share of the training pictures to validate on, where there is no ``val``.
        limit: train on so many pictures only, chosen by the seed.
        crop: smallest share of a picture's area that a random cut keeps; 0 takes the middle square.
        flip: probability of a mirrored picture.
        degrees: turn by up to so many degrees either way.
        zoom: enlarge or shrink by up to this factor.
        border: what turning brings in: ``zeros``, ``border`` or ``reflection``.
        erase: probability of a rectangle of grey.
        turn_evaluation: turn and zoom the pictures of validation and test, too, the same at every evaluation.
        on_corrupt: ``raise`` ends at a picture that cannot be read; ``skip`` names it and goes on.
        seed: of split, order and augmentation; by default that of ``seed_everything``.
    """

    kind: str
    path: str | None
    sha256: str | None
    size: int
    batch_size: int
    workers: int
    validation: float
    limit: int | None
    least: float | None
    on_corrupt: str
    seed: int
    augment: Augment
    evaluation: Augment
    turn_evaluation: bool
    classes: list[str]
    channels: int
    input: dict[str, int | list[float]]
    sets: dict[str, ArrayPictures | FilePictures]
    tested_on: str

    def __init__(self, kind: str = "folder", path: str | None = None, sha256: str | None = None, size: int = 128,
                 batch_size: int = 64, workers: int = 4, validation: float = 0.1, limit: int | None = None,
                 crop: float = 0.35, flip: float = 0.5, degrees: float = 0.0, zoom: float = 1.0,
                 border: str = "zeros", erase: float = 0.0, turn_evaluation: bool = False,
                 on_corrupt: str = "raise", seed: int | None = None) -> None:
        super().__init__()
        self.kind = check_choice(kind, "kind", tuple(_STATISTICS))
        if kind == "folder" and path is None:
            raise ValueError("path is missing: pass --data.path with a folder of pictures or its archive")
        if not 0 <= crop <= 1:
            raise ValueError(f"crop is a share of the area, from 0 (the middle square) to 1, got {crop!r}")
        self.path, self.sha256 = path, sha256
        self.size, self.batch_size = check_whole(size, "size"), check_whole(batch_size, "batch_size")
        self.workers = check_whole(workers, "workers", 0)
        self.validation, self.limit = validation, limit if limit is None else check_whole(limit, "limit")
        self.least = crop or None
        self.on_corrupt = check_choice(on_corrupt, "on_corrupt", ("raise", "skip"))
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else check_whole(seed, "seed", 0)
        mean, std = _STATISTICS[kind]
        turn = {"degrees": degrees, "zoom": zoom, "border": border}
        self.augment = Augment(mean, std, flip=flip, erase=erase, **turn)
        self.evaluation = Augment(mean, std, **(turn if turn_evaluation else {}))
        self.turn_evaluation = turn_evaluation
        self.classes = []
        self.channels = len(mean)
        self.input = {"size": self.size, "mean": list(mean), "std": list(std)}  # of what the network is fed with
        self.sets = {}

    def prepare_data(self) -> None:
        """Unpack an archive; Lightning calls this in one process of each machine."""
        if self.kind == "folder" and self.path is not None and _is_archive(self.path):
            archives.unpack(self.path, digest=self.sha256)

    def setup(self, stage: str) -> None:
        """Find the pictures of all splits, once."""
        if not self.sets:
            self.sets = self._folder(self.path) if self.kind == "folder" and self.path is not None else self._fashion()

    def _folder(self, path: str) -> dict[str, ArrayPictures | FilePictures]:
        found = folders.locate(archives.target(path) if _is_archive(path) else path)
        if "all" in found:
            train, val = folders.split(folders.scan(found["all"]), self.validation, self.seed)
        else:
            train = folders.scan(found["train"])
            if "val" in found:
                val = folders.scan(found["val"], train.classes)
            else:
                train, val = folders.split(train, self.validation, self.seed)
        listings = {"train": train, "val": val,
                    "test": folders.scan(found["test"], train.classes) if "test" in found else val}
        self.tested_on = "test" if "test" in found else "val"
        self.classes = train.classes
        sets: dict[str, ArrayPictures | FilePictures] = {}
        for name, (paths, labels, _) in listings.items():
            if name == "train":
                kept = self._limited(len(paths))
                paths, labels = [paths[i] for i in kept], [labels[i] for i in kept]
            sets[name] = FilePictures(paths, labels, size=self.size, on_corrupt=self.on_corrupt,
                                      least=self.least if name == "train" else None)
        return sets

    def _fashion(self) -> dict[str, ArrayPictures | FilePictures]:
        pictures, labels = fashion.load("train", self.path)
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must be a share between 0 and 1, got {self.validation!r}")
        # Apart from how much is trained on: a limit leaves the validation set alone.
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(key_of(self.seed, 0)))
        count = round(self.validation * len(labels))
        held, rest = order[:count], order[count:]
        rest = rest[torch.tensor(self._limited(len(rest)))]
        self.classes, self.tested_on = list(fashion.CLASSES), "test"

        def of(pictures: Tensor, labels: Tensor, least: float | None) -> ArrayPictures:
            return ArrayPictures(pictures, labels, size=self.size, least=least)

        return {"train": of(pictures[rest], labels[rest], self.least), "val": of(pictures[held], labels[held], None),
                "test": of(*fashion.load("test", self.path), None)}

    def _limited(self, count: int) -> list[int]:
        """Return which of so many pictures are trained on: the first of a fixed order, so that sets are nested."""
        if self.limit is None or self.limit >= count:
            return list(range(count))
        generator = torch.Generator().manual_seed(key_of(self.seed, 1))
        return sorted(torch.randperm(count, generator=generator)[: self.limit].tolist())

    def train_dataloader(self) -> DataLoader[Item]:
        """Return the shuffled loader of this process; a last batch of one picture is left out, and that is said."""
        loader = self._loader("train")
        if loader.drop_last and self._speaks():
            count = len(self._sampler("train"))
            warnings.warn(f"{count} pictures in batches of {self.batch_size} leave one picture over, too few for "
                          "batch normalisation: each epoch leaves one out, another each time; another "
                          "--data.batch_size takes all", stacklevel=2)
        return loader

    def val_dataloader(self) -> DataLoader[Item]:
        """Return the loader of the validation pictures, every one of them once."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Item]:
        """Return the loader of the test pictures; without a folder ``test``, of those of ``val``, and says so."""
        if self.tested_on == "val" and self._speaks():
            warnings.warn("there is no test split: this is the accuracy on the validation split", stacklevel=2)
        return self._loader("test")

    def _speaks(self) -> bool:
        return self.trainer is None or self.trainer.is_global_zero

    def _sampler(self, name: str) -> KeySampler:
        processes, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        return KeySampler(len(self.sets[name]), training=name == "train", seed=self.seed, processes=processes,
                          rank=rank)

    def _loader(self, name: str) -> DataLoader[Item]:
        training, sampler = name == "train", self._sampler(name)
        alone = len(sampler) > self.batch_size > 1 and len(sampler) % self.batch_size == 1
        return DataLoader(self.sets[name], self.batch_size, sampler=sampler, num_workers=self.workers,
                          drop_last=training and alone,
                          persistent_workers=self.workers > 0, pin_memory=torch.cuda.is_available())

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Normalise and augment on the device, by the key of the batch's first picture."""
        pictures, labels, keys = batch
        training = self.trainer is not None and self.trainer.training
        changed = training or self.turn_evaluation
        augment = (self.augment if training else self.evaluation).to(pictures.device)
        return augment(pictures, key_of(max(int(keys[0]), 0), 2) if changed else None), labels, keys


def _is_archive(path: str) -> bool:
    return not os.path.isdir(path) and path.lower().endswith(archives.SUFFIXES)
