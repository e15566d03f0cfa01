"""The command line: Lightning's own, with this package's configs by name, folders for runs, and fewer warnings.

Book: chapter 11.
"""

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from convtwist.train.data import Pictures
from convtwist.train.export import ExportWeights
from convtwist.train.module import Classifier

__all__ = ["CONFIGS", "TrainCLI", "run", "with_config_paths"]

CONFIGS = Path(__file__).parent / "configs"

# True of every run here, and nothing to act on: how many workers to take is --data.workers.
_NOISE = (r".*does not have many workers", r".*`LeafSpec`", r".*isinstance\(treespec, LeafSpec\)",
          r"The number of training batches \(\d+\) is smaller than the logging interval",
          r".*Checkpoint directory .* exists and is not empty", r".*Detected call of `lr_scheduler.step\(\)` before",
          r"\s*(By default only one JsonargparseDeprecationWarning|`*\w+`* (parameter )?was deprecated in v4)",
          r"You're using the WeightAveraging callback with a model that overrides the configure_model")


class TrainCLI(LightningCLI):
    """Keeps a run's checkpoints, logs and weights in ``--trainer.default_root_dir``, where ``last`` finds them."""

    def __init__(self, args=None):
        super().__init__(Classifier, Pictures, args=args, seed_everything_default=1, auto_configure_optimizers=False,
                         load_from_checkpoint_support=False, trainer_defaults={"default_root_dir": "runs/default"})

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Leave out ``predict``, for which there is no data."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}

    def add_arguments_to_parser(self, parser) -> None:
        """Add the checkpoint of the best epoch."""
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({"checkpoint.filename": "best", "checkpoint.monitor": "val_accuracy",
                             "checkpoint.mode": "max", "checkpoint.enable_version_counter": False})
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath", compute_fn=_checkpoints)

    def before_instantiate_classes(self) -> None:
        """Load checkpoints as numbers only; refuse to overwrite a run or to judge a network without weights."""
        config = self.config[self.subcommand]
        if config.weights_only is None:
            config.weights_only = True
        folder = _checkpoints(config.trainer.default_root_dir)
        if self.subcommand == "fit":
            if not config.ckpt_path and not config.trainer.fast_dev_run and os.path.exists(f"{folder}/last.ckpt"):
                raise ValueError(f"{config.trainer.default_root_dir} holds a run already; continue it with "
                                 "--ckpt_path=last, or name another --trainer.default_root_dir")
        elif not config.ckpt_path and not config.model.weights:
            raise ValueError(f"{self.subcommand} needs trained weights: pass --ckpt_path={folder}/best.ckpt, "
                             "--ckpt_path=last, or --model.weights with a safetensors file")

    def instantiate_trainer(self, **kwargs):
        """Keep the last epoch, export the weights at the end, log to CSV and TensorBoard unless told otherwise."""
        config = self.config_init[self.subcommand].trainer
        root = config.default_root_dir
        if config.logger is None or config.logger is True:
            csv = CSVLogger(root, name="logs")
            kwargs["logger"] = [csv, TensorBoardLogger(root, name="logs", version=f"version_{csv.version}")]
        given = config.callbacks or []
        callbacks = list(given) if isinstance(given, list) else [given]
        if not any(isinstance(callback, ExportWeights) for callback in callbacks):
            callbacks.append(ExportWeights())
        # Lightning's save_last follows the best epochs only: a run would resume from the last that was an improvement.
        callbacks.append(ModelCheckpoint(_checkpoints(root), "last", enable_version_counter=False))
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)


def with_config_paths(args: list[str]) -> list[str]:
    """Replace the names of shipped configs by their paths; names of files come first.

    Raises:
        ValueError: a name is neither.
    """
    found = []
    for i, word in enumerate(args):
        option, equals, value = word.partition("=")
        if equals and option in ("--config", "-c"):
            found.append(f"{option}={_config(value)}")
        else:
            found.append(_config(word) if i and args[i - 1] in ("--config", "-c") else word)
    return found


def _config(name):
    shipped = CONFIGS / f"{name.removesuffix('.yaml')}.yaml"
    if Path(name).exists() or name.lstrip().startswith("{"):  # a file, or settings typed in place
        return name
    if shipped.parent == CONFIGS and shipped.exists():
        return str(shipped)
    known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    raise ValueError(f"config {name!r} is neither a file nor one of those shipped: {known}")


def _checkpoints(root):
    return os.path.join(root or ".", "checkpoints")


def _no_advertisement(record):
    return "Tip: For seamless cloud" not in str(record.msg)


def run(args: list[str] | None = None) -> None:
    """Run one command; what a user can mend is said in one sentence, anything else with its traceback."""
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advertisement)
    try:
        sys.argv[1:] = with_config_paths(sys.argv[1:] if args is None else args)
        TrainCLI()
    except (ValueError, OSError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not Path(frames[-1].filename).is_relative_to(Path(__file__).parents[1]):
            raise
        sys.exit(f"error: {error}")
