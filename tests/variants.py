"""Every kind of layer that there is, one of each, for tests that hold for all of them.

All take four channels; ``u`` of ``draw(batch, 4, height, width)`` suits each.
"""

import torch

from convtwist import ConvTwist2d, IsoTwist2d

__all__ = ["LAYERS", "build", "draw", "gradients"]

LAYERS = {
    "similarity": lambda **o: ConvTwist2d(4, 6, 3, padding=1, **o),
    "first_order, centres, stride": lambda **o: ConvTwist2d(4, 6, 3, 2, 1, operators="first_order", centers=True, **o),
    "groups in a cycle": lambda **o: ConvTwist2d(4, 4, 3, padding=1, groups=2, operators="affine", permute="cycle",
                                                 **o),
    "dilation, circular, legacy": lambda **o: ConvTwist2d(4, 6, 3, padding=2, dilation=2, padding_mode="circular",
                                                          coords="legacy", **o),
    "depthwise, replicate, no bias": lambda **o: ConvTwist2d(4, 4, 3, padding=1, groups=4, bias=False,
                                                             padding_mode="replicate", **o),
    "steps, reflect": lambda **o: ConvTwist2d(4, 4, 3, padding=1, steps=2, padding_mode="reflect",
                                              permute=[2, 0, 3, 1], **o),
    "isotropic": lambda **o: IsoTwist2d(4, 6, **o),
    "isotropic, groups, reduced": lambda **o: IsoTwist2d(4, 6, groups=2, reduce=2, **o),
    "isotropic, slope": lambda **o: IsoTwist2d(4, 6, gradient=True, **o),
}


def build(name, **options):
    """Return a layer with weights that are the same each time."""
    torch.manual_seed(0)
    return LAYERS[name](**options)


def draw(*shape, seed=1):
    """Return normal numbers that are the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(layer, function, u):
    """Return the output of ``function``, and the gradients of its squares: of ``u`` and of the layer's parameters."""
    layer.zero_grad()
    u = u.clone().requires_grad_()
    output = function(u)
    output.square().sum().backward()
    return [output.detach(), u.grad, *(p.grad.clone() for p in layer.parameters())]
