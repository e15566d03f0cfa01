"""Both layers put their output into memory as ``nn.Conv2d`` does, eagerly and compiled, so that views work behind them.

Whether an output has its channels innermost depends on the strides of the input and of the weight.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convtwist import ConvTwist2d, IsoTwist2d
from convtwist._engine import custom_ops
from convtwist._engine.steps import like_last

torch.set_num_threads(1)


class Plain(nn.Module):
    """A convolution in the place of an ``IsoTwist2d``, averaged likewise."""

    def __init__(self, like):
        super().__init__()
        self.conv = nn.Conv2d(like.in_channels, like.out_channels, 3, padding=1, groups=like.groups)
        self.reduce = like.reduce

    def forward(self, u):
        return F.avg_pool2d(self.conv(u), self.reduce)


def twist(inputs, outputs, *arguments, ours=None, **options):
    return lambda: (ConvTwist2d(inputs, outputs, 3, *arguments, **options, **ours or {}),
                    nn.Conv2d(inputs, outputs, 3, *arguments, **options))


def iso(inputs, outputs, **options):
    layer = IsoTwist2d(inputs, outputs, **options)
    return layer, Plain(layer)


PAIRS = {
    "similarity": twist(4, 6, padding=1),
    "odd channels, no bias": twist(3, 5, bias=False, ours={"operators": "affine"}),
    "stride, centres": twist(4, 6, stride=2, padding=1, ours={"operators": "first_order", "centers": True}),
    "wide groups": twist(8, 8, padding=1, groups=2, ours={"permute": "cycle"}),
    "depthwise": twist(4, 4, padding=1, groups=4),
    "dilation, reflect": twist(4, 4, padding=2, dilation=2, padding_mode="reflect"),
    "one channel in": twist(1, 4, padding=1),
    "one channel out": twist(4, 1, padding=1),
    "isotropic": lambda: iso(4, 6),
    "isotropic, reduced": lambda: iso(4, 6, reduce=2),
    "isotropic, groups": lambda: iso(4, 6, groups=2),
}
LAYOUTS = {
    "contiguous": lambda u: u,
    "channels_last": lambda u: u.to(memory_format=torch.channels_last),
    "rows and columns exchanged": lambda u: u.transpose(2, 3).contiguous().transpose(2, 3),
    "part of a map": lambda u: torch.cat([u, u], 3)[..., 1 : 1 + u.shape[3]],
    "part of channels_last": lambda u: torch.cat([u, u], 3).to(memory_format=torch.channels_last)[..., : u.shape[3]],
    "every second channel": lambda u: torch.cat([u, u], 1)[:, ::2],
    "repeated": lambda u: u[:1, :1, :1, :1].expand(u.shape),
}
each_pair = pytest.mark.parametrize("name", PAIRS)


def build(name, last):
    """Return our layer, the convolution, and inputs in every layout: of two images, of one, and of a few pixels."""
    torch.manual_seed(0)
    layer, plain = PAIRS[name]()
    if last and isinstance(layer, ConvTwist2d):
        layer, plain = (module.to(memory_format=torch.channels_last) for module in (layer, plain))
    channels = layer.in_channels
    inputs = [lay(torch.randn(size)) for lay in LAYOUTS.values() for size in
              ((2, channels, 6, 8), (1, channels, 5, 7), (2, channels, 3, 4))]
    return layer, plain, inputs


def strides(output):
    """Return the strides that matter; along a side of 1 there is no step to take."""
    return [stride for stride, size in zip(output.stride(), output.shape, strict=True) if size > 1]


def flat(layer, inputs, ways):
    """Return each output, and each as rows by a view: of the map as it is or, for channels_last, of the turned one."""
    outputs = [layer(u) for u in inputs]
    return outputs, [output.view(len(output), -1) if way else output.permute(0, 2, 3, 1).view(len(output), -1)
                     for output, way in zip(outputs, ways, strict=True)]


def compare(layer, plain, inputs, backend):
    expected = [plain(u) for u in inputs]
    ways = [output.is_contiguous() for output in expected]
    run = flat
    if backend:
        torch._dynamo.reset()
        run = torch.compile(flat, backend=backend, fullgraph=True)
    outputs, rows = run(layer, inputs, ways)
    assert [strides(output) for output in outputs] == [strides(output) for output in expected]
    for ours, view, u in zip(outputs, rows, inputs, strict=True):
        torch.testing.assert_close(ours, layer(u.contiguous()), rtol=1e-4, atol=1e-5)
        assert torch.equal(view.sort(1).values, ours.flatten(1).sort(1).values)


@each_pair
@pytest.mark.parametrize("last", [False, True], ids=["", "weights in channels_last"])
def test_eagerly(name, last):
    compare(*build(name, last), None)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@each_pair
def test_eagerly_in_other_types(name, dtype):
    """These are computed in PyTorch's own operations."""
    layer, plain, inputs = build(name, False)
    layer, plain, inputs = layer.to(dtype), plain.to(dtype), [u.to(dtype) for u in inputs]
    for u in inputs:
        assert strides(layer(u)) == strides(plain(u))


