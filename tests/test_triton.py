"""The kernels for a GPU: under Triton's interpreter on a CPU, and the same on a CUDA device with ``pytest -m gpu``.

Every configuration of the CPU engine's grid, both ways of mixing, three number types, against the loops in float64 of
tests/oracle.py and gradients in float64 of the plain layer.  The interpreter is slow, so that maps are small here.
"""

import contextlib
import itertools
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import oracle
import pytest
import torch
from scorecard import record

from convtwist import ConvTwist2d, IsoTwist2d, _arguments, _engine
from convtwist._engine import gpu, steps
from convtwist._engine.autograd import apply_step
from convtwist.functional import conv_twist2d

pytest.importorskip("triton", reason="the kernels need Triton: pip install triton, on Linux")

from convtwist._engine import (
    triton_blocks,
    triton_kernels,
    triton_launch,
    triton_registers,
    triton_steps,
    triton_tiles,
)

torch.set_num_threads(1)

CUDA = torch.cuda.is_available()
FIELDS = {"similarity": 2, "affine": 4, "first_order": 8}
# Relative to the norm.
MOST = {torch.float32: 2e-6, torch.float16: 6e-4, torch.bfloat16: 4e-3}
LAST = torch.channels_last
DEVICES = [pytest.param("cpu", marks=pytest.mark.skipif(CUDA, reason="with a GPU the kernels are compiled for it")),
           pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="no CUDA device")])]
device = pytest.mark.parametrize("device", DEVICES)
on_cuda = pytest.mark.parametrize("device", DEVICES[1:])


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def draw(seed, *shape, dtype=torch.float32, device="cpu"):
    """Return random numbers that ``dtype`` holds exactly, so that only the kernels' own rounding counts."""
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return numbers.to(dtype).to(device)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Let no test use what another one's settings have led to, and no convolution round ``float32`` to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    forget()
    yield
    forget()


def forget():
    triton_steps.prepared.cache_clear()
    _arguments._PASSED.clear()


@pytest.fixture(params=["registers", "bank"])
def way(request, monkeypatch):
    """Make fields in registers in front of the product, or write a bank of them."""
    monkeypatch.setattr(triton_tiles, "in_registers", lambda *given: request.param == "registers")
    given = request.node.callspec.params
    usual = (given.get("operators", "similarity") == "similarity" and given.get("stride", (1, 1)) == (1, 1)
             and given.get("dilation", (1, 1)) == (1, 1))
    if request.param == "registers" and not usual:
        pytest.skip("all but the usual layers make a bank")
    return request.param


@pytest.fixture
def engine(monkeypatch):
    """Let the engine take the CPU for a GPU, where there is none: the interpreter works on a CPU's memory."""
    if not CUDA:
        monkeypatch.setattr(gpu, "holds", lambda maps: maps.device.type == "cpu")
        monkeypatch.setattr(gpu, "_usable", lambda index: True)
    calls = []
    for kind, name in itertools.product((triton_steps.TwistOnGPU, triton_steps.IsoOnGPU), ("forward", "gradient")):
        monkeypatch.setattr(kind, name, noted(getattr(kind, name), calls))
    return calls


def noted(method, calls):
    def watched(self, *given, **named):
        calls.append(method.__name__)
        return method(self, *given, **named)

    return watched


def relative(ours, expected):
    return ((ours.double().cpu() - expected).norm() / (expected.norm() or 1)).item()


def assert_close(found, expected, dtype, what=""):
    for name, ours, theirs in zip(("output", "source", "weight", "twist", "bias"), found, expected, strict=False):
        assert ours.dtype == dtype and tuple(ours.shape) == tuple(theirs.shape), (what, name)
        error = relative(ours, theirs)
        assert error <= MOST[dtype], f"{what} {name}: {error:.2e}"
        record(f"GPU kernels: largest relative error in {str(dtype)[6:]}", error)


def both(step, tensors, layout=LAST):
    """Return output and gradients by the kernels, and in float64 by the plain layer."""
    dtype = tensors[0].dtype
    leaves = [t.double().cpu().requires_grad_() for t in tensors]
    output = step.plain(*leaves)
    slope = draw(5, *output.shape, dtype=dtype)
    expected = output.detach(), *torch.autograd.grad(output, leaves, slope.double())
    source, *parameters = tensors
    source, slope = source.to(memory_format=layout), slope.to(source.device, memory_format=layout)
    step = gpu.prepared(step, source, parameters[-2])
    found = step.forward(source, *parameters)
    gradients = step.gradient(slope, source, *parameters[:-1], wanted=(True,) * len(tensors))
    return (found, *gradients), expected


