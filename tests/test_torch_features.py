"""What PyTorch offers works with both layers: compile, export, ONNX, autocast, transforms, DDP and the rest."""

import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch
from scorecard import record
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from convtwist import ConvTwist2d, IsoTwist2d

torch.set_num_threads(1)

LAYERS = {
    "similarity": lambda **o: ConvTwist2d(4, 6, 3, padding=1, **o),
    "first_order, centres, stride": lambda **o: ConvTwist2d(4, 6, 3, 2, 1, operators="first_order", centers=True, **o),
    "groups in a cycle": lambda **o: ConvTwist2d(4, 4, 3, padding=1, groups=2, operators="affine", permute="cycle",
                                                 **o),
    "steps, reflect": lambda **o: ConvTwist2d(4, 4, 3, padding=1, steps=2, padding_mode="reflect",
                                              permute=[2, 0, 3, 1], **o),
    "isotropic": lambda **o: IsoTwist2d(4, 6, **o),
    "isotropic, groups, reduced": lambda **o: IsoTwist2d(4, 6, groups=2, reduce=2, **o),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def build(name, **options):
    torch.manual_seed(0)
    return LAYERS[name](**options)


def draw(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(layer, function, u):
    layer.zero_grad()
    u = u.clone().requires_grad_()
    output = function(u)
    output.square().sum().backward()
    return [output.detach(), u.grad, *(p.grad.clone() for p in layer.parameters())]


@each_layer
def test_compile_without_a_graph_break_at_three_sizes(name):
    """Captured whole, once for all sizes; the backward pass and machine code are the next test's business."""
    layer = build(name)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    for size in ((2, 4, 8, 10), (2, 4, 12, 6), (3, 4, 10, 14)):
        u = draw(*size)
        for ours, expected in zip(gradients(layer, compiled, u), gradients(layer, layer, u), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == 1
    record("layers compiled with fullgraph=True, at three sizes each", 1)


@pytest.mark.slow
def test_compile_to_machine_code():
    """Both layers in one model, so that the compiler starts but once."""
    torch.manual_seed(0)
    model = nn.Sequential(ConvTwist2d(4, 6, 3, padding=1), IsoTwist2d(6, 4))
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    for size in ((2, 4, 12, 6), (3, 4, 10, 14), (2, 4, 9, 7)):
        u = draw(*size)
        for ours, expected in zip(gradients(model, compiled, u), gradients(model, model, u), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@each_layer
def test_export_with_dynamic_height_and_width(name):
    layer = build(name).eval()
    batch, height, width = torch.export.Dim("batch", max=64), *(torch.export.Dim(n, min=4, max=512) for n in "hw")
    program = torch.export.export(layer, (draw(2, 4, 12, 16),), dynamic_shapes=({0: batch, 2: height, 3: width},))
    for size in ((2, 4, 12, 16), (5, 4, 31, 18), (4, 4, 10, 10), (1, 4, 9, 33)):
        torch.testing.assert_close(program.module()(draw(*size)), layer(draw(*size)), rtol=1e-4, atol=1e-5)
    record("layers exported with dynamic height and width", 1)


@pytest.mark.parametrize("name", [
    "similarity", *(pytest.param(name, marks=pytest.mark.slow) for name in LAYERS if name != "similarity")])
def test_onnx_in_onnxruntime_at_other_sizes(name, tmp_path):
    """Odd, even and oblong."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    layer = build(name).eval()
    shapes = ({0: torch.export.Dim("n", max=64), 2: torch.export.Dim("h", min=4, max=512),
               3: torch.export.Dim("w", min=4, max=512)},)
    program = torch.onnx.export(layer, (draw(2, 4, 16, 20),), dynamo=True, dynamic_shapes=shapes,
                                external_data=False, verbose=False)
    path = tmp_path / "layer.onnx"
    program.save(str(path))
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for size in ((2, 4, 16, 20), (3, 4, 31, 17), (1, 4, 64, 64), (2, 4, 65, 97), (1, 4, 9, 40)):
        u = draw(*size)
        (answer,) = session.run(None, {session.get_inputs()[0].name: u.numpy()})
        error = (torch.from_numpy(answer) - layer(u)).abs().max().item()
        assert error < 2e-5
        record("ONNX in onnxruntime: largest difference", error)


@pytest.mark.parametrize("operators", ["similarity", "affine", "first_order", "isotropic"])
def test_float16_is_finite_wherever_conv2d_is(operators):
    """Taps of 20,000 add up beyond what float16 holds, and a twist of zero times infinity would be no number."""
    torch.manual_seed(0)
    layer = IsoTwist2d(4, 6) if operators == "isotropic" else ConvTwist2d(4, 6, padding=1, operators=operators)
    conv, u = nn.Conv2d(4, 6, 3, padding=1).half(), 20_000 * torch.randint(-1, 2, (2, 4, 12, 12)).half()
    with torch.no_grad():
        for parameter in (*layer.parameters(), *conv.parameters()):
            parameter.mul_(0.02)
    assert conv(u).isfinite().all()
    expected = layer.double()(u.double())
    error = layer.half()(u).double() - expected
    assert error.norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 6e-4), (torch.bfloat16, 5e-3)])
def test_short_types_are_as_good_as_rounding(dtype, most):
    for layer in (ConvTwist2d(16, 16, padding=1), IsoTwist2d(16, 16)):
        u = draw(2, 16, 20, 20).to(dtype)
        ours = layer.to(dtype)(u).double()
        assert (ours - layer.double()(u.double())).norm() < most * ours.norm()


@each_layer
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_the_dtype_of_conv2d(name, dtype):
    layer, u = build(name), draw(2, 4, 8, 8)
    with torch.autocast("cpu", dtype):
        conv = nn.Conv2d(4, 6, 3)(u)
        output = layer(u)
    assert output.dtype == (dtype if "steps" not in name else torch.promote_types(dtype, u.dtype))
    if "steps" not in name:
        assert output.dtype == conv.dtype
    torch.testing.assert_close(output.float(), layer(u), rtol=0.05, atol=0.1)
    output.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in layer.parameters())


@each_layer
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_other_types(name, dtype):
    layer, u = build(name), draw(2, 4, 8, 8)
    expected = layer(u)
    layer = layer.to(dtype)
    output = layer(u.to(dtype))
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.1)
    output.sum().backward()
    assert all(p.grad.dtype == dtype for p in layer.parameters())
    made = build(name, dtype=dtype)
    assert all(p.dtype == dtype for p in made.parameters())


@pytest.mark.parametrize("name", ["similarity", "first_order, centres, stride", "isotropic"])
def test_channels_last_is_kept(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    expected = layer(u)
    output = layer(u.to(memory_format=torch.channels_last))
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    assert expected.is_contiguous()
    half_way = layer.to(memory_format=torch.channels_last)
    torch.testing.assert_close(half_way(u), expected, rtol=1e-4, atol=1e-5)
    ours, plain = [gradients(layer, layer, v)[1:] for v in (u, u.to(memory_format=torch.channels_last))]
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@each_layer
def test_deepcopy_pickle_and_state_dict(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    expected = layer(u)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    torch.manual_seed(5)
    fresh = LAYERS[name]()
    assert not torch.equal(fresh(u), expected)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert torch.equal(other(u), expected) and repr(other) == repr(layer)


@each_layer
def test_meta_device_and_to_empty(name):
    layer = build(name, device="meta")
    assert all(p.is_meta for p in layer.parameters())
    assert layer(torch.empty(2, 4, 8, 8, device="meta")).shape == build(name)(draw(2, 4, 8, 8)).shape
    layer = layer.to_empty(device="cpu")
    torch.manual_seed(0)
    layer.reset_parameters()
    assert torch.equal(layer(draw(2, 4, 8, 8)), build(name)(draw(2, 4, 8, 8)))
    with torch.device("meta"):
        assert build(name).weight.is_meta


@each_layer
def test_functional_transforms(name):
    """Per-sample gradients and an ensemble by vmap equal the loops."""
    layer, u = build(name), draw(3, 4, 6, 6)
    parameters = dict(layer.named_parameters())

    def loss(parameters, sample):
        return torch.func.functional_call(layer, parameters, (sample,)).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, u)
    for k in range(3):
        single = torch.autograd.grad(loss(parameters, u[k]), list(parameters.values()))
        for key, expected in zip(parameters, single, strict=True):
            torch.testing.assert_close(per_sample[key][k], expected, rtol=1e-4, atol=1e-4)
    layers = [layer, copy.deepcopy(layer)]
    nn.init.normal_(layers[1].weight)
    stacked, _ = torch.func.stack_module_state(layers)
    answers = torch.func.vmap(lambda p: torch.func.functional_call(layer, p, (u,)))(stacked)
    for answer, one in zip(answers, layers, strict=True):
        torch.testing.assert_close(answer, one(u), rtol=1e-4, atol=1e-4)


@each_layer
def test_jvp_and_hessian_vector_product(name):
    layer, u = build(name).double(), draw(1, 4, 6, 6).double()
    direction = draw(1, 4, 6, 6, seed=2).double()
    output, slope = torch.func.jvp(layer, (u,), (direction,))
    torch.testing.assert_close(output, layer(u))
    bias = getattr(layer, "bias", None)
    zero = layer(torch.zeros_like(u)) if bias is not None else 0
    torch.testing.assert_close(slope, layer(direction) - zero, rtol=1e-6, atol=1e-8)
    product = torch.func.jvp(torch.func.grad(lambda v: layer(v).pow(3).sum()), (u,), (direction,))[1]
    h = 1e-5
    there, back = [torch.func.grad(lambda v: layer(v).pow(3).sum())(u + s * h * direction) for s in (1, -1)]
    torch.testing.assert_close(product, (there - back) / (2 * h), rtol=1e-4, atol=1e-4)


@each_layer
def test_symbolic_trace_sees_one_call(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    traced = torch.fx.symbolic_trace(nn.Sequential(layer, nn.ReLU()))
    assert torch.equal(traced(u), layer(u).relu())
    inner = torch.fx.symbolic_trace(layer)
    called = [node.target.__name__ for node in inner.graph.nodes if node.op == "call_function"]
    assert called in (["conv_twist2d"], ["iso_twist2d"])
    assert torch.equal(inner(u), layer(u)) and torch.equal(inner(u[..., :5]), layer(u[..., :5]))


def test_conv_and_batch_norm_fusion_leaves_the_twist_alone():
    from torch.fx.experimental.optimization import fuse

    layer = build("similarity")
    model = nn.Sequential(layer, nn.BatchNorm2d(6)).eval()
    model[1].running_mean.normal_()
    u = draw(2, 4, 8, 8)
    torch.testing.assert_close(fuse(model)(u), model(u))


@each_layer
@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing(name, reentrant):
    layer, u = build(name), draw(2, 4, 8, 8)
    plain = gradients(layer, layer, u)
    again = gradients(layer, lambda v: checkpoint(layer, v, use_reentrant=reentrant), u)
    for ours, expected in zip(again, plain, strict=True):
        torch.testing.assert_close(ours, expected)


@each_layer
def test_jit_trace(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    traced = torch.jit.trace(layer, u, check_trace=False)
    torch.testing.assert_close(traced(u), layer(u))


@each_layer
def test_inference_mode_frozen_weights_and_no_grad(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    expected = layer(u).detach()
    with torch.inference_mode():
        assert torch.equal(layer(u), expected)
    with torch.no_grad():
        assert torch.equal(layer(u), expected)
    layer.requires_grad_(False)
    assert not layer(u).requires_grad
    v = u.clone().requires_grad_()
    layer(v).sum().backward()
    assert v.grad.abs().sum() > 0


@each_layer
def test_inputs_of_every_stride_and_odd_sizes(name):
    layer = build(name)
    base = draw(2, 4, 20, 22)
    for u in (base[:, :, ::2, ::2], base.transpose(2, 3), base[:, :, 3:, 5:], base.flip(3), draw(1, 4, 1, 1).expand(
            2, 4, 6, 6), base.to(memory_format=torch.channels_last)[:, :, 1:]):
        for ours, expected in zip(gradients(layer, layer, u), gradients(layer, layer, u.contiguous()), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_deterministic_algorithms_and_repeated_runs_agree_bit_for_bit():
    layer, u = build("similarity"), draw(2, 4, 8, 8)
    torch.use_deterministic_algorithms(True)
    try:
        first, second = gradients(layer, layer, u), gradients(layer, layer, u)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


DDP = """
import os, sys, torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from convtwist import ConvTwist2d, IsoTwist2d

torch.set_num_threads(1)
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(ConvTwist2d(2, 4, 3, padding=1, centers=True), nn.ReLU(), IsoTwist2d(4, 3))
alone = nn.Sequential(ConvTwist2d(2, 4, 3, padding=1, centers=True), nn.ReLU(), IsoTwist2d(4, 3))
alone.load_state_dict(model.state_dict())
u = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(1))
parallel = DistributedDataParallel(model)
parallel(u[2 * rank : 2 * rank + 2]).square().mean().backward()
alone(u).square().mean().backward()
for ours, expected in zip(model.parameters(), alone.parameters()):
    torch.testing.assert_close(ours.grad, expected.grad, rtol=1e-4, atol=1e-5)
dist.destroy_process_group()
print("same")
"""


@pytest.mark.slow
def test_two_processes_with_ddp_on_gloo(tmp_path):
    command = [sys.executable, "-c", DDP]
    both = [subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True) for rank in (0, 1)]
    for process in both:
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0 and "same" in out, err