@pytest.mark.parametrize("name", [
    name if name in ("similarity", "isotropic") else pytest.param(name, marks=pytest.mark.slow) for name in PAIRS])
def test_compiled(name):
    layer, plain, inputs = build(name, False)
    with torch.no_grad():
        # This backend runs adaptive pooling, which odd sides need, in other strides than it foretold.
        odd = [] if "reduced" in name else inputs[1:6:3]
        compare(layer, plain, inputs[:10:3] + odd, "aot_eager")


@pytest.mark.slow
def test_compiled_to_machine_code():
    """With gradients, as training does it; and Conv2d itself does there what it does eagerly."""
    layer, plain, inputs = build("similarity", False)
    inputs = inputs[:10:3] + inputs[1:6:3]
    compare(layer, plain, inputs, "inductor")
    torch._dynamo.reset()
    expected = torch.compile(lambda us: [plain(u) for u in us])(inputs)
    assert [strides(output) for output in expected] == [strides(plain(u)) for u in inputs]


@pytest.mark.slow
@pytest.mark.parametrize("behind", [
    lambda maps: maps.view(len(maps), -1),
    lambda maps: maps.as_strided((2, 6 * 7 * 9), (6 * 7 * 9, 1)),
    lambda maps: torch.relu(maps).mean((2, 3)),
], ids=["view", "as_strided", "relu"])
def test_inside_a_compiled_network(behind, monkeypatch):
    """The compiler lays maps out in channels_last around convolutions: no layer turns them back, and nobody sees it."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    layer, branch = ConvTwist2d(4, 6, 3, padding=1), nn.Conv2d(4, 4, 1)
    parameters = [*stem.parameters(), *layer.parameters()]
    u, given, lay = torch.randn(2, 3, 7, 9), [], custom_ops._laid

    def network(u):
        maps = stem(u)
        return behind(layer(maps)), branch(maps)

    def watch(maps, last):
        if type(maps) is torch.Tensor and not torch.compiler.is_compiling():
            given.append(maps.is_contiguous(memory_format=torch.channels_last))
        return lay(maps, last)

    found = []
    for run in (network, torch.compile(network)):
        output, other = run(u)
        weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
        slopes = torch.autograd.grad((output * weights).sum() + other.square().sum(), parameters)
        found.append([output.detach(), *slopes])
        monkeypatch.setattr(custom_ops, "_laid", watch)
    assert given[:2] == [True, True], "what comes in and what goes out"
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_the_rule_is_that_of_convolutions():
    """Of all strides that a small map can have, in both layouts of the weight."""
    conv = nn.Conv2d(3, 2, 3, padding=1)
    for size in ((2, 3, 4, 5), (1, 3, 4, 5), (2, 3, 1, 5), (2, 3, 4, 1), (2, 3, 1, 1)):
        for order in torch.cartesian_prod(*[torch.arange(4)] * 4).tolist():
            if len(set(order)) == 4:
                back = [order.index(axis) for axis in range(4)]
                u = torch.randn([size[axis] for axis in order]).permute(back)
                assert u.shape == size
                assert strides(conv(u)) == strides(conv(u).contiguous(
                    memory_format=torch.channels_last if like_last(u) else torch.contiguous_format))
