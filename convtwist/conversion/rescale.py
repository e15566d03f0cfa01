"""Twists for maps of another size, so that a turn per pixel stays what it was.

Book: chapter 13.  Source: new here.

Coordinates are counted in halves of a map's longer side.  On a map twice as large a step of one pixel is half as long
in them, and the twist is half of what it was: whether the larger map shows more of the scene, or the same scene with
more pixels, whose slopes are half as steep.  (An enlarged scene is another thing for ordinary kernels, too, which only
training can mend.)
"""

import math

import torch
from torch import nn

from convtwist._arguments import as_flag
from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion._candidates import check_module, shown
from convtwist.conversion._copying import copied
from convtwist.conversion._traced import traced
from convtwist.iso_twist import IsoTwist2d

__all__ = ["rescale_twists"]


def rescale_twists(model: nn.Module, factor: float, *, inplace: bool = False) -> nn.Module:
    """Return the model for maps ``factor`` times as large as those it was trained on, its twists kept per pixel.

    A pixel at the same distance from the centre, in pixels, is then treated as before: the coefficients of E, R and all
    other products with a coordinate are multiplied by ``factor``, and learned centres are divided by it.  All maps of a
    network must grow by the same factor, as they do where the input's sides can be halved as often as the network does.

    Args:
        model: any module with ``ConvTwist2d`` or ``IsoTwist2d`` in it, or one of these.
        factor: the longer side now, divided by the longer side in training; 192 / 128 = 1.5.
        inplace: change ``model`` itself rather than a deep copy of it.

    Raises:
        TypeError: ``model`` is no module, or ``factor`` no number.
        ValueError: ``factor`` is not above 0, there is no layer of these kinds, its numbers are computed from others
            (parametrised, pruned), it was traced, or the model can't be copied.

    >>> layer = ConvTwist2d(2, 2, padding=1)
    >>> larger = rescale_twists(layer, 1.5)
    >>> bool(torch.allclose(larger.twist, 1.5 * layer.twist)), bool(torch.equal(larger.weight, layer.weight))
    (True, True)
    """
    check_module(model)
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise TypeError(f"factor must be a number, the longer side now over that in training, got {factor!r}")
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"factor must be above 0, the longer side now over that in training, got {factor}")
    inplace = as_flag(inplace, "inplace")
    name = traced(model)
    if name is not None:
        raise ValueError(f"{shown(name)} was traced (torch.fx, torch.export or torch.jit), and its layers are no "
                         "ConvTwist2d or IsoTwist2d any more; rescale the model first, trace it afterwards")
    if not _scales(model, factor):
        raise ValueError("model holds no ConvTwist2d and no IsoTwist2d, so there is nothing to rescale")
    if not inplace:
        model = copied(model, "pass inplace=True")
    for numbers, scale in _scales(model, factor).values():
        numbers *= scale
    return model


def _scales(model: nn.Module, factor: float) -> dict[int, tuple[torch.Tensor, float]]:
    """Return each tensor once, though layers may share it, and what it is multiplied by."""
    scales: dict[int, tuple[torch.Tensor, float]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, ConvTwist2d):
            scales[id(layer.twist)] = _own(layer.twist, name, "twist"), factor
            if layer.center is not None:
                scales[id(layer.center)] = _own(layer.center, name, "center"), 1 / factor
        elif isinstance(layer, IsoTwist2d):  # of u, Laplacian u, E u, R u, |grad u| the third and fourth
            scales[id(layer.weight)] = _own(layer.weight, name, "weight")[..., 2:4], factor
    return scales


def _own(parameter: torch.Tensor, layer: str, name: str) -> torch.Tensor:
    """Return a parameter's numbers; what is computed from others would forget its factor."""
    if not isinstance(parameter, nn.Parameter):
        raise ValueError(f"{name} of {shown(layer)} is computed from other parameters (parametrised or pruned); make "
                         "that permanent first, with remove_parametrizations or prune.remove")
    return parameter.data
