"""The layers as three convolutions, as the formula stands, for GPUs that the kernels don't serve, and 16 bits.

Book: chapter 13.  Source: new here; the posted layers compute the same.

The plain layers make fields out of slices, in ``float32``.  On a GPU each of these small operations reads and writes
whole maps, and that takes the time; convolutions in 16 bits are so quick there that two more of them take less.  All
of it is PyTorch's own operations, so derivatives, transforms and compilers need nothing from here.

Kernels are made on the device.  Rounded to 16 bits, an odd kernel remains odd, so that a constant map has no twist.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from convtwist._arguments import Coords, is_exporting, is_tracing
from convtwist._engine import gpu
from convtwist.operators import averaged, coordinate_grid, twist_kernels

__all__ = ["conv_twist", "iso_twist"]


def conv_twist(source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, stride: tuple[int, int],
               padding: tuple[int, int], dilation: tuple[int, int], groups: int, coords: Coords) -> Tensor | None:
    """Compute ``ConvTwist2d``, padded with zeros; ``None`` where it isn't sooner done so.

    The ordinary part is a call of its own: without a twist the output is that of ``nn.Conv2d``, in every bit.
    """
    if not _gains(source):
        return None
    source, weight, bias = gpu.as_computed(source, weight, bias)
    options = stride, padding, dilation, groups
    return _with_twist(F.conv2d(source, weight, bias, *options), source, twist, *options, coords)


def iso_twist(source: Tensor, weight: Tensor, bias: Tensor | None, reduce: int, groups: int,
              coords: Coords) -> Tensor | None:
    """Compute ``IsoTwist2d``; ``None`` where it isn't sooner done so.

    Pixel and Laplacian are one kernel.  Its middle has to cancel its ring, and 16 bits can't hold it: what is lost
    there, a 1x1 convolution adds again.
    """
    if not _gains(source):
        return None
    source, bias = gpu.as_computed(source, bias)
    own, spread, *_ = _wide(weight).unbind(2)
    ring = _wide((spread / 6).to(source.dtype))[..., None, None]
    hill = 4 - 3 * torch.arange(-1, 2, device=source.device).abs()
    taps = torch.outer(hill, hill)  # 1 4 1, 4 16 4, 1 4 1
    exact = ring * taps + (own[..., None, None] - 36 * ring) * (taps == 16)
    kernel = exact.to(source.dtype)
    lost = (exact - kernel).detach()[..., 1:2, 1:2].to(source.dtype)  # gradients take the way through the kernel
    output = F.conv2d(source, kernel, bias, 1, 1, 1, groups) + F.conv2d(source, lost, groups=groups)
    output = _with_twist(output, source, weight[..., 2:].movedim(2, 0), (1, 1), (1, 1), (1, 1), groups, coords)
    return averaged(output[:, None], reduce)[:, 0]


def _with_twist(output: Tensor, source: Tensor, twist: Tensor, stride: tuple[int, int], padding: tuple[int, int],
                dilation: tuple[int, int], groups: int, coords: Coords) -> Tensor:
    axes = coordinate_grid(*output.shape[2:], coords=coords, dtype=output.dtype, device=output.device)
    one_each = torch.eye(len(twist), dtype=torch.promote_types(source.dtype, torch.float32), device=source.device)
    mixing = twist.to(source.dtype).flatten(1).t()
    for axis, operators in zip(axes, twist_kernels(one_each[..., None], dilation), strict=True):
        # A product reads and writes the weights once, where factors times kernels would do it nine times.
        kernel = (mixing @ operators.flatten(1).to(source.dtype)).view(*twist.shape[1:], 3, 3)
        derivative = F.conv2d(source, kernel, None, stride, padding, dilation, groups)
        output = torch.addcmul(output, derivative, axis)
    return output


def _wide(numbers: Tensor) -> Tensor:
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))


def _gains(source: Tensor) -> bool:
    """Say whether these are 16 bits on a GPU; a program that is stored for any device and a ``DTensor`` stay plain."""
    if is_tracing() or is_exporting() or (type(source) is not Tensor and hasattr(source, "device_mesh")):
        return False
    return gpu.holds(source) and gpu.computed_type(source) in (torch.float16, torch.bfloat16)
