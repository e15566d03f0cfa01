"""Swapping the 3x3 convolutions of a model that exists, swapping back, folding, rescaling, and telling the optimizer.

Book: chapter 13.  Source: the forum thread's "it can replace any 3x3 convolutional layer in your model".
"""

from convtwist.conversion.fold import fold_batch_norm
from convtwist.conversion.optimizer import param_groups
from convtwist.conversion.report import ConversionReport, LayerRecord, conversion_report
from convtwist.conversion.rescale import rescale_twists
from convtwist.conversion.swap import convert, revert

__all__ = ["ConversionReport", "LayerRecord", "conversion_report", "convert", "fold_batch_norm", "param_groups",
           "rescale_twists", "revert"]
