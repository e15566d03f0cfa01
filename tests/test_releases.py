"""What every promised release of torch must do with both layers; ``tools/try_torch.py`` runs it with other releases.

An operator of the engine stands in compiled code, and PyTorch's own operations in an exported program, at every size.
"""

import pytest
import torch
from torch import nn

import convtwist
from convtwist import ConvTwist2d, IsoTwist2d, convert, revert

pytestmark = pytest.mark.slow  # test_transformations.py has it in short
torch.set_num_threads(1)

LAYERS = {
    "similarity": lambda: ConvTwist2d(3, 8, 3, padding=1),
    "strided": lambda: ConvTwist2d(3, 8, 3, stride=2, padding=1, operators="first_order"),
    "iterated": lambda: ConvTwist2d(3, 3, 3, padding=1, steps=2, centers=True, permute=[2, 0, 1]),
    "isotropic": lambda: IsoTwist2d(3, 8),
}
SIZES = ((16, 20), (24, 10), (9, 33))
each_layer = pytest.mark.parametrize("name", LAYERS)


def build(name):
    torch.manual_seed(0)
    return LAYERS[name]()


def both(function, u):
    """Return the output, and the gradient of its squares."""
    u = u.clone().requires_grad_()
    output = function(u)
    output.square().sum().backward()
    return output.detach(), u.grad


def close(ours, expected):
    for a, b in zip(ours, expected, strict=True):
        assert a.stride() == b.stride()
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@each_layer
def test_eager_is_the_formula_in_double_precision(name):
    layer, u = build(name), torch.rand(2, 3, 16, 20)
    expected = layer.double()(u.double())
    torch.testing.assert_close(layer.float()(u), expected.float(), rtol=1e-5, atol=1e-5)


@each_layer
def test_the_operator_is_entered_without_a_graph_break(name):
    """At changing sizes, in both memory layouts, which come out as they do eagerly."""
    layer, graphs = build(name), []

    def keep(graph, inputs):
        graphs.append(str(graph.graph))
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend=keep)
    for size in SIZES:
        for layout in (torch.contiguous_format, torch.channels_last):
            u = torch.rand(2, 3, *size).to(memory_format=layout)
            close(both(compiled, u), both(layer, u))
    assert graphs and all("convtwist" in graph for graph in graphs)


def test_machine_code():
    model = nn.Sequential(build("strided"), nn.ReLU(), IsoTwist2d(8, 8), nn.Flatten(2))
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True)
    for size in SIZES[:2]:
        u = torch.rand(2, 3, *size)
        close(both(compiled, u), both(model, u))


@each_layer
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not strict"])
def test_export_leaves_both_sides_open(name, strict):
    """The larger side at export need not be the larger one later."""
    layer = build(name)
    step = 2 if name == "strided" else 1
    sides = [step * torch.export.Dim(side, min=8, max=200) if step > 1 else torch.export.Dim(side, min=8, max=400)
             for side in ("h", "w")]
    program = torch.export.export(layer, (torch.rand(2, 3, 16, 20),), dynamic_shapes=({2: sides[0], 3: sides[1]},),
                                  strict=strict)
    assert "convtwist" not in str(program.graph)
    for size in ((16, 20), (30, 18), (18, 40)):
        u = torch.rand(2, 3, *size)
        torch.testing.assert_close(program.module()(u), layer(u), rtol=1e-5, atol=1e-5)


def test_conversion_there_and_back_is_bit_equal():
    torch.manual_seed(0)
    model, u = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()), torch.rand(2, 3, 9, 11)
    model.eval()
    assert torch.equal(convert(model)(u), model(u)) and torch.equal(revert(convert(model))(u), model(u))


def test_config_names_this_release_and_what_serves():
    entries = convtwist.show_config("dicts")
    assert entries["torch"] == torch.__version__ and entries["compiled"].startswith("one operator a layer")