def twist_case(operators, channels=3, size=(5, 6), dtype=torch.float32, device="cpu", groups=1, batch=2):
    shapes = ((batch, channels, *size), (4, channels // groups, 3, 3), (FIELDS[operators], 4, channels // groups), (4,))
    return [draw(k + 1, *shape, dtype=dtype, device=device) for k, shape in enumerate(shapes)]


@device
@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("stride, dilation, padding, coords, layout", [
    ((1, 1), (1, 1), (1, 1), "centered", LAST),
    slow((2, 1), (1, 1), (1, 1), "centered", LAST),
    slow((2, 3), (1, 2), (0, 2), "legacy", LAST),
    slow((1, 2), (2, 1), (1, 1), "centered", torch.contiguous_format),
    slow((1, 1), (2, 1), (3, 0), "legacy", torch.contiguous_format),
    slow((1, 1), (1, 2), (4, 1), "centered", LAST),  # more than the transposed stencil's reach
    slow((1, 1), (1, 1), (3, 4), "centered", LAST),
])
def test_the_twist_agrees_with_float64(operators, stride, dilation, padding, coords, layout, way, device):
    step = steps.TwistStep(padding, dilation, coords, 1, stride)
    found, expected = both(step, twist_case(operators, device=device), layout)
    assert found[0].is_contiguous(memory_format=layout)
    assert_close(found, expected, torch.float32)


@device
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("operators", ["similarity", slow("affine"), slow("first_order")])
@pytest.mark.parametrize("stride", [(1, 1), slow((2, 2))])
def test_half_precision(dtype, operators, stride, way, device):
    """Sums are in float32; what is stored is rounded once, or twice with a bank."""
    step = steps.TwistStep((1, 1), (1, 1), "centered", 1, stride)
    found, expected = both(step, twist_case(operators, 20, (4, 5), dtype, device))
    assert_close(found, expected, dtype, f"{operators} {stride}")


@device
@pytest.mark.parametrize("reduce", [1, slow(2)])
@pytest.mark.parametrize("dtype", [torch.float32, slow(torch.bfloat16), slow(torch.float16)])
@pytest.mark.parametrize("coords", ["centered", slow("legacy")])
def test_the_isotropic_layer_agrees_with_float64(reduce, dtype, coords, way, device):
    size = (2, 3, 4, 6) if dtype == torch.float32 else (2, 16, 8, 12)  # sums of few numbers cancel
    shapes = (size, (5, size[1], 4), (5,))
    tensors = [draw(k, *shape, dtype=dtype, device=device) for k, shape in enumerate(shapes)]
    found, expected = both(steps.IsoStep(reduce, coords), tensors)
    assert_close(found, expected, dtype, f"reduce={reduce}")


@pytest.mark.slow
@device
@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("padding_mode", oracle.NUMPY_MODES)
def test_the_grid_of_configurations_agrees_with_the_loops(operators, padding_mode, way, device, engine):
    """The CPU engine's grid, through the public function."""
    cases = 0
    for k, (groups, centred, coords) in enumerate(itertools.product((1, 2), (False, True), ("centered", "legacy"))):
        stride, dilation = 1 + k % 2, 1 + k // 2 % 2
        weight, twist, bias = (draw(2, 4, 8 // groups, 3, 3), draw(3, FIELDS[operators], 4, 8 // groups), draw(4, 4))
        center = draw(6, 2, 4) if centred else None
        options = {"stride": (stride, 3 - stride), "padding": (1, dilation), "dilation": (dilation, 1),
                   "groups": groups, "padding_mode": padding_mode, "coords": coords}
        u = draw(1, 1, 8, 5, 4)
        placed = [None if t is None else t.to(device) for t in (u, weight, twist, bias, center)]
        result = conv_twist2d(*placed[:4], center=placed[4], **options)
        expected = oracle.conv_twist2d(u, weight.numpy(), twist, bias, center=center, **options)
        assert_close([result], [torch.from_numpy(expected)], torch.float32, str(options))
        cases += 1
    assert len(engine) == cases == 8
    record("GPU kernels: configurations", cases)


@pytest.mark.slow
@device
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2), (17, 3)])
def test_maps_smaller_and_larger_than_a_block(size, way, device):
    """One pixel; more columns than a block, of several images; more rows than a band; channels with a rest."""
    step = steps.TwistStep((1, 1), (1, 1), "centered")
    for channels, batch in ((1, 9), (17, 2)):
        found, expected = both(step, twist_case("similarity", channels, size, device=device, batch=batch))
        assert_close(found, expected, torch.float32, f"{size} {channels}")


@device
@pytest.mark.parametrize("wanted", [w for w in itertools.product((False, True), repeat=2) if any(w)])
@pytest.mark.parametrize("stride", [(1, 1), slow((2, 1))])
def test_what_is_frozen_is_not_computed_and_the_rest_is_the_same(wanted, stride, way, device):
    source, weight, twist, _ = twist_case("similarity", device=device)
    step = steps.TwistStep((1, 1), (1, 1), "centered", 1, stride)
    slope = draw(5, 2, 4, *step.size(5, 6), device=device)
    step = gpu.prepared(step, source, twist)
    every = step.gradient(slope, source, weight, twist, wanted=(True, False, True, False))
    some = step.gradient(slope, source, weight, twist, wanted=(wanted[0], False, wanted[1], False))
    for found, expected, want in zip(some, every, (wanted[0], False, wanted[1], False), strict=True):
        if want:
            torch.testing.assert_close(found, expected)
        else:
            assert found is None


@device
def test_a_bank_is_made_in_batches_that_fit(monkeypatch, device):
    """One image at a time, or all: the same, and no bank is larger than the limit says."""
    step, tensors = steps.TwistStep((1, 1), (1, 1), "centered"), twist_case("similarity", device=device)
    whole, _ = both(step, tensors)
    forget()
    monkeypatch.setattr(triton_tiles, "BANK_LIMIT", 1)
    parts, _ = both(step, tensors)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b)


