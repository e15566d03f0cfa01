"""Whatever the layers are given: the convolution plus the twist, worked out apart, or words about the argument."""

import copy
import math
import re
from collections import Counter

import numpy as np
import oracle
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scorecard import record
from torch import nn

from convtwist import ConvTwist2d, IsoTwist2d, conversion_report, convert, param_groups, revert
from convtwist.functional import conv_twist2d, iso_twist2d

TALLY = Counter()
OPERATORS = {"similarity": 2, "affine": 4, "first_order": 8}
JUNK = [None, True, False, 0, -1, 1.0, 2.5, math.nan, math.inf, "", "3", "same", "no", b"x", (), (1,), (1, 2, 3), [],
        {}, {"a": 1}, object(), 2**31, 2**40, 2**70, -(2**70), 1j, np.int64(2), torch.tensor(2), torch.ones(2), "\0",
        "é" * 999, int, torch.float16, [0, 0], [[0]], range(4), torch.int64, np.ones(3), "cuda:99",
        lambda: 1]
junk = st.sampled_from(JUNK)
examples = settings(max_examples=300, deadline=None, derandomize=True, database=None,
                    suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module", autouse=True)
def card():
    yield
    for name, count in TALLY.items():
        record(f"hostile layers, {name}", count)


@st.composite
def spoiled(draw, options, needed=()):
    """Draw keyword arguments of which at most one is junk."""
    names = [name for name in options if name in needed or draw(st.integers(0, 2)) == 0]
    arguments = {name: draw(st.sampled_from(options[name])) for name in names}
    if names and draw(st.booleans()):
        arguments[draw(st.sampled_from(names))] = draw(junk)
    return arguments


def refused(call, names):
    """Return the call's result, or None if it was refused with one of ``names`` and more than a word or two."""
    try:
        return call()
    except (ValueError, TypeError) as error:
        text = str(error)
        assert any(re.search(rf"\b{name}\b", text) for name in names), f"{text} names none of {names}"
        assert len(text) > 20 and len(text) < 1200
        TALLY["refused"] += 1
    except RuntimeError as error:  # documented: no memory for so many weights
        assert re.search("allocate memory|overflow", str(error)), error
        TALLY["refused for want of memory"] += 1
    return None


CONSTRUCTOR = {
    "in_channels": (4, 8), "out_channels": (4, 8), "kernel_size": (3, (3, 3), [3, 3]),
    "stride": (1, 2, (1, 2)), "padding": (0, 1, 2, (1, 2), "same", "valid"),
    "dilation": (1, 2, (1, 2)), "groups": (1, 2, 4), "bias": (True, False),
    "padding_mode": ("zeros", "reflect", "circular"),
    "device": (None, "cpu"), "dtype": (None, torch.float64), "operators": (*OPERATORS,),
    "twist_init": ("normal", "zeros"), "centers": (False, True), "coords": ("centered", "legacy"),
    "steps": (1, 2), "permute": (None, "cycle", "shuffle", [3, 1, 0, 2]),
}
ISO = {name: CONSTRUCTOR[name] for name in "in_channels out_channels bias groups coords device dtype".split()}
ISO["reduce"] = (1, 2, 3)
CHANNELS = ("in_channels", "out_channels")


@examples
@given(spoiled(CONSTRUCTOR, CHANNELS), st.integers(0, 9))
def test_the_constructor_of_convtwist(arguments, side):
    torch.manual_seed(0)
    layer = refused(lambda: ConvTwist2d(**arguments), CONSTRUCTOR)
    if layer is not None:
        for name in ("in_channels", "out_channels", "groups", "steps", "operators", "coords", "padding_mode"):
            assert getattr(layer, name) == arguments.get(name, getattr(layer, name)), "altered silently"
        assert (layer.bias is not None) == bool(arguments.get("bias", True))
        u = torch.randn(2, layer.in_channels, side, 7, dtype=layer.weight.dtype)
        check_twist(layer, u)


@examples
@given(spoiled(ISO, CHANNELS), st.integers(0, 9))
def test_the_constructor_of_isotwist(arguments, side):
    torch.manual_seed(0)
    layer = refused(lambda: IsoTwist2d(**arguments), ISO)
    if layer is not None:
        check_iso(layer, torch.randn(2, layer.in_channels, side, 7, dtype=layer.weight.dtype))


SHAPES = st.one_of(
    st.tuples(st.integers(0, 2), st.just(4), st.integers(0, 7), st.integers(0, 7)),
    st.tuples(st.just(4), st.integers(0, 7), st.integers(1, 7)),
    st.lists(st.integers(0, 5), max_size=5).map(tuple),
)
DTYPES = [torch.float32] * 6 + [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.uint8,
                                torch.bool]
STRANGE = [
    lambda u: u, lambda u: u, lambda u: u.flip(-1) if u.dim() else u,
    lambda u: u.transpose(-1, -2) if u.dim() > 1 else u,
    lambda u: u[..., ::2] if u.dim() else u,
    lambda u: u[..., :1].expand(*u.shape[:-1], 5) if u.dim() and u.shape[-1] else u,
    lambda u: u.contiguous(memory_format=torch.channels_last) if u.dim() == 4 else u, lambda u: u.requires_grad_()
    if u.is_floating_point() else u, lambda u: u.numpy(force=True) if u.dtype != torch.bfloat16 else None,
    lambda u: u.tolist(), lambda u: u.to_sparse(), lambda u: u.to("meta"), lambda u: nn.Parameter(u, False),
]


@st.composite
def inputs(draw):
    """Draw a tensor of some shape, type and layout, or no tensor at all; sometimes with numbers that are none."""
    if draw(st.integers(0, 9)) == 0:
        return draw(junk)
    shape, dtype = draw(SHAPES), draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    u = torch.randn(shape, generator=generator).to(dtype) if dtype != torch.uint8 else torch.zeros(shape, dtype=dtype)
    if u.is_floating_point() and u.numel():
        special = draw(st.sampled_from([None, None, math.nan, math.inf, -math.inf, 1e4, 0.0]))
        if special is not None:
            u.view(-1)[draw(st.integers(0, u.numel() - 1))] = special
    return draw(st.sampled_from(STRANGE))(u)


@examples
@given(inputs(), st.sampled_from([{}, {"padding": 1}, {"padding": 1, "groups": 2}, {"stride": 2, "padding": (2, 0)},
                                  {"padding": 3, "padding_mode": "reflect"}, {"padding": 4, "padding_mode": "circular"},
                                  {"dilation": 2, "padding": "same", "operators": "first_order"},
                                  {"padding": 1, "steps": 2, "centers": True, "permute": [3, 1, 0, 2]}]))
def test_the_input_of_convtwist(u, options):
    torch.manual_seed(0)
    check_twist(ConvTwist2d(4, 4, **options), u)


@examples
@given(inputs(), st.sampled_from([{}, {"groups": 2}, {"reduce": 3, "bias": False}, {"reduce": 99}]))
def test_the_input_of_isotwist(u, options):
    torch.manual_seed(0)
    check_iso(IsoTwist2d(4, 4, **options), u)


TENSORS = st.one_of(junk, st.sampled_from([torch.zeros(4), torch.zeros(2, 4), torch.zeros(4, 4, 3, 3).double(),
                                           torch.zeros(4, 3, 3, 3), torch.zeros(8, 4, 4), torch.zeros(4, 4, 4),
                                           torch.zeros(4, 4, 3, 3), torch.zeros(2, 4, 4).to_sparse(),
                                           torch.zeros(2, 4, device="meta"), torch.zeros(()),
                                           torch.tensor([3, 1, 0, 2]), torch.tensor([3, 3, 0, 2])]))
FUNCTION = {name: TENSORS for name in ("weight", "twist", "bias", "center", "permute")}
FUNCTION |= {name: st.one_of(st.sampled_from(CONSTRUCTOR[name]), junk)
             for name in "stride padding dilation groups padding_mode coords steps".split()}


@examples
@given(st.dictionaries(st.sampled_from(list(FUNCTION)), st.none(), min_size=1, max_size=2).flatmap(
    lambda chosen: st.fixed_dictionaries({name: FUNCTION[name] for name in chosen})))
def test_the_arguments_of_the_functions(changes):
    """One or two arguments that may be wrong among good ones."""
    generator = torch.Generator().manual_seed(0)
    good = {"weight": torch.randn(4, 4, 3, 3, generator=generator), "twist": torch.randn(2, 4, 4, generator=generator)}
    u, arguments = torch.randn(2, 4, 6, 7, generator=generator), {**good, **changes}
    output = refused(lambda: conv_twist2d(u, **arguments), ["input", *FUNCTION])
    if output is not None:
        compare(output, u, **arguments)
    if "bias" in changes:
        weight = torch.randn(4, 4, 4, generator=generator)
        output = refused(lambda: iso_twist2d(u, weight, changes["bias"]), ["bias"])
        if output is not None:
            bias = 0 if changes["bias"] is None else changes["bias"].view(-1, 1, 1)
            assert torch.allclose(output, iso_twist2d(u, weight) + bias, atol=1e-5)


def check_twist(layer, u):
    output = refused(lambda: layer(u), ["input", "padding", "weight"])
    if output is not None:
        compare(output, u, layer.weight, layer.twist, layer.bias, layer.stride, layer.padding, layer.dilation,
                layer.groups, layer.padding_mode, layer.center, layer.coords, layer.steps, layer.permute)
    elif isinstance(u, torch.Tensor) and u.layout is torch.strided and u.is_cpu and u.numel() and layer.steps == 1:
        conv = nn.Conv2d(layer.in_channels, layer.out_channels, 3, layer.stride, layer.padding, layer.dilation,
                         layer.groups, padding_mode=layer.padding_mode, dtype=layer.weight.dtype)
        with pytest.raises((RuntimeError, TypeError, ValueError)):  # what nn.Conv2d takes is not refused here
            conv(u)


def compare(output, u, weight, twist, bias=None, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros",
            center=None, coords="centered", steps=1, permute=None):
    """Compare a result with the slow loop in float64; numbers that are none must sit where a convolution has them."""
    def two(value):
        value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        return value * 2 if len(value) == 1 else value

    TALLY["equal"] += 1
    padding = two(dilation) if padding == "same" else (0, 0) if padding == "valid" else two(padding)
    maps = u if u.dim() == 4 else u[None]
    assert output.dim() == u.dim() and output.dtype == u.dtype
    order = permute.tolist() if isinstance(permute, torch.Tensor) else permute
    finite = maps.nan_to_num(0, 0, 0) if maps.is_floating_point() else maps
    arrays = [None if value is None else value.detach().double().numpy() for value in (weight, twist, bias, center)]
    options = {"stride": two(stride), "padding": padding, "dilation": two(dilation), "groups": groups,
               "padding_mode": padding_mode, "center": arrays[3], "coords": coords, "steps": steps, "permute": order}
    with np.errstate(all="ignore"):
        expected = torch.from_numpy(oracle.conv_twist2d(finite.detach().double().numpy(), *arrays[:3], **options))
        # A number that is none spreads as far as its 3x3 window, in each step.
        ill = (~maps.detach().isfinite()).double().numpy()
        reach = oracle.conv_twist2d(ill, np.ones_like(arrays[0]), 0 * arrays[1], **{**options, "center": None})
    expected, reach = expected.view(output.shape), torch.from_numpy(reach).view(output.shape) != 0
    assert not output.detach()[reach].isfinite().any(), "a number that is none was lost"
    tolerance = max(expected.abs().max().item() if expected.numel() else 0, 1) * 40 * torch.finfo(output.dtype).eps
    rest = ~reach
    torch.testing.assert_close(output.detach().double()[rest], expected[rest], rtol=0, atol=tolerance)


def check_iso(layer, u):
    output = refused(lambda: layer(u), ["input", "weight"])
    if output is None:
        return
    TALLY["equal"] += 1
    maps = u if u.dim() == 4 else u[None]
    assert output.dtype == u.dtype and output.dim() == u.dim()
    if not maps.isfinite().all():
        assert not output.isfinite().all(), "a number that is none was lost"
        return
    arrays = [None if value is None else value.detach().double().numpy() for value in (layer.weight, layer.bias)]
    expected = oracle.iso_twist2d(maps.detach().double().numpy(), *arrays, groups=layer.groups, reduce=layer.reduce,
                                  coords=layer.coords)
    expected = torch.from_numpy(expected).view(output.shape)
    tolerance = max(expected.abs().max().item() if expected.numel() else 0, 1) * 100 * torch.finfo(output.dtype).eps
    torch.testing.assert_close(output.detach().double(), expected, rtol=0, atol=tolerance)


class Selfish(nn.Module):
    """A module that holds itself, as a child that remembers its parent does."""

    def __init__(self):
        super().__init__()
        self.conv, self.child = nn.Conv2d(4, 4, 3), nn.Sequential()
        self.child.parent = self


MODELS = [nn.Conv2d(4, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3, padding=1)), ConvTwist2d(4, 4), nn.ReLU(),
          nn.Sequential(), nn.Conv2d, Selfish()]
