"""Convolution and twist in one step, for training eagerly on a CPU: the same numbers in half the time.

Book: chapter 12.  Source: new here.

Written out plainly, the twist makes a bank of fields as large as several inputs, keeps it for the backward pass, and
adds a second output to the first.  Memory takes the time, not arithmetic.  So here:

- The fields of a few images at a time are made in a buffer that stays in the cache; their mixture is added into
  the convolution's own output.
- Nothing but the input is kept.  The fields' transposes, applied to the incoming gradient, serve both gradients: they
  are mixed into that of the input, and multiplied with the input they give that of the twist.
- Inside, channels are innermost in memory (``channels_last``).  A derivative is then oneDNN's depthwise convolution,
  and mixing a plain matrix product.  The convolution itself, forward and backward, keeps the caller's layout: it
  decides the last bits, and a layer whose twist is zero shall agree with ``nn.Conv2d`` in all of them.

Every other case, and every derivative of a derivative, is left to :func:`plain`, which says what is computed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from convtwist.operators import OPERATORS, coordinate_grid, derivative_kernels, fields

__all__ = ["applies", "fused", "mixed", "plain"]

_BANKS = {len(bank): name for name, bank in OPERATORS.items()}
_BLOCK = 1 << 19  # numbers in the buffer of fields: 2 MB, so that all that is made of it fits into the caches


def plain(source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, stride, padding, dilation, groups: int,
          coords: str) -> Tensor:
    """Convolve and add the twist; pairs are ``(rows, columns)`` and the padding is of zeros."""
    bank = fields(source, _BANKS[len(twist)], stride=stride, padding=padding, dilation=dilation, coords=coords)
    output = F.conv2d(source, weight, bias, stride, padding, dilation, groups)
    return output + mixed(bank, twist, None, groups)


def mixed(bank: Tensor, weights: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Mix a bank, ``(batch, fields, in, ...)``, with ``weights``, ``(fields, out, in / groups)``."""
    if groups > 1:
        bank = bank.unflatten(2, (groups, -1)).transpose(1, 2).flatten(1, 2)
    return F.conv2d(bank.flatten(1, 2), weights.transpose(0, 1).flatten(1)[..., None, None], bias, groups=groups)


