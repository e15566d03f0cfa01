"""The layers as three convolutions, which serve a GPU in 16 bits; but for the last, the tests take the CPU for one.

Against the plain layers: the same algebra in float64, and in 16 bits as near as convolutions are.
"""

import pytest
import torch
import torch.nn.functional as F
from scorecard import record

from convtwist import ConvTwist2d, IsoTwist2d
from convtwist._engine import gpu, stacked
from convtwist.operators import plain, plain_isotropic

torch.set_num_threads(1)

FIELDS = {"similarity": 2, "affine": 4, "first_order": 8}
# Of the norm: as conv2d, whose sum, and whose two parts' sum, are rounded; gradients of a cancelling sum are larger.
MOST = {torch.bfloat16: 6e-3, torch.float16: 9e-4}
LAST = torch.channels_last
half = pytest.mark.parametrize("dtype", MOST)


@pytest.fixture(autouse=True)
def cpu_for_a_gpu(request, monkeypatch):
    monkeypatch.setattr(gpu, "_usable", lambda index: False)
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr(gpu, "holds", lambda maps: maps.device.type == "cpu")


@pytest.fixture
def any_type(monkeypatch):
    monkeypatch.setattr(stacked, "_gains", lambda source: True)


def draw(seed, *shape, dtype=torch.float64):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return numbers.to(dtype)


def relative(ours, expected):
    return ((ours.double() - expected).norm() / (expected.norm() or 1)).item()


def with_gradients(layer, *tensors):
    """Return output and gradients of a function of tensors."""
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    output = layer(*leaves)
    return output.detach(), *torch.autograd.grad(output, leaves, draw(9, *output.shape, dtype=output.dtype))