@device
def test_the_same_bits_every_time(device):
    step, tensors = steps.TwistStep((1, 1), (1, 1), "centered"), twist_case("similarity", 16, device=device,
                                                                           dtype=torch.bfloat16)
    assert triton_tiles.in_registers("similarity", 16, 4, torch.bfloat16, True)
    for a, b in zip(both(step, tensors)[0], both(step, tensors)[0], strict=True):
        assert torch.equal(a, b)


def test_few_channels_are_mixed_from_registers_and_many_by_cublas():
    half = torch.bfloat16
    chosen = partial(triton_tiles.in_registers, "similarity")
    assert chosen(64, 64, half, False) and chosen(3, 128, torch.float16, True)
    assert not chosen(256, 256, half, True) and not chosen(64, 256, half, True) and not chosen(128, 128, half, False)
    assert not triton_tiles.in_registers("iso", 128, 128, half, True)
    assert not chosen(64, 64, torch.float32, True), "cuBLAS multiplies float32 better"
    for channels, out, rows in itertools.product((1, 3, 64, 100, 128), (1, 64, 128), (1, 7, 56)):
        for blocks in (triton_tiles.mix_tiles("iso", channels, out, rows),
                       triton_tiles.back_tiles(channels, out, rows, True)):
            assert blocks["BK"] >= max(16, channels) and blocks["BN"] >= 16 and blocks["ROWS"] <= rows


@device
def test_float16_stays_finite_where_the_input_does(way, device):
    """A field of large numbers is larger than they are, and than float16 holds; the mixture may still fit."""
    u = torch.full((1, 1, 4, 4), 20000.0, dtype=torch.float16, device=device)
    u[..., ::2] *= -1
    weight, twist = torch.zeros(1, 1, 3, 3), torch.full((8, 1, 1), 0.01)
    step = gpu.prepared(steps.TwistStep((1, 1), (1, 1), "centered"), u, twist)
    output = step.forward(u, *(t.to(u) for t in (weight, twist)), None)
    assert output.isfinite().all() and output.abs().max() > 100


@device
@pytest.mark.parametrize("operators", ["similarity", slow("affine"), slow("first_order"), "iso"])
def test_small_gradients_in_float16_keep_their_bits(operators, way, device):
    """Without a GradScaler ``float16`` has few bits left.  A field is smaller than its map, and loses the more.

    A zoom's is a third as large, and held at the half: 6 times the map's error.  An eighth of it would lose 20 times.
    """
    if operators == "iso":
        step = steps.IsoStep(1, "centered")
        tensors = [draw(1, 2, 20, 8, 8, device=device), draw(2, 4, 20, 4, device=device), draw(3, 4, device=device)]
    else:
        step, tensors = steps.TwistStep((1, 1), (1, 1), "centered"), twist_case(operators, 20, (8, 8), device=device)
    tensors = [tensor.half() for tensor in tensors]
    slope = 3e-6 * draw(5, 2, 4, 8, 8, device=device)
    leaves = [t.double().cpu().requires_grad_() for t in tensors]
    expected = torch.autograd.grad(step.plain(*leaves), leaves, slope.half().double().cpu())
    source, *parameters = tensors
    step = gpu.prepared(step, source, parameters[-2])
    found = step.gradient(slope.half(), source, *parameters[:-1], wanted=(True,) * len(tensors))
    rounded = relative(slope.half(), slope.double().cpu())
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) < 8 * rounded


