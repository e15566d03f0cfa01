"""ConvTwist: a 3x3 convolution with a first-order twist, and the rooms of the book that explains it."""

__version__ = "0.1.0"

__all__ = ["__version__"]
