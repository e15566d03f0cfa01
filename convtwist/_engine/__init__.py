"""The engine: quicker ways to compute a layer than its formula, for those who train.  All of it is private.

Book: chapter 13.  Source: new here.

A layer asks one question, and gets a tensor or ``None``; then it is computed plainly, by ``convtwist.operators``.
The answer to an eager call on a CPU is a *step* (``steps``), which makes the fields in ``blocks`` and has derivatives
of every order by ``autograd``.  In a program that is being compiled it is an operator (``custom_ops``), whose fields
are made in C++ (``cpp``, ``fields.cpp``).  On a GPU (``gpu``) a step is made for maps of one shape
(``triton_steps``), and its fields by kernels in Triton (``triton_blocks``, ``triton_registers``, ``triton_kernels``,
``triton_tiles``, ``triton_launch``); without them a layer in 16 bits is three convolutions (``stacked``).  ``watched``
is for those who look at single operations.  ``config`` says which of them serves, and why not a quicker one.
"""

from functools import lru_cache

import torch
from torch import Tensor

from convtwist._arguments import Coords, Known, is_exporting, is_tracing
from convtwist._engine import custom_ops, gpu, stacked
from convtwist._engine.autograd import apply_step
from convtwist._engine.steps import IsoStep, TwistStep, like_last
from convtwist._engine.watched import Shown, is_kept_elsewhere, is_watched

__all__ = ["conv_twist", "iso_twist", "laid_like"]

_ONEDNN = torch.backends.mkldnn.is_available()
_twist_step, _iso_step = lru_cache(TwistStep), lru_cache(IsoStep)


def conv_twist(source: Tensor, weight: Tensor, twist: Tensor, bias: Tensor | None, stride: tuple[int, int],
               padding: tuple[int, int], dilation: tuple[int, int], groups: int, coords: Coords,
               known: Known) -> Tensor | None:
    """Compute ``ConvTwist2d``, padded with zeros; ``None`` where nothing here does it sooner."""
    route = known.route
    if route is not None and not is_watched():  # as the last time, on a GPU
        source, weight, bias = gpu.as_computed(source, weight, bias)
        if source.dtype is route.dtype:
            return apply_step(route, source, weight, twist, bias)
    if gpu.holds(source):
        if not (_on_gpu(source, weight, twist, bias) and gpu.gains(source.shape[1], groups)):
            return stacked.conv_twist(source, weight, twist, bias, stride, padding, dilation, groups, coords)
        source, weight, bias = gpu.as_computed(source, weight, bias)
    elif not (_suits(source, weight, twist, bias) and TwistStep.covers(padding, dilation, groups, weight.shape[1])):
        return None
    if torch.compiler.is_compiling():
        if not custom_ops.allowed(source):
            return None
        return custom_ops.twist(source, weight, twist, bias, padding, dilation, coords, groups, stride)
    if source.numel() == 0:
        return None
    step = _twist_step(padding, dilation, coords, groups, stride)
    if is_watched():
        return apply_step(Shown(step.plain), source, weight, twist, bias) if is_kept_elsewhere() else None
    if gpu.holds(source):
        step = known.route = gpu.prepared(step, source, twist)
    return apply_step(step, source, weight, twist, bias)


def iso_twist(source: Tensor, weight: Tensor, bias: Tensor | None, reduce: int, groups: int,
              coords: Coords, known: Known) -> Tensor | None:
    """Compute ``IsoTwist2d``; ``None`` where nothing here does it sooner."""
    route = known.route
    if route is not None and not is_watched():
        source, bias = gpu.as_computed(source, bias)
        if source.dtype is route.dtype:
            return apply_step(route, source, weight, bias)
    if gpu.holds(source):
        if not (_on_gpu(source, weight, bias) and IsoStep.covers(source, reduce, groups)):
            return stacked.iso_twist(source, weight, bias, reduce, groups, coords)
        source, bias = gpu.as_computed(source, bias)
    elif not (_suits(source, weight, bias) and IsoStep.covers(source, reduce, groups)):
        return None
    if torch.compiler.is_compiling():
        return custom_ops.iso(source, weight, bias, reduce, coords) if custom_ops.allowed(source) else None
    if source.numel() == 0:
        return None
    step = _iso_step(reduce, coords)
    if is_watched():
        shown = apply_step(Shown(step.plain), source, weight, bias) if is_kept_elsewhere() else None
        return shown if shown is None else laid_like(shown, source)
    if gpu.holds(source):
        step = known.route = gpu.prepared(step, source, weight)
    return apply_step(step, source, weight, bias)


def laid_like(maps: Tensor, source: Tensor) -> Tensor:
    """Return maps in ``channels_last`` if a convolution takes ``source`` for it; exported programs have no layout."""
    if type(source) is not Tensor or is_tracing() or is_exporting() or custom_ops.transformed():
        return maps
    return maps.contiguous(memory_format=torch.channels_last) if like_last(source) else maps


def _suits(source: Tensor, *parameters: Tensor | None) -> bool:
    """Say whether there is anything for these tensors: oneDNN wants ``float32`` on a CPU, and a trace plain calls."""
    return (
        all(type(t) in (Tensor, torch.nn.Parameter) and t.dtype == torch.float32 and t.device.type == "cpu"
            for t in (source, *parameters) if t is not None)
        and _ONEDNN and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu") and not is_tracing()
    )


def _on_gpu(source: Tensor, *parameters: Tensor | None) -> bool:
    """Say whether there is anything for these tensors on a GPU."""
    for tensor in (source, *parameters):
        if not (tensor is None or type(tensor) is Tensor or type(tensor) is torch.nn.Parameter):
            return False
    return not is_tracing() and gpu.serves((source, *parameters))