@device
@pytest.mark.parametrize("make", [partial(ConvTwist2d, 3, 4, padding=1), partial(IsoTwist2d, 3, 4)])
def test_autocast_and_all_types_take_the_kernels(make, engine, device):
    """The output is typed as Conv2d's; parameters get gradients of their own type; float64 goes the plain way."""
    layer, u = make().to(device), draw(1, 2, 3, 4, 5, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        output = layer(u)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16 and engine == ["forward", "gradient"]
    gradients = [p.grad.clone() for p in layer.parameters()]
    assert all(g.dtype == torch.float32 for g in gradients)
    engine.clear()
    layer.zero_grad()
    layer.double()(u.double()).sum().backward()
    assert engine == []
    for ours, p in zip(gradients, layer.parameters(), strict=True):
        assert relative(ours, p.grad.cpu()) < 2e-2


@device
@pytest.mark.parametrize("make", [partial(ConvTwist2d, 3, 4, padding=1), partial(IsoTwist2d, 3, 4),
                                  partial(ConvTwist2d, 3, 4, padding=1, stride=2)])
def test_autocast_around_the_backward_pass_changes_no_number(make, engine, device):
    layer, found = make().to(device), []
    for inside in (False, True):
        u = draw(1, 2, 3, 6, 6, device=device).requires_grad_()
        output = layer(u)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=inside):
            output.backward(draw(2, *output.shape, device=device))
        found.append([u.grad, *(p.grad.clone() for p in layer.parameters())])
        layer.zero_grad()
    assert engine == ["forward", "gradient"] * 2
    for outside, inside in zip(*found, strict=True):
        assert torch.equal(outside, inside)


@device
@pytest.mark.parametrize("own, cast", [(torch.bfloat16, torch.float16), (torch.float16, torch.bfloat16)])
@pytest.mark.parametrize("make", [partial(ConvTwist2d, 8, 4, padding=1), slow(partial(IsoTwist2d, 8, 4)),
                                  slow(partial(ConvTwist2d, 8, 4, padding=1, stride=2))])
def test_a_model_of_16_bits_under_autocast_to_the_other_16(make, own, cast, way, engine, device):
    layer, u = make().to(device, own), draw(1, 2, 8, 6, 6, dtype=own, device=device)
    with torch.autocast(device, dtype=cast):
        output = layer(u)
    output.float().square().sum().backward()
    assert output.dtype == cast and {p.grad.dtype for p in layer.parameters()} == {own}
    gradients = [p.grad.double().cpu() for p in layer.parameters()]
    layer.zero_grad()
    layer.double()(u.double()).square().sum().backward()
    assert max(relative(g, p.grad.cpu()) for g, p in zip(gradients, layer.parameters(), strict=True)) < 2e-2


@device
@pytest.mark.parametrize("make", [partial(ConvTwist2d, 3, 4, padding=1), partial(IsoTwist2d, 3, 4)])
def test_second_derivatives_of_what_autocast_computed(make, engine, device):
    layer, u = make().to(device), draw(1, 2, 3, 6, 6, device=device).requires_grad_()
    seconds = []
    for cast in (True, False):
        with torch.autocast(device, dtype=torch.bfloat16, enabled=cast):
            output = layer(u)
        firsts = torch.autograd.grad(output.float().square().sum(), [u, *layer.parameters()], create_graph=True)
        seconds.append(torch.autograd.grad(sum(g.square().sum() for g in firsts), u)[0])
    assert relative(seconds[0], seconds[1].double().cpu()) < 5e-2


@pytest.mark.parametrize("step", [steps.TwistStep((1, 1), (1, 1), "centered"), steps.IsoStep(1, "centered"),
                                  steps.TwistStep((1, 1), (1, 1), "centered", stride=(2, 2))])
def test_no_machine_code_depends_on_the_size_of_maps(step, way, monkeypatch):
    """Or the last batch of an epoch, and each picture of another size, would take a second to compile."""
    monkeypatch.setattr(triton_launch.Launcher, "__call__", lambda self, *tensors: None)
    compiled = []
    for batch, *sides in ((1, 28, 32), (3, 33, 47)):
        source = draw(1, batch, 4, *sides, dtype=torch.bfloat16).to(memory_format=LAST)
        iso = isinstance(step, steps.IsoStep)
        mixing = draw(2, *((4, 4, 4) if iso else (2, 4, 4)), dtype=torch.bfloat16)
        weights = (mixing,) if iso else (draw(3, 4, 4, 3, 3, dtype=torch.bfloat16), mixing)
        prepared = gpu.prepared(step, source, mixing)
        output = prepared.forward(source, *weights, None)
        prepared.gradient(torch.ones_like(output), source, *weights, wanted=(True,) * (2 + len(weights)))
        compiled.append([(launcher.kernel, {name: value for name, value in launcher.shown.items()
                                            if name not in triton_kernels._SIZES})
                         for walk in (prepared.ahead, prepared.back) for launcher in walk.launchers.values()])
    assert compiled[0] == compiled[1] and len(compiled[0]) >= 2


