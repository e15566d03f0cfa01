"""What was swapped in a model, what was not, and why.

Book: chapter 13.  Source: new here.
"""

import weakref
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from convtwist.conv_twist import ConvTwist2d
from convtwist.conversion._candidates import check_module, layers, obstacle, shown
from convtwist.conversion._held import holders
from convtwist.conversion._traced import is_traced

__all__ = ["ConversionReport", "LayerRecord", "conversion_report"]

passed_over: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
"""Why a call of ``convert`` passed over a layer that it could have swapped."""


@dataclass(frozen=True)
class LayerRecord:
    """One convolution of a model: all its names, its class, whether it is swapped and, if not, why not."""

    names: tuple[str, ...]
    kind: str
    layer: str
    swapped: bool
    reason: str
    weights: int
    twist: int


@dataclass(frozen=True, repr=False)
class ConversionReport:
    """What :func:`conversion_report` found; prints as a table, and ``records`` holds the same as data."""

    records: tuple[LayerRecord, ...]

    @property
    def swapped(self) -> tuple[LayerRecord, ...]:
        """The layers that are ``ConvTwist2d``, or were before they were traced."""
        return tuple(record for record in self.records if record.swapped)

    @property
    def skipped(self) -> tuple[LayerRecord, ...]:
        """The convolutions that are not."""
        return tuple(record for record in self.records if not record.swapped)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings, ready for JSON."""
        return {"swapped": len(self.swapped), "skipped": len(self.skipped), "layers": [asdict(r) for r in self.records]}

    def __repr__(self) -> str:
        rows = [("layer", "class", "shape", "swapped", "why not")]
        rows += [(" = ".join(map(shown, r.names)), r.kind, r.layer, "yes" if r.swapped else "no", r.reason)
                 for r in self.records]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        weights, twist = sum(r.weights for r in self.swapped), sum(r.twist for r in self.swapped)
        more = f", {twist:,} twist parameters on top of their {weights:,} weights" if self.swapped else ""
        return "\n".join([*lines, f"{len(self.swapped)} swapped, {len(self.skipped)} skipped{more}"])


def conversion_report(model: nn.Module) -> ConversionReport:
    """Say of every convolution in the model whether it is a ``ConvTwist2d`` and, if not, why not.

    A layer that ``convert`` could swap but was told not to is reported with that reason, as long as the model
    hasn't been copied or saved in between.

    Raises:
        TypeError: ``model`` is no module.

    >>> from convtwist import convert
    >>> conversion_report(convert(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1))))
    layer  class        shape        swapped  why not
    0      ConvTwist2d  3 -> 8, 3x3  yes
    1      Conv2d       8 -> 8, 1x1  no       kernel is 1x1, a twist needs 3x3
    1 swapped, 1 skipped, 48 twist parameters on top of their 216 weights
    """
    check_module(model)
    records, also_held = [], holders(model)
    for names, layer in layers(model):
        was_traced = is_traced(layer)  # its class is gone, its twist is not
        swapped = isinstance(layer, ConvTwist2d) or was_traced
        reason = "" if swapped else obstacle(layer, also_held) or passed_over.get(layer, "not converted yet")
        weight = getattr(layer, "weight", None)
        twist, center = (getattr(layer, name, None) if swapped else None for name in ("twist", "center"))
        records.append(LayerRecord(
            names=tuple(names),
            kind="ConvTwist2d, traced" if was_traced else type(layer).__name__,
            layer=_shape(layer),
            swapped=swapped,
            reason=reason,
            weights=weight.numel() if isinstance(weight, torch.Tensor) and not is_lazy(weight) else 0,
            twist=sum(tensor.numel() for tensor in (twist, center) if isinstance(tensor, torch.Tensor)),
        ))
    return ConversionReport(tuple(records))


def _shape(layer: nn.Module) -> str:
    if is_traced(layer):  # neither groups nor stride stand beside the weights
        return ""
    if not isinstance(layer, (_ConvNd, ConvTwist2d)):
        return ""
    text = f"{layer.in_channels} -> {layer.out_channels}, {'x'.join(map(str, layer.kernel_size))}"
    if tuple(layer.stride) != (1,) * len(layer.stride):
        text += f", stride {'x'.join(map(str, layer.stride))}"
    return text + (f", groups {layer.groups}" if layer.groups > 1 else "")