def twist_tensors(operators="similarity", groups=1, dtype=torch.float64):
    shapes = (2, 4, 9, 8), (6, 4 // groups, 3, 3), (FIELDS[operators], 6, 4 // groups), (6,)
    return [draw(k, *shape, dtype=dtype) for k, shape in enumerate(shapes)]


@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("options", [
    ((1, 1), (1, 1), (1, 1), 1, "centered"),
    ((2, 1), (0, 2), (1, 1), 2, "centered"),
    ((1, 3), (2, 1), (2, 1), 1, "legacy"),
])
def test_three_convolutions_are_the_layer(any_type, operators, options):
    tensors = twist_tensors(operators, options[3])
    for ours, theirs in zip(with_gradients(lambda *t: stacked.conv_twist(*t, *options), *tensors),
                            with_gradients(lambda *t: plain(*t, *options), *tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduce, groups, coords", [(1, 1, "centered"), (2, 2, "legacy"), (3, 1, "centered")])
def test_three_convolutions_are_the_isotropic_layer(any_type, reduce, groups, coords):
    tensors = draw(0, 2, 4, 9, 8), draw(1, 6, 4 // groups, 4), draw(2, 6)
    for ours, theirs in zip(
            with_gradients(lambda *t: stacked.iso_twist(*t, reduce, groups, coords), *tensors),
            with_gradients(lambda *t: plain_isotropic(*t, reduce, groups, coords), *tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@half
@pytest.mark.parametrize("operators", FIELDS)
def test_sixteen_bits_are_as_near_as_convolutions_are(dtype, operators):
    options = (1, 1), (1, 1), (1, 1), 1, "centered"
    tensors = twist_tensors(operators, dtype=dtype)
    expected = with_gradients(lambda *t: plain(*t, *options), *(t.double() for t in tensors))
    for ours, theirs in zip(with_gradients(lambda *t: stacked.conv_twist(*t, *options), *tensors), expected,
                            strict=True):
        assert ours.dtype == dtype
        assert relative(ours, theirs) < MOST[dtype]
        record(f"three convolutions: largest relative error in {str(dtype)[6:]}", relative(ours, theirs))


@half
def test_a_layer_without_a_twist_is_conv2d_in_every_bit(dtype):
    layer = ConvTwist2d(4, 6, 3, padding=1, twist_init="zeros", dtype=dtype)
    u = draw(0, 2, 4, 9, 8, dtype=dtype).to(memory_format=LAST)
    ours = layer(u)
    assert torch.equal(ours, F.conv2d(u, layer.weight, layer.bias, padding=1))
    assert ours.is_contiguous(memory_format=LAST)


@half
def test_a_constant_map_has_no_twist_inside(dtype):
    layer = ConvTwist2d(4, 6, 3, bias=False, operators="first_order", twist_init="normal", dtype=dtype)
    with torch.no_grad():
        layer.weight.zero_()
        assert layer(torch.full((1, 4, 9, 8), 3.0, dtype=dtype)).eq(0).all()


@half
def test_the_laplacian_of_a_smooth_map_survives_sixteen_bits(dtype):
    ramp = torch.arange(16.0, dtype=torch.float64)
    u = (100 + ramp * ramp[:, None] / 16 + ramp**2 / 16).expand(1, 1, 16, 16).to(dtype)
    weight = torch.zeros(32, 1, 4, dtype=dtype)
    weight[:, 0, 1] = torch.linspace(0.5, 1, 32)
    ours = stacked.iso_twist(u, weight, None, 1, 1, "centered")
    theirs = plain_isotropic(u.double(), weight.double(), None, 1, 1, "centered")
    error = (ours.double() - theirs)[..., 1:-1, 1:-1].abs().max()
    # A kernel of 16 bits alone misses by ten times as much: its middle is 20/6 of the weight, which cancels its ring.
    assert error < 100 * torch.finfo(dtype).eps / 8


@half
def test_quarter_turns_commute(dtype):
    u, weight = draw(0, 2, 4, 9, 9, dtype=dtype), draw(1, 6, 4, 4, dtype=dtype)
    straight = stacked.iso_twist(u, weight, None, 1, 1, "centered")
    turned = stacked.iso_twist(u.rot90(1, (2, 3)), weight, None, 1, 1, "centered")
    assert relative(turned.rot90(-1, (2, 3)), straight.double()) < MOST[dtype]


@half
def test_autocast_computes_in_sixteen_bits_and_parameters_keep_their_type(dtype):
    for layer in (ConvTwist2d(4, 6, 3, padding=1, centers=True), IsoTwist2d(4, 6)):
        u = torch.randn(2, 4, 9, 8, requires_grad=True)
        with torch.autocast("cpu", dtype=dtype):
            output = layer(u)
        output.float().square().sum().backward()
        assert output.dtype == dtype
        assert {t.grad.dtype for t in (u, *layer.parameters())} == {torch.float32}
        assert relative(output, layer(u).double()) < MOST[dtype]


def test_what_serves_which_type(monkeypatch):
    u = torch.ones(1, 4, 5, 5)
    assert stacked._gains(u.bfloat16()) and stacked._gains(u.half())
    assert not stacked._gains(u) and not stacked._gains(u.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert stacked._gains(u) and not stacked._gains(u.double())
    monkeypatch.setattr(gpu, "holds", lambda maps: False)
    assert not stacked._gains(u.bfloat16())


def test_nothing_but_the_input_is_kept():
    layer, u = ConvTwist2d(8, 8, 3, padding=1, dtype=torch.bfloat16), torch.randn(2, 8, 16, 16).bfloat16()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(u.requires_grad_())
    assert {t.data_ptr() for t in kept if t.numel() >= u.numel()} == {u.data_ptr()}


def test_derivatives_of_derivatives_and_transforms(any_type):
    layer = ConvTwist2d(2, 2, 3, padding=1, dtype=torch.float64)
    u = draw(0, 2, 2, 5, 4)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def call(u, parameters):
        return torch.func.functional_call(layer, parameters, (u[None],))[0]

    torch.testing.assert_close(torch.func.vmap(call, (0, None))(u, parameters), layer(u))
    _, change = torch.func.jvp(lambda u: layer(u), (u,), (u,))
    torch.testing.assert_close(change, layer(u) - layer.bias.view(-1, 1, 1))
    torch.autograd.gradgradcheck(lambda u, t: torch.func.functional_call(layer, {"twist": t}, (u,)).square(),
                                 (u.requires_grad_(), parameters["twist"].requires_grad_()))


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: ConvTwist2d(4, 6, 3, 2, 1, operators="affine", centers=True),
                                  lambda: IsoTwist2d(4, 6, reduce=2, gradient=True)])
def test_compiled_without_a_break(any_type, make):
    """With the compiler's decompositions, and short of machine code: a CPU's is not what serves a GPU."""
    layer, u = make(), draw(0, 2, 4, 10, 8, dtype=torch.float32).to(memory_format=LAST)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager_decomp_partition")
    for ours, theirs in zip(with_gradients(compiled, u), with_gradients(layer, u), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@half
def test_on_a_gpu_and_in_a_graph_of_it(dtype):
    twisted = ConvTwist2d(8, 8, 3, padding=1, groups=2, permute=(7, 1, 0, 2, 3, 6, 5, 4), centers=True)
    for layer in (twisted, IsoTwist2d(8, 8, reduce=2)):
        u = draw(0, 2, 8, 12, 10, dtype=dtype)
        layer = layer.to(dtype)
        expected = layer.double()(u.double()).detach()
        layer, u = layer.to("cuda", dtype), u.cuda().to(memory_format=LAST)
        with torch.no_grad():
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                layer(u)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = layer(u)
        graph.replay()
        assert relative(output.cpu(), expected) < MOST[dtype]
