"""The command line: Lightning's own, with this package's configs by name, folders for runs, and fewer warnings.

Book: chapter 11.
"""

import json
import logging
import os
import signal
import sys
import textwrap
import traceback
import warnings
from argparse import HelpFormatter
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from convtwist.train.callbacks import ExportWeights, RunSummary
from convtwist.train.data import Pictures
from convtwist.train.module import Classifier
from convtwist.train.overview import COMMANDS, CONFIGS, configs, program

__all__ = ["TrainCLI", "run", "with_config_paths"]

# True of every run here, and nothing to act on: how many workers to take is --data.workers.
_NOISE = (r".*does not have many workers", r".*`LeafSpec`", r".*isinstance\(treespec, LeafSpec\)",
          r"The number of training batches \(\d+\) is smaller than the logging interval",
          r".*Checkpoint directory .* exists and is not empty", r".*Detected call of `lr_scheduler.step\(\)` before",
          r"\s*(By default only one JsonargparseDeprecationWarning|`*\w+`* (parameter )?was deprecated in v4)",
          r"You're using the WeightAveraging callback with a model that overrides the configure_model")

# What Lightning logs and a run says better, or not at all.
_SAID = ("Tip: For seamless cloud", "\nDetected KeyboardInterrupt", "Received SIGTERM")

# The settings of Lightning that --help explains, beside those of model and data; --help-all explains all.
_OFTEN = {
    "config": "a recipe by its name ({configs}), or a file of settings",
    "ckpt_path": "'last', 'best' or a file: what to continue from, or to measure",
    "seed_everything": "everything random follows from this number",
    "print_config": "print all settings, in the form of a config file, and end",
    "trainer.default_root_dir": "the folder of the run: checkpoints, logs and weights",
    "trainer.max_epochs": "rounds over all training pictures",
    "trainer.max_time": "end after DD:HH:MM:SS",
    "trainer.accelerator": "cpu, gpu, mps or auto",
    "trainer.devices": "how many of them",
    "trainer.num_nodes": "machines with so many devices each",
    "trainer.strategy": "ddp for more than one device",
    "trainer.precision": "32-true, 16-mixed or bf16-mixed",
    "trainer.gradient_clip_val": "longest gradient",
    "trainer.callbacks": "--trainer.callbacks+=NAME adds one of Lightning's or yours",
}


class _Parser(LightningArgumentParser):
    """A parser whose help may be a page of its own."""

    page: str | None = None

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """Return the page, or all that the parser knows."""
        return self.page or super().format_help(*([formatter] if formatter else []))


class TrainCLI(LightningCLI):
    """Keeps a run's checkpoints, logs and weights in ``--trainer.default_root_dir``, where ``last`` finds them.

    Args:
        summary: the callback that says how the run went.
        explain_all: whether ``--help`` explains Lightning's rarer settings, too.
    """

    summary: RunSummary
    explain_all: bool

    def __init__(self, summary: RunSummary, *, explain_all: bool = False) -> None:
        self.summary, self.explain_all = summary, explain_all
        super().__init__(Classifier, Pictures, seed_everything_default=1, auto_configure_optimizers=False,
                         load_from_checkpoint_support=False,
                         trainer_defaults={"default_root_dir": "runs/default", "max_epochs": 20},
                         parser_kwargs={"prog": program(), "description": "Train a classifier of pictures."},
                         parser_class=_Parser)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Leave out ``predict``, which is a command of its own: it needs no data set."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if isinstance(parser, _Parser) and not self.explain_all:
            parser.page = _page(parser, subcommand)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the checkpoint of the best epoch."""
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({"checkpoint.filename": "best", "checkpoint.monitor": "val_accuracy",
                             "checkpoint.mode": "max", "checkpoint.enable_version_counter": False})
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath", compute_fn=_checkpoints)

    def before_instantiate_classes(self) -> None:
        """Load checkpoints as numbers only; refuse to overwrite a run or to judge a network without weights."""
        config = self.config[str(self.subcommand)]
        if config.weights_only is None:
            config.weights_only = True
        root, given = config.trainer.default_root_dir, config.ckpt_path
        folder = _checkpoints(root)
        if given in ("best", "last"):
            config.ckpt_path = os.path.join(folder, f"{given}.ckpt")
        if config.ckpt_path and "://" not in config.ckpt_path and config.ckpt_path not in ("hpc", "registry") \
                and not os.path.isfile(config.ckpt_path):
            missing = f"there is no file {config.ckpt_path}, seen from {Path.cwd()}"
            anew = ", or leave --ckpt_path away to start a run there" if self.subcommand == "fit" else ""
            if given in ("best", "last"):
                raise ValueError(f"{root} holds no run to take the {given} epoch of: {missing}; check "
                                 f"--trainer.default_root_dir{anew}")
            raise ValueError(f"{missing}; check --ckpt_path")
        if self.subcommand == "fit":
            if not config.ckpt_path and not config.trainer.fast_dev_run and os.path.exists(f"{folder}/last.ckpt"):
                raise ValueError(f"{config.trainer.default_root_dir} holds a run already; continue it with "
                                 "--ckpt_path=last, or name another --trainer.default_root_dir")
        elif not config.ckpt_path and not config.model.weights:
            raise ValueError(f"{self.subcommand} needs trained weights: pass --ckpt_path={folder}/best.ckpt, "
                             "--ckpt_path=last, or --model.weights with a safetensors file")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Keep the last epoch, export the weights at the end, log to CSV and TensorBoard unless told otherwise."""
        config = self.config_init[str(self.subcommand)].trainer
        root = config.default_root_dir
        if config.logger is None or config.logger is True:
            csv = CSVLogger(root, name="logs")
            kwargs["logger"] = [csv, TensorBoardLogger(root, name="logs", version=csv.version)]
        given = config.callbacks or []
        callbacks = list(given) if isinstance(given, list) else [given]
        if not any(isinstance(callback, ExportWeights) for callback in callbacks):
            callbacks.append(ExportWeights())
        # Lightning's save_last follows the best epochs only: a run would resume from the last that was an improvement.
        callbacks.append(ModelCheckpoint(_checkpoints(root), "last", enable_version_counter=False))
        callbacks.append(self.summary)
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)

    def after_fit(self) -> None:
        """Say how the run went."""
        self.summary.finished()


