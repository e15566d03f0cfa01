"""ConvTwist: a 3x3 convolution with a first-order twist, and the rooms of the book that explains it."""

from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion import conversion_report, convert, param_groups, revert
from convtwist.iso_twist import IsoTwist2d

__version__ = "0.1.0"

__all__ = ["ConvTwist2d", "IsoTwist2d", "__version__", "conversion_report", "convert", "param_groups", "revert"]