def test_a_walk_takes_more_rows_where_cuda_launches_no_more_programs():
    for blocks in (triton_tiles.near_tiles, triton_tiles.bank_tiles, triton_tiles.spread_tiles):
        for rows in (7, 56, 524_281, 1 << 26):
            assert -(-rows // blocks(64, rows)["ROWS"]) <= 65_535


@device
@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("make", [partial(ConvTwist2d, 3, 4, padding=1), slow(partial(IsoTwist2d, 3, 4))])
def test_compiled_without_a_graph_break(make, cast, engine, device):
    layer, u = make().to(device), draw(1, 2, 3, 4, 5, device=device)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="inductor" if CUDA else "aot_eager")
    found = []
    for module in (layer, compiled):
        engine.clear()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=cast):
            output = module(u)
        found.append((output, *torch.autograd.grad(output.float().pow(2).sum(), list(layer.parameters()))))
        assert engine == ["forward", "gradient"]
    for a, b in zip(*found, strict=True):  # another layout, and so another order of rounding
        assert relative(a, b.double().cpu()) < (2e-2 if cast else 2e-6)


@on_cuda
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("make, channels", [
    (partial(ConvTwist2d, 64, 64, padding=1), 64),
    (partial(ConvTwist2d, 256, 32, padding=1, bias=False), 256),
    (partial(ConvTwist2d, 64, 64, padding=1, stride=2), 64),
    (partial(ConvTwist2d, 32, 32, padding=2, dilation=2, operators="first_order"), 32),
    (partial(ConvTwist2d, 64, 64, padding=1, groups=4), 64),
    (partial(IsoTwist2d, 64, 64), 64),
    (partial(IsoTwist2d, 256, 32, reduce=2), 256),
])
def test_a_compiled_program_launches_the_kernels_itself(make, channels, last, device):
    """In a small network, where compilers choose layouts: loss and gradients are the eager ones, within rounding."""
    torch.manual_seed(0)
    layer = make()
    network = torch.nn.Sequential(torch.nn.Conv2d(8, channels, 1), torch.nn.ReLU(), layer,
                                  torch.nn.Conv2d(layer.out_channels, 8, 1)).to(device, torch.bfloat16)
    u = draw(1, 4, 8, 12, 14, dtype=torch.bfloat16, device=device)
    if last:
        network, u = network.to(memory_format=LAST), u.contiguous(memory_format=LAST)
    torch._dynamo.reset()
    found = []
    for module in (network, torch.compile(network, fullgraph=True)):
        output = module(u)
        found.append((output, *torch.autograd.grad(output.float().pow(2).mean(), list(network.parameters()))))
    for ours, expected, name in zip(found[1], found[0], ("output", *dict(network.named_parameters())), strict=True):
        assert ours.stride() == expected.stride()
        assert relative(ours, expected.double().cpu()) < 2e-2, name


@device
def test_steps_channels_and_checkpoints(engine, device):
    """Several steps, permuted groups, activation checkpointing: values and gradients in float32 as in float64."""
    layer = ConvTwist2d(8, 8, padding=1, groups=2, steps=2, permute="cycle").to(device)
    u = draw(1, 1, 8, 4, 5, device=device).requires_grad_()
    output = torch.utils.checkpoint.checkpoint(layer, u, use_reentrant=False)
    ours = output.detach(), *torch.autograd.grad(output.sum(), [u, *layer.parameters()])
    assert engine.count("forward") == 4 and engine.count("gradient") == 2
    layer, v = layer.double(), u.detach().double().requires_grad_()
    output = layer(v)
    expected = output.detach(), *torch.autograd.grad(output.sum(), [v, *layer.parameters()])
    for a, b in zip(ours, expected, strict=True):
        assert relative(a, b.cpu()) < 2e-6


@device
def test_second_derivatives_and_transforms_go_the_plain_way(engine, device):
    """``gradcheck`` in float64 is of the plain layer; what the kernels start, the plain layer differentiates on."""
    tensors = twist_case("similarity", size=(3, 4), device=device)
    step = steps.TwistStep((1, 1), (1, 1), "centered")
    leaves = [t.double().requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(lambda *t: conv_twist2d(*t, padding=1), leaves, fast_mode=True,
                                    nondet_tol=1e-9) and engine == []  # cuDNN's convolutions differ in the last bits
    leaves = [t.clone().requires_grad_() for t in tensors]
    (first,) = torch.autograd.grad(apply_step(step, *leaves).pow(2).sum(), leaves[0], create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), leaves[2])
    leaves = [t.double().requires_grad_() for t in tensors]
    (first,) = torch.autograd.grad(step.plain(*leaves).pow(2).sum(), leaves[0], create_graph=True)
    (expected,) = torch.autograd.grad(first.pow(2).sum(), leaves[2])
    assert relative(second, expected.cpu()) < 1e-5


@device
@pytest.mark.parametrize("make", [partial(ConvTwist2d, 3, 4, padding=1), partial(IsoTwist2d, 3, 4)])
def test_an_empty_batch_goes_the_plain_way(make, engine, device):
    layer, u = make().to(device), draw(1, 2, 3, 4, 5, device=device)
    output = layer(u[:0])
    output.sum().backward()
    assert output.shape == (0, 4, 4, 5) and engine == []
    assert all(p.grad is None or not p.grad.any() for p in layer.parameters())
    layer(u)
    assert engine == ["forward"]


