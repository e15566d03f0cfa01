"""Layers that are linear in their input and in their parameters, with derivatives of every order and transforms.

Book: chapter 13.  Source: new here.

PyTorch asks an autograd function for its gradient, its change along a direction, and a rule for ``vmap``, and the
same again for the gradient.  For a layer ``(source, *weights, bias)``, linear in its source and linear in all the
rest together, all but the two quick passes follow from the plain layer.  A *step* therefore has three methods:

- ``forward(source, *weights, bias)`` and ``gradient(slope, source, *weights, wanted=...)``, the quick passes; the
  second returns a gradient for each argument, or ``None`` where ``wanted`` holds ``False``;
- ``plain(source, *weights, bias)``, the same layer in PyTorch's own operations.
"""

# torch calls these methods with as many tensors as a layer has, which no signature of the base class can say.
# pyright: reportIncompatibleMethodOverride=false
# mypy: disable-error-code="override"

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import Function, forward_ad

if TYPE_CHECKING:
    from convtwist._engine.steps import IsoStep, TwistStep
    from convtwist._engine.triton_steps import IsoOnGPU, TwistOnGPU
    from convtwist._engine.watched import Shown

__all__ = ["apply_step"]


def apply_step(step: "TwistStep | IsoStep | TwistOnGPU | IsoOnGPU | Shown", source: Tensor,
               *parameters: Tensor | None) -> Tensor:
    """Compute ``step.forward``; the bias comes last and may be ``None``."""
    return (_Layer if _transformed() else _Eager).apply(step, source, *parameters)


class _Layer(Function):
    """The layer."""

    @staticmethod
    def forward(step, *tensors):
        return step.forward(*tensors)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.step, *tensors, _ = inputs  # nothing depends on the bias, which may change in place meanwhile
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, slope):
        tensors, wanted = ctx.saved_tensors, ctx.needs_input_grad[1:]
        # torch.autograd.grad(is_grads_batched=True) hands many slopes over as one, in a type that Function ignores.
        if is_legacy_batchedtensor(slope):
            found = _batched_gradient(ctx.step, wanted, slope, *tensors)
        elif torch.is_grad_enabled() or forward_ad._current_level >= 0 or _transformed():
            found = _Gradient.apply(ctx.step, wanted, slope, *tensors)
        else:  # nobody differentiates this again
            return None, *ctx.step.gradient(slope, *tensors, wanted=wanted)
        found = iter(found)
        return None, *(next(found) if want else None for want in wanted)

    @staticmethod
    def jvp(ctx, _, d_source, *changes):
        source, *weights = ctx.saved_tensors
        if _in_old_batches(d_source, *changes):
            bias = None if changes[-1] is None else source.new_zeros(len(weights[0]))
            return _batched_change(ctx.step.plain, (source, *weights, bias), (d_source, *changes))[0]
        *d_weights, d_bias = changes
        d_weights = [torch.zeros_like(w) if d is None else d for w, d in zip(weights, d_weights, strict=True)]
        change = ctx.step.plain(source, *d_weights, d_bias)
        return change if d_source is None else change + ctx.step.plain(d_source, *weights, None)

    @staticmethod
    def vmap(info, in_dims, step, *tensors):
        return torch.func.vmap(step.plain, in_dims[1:])(*tensors), 0


class _Eager(Function):
    """The layer where no transform is at work: PyTorch then asks for less at every call."""

    @staticmethod
    def forward(ctx, step, *tensors):
        ctx.step = step
        ctx.save_for_backward(*tensors[:-1])
        if forward_ad._current_level >= 0:
            ctx.save_for_forward(*tensors[:-1])
        return step.forward(*tensors)

    @staticmethod
    def backward(ctx, slope):
        return _Layer.backward(ctx, slope)

    @staticmethod
    def jvp(ctx, *changes):
        return _Layer.jvp(ctx, *changes)


