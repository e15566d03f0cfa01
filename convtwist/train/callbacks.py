"""What a run leaves when it ends: the weights in a file, and a few lines that say how it went and what to type next.

Book: chapter 11.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from convtwist.train.export import save_weights
from convtwist.train.module import Classifier
from convtwist.train.overview import program

__all__ = ["ExportWeights", "RunSummary"]


class ExportWeights(Callback):
    """Writes ``weights.safetensors`` when training ends, with what the network was built from and its classes.

    These are the weights after the last epoch, or their moving average if a ``WeightAveraging`` runs; the
    checkpoints hold those of the best epoch, too.

    Args:
        path: of the file; by default ``weights.safetensors`` in the run's folder.
    """

    path: str | None

    def __init__(self, path: str | None = None) -> None:
        self.path = path

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module whose network cannot be described.

        Raises:
            TypeError: it is no ``Classifier``.
        """
        if not isinstance(pl_module, Classifier):
            raise TypeError(f"ExportWeights needs a convtwist.train.module.Classifier, got {type(pl_module).__name__}; "
                            "write another module's weights with convtwist.train.export.save_weights")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file from the first process."""
        if isinstance(pl_module, Classifier) and trainer.is_global_zero and not _rehearses(trainer):
            self.path = self.path or os.path.join(trainer.default_root_dir, "weights.safetensors")
            with torch.no_grad():
                save_weights(pl_module.built(), self.path, **pl_module.about(), epochs=trainer.current_epoch)


class RunSummary(Callback):
    """Says at the end of training, and where it is stopped, how well it went, where all is, and how to go on.

    Args:
        command: the words that were typed after the program's name.
    """

    command: list[str]
    trainer: Trainer | None

    def __init__(self, command: Sequence[str]) -> None:
        self.command = _without(list(command), "--ckpt_path")
        self.trainer = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remember whose run it is."""
        self.trainer = trainer

    def finished(self) -> None:
        """Print the summary of a run that came to its end, after the progress bar's."""
        trainer = self.trainer
        if trainer is None or not trainer.is_global_zero or _rehearses(trainer):
            return
        root, epochs = trainer.default_root_dir, trainer.current_epoch
        checkpoint = next((callback.best_model_path for callback, _ in _judges(trainer)), _last(trainer))
        longer = [f"--trainer.max_epochs={2 * epochs}"] if epochs == trainer.max_epochs else []
        lines = [f"Trained for {_epochs(epochs)}{self._accuracy(trainer)}.", *self._places(trainer)]
        if any(isinstance(logger, CSVLogger) for logger in trainer.loggers):
            lines += ["Draw the curves:", f"  {_typed('plot', root)}"]
        if checkpoint:
            lines += ["Try it on a picture:", f"  {_typed('predict', '--ckpt_path', _near(checkpoint))} PICTURE"]
            lines += ["Train longer:", f"  {_typed(*self.command, '--ckpt_path=last', *longer)}"]
        print("\n" + "\n".join(lines), flush=True)

    def stopped(self, by: str) -> None:
        """Print what is kept of a run that was stopped, and the command that continues it."""
        trainer = self.trainer
        if trainer is None or _rehearses(trainer) or trainer.state.fn != "fit":
            if trainer is None or trainer.is_global_zero:
                print(f"\nStopped by {by}.", flush=True)
            return
        if not trainer.is_global_zero:
            return
        last = _last(trainer)
        if last is None:
            lines = [f"Stopped by {by} before the first epoch was over, so nothing is kept. Start again:",
                     f"  {_typed(*self.command)}"]
        else:
            wanted = f" of {trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
            lines = [f"Stopped by {by} with {_epochs(_epoch(last) + 1)}{wanted} done{self._accuracy(trainer)}.",
                     *self._places(trainer),
                     "Continue after the last of these epochs:", f"  {_typed(*self.command, '--ckpt_path=last')}"]
        print("\n" + "\n".join(lines), flush=True)

    def _accuracy(self, trainer: Trainer) -> str:
        for callback, score in _judges(trainer):
            epoch = _epoch(callback.best_model_path)
            return f"; best {callback.monitor} {score:.4f}, in epoch {epoch} (the first is 0)"
        return ""

    def _places(self, trainer: Trainer) -> list[str]:
        callbacks = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]  # set, but not declared
        files = [(callback.path, "weights") for callback in callbacks if isinstance(callback, ExportWeights)]
        files += [(os.path.join(logger.log_dir, "metrics.csv"), "metrics") for logger in trainer.loggers
                  if isinstance(logger, CSVLogger)]
        folder = os.path.join(trainer.default_root_dir, "checkpoints")
        kept = ", ".join(sorted(path.name for path in Path(folder).glob("*.ckpt")))
        lines = [f"  checkpoints  {_near(folder)} ({kept})"] if kept else []
        files = [(path, kind) for path, kind in files if path and os.path.exists(path)]
        return lines + [f"  {kind}      {_near(path)}" for path, kind in reversed(files)]


def _rehearses(trainer: Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # pyright: ignore[reportAttributeAccessIssue]  # set, but not declared


def _judges(trainer: Trainer) -> list[tuple[ModelCheckpoint, float]]:
    """Return the callbacks that keep the best epoch by a metric, and its score, if they have kept one."""
    return [(callback, float(score)) for callback in trainer.checkpoint_callbacks
            if isinstance(callback, ModelCheckpoint) and callback.monitor
            and (score := callback.best_model_score) is not None and os.path.exists(callback.best_model_path)]


def _last(trainer: Trainer) -> str | None:
    path = os.path.join(trainer.default_root_dir, "checkpoints", "last.ckpt")
    return path if os.path.exists(path) else None


def _near(path: str | os.PathLike[str]) -> Path:
    """Return a path as it is seen from here, if it lies below."""
    path = Path(path)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _epoch(path: str) -> int:
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["epoch"]


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _typed(*words: object) -> str:
    return f"{program()} {shlex.join(map(str, words))}"


def _without(words: list[str], option: str) -> list[str]:
    """Return a command line without an option, whether its value follows ``=`` or is the next word."""
    kept, skip = [], False
    for word in words:
        if not skip and word.partition("=")[0] != option:
            kept.append(word)
        skip = not skip and word == option
    return kept