def applies(source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, stride, padding, dilation,
            groups: int) -> bool:
    """Say whether :func:`fused` covers these arguments, and gains by it."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    tensors = [source, weight, twist] if bias is None else [source, weight, twist, bias]
    return (
        groups == 1 and stride == (1, 1) and all(p <= 2 * d for p, d in zip(padding, dilation, strict=True))
        # oneDNN, without which a depthwise convolution is slow, wants float32.
        and all(type(t) in (Tensor, torch.nn.Parameter) and t.dtype == torch.float32 and t.device.type == "cpu"
                for t in tensors)
        and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu") and source.numel() > 0
    )


def fused(source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, padding, dilation, coords: str) -> Tensor:
    """Compute :func:`plain` with stride 1 and without groups."""
    return _Layer.apply(source, weight, twist, bias, padding, dilation, coords)


class _Layer(Function):
    """The layer."""

    @staticmethod
    def forward(source, weight, twist, bias, padding, dilation, coords):
        output = F.conv2d(source, weight, bias, 1, padding, dilation)
        mixing = twist.transpose(0, 1).flatten(1)
        for images, bank in _fields(source, len(twist), output.shape[-2:], padding, dilation, coords):
            _add(output[images], mixing, bank)
        return output

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, _, ctx.padding, ctx.dilation, ctx.coords = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, slope):
        wanted = ctx.needs_input_grad[:4]
        inputs = slope, *ctx.saved_tensors, ctx.padding, ctx.dilation, ctx.coords, wanted
        # torch.autograd.grad(is_grads_batched=True) hands many slopes over as one, in a type that Function ignores.
        batched = torch._C._functorch.is_legacy_batchedtensor(slope)
        found = iter(_batched_gradient(*inputs) if batched else _Gradient.apply(*inputs))
        return *(next(found) if want else None for want in wanted), None, None, None

    @staticmethod
    def jvp(ctx, *changes):
        source, weight, twist = ctx.saved_tensors
        d_source, d_weight, d_twist, d_bias = changes[:4]
        options = ctx.padding, ctx.dilation, ctx.coords
        d_weight = torch.zeros_like(weight) if d_weight is None else d_weight
        d_twist = torch.zeros_like(twist) if d_twist is None else d_twist
        change = _plain(source, d_weight, d_twist, d_bias, *options)
        return change if d_source is None else change + _plain(d_source, weight, twist, None, *options)

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return torch.func.vmap(_plain, in_dims)(*inputs), 0


class _Gradient(Function):
    """The gradients of the layer that are wanted of source, weight, twist and bias; differentiable again."""

    @staticmethod
    def forward(slope, source, weight, twist, padding, dilation, coords, wanted):
        d_source, d_weight, d_bias = torch.ops.aten.convolution_backward(
            slope, source, weight, [len(weight)], [1, 1], padding, dilation, False, [0, 0], 1,
            [wanted[0], wanted[1], wanted[3]])
        d_twist = twist.new_zeros(twist.shape)
        if wanted[0] or wanted[2]:
            mixing = twist.flatten(0, 1).t()
            for images, bank in _transposed(slope, len(twist), source.shape[-2:], padding, dilation, coords):
                if wanted[0]:
                    _add(d_source[images], mixing, bank)
                if wanted[2]:
                    pixels = source[images].permute(0, 2, 3, 1).flatten(0, 2)
                    d_twist.flatten(0, 1).addmm_(bank.flatten(0, 2).t(), pixels)
        found = d_source, d_weight, d_twist, d_bias
        return tuple(gradient for gradient, want in zip(found, wanted, strict=True) if want)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.padding, ctx.dilation, ctx.coords, ctx.wanted = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, *slopes):
        def gradient(*tensors):
            return _plain_gradient(*tensors, ctx.padding, ctx.dilation, ctx.coords, ctx.wanted)

        return *torch.func.vjp(gradient, *ctx.saved_tensors)[1](slopes), None, None, None, None

    @staticmethod
    def jvp(ctx, *changes):
        # Each gradient is linear in the slope, and all but the bias's in the other three together.
        slope, *others = ctx.saved_tensors
        d_slope, *d_others = (torch.zeros_like(tensor) if change is None else change
                              for change, tensor in zip(changes[:4], ctx.saved_tensors, strict=True))
        options = ctx.padding, ctx.dilation, ctx.coords
        first = _plain_gradient(d_slope, *others, *options, ctx.wanted)
        second = _plain_gradient(slope, *d_others, *options, (*ctx.wanted[:3], False)) if any(ctx.wanted[:3]) else ()
        return *(a + b for a, b in zip(first, second, strict=False)), *first[len(second) :]

    @staticmethod
    def vmap(info, in_dims, *inputs):
        outputs = torch.func.vmap(_plain_gradient, in_dims)(*inputs)
        return outputs, (0,) * len(outputs)


def _plain(source, weight, twist, bias, padding, dilation, coords):
    return plain(source, weight, twist, bias, (1, 1), padding, dilation, 1, coords)


def _plain_gradient(slope, source, weight, twist, padding, dilation, coords, wanted):
    layer, chosen = _chosen(source, weight, twist, padding, dilation, coords, wanted)
    return torch.func.vjp(layer, *chosen)[1](slope)


def _batched_gradient(slope, source, weight, twist, padding, dilation, coords, wanted):
    layer, chosen = _chosen(source, weight, twist, padding, dilation, coords, wanted)
    again = torch.is_grad_enabled()
    if wanted[3]:
        chosen[-1].requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(layer(*chosen), chosen, slope, create_graph=again)


def _chosen(source, weight, twist, padding, dilation, coords, wanted):
    """Return the plain layer as a function of the wanted tensors alone, and these."""
    tensors = source, weight, twist, weight.new_zeros(len(weight))

    def layer(*chosen):
        chosen = iter(chosen)
        given = [next(chosen) if want else tensor for tensor, want in zip(tensors, wanted, strict=True)]
        return _plain(*given, padding, dilation, coords)

    return layer, [tensor for tensor, want in zip(tensors, wanted, strict=True) if want]


def _fields(source, count, size, padding, dilation, coords):
    """Yield ``(images, bank)``, the bank shaped ``(images, height, width, fields x channels)`` and used again."""
    x, y = _coordinates(source, size, coords)
    kernels = _depthwise(source, count, dilation)
    for images, bank, (first, second, *more) in _blocks(source, count, size):
        u = source[images].contiguous(memory_format=torch.channels_last)
        derivatives = [F.conv2d(u, kernel, None, 1, padding, dilation, len(kernel)) for kernel in kernels]
        if count == 2:
            dx, dy = derivatives
            torch.mul(dx, x, out=first).addcmul_(dy, y)
            torch.mul(dx, y, out=second).addcmul_(dy, x, value=-1)
        else:
            for k, field in enumerate((first, second, *more)):
                torch.mul(derivatives[k // 2], (x, y)[k % 2], out=field)
        yield images, bank


def _transposed(slope, count, size, padding, dilation, coords):
    """Yield the same of the transposed fields: first the coordinates, then the derivatives, turned over."""
    x, y = _coordinates(slope, slope.shape[-2:], coords)
    kernels = _depthwise(slope, count, dilation)
    padding = [2 * d - p for d, p in zip(dilation, padding, strict=True)]
    for images, bank, (first, second, *more) in _blocks(slope, count, size):
        g = slope[images].contiguous(memory_format=torch.channels_last)
        products = torch.cat([g * x, g * y])
        # An odd kernel turned over is its negative.
        derivatives = [F.conv2d(products, -kernel, None, 1, padding, dilation, len(kernel)) for kernel in kernels]
        pairs = [derivative.chunk(2) for derivative in derivatives]
        if count == 2:
            (dx_x, dx_y), (dy_x, dy_y) = pairs
            torch.add(dx_x, dy_y, out=first)
            torch.sub(dx_y, dy_x, out=second)
        else:
            for k, field in enumerate((first, second, *more)):
                field.copy_(pairs[k // 2][k % 2])
        yield images, bank


def _blocks(maps, count, size):
    """Yield a slice of the images, the buffer for their fields, and each field in it as ``channels_last`` maps."""
    batch, channels = maps.shape[:2]
    length = max(1, min(batch, _BLOCK // (count * channels * size[0] * size[1])))
    buffer = maps.new_empty(length, *size, count * channels)
    for start in range(0, batch, length):
        bank = buffer[: min(length, batch - start)]
        yield slice(start, start + length), bank, bank.permute(0, 3, 1, 2).chunk(count, 1)


def _coordinates(maps, size, coords):
    """Return x and y for maps in ``channels_last``, repeated for each channel: rows of numbers, not one at a time."""
    x, y = coordinate_grid(*size, coords=coords, dtype=maps.dtype, device=maps.device)
    return (axis.expand(1, maps.shape[1], *axis.shape).contiguous(memory_format=torch.channels_last) for axis in (x, y))


def _depthwise(maps, count, dilation):
    kernels = derivative_kernels(max(count // 2, 2), dilation, dtype=maps.dtype, device=maps.device)
    return [kernel.expand(maps.shape[1], 1, 3, 3) for kernel in kernels]


def _add(maps, mixing, bank):
    """Add the mixture to maps of either layout, in place."""
    if maps.is_contiguous():
        maps = maps.view(*maps.shape[:2], -1)
        maps.baddbmm_(mixing.expand(len(maps), -1, -1), bank.flatten(1, 2).transpose(1, 2))
    else:
        maps.permute(0, 2, 3, 1).view(-1, len(mixing)).addmm_(bank.flatten(0, 2), mixing.t())
