"""PyTorch's FLOP counter counts both layers whole: 11, 13 or 17 ninths of a convolution, or 4.

Under the counter PyTorch runs a compiled model eagerly, so that there is one way to count.
"""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convtwist import ConvTwist2d, IsoTwist2d

torch.set_num_threads(1)

LAYERS = {
    "similarity": (lambda: ConvTwist2d(8, 6, padding=1), 11),
    "affine, strided": (lambda: ConvTwist2d(8, 6, stride=2, padding=1, operators="affine"), 13),
    "first_order, groups": (lambda: ConvTwist2d(8, 8, padding=1, groups=2, operators="first_order"), 17),
    "isotropic": (lambda: IsoTwist2d(8, 6), 4),
}


def count(function, backward):
    u = torch.rand(2, 8, 12, 10, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        output = function(u)
        if backward:
            output.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", LAYERS)
def test_the_ratio_is_that_of_the_weights(name):
    make, ninths = LAYERS[name]
    layer = make()
    options = {"stride": layer.stride, "groups": layer.groups} if isinstance(layer, ConvTwist2d) else {}
    plain = nn.Conv2d(8, layer.out_channels, 3, padding=1, **options)
    for backward in (False, True):
        assert count(layer, backward) == ninths * count(plain, backward) // 9