CONVERT = {"inplace": (False, True), "include": (None, "*"), "exclude": (None,), "steps": (1,), "bogus": (1,),
           "filter_fn": (None, lambda name, layer: True),
           **{name: CONSTRUCTOR[name] for name in ("operators", "twist_init", "centers", "coords", "permute")}}


LAYER_OPTIONS = {name: good for name, good in CONVERT.items() if name not in ("steps", "permute", "bogus")}


@pytest.mark.filterwarnings("ignore:no layer was swapped")
@examples
@given(st.one_of(st.sampled_from(MODELS), st.sampled_from(MODELS), junk), spoiled(LAYER_OPTIONS),
       st.one_of(st.booleans(), junk))
def test_converting_and_reverting(model, options, drop):
    model = copy.deepcopy(model) if isinstance(model, nn.Module) else model
    twisted = refused(lambda: convert(model, **options), ["model", "matches no module", *CONVERT])
    start = model if twisted is None else twisted
    back = refused(lambda: revert(start, drop_twist=drop, inplace=options.get("inplace", False)),
                   ["model", "twist", "drop_twist", "inplace"])
    if twisted is not None and back is not None:
        TALLY["equal"] += 1
        assert not any(isinstance(layer, ConvTwist2d) for layer in back.modules())


@examples
@given(st.one_of(st.sampled_from(MODELS), junk), st.dictionaries(
    st.sampled_from(["lr", "weight_decay", "twist_lr_scale", "twist_weight_decay"]),
    st.one_of(st.sampled_from([0.1, 0.0, 1]), junk)))
def test_reports_and_parameter_groups(model, numbers):
    refused(lambda: conversion_report(model), ["model"])
    groups = refused(lambda: param_groups(model, **numbers), ["model", "lr", *numbers])
    if groups is not None:
        assert all(math.isfinite(group["weight_decay"]) for group in groups)
