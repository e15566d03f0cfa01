"""The operators that stand for the layers in compiled code: values, gradients, transforms, and where they are used."""

import itertools
import os
import subprocess
import sys
from contextlib import nullcontext
from functools import cache

import pytest
import torch
from torch._inductor.codecache import CppCodeCache

from convtwist import ConvTwist2d, IsoTwist2d, _engine
from convtwist._engine import blocks, cpp, custom_ops, steps
from convtwist.functional import conv_twist2d, iso_twist2d

torch.set_num_threads(1)

FIELDS = {"similarity": 2, "affine": 4, "first_order": 8}


def draw(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=["C++", "blocks"])
def way(request, monkeypatch):
    """Mix the fields by compiled code, or without: what comes out doesn't depend on a compiler."""
    if request.param == "blocks":
        monkeypatch.setattr(cpp, "_loaded", lambda: (None, "a test says so"))
        monkeypatch.setattr(cpp, "_announce", lambda: None)
    elif cpp._kernel() is None:
        if os.environ.get("CI"):
            pytest.fail("the C++ was not compiled, or PyTorch's matrix product not found in it")
        pytest.skip("no C++ compiler (Debian: apt-get install g++), or a PyTorch without MKL")


def twist_case(operators, channels=3, size=(6, 8), bias=True):
    tensors = [draw(1, 3, channels, *size), draw(2, 4, channels, 3, 3), draw(3, FIELDS[operators], 4, channels)]
    return [*tensors, draw(4, 4) if bias else None]


def iso_case(channels=3, bias=True):
    return [draw(1, 3, channels, 6, 8), draw(2, 4, channels, 4), draw(4, 4) if bias else None]


def operator(step, last=True):
    """Return the operator of a step, for maps in ``channels_last`` or contiguous, as a function of its tensors."""
    call = torch.ops.convtwist.conv_twist if isinstance(step, steps.TwistStep) else torch.ops.convtwist.iso_twist
    layout = torch.channels_last if last else torch.contiguous_format
    return lambda source, *rest: call(source.contiguous(memory_format=layout), *rest, last, "", *vars(step).values())


def both(ours, plain, tensors):
    for layer in (ours, plain):
        leaves = [None if t is None else t.clone().requires_grad_() for t in tensors]
        output = layer(*leaves)
        found = torch.autograd.grad(output, [t for t in leaves if t is not None], draw(5, *output.shape))
        yield output.detach(), *found


@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("block", [pytest.param(1, marks=pytest.mark.slow), 400,
                                   pytest.param(1 << 20, marks=pytest.mark.slow)])
def test_the_twist_agrees_with_the_plain_layer(operators, block, way, monkeypatch):
    """In blocks and strips of one row or image, of some with a rest, and of all; channels in eights with a rest."""
    monkeypatch.setattr(blocks, "_BLOCK", block)
    monkeypatch.setattr(cpp, "_STRIP", block)
    for padding, dilation, stride, (coords, bias), last, channels in itertools.product(
            ((1, 1), (0, 2)), ((1, 1), (2, 1)), ((1, 1), (2, 3)), (("centered", True), ("legacy", False)),
            (False, True), (1, 3, 19)):
        step = steps.TwistStep(padding, dilation, coords, 1, stride)
        results = both(operator(step, last), step.plain, twist_case(operators, channels, bias=bias))
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("reduce", [1, 2])
def test_the_isotropic_layer_agrees_with_the_plain_one(reduce, way):
    for coords, bias, last, channels in itertools.product(("centered", "legacy"), (True, False), (False, True),
                                                          (1, 3, 19)):
        step = steps.IsoStep(reduce, coords)
        results = both(operator(step, last), step.plain, iso_case(channels, bias))
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=5e-5)


def test_pytorch_finds_the_operators_sound(way):
    """Schema, shapes and strides foretold, gradients registered, traced as they run (``torch.library.opcheck``)."""
    ours, checks = torch.ops.convtwist, []
    for last in (False, True):
        checks += [(ours.conv_twist, twist_case("similarity"), (last, "", [1, 0], [1, 1], "centered", 1, [1, 2])),
                   (ours.iso_twist, iso_case(), (last, "", 2, "centered"))]
    for call, tensors, options in checks:
        if options[0]:  # the weight as in a network that was moved to channels_last
            tensors[:2] = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors[:2]]
        leaves = [t.requires_grad_() for t in tensors]
        found = torch.library.opcheck(call, (*leaves, *options))
        assert set(found.values()) == {"SUCCESS"}
        gradients = torch.autograd.grad(call(*leaves, *options).sum(), leaves[1:])
        assert all(g.stride() == t.stride() for g, t in zip(gradients, leaves[1:], strict=True))