def test_where_the_kernels_do_not_serve(monkeypatch):
    """Another type, mixed types, a group too narrow; a CPU; and the reason is said."""
    half, whole = draw(1, 1, 3, 4, 4, dtype=torch.float16), draw(1, 4, 3, 3, 3)
    if not CUDA:
        assert gpu.why_not() == "there is no CUDA device" and not gpu.serves([whole])
        from convtwist._engine.config import _gpu

        assert _gpu().endswith("plain PyTorch operations for other types; not the GPU kernels: there is no CUDA device")
    monkeypatch.setattr(gpu, "holds", lambda maps: True)
    monkeypatch.setattr(gpu, "_usable", lambda index: True)
    assert gpu.serves([half, half, None]) and not gpu.serves([half, whole]) and not gpu.serves([whole.double()])
    assert _engine._on_gpu(half)
    assert gpu.gains(64, 1) and gpu.gains(64, 16) and not gpu.gains(64, 32) and not gpu.gains(1024, 32)


def test_an_old_triton_and_a_broken_one_are_named(monkeypatch):
    monkeypatch.setattr(gpu.importlib.metadata, "version", lambda name: "3.1.0")
    assert gpu.triton_missing.__wrapped__() == "Triton 3.1.0 is older than 3.3"
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert gpu.triton_missing.__wrapped__().startswith("Triton is not installed")


def on_no_gpu(script, *arguments):
    """Return what a script prints that compiles for a GPU, in a process where nothing is interpreted."""
    surroundings = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    surroundings["PYTHONPATH"] = os.pathsep.join(map(str, (Path(__file__).parents[1], *sys.path[1:])))
    done = subprocess.run([sys.executable, Path(__file__).with_name(script), *arguments], env=surroundings,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.skipif(CUDA, reason="the script stands in for a GPU where there is none")
@pytest.mark.skipif(not gpu.COMPILER_TAKES_KERNELS, reason="an older PyTorch")
def test_a_compiler_is_shown_the_kernels():
    """Of every layer, forward and backward, in either layout; an operator stays whole where the program can't do it.

    That is where sizes are left open, and where PyTorch doesn't know what a kernel writes.
    """
    whole = "convtwist::conv_twist, convtwist::conv_twist_gradient"
    lines = on_no_gpu("shown_code.py")
    assert len(lines) == 2 * 8 + 1
    for line in lines:
        name, found = line.split(": ", 1)
        kernels = "triton_kernel_wrapper_functional, triton_kernel_wrapper_functional"
        kernels = {"strided": f"{kernels}, triton_kernel_wrapper_functional", "sizes left open": whole,
                   "mistaken": whole}.get(name, kernels)
        assert found == kernels, line


@pytest.fixture
def traced(monkeypatch):
    """Let a compiler see launches in the interpreter, as it sees those of compiled kernels; return how many ran."""
    calls, ran = [], []

    class Wrapped:
        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, grid):
            def launch(*arguments, **constants):
                tensors = [argument for argument in arguments if isinstance(argument, torch.Tensor)]
                writes = [1]
                if self.kernel is triton_registers.fields_kernel:
                    writes = [k for k, written in ((2, constants["MIX"]), (4, constants["MULTIPLY"])) if written]
                calls.append((self.kernel, grid, writes, arguments[len(tensors) :], constants))
                read = [tensor for k, tensor in enumerate(tensors) if k not in writes]
                torch.ops.convtwist_tests.launch(len(calls) - 1, [tensors[k] for k in writes], read)
            return launch

    def launch(number, written, read):
        kernel, grid, writes, numbers, constants = calls[number]
        ran.append(kernel)
        tensors = list(read)
        for k, tensor in zip(writes, written, strict=True):
            tensors.insert(k, tensor)
        kernel[grid](*tensors, *numbers, **constants)

    library = torch.library.Library("convtwist_tests", "DEF")
    library.define("launch(int number, Tensor(a!)[] written, Tensor[] read) -> ()")
    library.impl("launch", launch, "CPU")
    torch.library.register_fake("convtwist_tests::launch", lambda *given: None, lib=library)
    monkeypatch.setattr(torch.library, "wrap_triton", Wrapped)
    monkeypatch.setattr(triton_steps, "INTERPRETED", False)
    yield ran
    library._destroy()


