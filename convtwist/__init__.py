"""ConvTwist: a 3x3 convolution with a first-order twist, and what the book that explains it computes with."""

import warnings
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from convtwist._engine.config import show_config
from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion import conversion_report, convert, fold_batch_norm, param_groups, rescale_twists, revert
from convtwist.exercises import check
from convtwist.iso_twist import IsoTwist2d

__version__ = "0.1.0"

__all__ = ["ConvTwist2d", "IsoTwist2d", "__version__", "check", "conversion_report", "convert",
           "fold_batch_norm", "param_groups", "rescale_twists", "revert", "show_config"]

MODULES = ("functional", "operators", "kernels", "flow", "polar", "channels", "arithmetic", "matrix", "reference",
           "images", "plot", "labs", "exercises", "posted", "results", "train")
"""The public modules; each is loaded when it is first named, since some need matplotlib, Pillow or Lightning."""


if TYPE_CHECKING:  # for editors and type checkers, which cannot know what __getattr__ finds
    from convtwist import arithmetic as arithmetic
    from convtwist import channels as channels
    from convtwist import exercises as exercises
    from convtwist import flow as flow
    from convtwist import functional as functional
    from convtwist import images as images
    from convtwist import kernels as kernels
    from convtwist import labs as labs
    from convtwist import matrix as matrix
    from convtwist import operators as operators
    from convtwist import plot as plot
    from convtwist import polar as polar
    from convtwist import posted as posted
    from convtwist import reference as reference
    from convtwist import results as results
    from convtwist import train as train
else:

    def __getattr__(name: str) -> ModuleType:
        if name == "evidence":
            warnings.warn("convtwist.evidence is convtwist.results.evidence now", DeprecationWarning, stacklevel=2)
            return import_module("convtwist.results.evidence")
        if name in MODULES:
            return import_module(f"convtwist.{name}")
        raise AttributeError(f"module 'convtwist' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *MODULES})