@pytest.mark.parametrize("transform", [
    "vmap", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gradients of each", "grad", "jvp"))])
@pytest.mark.parametrize("name", ["twist", "iso"])
def test_transforms_in_compiled_code(name, transform, way):
    """``vmap``, ``grad`` and ``jvp`` of a layer give what they give without a compiler."""
    if name == "twist":
        (u, *parameters), layer = twist_case("similarity"), lambda *t: conv_twist2d(*t, padding=1)
    else:
        (u, *parameters), layer = iso_case(), iso_twist2d
    transforms = {
        "vmap": lambda u: torch.vmap(layer, (0, *(None for _ in parameters)))(torch.stack([u, 2 * u]), *parameters),
        "gradients of each": lambda u: torch.vmap(torch.func.grad(
            lambda v, *more: layer(v[None], *more).pow(2).sum(), argnums=1), (0, *(None for _ in parameters)))(
                u, *parameters),
        "grad": torch.func.grad(lambda u: layer(u, *parameters).pow(2).sum()),
        "jvp": lambda u: torch.func.jvp(lambda u: layer(u, *parameters), (u,), (2 * u,))[1],
    }
    torch._dynamo.reset()
    ours = torch.compile(transforms[transform], fullgraph=True, backend="aot_eager")(u)
    torch.testing.assert_close(ours, transforms[transform](u), rtol=1e-4, atol=1e-3)


def test_the_package_can_be_imported_anew():
    """As after an upgrade in a running notebook: the operators are registered again, and work."""
    code = (
        "import sys, torch, convtwist; from convtwist._engine import custom_ops as old\n"
        "for name in [name for name in sys.modules if name.startswith('convtwist')]: del sys.modules[name]\n"
        "import convtwist; from convtwist._engine import custom_ops; assert custom_ops is not old\n"
        "layer, u = convtwist.ConvTwist2d(3, 4, padding=1), torch.rand(1, 3, 5, 5)\n"
        "torch.testing.assert_close(torch.compile(layer, backend='aot_eager')(u), layer(u), rtol=1e-4, atol=1e-5)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("make", [ConvTwist2d, IsoTwist2d])
def test_where_the_operators_stand(make, way):
    """In compiled code for a CPU in ``float32``; not where a program is exported, nor under autocast."""
    layer, graphs = make(3, 4), []

    def keep(graph, inputs):
        graphs.append(str(graph.graph))
        return graph.forward

    u = draw(1, 2, 3, 6, 6)
    torch._dynamo.reset()
    torch.compile(layer, fullgraph=True, backend=keep)(u)
    torch._dynamo.reset()
    with torch.autocast("cpu"):
        torch.compile(layer, fullgraph=True, backend=keep)(u)
    exported = str(torch.export.export(layer, (u,)).graph)
    assert ["convtwist" in graph for graph in (*graphs, exported)] == [True, False, False]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("make", [lambda: ConvTwist2d(4, 4, padding=1), lambda: IsoTwist2d(4, 4),
                                  lambda: ConvTwist2d(4, 4, padding=1, groups=2, permute="cycle")])
def test_a_batch_whose_size_is_known_at_run_time_only(make, layout):
    """It may be empty; ``nn.Conv2d`` takes it, too."""
    layer = make()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for batch in (2, 0):
        u = draw(1, batch, 4, 6, 8).to(memory_format=layout)
        torch._dynamo.decorators.mark_unbacked(u, 0)
        results = []
        for function in (compiled, layer):
            output = function(u)
            results.append((output, *torch.autograd.grad(output.square().sum(), list(layer.parameters()))))
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("missing", ["compiler", "product"])
def test_without_what_the_code_needs(missing, monkeypatch):
    """The fields are mixed in blocks, with the same result; it is tried but once; a wrong shape still shows."""
    attempts = []

    def fail(*arguments):
        attempts.append(arguments)
        raise OSError("nothing there")

    if missing == "compiler":
        monkeypatch.setattr(CppCodeCache, "load", fail)
    else:
        monkeypatch.setattr(cpp.ctypes, "CDLL", fail)
    monkeypatch.setattr(cpp, "_loaded", cache(cpp._loaded.__wrapped__))
    monkeypatch.setattr(cpp, "_announce", cache(cpp._announce.__wrapped__))
    tensors = twist_case("affine")
    step = steps.TwistStep((1, 1), (1, 1), "centered")
    for turn in range(2):
        with pytest.warns(RuntimeWarning, match="without their C\\+\\+") if turn == 0 else nullcontext():
            ours, expected = both(operator(step), step.plain, tensors)
        for a, b in zip(ours, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=5e-5)
    assert len(attempts) == 1
    with pytest.raises(RuntimeError):
        operator(step)(tensors[0][:, :2], *tensors[1:])


@pytest.mark.parametrize("way", ["C++"], indirect=True)
def test_any_number_of_threads(way):
    """One image or several, threads more than rows: the same to rounding, and bit for bit when repeated."""
    for batch, threads, last in itertools.product((1, 3), (1, 2, 5, 16), (False, True)):
        u, *parameters = twist_case("similarity")
        step, found = steps.TwistStep((1, 1), (1, 1), "centered"), []
        torch.set_num_threads(threads)
        try:
            for _ in range(2):
                ours, expected = both(operator(step, last), step.plain, [u[:batch], *parameters])
                found.append(ours)
        finally:
            torch.set_num_threads(1)
        for first, second, plain in zip(*found, expected, strict=True):
            assert torch.equal(first, second)
            torch.testing.assert_close(first, plain, rtol=1e-5, atol=5e-5)


def test_other_cases_are_left_to_the_compiler():
    u, *parameters = twist_case("similarity")
    assert not custom_ops.allowed(u), "nothing is being compiled"
    assert _engine._suits(u, *parameters) and not _engine._suits(u.double(), *parameters)
    assert not _engine._suits(u, parameters[0].to("meta"))
