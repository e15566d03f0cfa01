"""Carry the weights of a layer posted on the forum over into ours, exactly.

Book: chapter 9.  Source: version 1 from the announcement notebook of ConvTwist, version 2 from the forum thread.

The recipe, if you would rather do it by hand (``D`` is Sobel without the 1/8):

=====================  ==============================================================================
posted                 ours, with ``coords="legacy"``, ``padding=1``, ``bias=False``
=====================  ==============================================================================
v1 ``conv.weight``     ``weight``
v1 ``conv_x, conv_y``  ``twist`` of ``operators="first_order"``: the odd parts, decomposed
v1 ``center_x``        ``center[0] = center_x - 1``: the post's x runs from 0 to 2, ours from -1 to 1
v1 without centres     ``weight - (center_x - 1) Kx - (center_y - 1) Ky``, the same function
v2 ``conv.weight``     ``weight``
v2 ``coeff_Ax``        ``twist[0] = 8 coeff_Ax``, the zoom
v2 ``coeff_Ay``        ``twist[1] = 8 coeff_Ay``, the rotation
v2 ``iters``           ``steps``, where the channels are equal and the stride is 1; else the post ignores it
v2 ``groups``          ``groups`` with ``permute="cycle"`` or, for the 4-cycles, ``"4-cycle"``
=====================  ==============================================================================
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from convtwist.channels import Kind
from convtwist.conv_twist import ConvTwist2d
from convtwist.kernels import decompose, odd_part
from convtwist.operators import Operators, twist_kernels

__all__ = ["from_version1", "from_version2", "twist_from_kernels"]

_VERSION1 = ("conv.weight", "conv_x.weight", "conv_y.weight", "center_x", "center_y")
_VERSION2 = ("conv.weight", "coeff_Ax", "coeff_Ay")


def twist_from_kernels(kernel_x: Tensor, kernel_y: Tensor) -> Tensor:
    """Return the ``"first_order"`` twist, ``(8, out, in)``, whose X and Y multiply the odd parts of these kernels.

    Args:
        kernel_x: ``(out, in, 3, 3)``.
        kernel_y: likewise.
    """
    pairs = []
    for kernel in (kernel_x, kernel_y):
        _, dx, dy, _, _, _, dxxy, dxyy, _ = decompose(odd_part(kernel)).unbind(-1)
        # Our dx is Sobel's, a quarter of dxyy more than the plain central difference.
        pairs.append([dx, dy, dxyy - dx / 4, dxxy - dy / 4])
    return torch.stack([field for both in zip(*pairs, strict=True) for field in both])


@torch.no_grad()
def from_version1(state: Mapping[str, Tensor], *, stride: int = 1, centers: bool = True) -> ConvTwist2d:
    """Build the layer that computes what the announcement's ``conv_twist`` does with these weights.

    Args:
        state: its ``state_dict()``.
        stride: the one it was made with.
        centers: keep the centres as parameters; otherwise they are absorbed into ``weight``.

    Raises:
        ValueError: the state has other keys.
    """
    weight, kernel_x, kernel_y, center_x, center_y = _take(state, _VERSION1, "version 1, conv_twist")
    twist = twist_from_kernels(kernel_x, kernel_y)
    center = torch.stack([center_x, center_y]) - 1
    layer = _layer(weight, 1, stride, operators="first_order", centers=centers)
    if layer.center is not None:
        layer.center.copy_(center)
    else:
        cx, cy = center.view(2, -1, 1, 1, 1)
        kx, ky = twist_kernels(twist)
        weight = weight - cx * kx - cy * ky
    layer.weight.copy_(weight)
    layer.twist.copy_(twist)
    return layer


@torch.no_grad()
def from_version2(state: Mapping[str, Tensor], *, stride: int = 1, groups: int = 1, iters: int = 1,
                  permute: Kind | None = "cycle") -> ConvTwist2d:
    """Build the layer that computes what the thread's ``ConvTwist`` does with these weights.

    Args:
        state: its ``state_dict()``.
        stride: the one it was made with.
        groups: its attribute ``groups``, which the post may have changed from what it was given.
        iters: its attribute ``iters``; without effect, as in the post, unless the channels are equal and the
            stride is 1.
        permute: how the groups are connected: ``"cycle"`` as posted, ``"4-cycle"`` as in the later experiments,
            ``None`` for the post's ``permute = False``.

    Raises:
        ValueError: the state has other keys, or the groups do not fit.
    """
    weight, zoom, turn = _take(state, _VERSION2, "version 2, ConvTwist")
    repeats = weight.shape[0] == weight.shape[1] * groups and stride == 1
    layer = _layer(weight, groups, stride, steps=iters if repeats else 1, permute=permute if groups > 1 else None)
    layer.weight.copy_(weight)
    layer.twist.copy_(8 * torch.stack([zoom, turn]))
    return layer


def _layer(weight: Tensor, groups: int, stride: int, *, operators: Operators = "similarity", centers: bool = False,
           steps: int = 1, permute: Kind | None = None) -> ConvTwist2d:
    return ConvTwist2d(weight.shape[1] * groups, weight.shape[0], 3, stride, 1, groups=groups, bias=False,
                       operators=operators, centers=centers, coords="legacy", steps=steps, permute=permute,
                       device=weight.device, dtype=weight.dtype)


def _take(state: Mapping[str, Tensor], keys: Sequence[str], name: str) -> list[Tensor]:
    if set(state) != set(keys):
        raise ValueError(f"state must be the state_dict of {name}, with keys {', '.join(keys)}; "
                         f"got {', '.join(sorted(state)) or 'none'}")
    return [state[key] for key in keys]
