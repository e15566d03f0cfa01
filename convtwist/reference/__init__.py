"""The readable loops: what a layer computes, one cell at a time.

Book: chapters 1 to 5.  Slow on purpose, on single maps of ``(height, width)``; the tests hold them against PyTorch.
"""

from convtwist.reference.correlation import conv2d, corr2d, dilate, pad2d
from convtwist.reference.pooling import avg_pool2d, max_pool2d
from convtwist.reference.transposed import conv_transpose2d
from convtwist.reference.upsampling import upsample_bilinear, upsample_nearest

__all__ = [
    "avg_pool2d",
    "conv2d",
    "conv_transpose2d",
    "corr2d",
    "dilate",
    "max_pool2d",
    "pad2d",
    "upsample_bilinear",
    "upsample_nearest",
]
