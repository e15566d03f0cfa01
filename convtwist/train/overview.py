"""What ``python -m convtwist.train`` says about itself, without loading torch: commands, recipes and examples.

Book: chapter 11.
"""

import os
import sys
from pathlib import Path

__all__ = ["COMMANDS", "CONFIGS", "configs", "overview", "program"]

CONFIGS = Path(__file__).parent / "configs"
COMMANDS = {
    "fit": "train a network, or continue a run",
    "validate": "measure a trained network on the validation pictures",
    "test": "measure a trained network on the test pictures",
    "predict": "name what is in pictures of yours, and show where the network saw it",
    "plot": "draw the losses, accuracies and learning rate of a run",
}
_ABOUT = """\
usage: {program} COMMAND [options]

Train a classifier of pictures whose 3x3 convolutions are ConvTwist2d layers, or another layer of your choice.

commands:
{commands}

configs, by name for --config; each is a recipe whose settings any option overrides:
{configs}

examples:
  {program} fit --config folder --data.path pictures
  {program} fit --config folder --data.path pictures --ckpt_path=last
  {program} validate --config folder --data.path pictures --ckpt_path=best
  {program} predict --ckpt_path runs/folder/checkpoints/best.ckpt cat.jpg
  {program} plot runs/folder

"{program} COMMAND --help" explains the options of a command. The second example continues the first
after an interruption. "pictures" holds one folder of pictures for each class.
"""


def program() -> str:
    """Return how this program was started: ``convtwist-train``, or ``python -m convtwist.train``."""
    started = os.path.basename(sys.argv[0]).removesuffix(".exe")
    return started if started == "convtwist-train" else "python -m convtwist.train"


def configs() -> dict[str, str]:
    """Return the shipped configs, each with the first line of its comment.

    >>> configs()["folder"]
    'your own pictures, one folder for each class: ResNet-18, 128 pixels, 20 epochs'
    """
    return {path.stem: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
            for path in sorted(CONFIGS.glob("*.yaml"))}


def overview() -> str:
    """Return the page that ``--help`` prints."""
    def table(rows: dict[str, str]) -> str:
        return "\n".join(f"  {name:14} {line}" for name, line in rows.items())

    return _ABOUT.format(program=program(), commands=table(COMMANDS), configs=table(configs()))
