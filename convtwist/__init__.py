"""ConvTwist: a 3x3 convolution with a first-order twist, and the rooms of the book that explains it."""

import warnings
from importlib import import_module

from convtwist._engine.config import show_config
from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion import conversion_report, convert, param_groups, revert
from convtwist.exercises import check
from convtwist.iso_twist import IsoTwist2d

__version__ = "0.1.0"

__all__ = ["ConvTwist2d", "IsoTwist2d", "__version__", "check", "conversion_report", "convert", "param_groups",
           "revert", "show_config"]

MODULES = ("functional", "operators", "kernels", "flow", "channels", "arithmetic", "matrix", "reference", "images",
           "plot", "labs", "exercises", "posted", "results", "train")
"""The public modules; each is loaded when it is first named, since some need matplotlib, Pillow or Lightning."""


def __getattr__(name):
    if name == "evidence":
        warnings.warn("convtwist.evidence is convtwist.results.evidence now", DeprecationWarning, stacklevel=2)
        return import_module("convtwist.results.evidence")
    if name in MODULES:
        return import_module(f"convtwist.{name}")
    raise AttributeError(f"module 'convtwist' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *MODULES})