class _Gradient(Function):
    """The gradients of source, weights and bias, those that are wanted; differentiable again."""

    @staticmethod
    def forward(step, wanted, slope, *tensors):
        found = step.gradient(slope, *tensors, wanted=wanted)
        return tuple(tensor for tensor, want in zip(found, wanted, strict=True) if want)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.step, ctx.wanted, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, *slopes):
        def gradient(*tensors):
            return _plain_gradient(ctx.step, ctx.wanted, *tensors)

        return None, None, *torch.func.vjp(gradient, *ctx.saved_tensors)[1](slopes)

    @staticmethod
    def jvp(ctx, _, __, *changes):
        if _in_old_batches(*changes):
            def gradient(*tensors):
                return _plain_gradient(ctx.step, ctx.wanted, *tensors)

            return _batched_change(gradient, ctx.saved_tensors, changes)
        # Each gradient is linear in the slope, and all but the bias's in the others together.
        slope, *others = ctx.saved_tensors
        d_slope, *d_others = (torch.zeros_like(tensor) if change is None else change
                              for change, tensor in zip(changes, ctx.saved_tensors, strict=True))
        *rest, _ = ctx.wanted
        first = _plain_gradient(ctx.step, ctx.wanted, d_slope, *others)
        second = _plain_gradient(ctx.step, (*rest, False), slope, *d_others) if any(rest) else ()
        return *(a + b for a, b in zip(first, second, strict=False)), *first[len(second) :]

    @staticmethod
    def vmap(info, in_dims, step, wanted, *tensors):
        def gradient(*given):
            return _plain_gradient(step, wanted, *given)

        outputs = torch.func.vmap(gradient, in_dims[2:])(*tensors)
        return outputs, (0,) * len(outputs)


def _transformed():
    """Say whether ``vmap``, ``grad`` or the like is at work."""
    return torch._C._are_functorch_transforms_active()


def _plain_gradient(step, wanted, slope, *tensors):
    layer, chosen = _chosen(step, wanted, *tensors)
    return torch.func.vjp(layer, *chosen)[1](slope)


def _batched_gradient(step, wanted, slope, *tensors):
    layer, chosen = _chosen(step, wanted, *tensors)
    again = torch.is_grad_enabled()
    if wanted[-1]:
        chosen[-1].requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(layer(*chosen), chosen, slope, create_graph=again)


def _in_old_batches(*changes):
    """Say whether torch.autograd.functional hands many directions over as one, as ``vectorize=True`` does."""
    return any(change is not None and is_legacy_batchedtensor(change) for change in changes)


def _batched_change(function, tensors, changes):
    """Return how the results of a function change; the gradient's transpose, as few operations know these batches."""
    leaves = [t if change is None else t.detach().requires_grad_() for t, change in zip(tensors, changes, strict=True)]
    moved = [(leaf, change) for leaf, change in zip(leaves, changes, strict=True) if change is not None]
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        outputs = function(*leaves)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        slopes = [torch.zeros_like(output, requires_grad=True) for output in outputs]
        found = torch.autograd.grad(outputs, [leaf for leaf, _ in moved], slopes, create_graph=True,
                                    materialize_grads=True)
        used = [(there, change) for there, (_, change) in zip(found, moved, strict=True) if there.requires_grad]
        return torch.autograd.grad([there for there, _ in used], slopes, [change for _, change in used],
                                   create_graph=again, materialize_grads=True)


def _chosen(step, wanted, source, weight, *more):
    """Return the plain layer as a function of the wanted tensors alone, and these; no gradient needs the bias."""
    tensors = source, weight, *more, source.new_zeros(len(weight))

    def layer(*chosen):
        chosen = iter(chosen)
        return step.plain(*(next(chosen) if want else tensor for tensor, want in zip(tensors, wanted, strict=True)))

    return layer, [tensor for tensor, want in zip(tensors, wanted, strict=True) if want]