def _page(parser: _Parser, subcommand: str) -> str:
    """Return a help page: the settings that most runs need, each with its default and one sentence."""
    actions = {action.dest: action for action in parser._actions}
    lines = [f"usage: {program()} {subcommand} [--config NAME] [--data.path FOLDER] [options]", "",
             f"{COMMANDS[subcommand].capitalize()}."]

    def add(title: str, texts: dict[str, str | None]) -> None:
        lines.extend(["", f"{title}:"])
        for name, text in texts.items():
            default = parser.get_default(name) if name not in ("config", "print_config") else None
            shown = json.dumps(default) if isinstance(default, bool) else default
            value = "" if default is None or isinstance(default, (dict, Namespace)) else f" {shown}"
            text = " ".join((text or "").replace("``", "").split()).removesuffix(".")
            lines.extend(textwrap.wrap(text, 110, initial_indent=f"  --{name + value:<37} ",
                                       subsequent_indent=" " * 42, break_long_words=False))

    add("run (with defaults)", {name: text.format(configs=", ".join(configs())) for name, text in _OFTEN.items()})
    for part, title in (("model", "network and training"), ("data", "pictures")):
        add(f"{title} (with defaults)", {name: action.help for name, action in actions.items()
                                         if name.startswith(f"{part}.") and not name.endswith(".help")})
    lines += ["", f"A setting of the config is overridden by typing it. {program()} {subcommand} --help-all",
              "explains the rest, which are Lightning's."]
    return "\n".join(lines) + "\n"


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


def _config(name: str) -> str:
    shipped = CONFIGS / f"{name.removesuffix('.yaml')}.yaml"
    if Path(name).exists() or name.lstrip().startswith("{"):  # a file, or settings typed in place
        return name
    if shipped.parent == CONFIGS and shipped.exists():
        return str(shipped)
    raise ValueError(f"config {name!r} is neither a file nor one of those shipped: {', '.join(configs())}")


def _checkpoints(root: str | None) -> str:
    return os.path.join(root or ".", "checkpoints")


def _is_news(record: logging.LogRecord) -> bool:
    return not any(words in str(record.msg) for words in _SAID)


def run(args: list[str] | None = None) -> None:
    """Run one command; what a user can mend is said in one sentence, anything else with its traceback.

    The exit code is that of the shell's for a signal: 130 after Ctrl-C, 143 after SIGTERM.
    """
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
    for module in ("utilities.rank_zero", "trainer.connectors.signal_connector"):
        logging.getLogger(f"lightning.pytorch.{module}").addFilter(_is_news)
    typed = list(sys.argv[1:] if args is None else args)
    summary = RunSummary(typed)
    try:
        # Processes that Lightning starts for other devices read these.
        sys.argv[1:] = with_config_paths(["--help" if word == "--help-all" else word for word in typed])
        TrainCLI(summary, explain_all="--help-all" in typed)
    except SystemExit as ended:
        if isinstance(ended, SIGTERMException):
            _stop(summary, "SIGTERM", 143)
        if isinstance(ended.__context__, KeyboardInterrupt):
            _stop(summary, "Ctrl-C", 130)
        raise
    except (ValueError, OSError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not Path(frames[-1].filename).is_relative_to(Path(__file__).parents[1]):
            raise
        sys.exit(f"error: {error}")
    except RuntimeError as error:
        if "killed by signal: Terminated" not in str(error):
            raise
        # SIGTERM to a whole group of processes, as SLURM and systemd send it: those that read pictures go first.
        _stop(summary, "SIGTERM", 143)


def _stop(summary: RunSummary, by: str, code: int) -> NoReturn:
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises once more for each reader that ends
    summary.stopped(by)
    sys.exit(code)
