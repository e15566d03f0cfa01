"""The networks of the evidence: one skeleton, twelve ways to fill in its 3x3 layers.

Book: chapter 12.  Source: the steerable baseline is Weiler and Cesa, arXiv 1911.08251, by their library e2cnn.

Everything is reduced by centred 2x2 averages: a stride would move the centre by half a pixel, and the variants shall
differ in their 3x3 layers alone.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.evidence import controls
from convtwist import ConvTwist2d, IsoTwist2d
from convtwist.polar import LogPolar
from convtwist.train.layers import builder

__all__ = ["CONTROLS", "VARIANTS", "Variant", "build", "deployed", "find", "multiply_adds", "parameters", "widths"]

ROTATIONS = 8  # of the steerable network


@dataclass(frozen=True)
class Variant:
    """A layer by its name in ``convtwist.train.layers`` (or ``"e2cnn"``), and a width.

    ``width`` counts channels behind the first layer; for ``"e2cnn"`` fields of 8 channels each. ``first`` makes what
    the picture goes through before.
    """

    layer: str
    width: float
    options: dict = field(default_factory=dict)
    group_width: int | None = None
    first: Callable[[], nn.Module] | None = None


VARIANTS = {
    "conv": Variant("conv2d", 8),
    "conv_wide": Variant("conv2d", 8.83),
    "coordconv": Variant("coord_conv", 8),
    "twist": Variant("similarity", 8),
    "twist_zero": Variant("similarity", 8, {"twist_init": "zeros"}),
    "affine": Variant("affine", 8),
    "first_order_centers": Variant("first_order", 8, {"centers": True}),
    "iso": Variant("iso_twist", 8),
    "iso_wide": Variant("iso_twist", 12),
    "e2cnn": Variant("e2cnn", 3.5),
    "groups_cycle": Variant("conv2d", 16, {"permute": "cycle"}, 8),
    "groups_cycle_twist": Variant("similarity", 16, {"permute": "cycle"}, 8),
}
"""The first plan's."""

CONTROLS = {
    "log_polar": Variant("polar", 8, first=LogPolar),
    "transformer": Variant("conv2d", 8, first=controls.Pose),
    "conv_sloped": Variant("sloped", 8.83),
    "twist_flat": Variant("flat", 8),
    "twist_corner": Variant("corner", 8),
    "twist_hyperbolic": Variant("hyperbolic", 8),
    "laplacian": Variant("laplacian", 17),
    "gradient": Variant("size", 14),
    "iso_gradient": Variant("iso_size", 10.7),
    "iso_r2": Variant("iso_r2", 12),
}
"""The second plan's, beside those of the first that they are compared with."""


def find(name: str) -> Variant:
    """Return a variant of either plan."""
    return (VARIANTS | CONTROLS)[name]


def widths(base: float) -> tuple[int, int, int]:
    """Return the channels at 28x28, 14x14 and 7x7 pixels: the base, twice and four times, rounded to the nearest."""
    return tuple(int(base * factor + 0.5) for factor in (1, 2, 4))


def build(name: str, seed: int) -> nn.Module:
    """Return a network from ``(batch, 1, 28, 28)`` to ``(batch, 10)``; the seed decides its weights.

    Raises:
        ImportError: ``e2cnn`` is wanted and not installed.
    """
    variant = find(name)
    torch.manual_seed(seed)
    if variant.layer == "e2cnn":
        return _steerable(variant.width)
    small, middle, large = widths(variant.width)

    def layer(wide_in, wide):
        if variant.layer in controls.LAYERS:
            return controls.LAYERS[variant.layer](wide_in, wide)
        groups = 1 if variant.group_width is None or wide_in == 1 else wide_in // variant.group_width
        return builder(variant.layer, **variant.options)(wide_in, wide, 1, groups)

    def block(wide_in, wide):
        return [layer(wide_in, wide), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]

    first = [] if variant.first is None else [variant.first()]
    return nn.Sequential(*first, *block(1, small), nn.AvgPool2d(2), *block(small, middle), *block(middle, middle),
                         nn.AvgPool2d(2), *block(middle, large), *block(large, large),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(large, 10))


class Steerable(nn.Module):
    """Layers of e2cnn between a grey picture and ten numbers."""

    def __init__(self, body, grey, classes: nn.Linear):
        super().__init__()
        self.body, self.grey, self.classes = body, grey, classes

    def forward(self, u: Tensor) -> Tensor:
        from e2cnn.nn import GeometricTensor

        return self.classes(self.body(GeometricTensor(u, self.grey)).tensor.mean((2, 3)))


def _steerable(base):
    try:
        from e2cnn import gspaces
        from e2cnn import nn as enn
    except ImportError as error:
        raise ImportError("the variant e2cnn needs: pip install --no-deps e2cnn==0.2.3, and pip install scipy sympy; "
                          "or leave it out with --only") from error
    plane = gspaces.Rot2dOnR2(ROTATIONS)
    grey = enn.FieldType(plane, [plane.trivial_repr])
    small, middle, large = (enn.FieldType(plane, width * [plane.regular_repr]) for width in widths(base))

    def block(given, wanted):
        return [enn.R2Conv(given, wanted, 3, padding=1, bias=False), enn.InnerBatchNorm(wanted),
                enn.ReLU(wanted, inplace=True)]

    body = enn.SequentialModule(*block(grey, small), enn.PointwiseAvgPool(small, 2),
                                *block(small, middle), *block(middle, middle), enn.PointwiseAvgPool(middle, 2),
                                *block(middle, large), *block(large, large), enn.GroupPooling(large))
    return Steerable(body, grey, nn.Linear(len(large), 10))


def deployed(model: nn.Module) -> nn.Module:
    """Switch a network to evaluation and return it, the steerable one as the plain convolutions that it amounts to."""
    model.eval()
    if not isinstance(model, Steerable):
        return model
    # e2cnn exports all but its averages, which are PyTorch's own.
    layers = [nn.AvgPool2d(2) if type(layer).__name__ == "PointwiseAvgPool" else layer.export()
              for layer in model.body.children()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classes).eval()


def parameters(model: nn.Module) -> int:
    """Count the numbers that are learned."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@functools.cache
def multiply_adds(name: str) -> int:
    """Count the multiplications of 3x3 layers and the last linear layer for one picture, each with its addition.

    A twist layer counts a weight once for every output pixel, as a convolution does; the stencils that make its
    fields are left out (they grow with the channels, not with their square).
    """
    counted = []

    def count(module, inputs, output):
        learned = sum(p.numel() for key, p in module.named_parameters(recurse=False) if key in ("weight", "twist"))
        counted.append(learned * output[0, 0].numel())

    model = deployed(build(name, 0))
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, ConvTwist2d, IsoTwist2d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 1, 28, 28))
    return sum(counted)