@pytest.mark.skipif(CUDA, reason="there a test compares the compiled program itself")
@pytest.mark.skipif(not gpu.COMPILER_TAKES_KERNELS, reason="an older PyTorch")
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("make", [
    partial(ConvTwist2d, 16, 16, padding=1),
    slow(partial(ConvTwist2d, 132, 3, padding=1, bias=False)),
    partial(ConvTwist2d, 16, 16, padding=1, stride=2),
    slow(partial(ConvTwist2d, 4, 4, padding=2, dilation=2, operators="first_order")),
    slow(partial(ConvTwist2d, 8, 8, padding=1, groups=2)),
    partial(IsoTwist2d, 16, 16),
    slow(partial(IsoTwist2d, 5, 3, reduce=2)),
])
def test_a_program_with_the_kernels_in_its_midst_computes_the_same(make, last, engine, traced):
    """What a compiler makes of a step, run as it stands: output and gradients in float16 are those in float64."""
    torch.manual_seed(0)
    layer, u = make().half(), draw(1, 2, make.args[0], 4, 6, dtype=torch.float16)
    if last:
        layer, u = layer.to(memory_format=LAST), u.contiguous(memory_format=LAST)
    leaves = u.requires_grad_(), *layer.parameters()
    torch._dynamo.reset()
    output = torch.compile(layer, fullgraph=True, backend="aot_eager")(u)
    slope = draw(2, *output.shape, dtype=torch.float16)
    found = output.detach(), *torch.autograd.grad(output, leaves, slope)
    assert len(traced) >= 2 and output.is_contiguous(memory_format=LAST if last else torch.contiguous_format)
    exact = make().double()
    exact.load_state_dict({name: tensor.double() for name, tensor in layer.state_dict().items()})
    v = u.detach().double().requires_grad_()
    output = exact(v)
    expected = output.detach(), *torch.autograd.grad(output, (v, *exact.parameters()), slope.double())
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) < 2 * MOST[torch.float16]


@pytest.mark.slow
@pytest.mark.parametrize("capability, unit", [("80", "fp32"), ("90", "fp64")])
def test_every_kernel_compiles_to_machine_code_without_a_gpu(capability, unit):
    """For the A100's generation as an eager call launches it, for the H100's as a compiled program does.

    The quickest of the back kernels, as measured on an H200, spill some words; so much is let pass.
    """
    lines = [line.split() for line in on_no_gpu("machine_code.py", capability, unit)]
    assert len(lines) == (22 if capability == "90" else 9)
    assert {line[0] for line in lines} == {*triton_kernels.__all__, *triton_registers.__all__}
    for name, dtype, bank, stages, ahead, narrow, registers, spilled, shared in lines:
        assert int(narrow) == 0, f"{name} {bank} multiplies in 32 bits what it then takes for an offset in 64"
        assert (int(ahead) > 0) == (int(stages) > 1), f"{name} {bank}: Triton doesn't fetch ahead"
        assert int(registers) <= 255 and int(shared) <= (227 if capability == "90" else 99) * 1024, name
        most = 32 if name == "fields_kernel" else 0
        assert int(spilled) <= most, f"{name} {dtype} {bank} spills {spilled} bytes: choose smaller blocks"


def test_importing_the_package_imports_no_triton():
    code = "import sys, torch; had = 'triton' in sys.modules; import convtwist, convtwist.functional; " \
           "assert had or 'triton' not in sys.modules; assert 'convtwist._engine.triton_kernels' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@on_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_cuda_graph_holds_a_training_step(dtype, device):
    """Nothing waits for the device; the graph repeats the eager step."""
    layer = ConvTwist2d(64, 64, padding=1).to(device, dtype).to(memory_format=LAST)
    u = draw(1, 4, 64, 14, 14, dtype=dtype, device=device).to(memory_format=LAST).requires_grad_()

    def step():
        layer.zero_grad(set_to_none=True)
        u.grad = None
        layer(u).float().pow(2).sum().backward()

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    expected = [layer.twist.grad.clone(), u.grad.clone()]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    graph.replay()
    torch.cuda.synchronize()
    for ours, theirs in zip((layer.twist.grad, u.grad), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@device
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_at_any_address_one_after_the_other(dtype, way, device):
    """What was compiled for maps at multiples of 16 bytes isn't used for others, nor the other way round."""
    step = steps.TwistStep((1, 1), (1, 1), "centered")
    tensors = twist_case("similarity", 8, dtype=dtype, device=device)
    memory = torch.zeros(tensors[0].numel() + 3, dtype=dtype, device=device)
    results = []
    for offset in (0, 0, 1, 0, 3):
        source = memory[offset:].as_strided(tensors[0].shape, (240, 1, 48, 8), offset)
        source.copy_(tensors[0])
        found, expected = both(step, [source, *tensors[1:]])
        assert_close(found, expected, dtype, f"offset {offset}")
        if not offset:
            results.append(found)
    for found in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found, results[0], strict=True))


@device
def test_weights_of_another_type_have_a_launcher_of_their_own(device, monkeypatch):
    """A launcher hands over pointers unseen; under autocast the weights are ``float32``, and in a half model not."""
    made, usual = [], triton_blocks.Launcher
    monkeypatch.setattr(triton_blocks, "Launcher", lambda *given: made.append(given) or usual(*given))
    tensors = twist_case("similarity", 16, dtype=torch.bfloat16, device=device)
    source, weight, twist, bias = tensors
    step = gpu.prepared(steps.TwistStep((1, 1), (1, 1), "centered"), source, twist)
    assert step is gpu.prepared(steps.TwistStep((1, 1), (1, 1), "centered"), source, twist.float())
    found = [step.forward(source, weight, kind, bias) for kind in (twist, twist.float(), twist)]
    assert len(made) == 2 and torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    slope = found[0].contiguous(memory_format=LAST)
    for kind in (twist, twist.float(), twist):
        gradients = step.gradient(slope, source, weight, kind, wanted=(True, True, True, True))
        assert gradients[2].dtype == kind.dtype
    assert len(made) == 4


@pytest.mark.parametrize("capability, large", [((8, 0), False), ((8, 9), False), ((9, 0), True), ((10, 0), True),
                                               ((12, 0), False)])
def test_only_large_multiprocessors_get_large_blocks(monkeypatch, capability, large):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert triton_tiles.is_large(torch.device("cuda", 0)) is large


def test_a_launcher_looks_for_machine_code_once_and_again_at_other_addresses(monkeypatch):
    calls = []

    class Kernel:
        arg_names = "maps", "pairs", "x_unit", "BM", "WIDE"

        def __getitem__(self, grid):
            return lambda *given, **named: calls.append(("looked", len(given), named)) or Compiled()

    class Compiled:
        def __getitem__(self, grid):
            return lambda *given, stream: calls.append(("ran", given[1:], stream))

    class Driver:
        get_current_device = staticmethod(lambda: 0)
        get_current_stream = staticmethod(lambda index: 77)

    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(triton_launch.triton.runtime, "driver", SimpleNamespace(active=Driver))
    launch = triton_launch.Launcher(Kernel(), (1, 1, 1), torch.device("cuda", 0), [5, 0.5],
                                    {"WIDE": False, "BM": 16, "num_warps": 4}, (0,))
    memory = torch.zeros(64)
    first = memory[(-memory.data_ptr() % 16) // 4 :]
    looked = "looked", 3, {"WIDE": False, "BM": 16, "num_warps": 4, "enable_fp_fusion": True}
    ran = "ran", (5, 0.5, 16, False), 77
    launch(first[1:])  # what is found for an odd address isn't kept
    launch(first)
    launch(first)
    launch(first[1:])
    launch(first[4:])
    assert calls == [looked, looked, ran, looked, ran]
    monkeypatch.setattr(Driver, "get_current_device", staticmethod(lambda: 1))
    launch(first)
    assert calls[-1] == looked, "another device is the current one"


@on_cuda
@pytest.mark.parametrize("channels", [64, 256])
@pytest.mark.parametrize("cast", [None, torch.float16, torch.bfloat16])
def test_two_steps_of_training_as_near_to_float64_as_the_plain_way(channels, cast, device, monkeypatch):
    found = {}
    for name in ("kernels", "plain", "exact"):
        forget()
        if name == "plain":
            monkeypatch.setattr(gpu, "serves", lambda tensors: False)
        torch.manual_seed(0)
        # Without a bias in front of the BatchNorm, whose gradient would be nothing but rounding.
        network = torch.nn.Sequential(ConvTwist2d(channels, channels, padding=1, bias=False),
                                      torch.nn.BatchNorm2d(channels), torch.nn.ReLU(),
                                      ConvTwist2d(channels, channels, stride=2, padding=1),
                                      IsoTwist2d(channels, 16)).to(device, memory_format=LAST)
        u = draw(1, 4, channels, 14, 14, device=device).to(memory_format=LAST)
        if name == "exact":
            network, u = network.double(), u.double()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            with torch.autocast("cuda", dtype=cast or torch.float16, enabled=cast is not None and name != "exact"):
                loss = network(u).double().pow(2).mean()
            loss.backward()
            optimizer.step()
        found[name] = [loss.detach(), *(p.grad for p in network.parameters())]
    for ours, plain, exact in zip(*found.values(), strict=True):
        error, usual = (relative(given, exact.double().cpu()) for given in (ours, plain))
        assert error <= 1.5 * usual + 1e-6, f"{error:.1e}, the plain way {usual:.1e}"


@on_cuda
def test_maps_beyond_32_bits(device):
    """More than 2^31 numbers: the last images come out as they do alone."""
    if torch.cuda.mem_get_info()[0] < 30e9:
        pytest.skip("needs 30 GB of the GPU's memory")
    layer = ConvTwist2d(64, 64, padding=1, bias=False).to(device, torch.bfloat16).to(memory_format=LAST)
    u = torch.randn(680, 224, 224, 64, dtype=torch.bfloat16, device=device).permute(0, 3, 1, 2)
    assert u.numel() > 2**31
    with torch.no_grad():
        ours, alone = layer(u)[-2:], layer(u[-2:].clone())
    torch.testing.assert_close(ours, alone, rtol=2e-2, atol=2e-2)
