"""Every transformation that PyTorch offers, with every kind of layer: right, or refused with a message.

``python tests/test_transformations.py`` writes the grid, tests/transformations.md; a test compares it, and each cell is
a test.
"""

import copy
import functools
import io
import itertools
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from scorecard import record
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils import fuse_conv_bn_eval, parametrizations, prune
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from variants import LAYERS, build, draw, gradients

from convtwist import ConvTwist2d, convert, fold_batch_norm, param_groups, revert

torch.set_num_threads(1)

TWISTS = [name for name in LAYERS if "isotropic" not in name]
STEPS = "steps, reflect"
GRID: dict[str, dict[str, str]] = {}
PAGE = Path(__file__).with_name("transformations.md")


def transformation(row, *, refused=None, not_applicable=None, slow_but=()):
    """Make a test of each kind of layer, and a row of the grid of it.

    ``refused`` and ``not_applicable`` say why, by kind; a refusal must say this.  ``slow_but``: which aren't slow.
    """
    refused, not_applicable = refused or {}, not_applicable or {}
    GRID[row] = {name: "refused" if name in refused else "not applicable" if name in not_applicable else "right"
                 for name in LAYERS}

    def decorate(test):
        @functools.wraps(test)
        def cell(name, *arguments, **options):
            if name in refused:
                with pytest.raises((ValueError, TypeError, RuntimeError), match=refused[name]):
                    test(name, *arguments, **options)
            else:
                test(name, *arguments, **options)

        kinds = [pytest.param(name, marks=pytest.mark.slow if slow_but and name not in slow_but else ())
                 for name in LAYERS if name not in not_applicable]
        return pytest.mark.parametrize("name", kinds)(cell)

    return decorate


def grid():
    """Return the page: a row for each transformation, with what is refused and why it doesn't apply."""
    rows = ["# Which transformation works with which layer", "",
            "Written by `python tests/test_transformations.py`; each cell is a test of that file.", "",
            "| transformation | " + " | ".join(LAYERS) + " |", "|---" * (1 + len(LAYERS)) + "|"]
    rows += [f"| {row} | " + " | ".join(cells[name] for name in LAYERS) + " |" for row, cells in GRID.items()]
    rows += ["", "Machine code: outputs and the gradients of the weights. PyTorch 2.13 stops at the input's gradient",
             'behind `padding_mode="replicate"`: with `nn.Conv2d` always, here in `channels_last` or in groups.']
    return "\n".join(rows) + "\n"


def test_the_grid_on_paper_is_that_of_these_tests():
    assert PAGE.read_text(encoding="utf-8") == grid(), "run python tests/test_transformations.py"
    cells = [cell for row in GRID.values() for cell in row.values()]
    assert len(cells) == len(GRID) * len(LAYERS) and set(cells) == {"right", "refused", "not applicable"}
    for word in ("right", "refused", "not applicable"):
        record(f"transformations of layers: {word}", cells.count(word))


@transformation("torch.compile, whole graph at three sizes", slow_but=("similarity", "isotropic"))
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


@transformation("torch.export, height and width open", slow_but=("similarity", "isotropic, groups, reduced"))
def test_export_with_dynamic_height_and_width(name):
    layer = build(name).eval()
    batch, height, width = torch.export.Dim("batch", max=64), *(torch.export.Dim(n, min=4, max=512) for n in "hw")
    program = torch.export.export(layer, (draw(2, 4, 12, 16),), dynamic_shapes=({0: batch, 2: height, 3: width},))
    for size in ((2, 4, 12, 16), (5, 4, 31, 18), (4, 4, 10, 10), (1, 4, 9, 33)):
        torch.testing.assert_close(program.module()(draw(*size)), layer(draw(*size)), rtol=1e-4, atol=1e-5)
    record("layers exported with dynamic height and width", 1)


class Every(nn.Module):
    """All layers side by side: a graph of one takes an exporter almost as long as one of all."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(build(name) for name in LAYERS)

    def forward(self, u):
        return [layer(u) for layer in self.layers]


@functools.cache
def answers_of_onnxruntime():
    """Export every layer, run the file, and return for each layer its answers beside the inputs."""
    runtime = pytest.importorskip("onnxruntime")
    shapes = ({0: torch.export.Dim("n", max=64), 2: torch.export.Dim("h", min=4, max=512),
               3: torch.export.Dim("w", min=4, max=512)},)
    program = torch.onnx.export(Every().eval(), (draw(2, 4, 16, 20),), dynamo=True, dynamic_shapes=shapes,
                                external_data=False, verbose=False)
    file = program.model_proto.SerializeToString()
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = {name: [] for name in LAYERS}
    for size in ((2, 4, 16, 20), (3, 4, 31, 17), (1, 4, 64, 64), (2, 4, 65, 97), (1, 4, 9, 40)):
        u = draw(*size)
        answers = session.run(None, {session.get_inputs()[0].name: u.numpy()})
        for name, answer in zip(LAYERS, answers, strict=True):
            found[name].append((u, torch.from_numpy(answer)))
    return found


@transformation("ONNX, run at five sizes", slow_but=("none",))
def test_onnx_in_onnxruntime_at_other_sizes(name):
    """Odd, even and oblong."""
    pytest.importorskip("onnxscript")
    layer = build(name).eval()
    for u, answer in answers_of_onnxruntime()[name]:
        error = (answer - layer(u)).abs().max().item()
        assert error < 2e-5
        record("ONNX in onnxruntime: largest difference", error)


@transformation("autocast, both types")
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


@transformation("bfloat16, float16 and float64")
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


@transformation("deepcopy, pickle and state_dict")
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


@transformation("meta device and to_empty")
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


@transformation("functional_call, vmap and per-sample gradients")
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


@transformation("jvp and Hessian-vector product")
def test_jvp_and_hessian_vector_product(name):
    layer, u = build(name).double(), draw(1, 4, 6, 6).double()
    direction = draw(1, 4, 6, 6, seed=2).double()
    output, slope = torch.func.jvp(layer, (u,), (direction,))
    torch.testing.assert_close(output, layer(u))
    h = 1e-5
    expected = (layer(u + h * direction) - layer(u - h * direction)) / (2 * h)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-8)
    product = torch.func.jvp(torch.func.grad(lambda v: layer(v).pow(3).sum()), (u,), (direction,))[1]
    there, back = [torch.func.grad(lambda v: layer(v).pow(3).sum())(u + s * h * direction) for s in (1, -1)]
    torch.testing.assert_close(product, (there - back) / (2 * h), rtol=1e-4, atol=1e-4)


@transformation("torch.fx.symbolic_trace")
def test_symbolic_trace_sees_one_call(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    traced = torch.fx.symbolic_trace(nn.Sequential(layer, nn.ReLU()))
    assert torch.equal(traced(u), layer(u).relu())
    inner = torch.fx.symbolic_trace(layer)
    called = [node.target.__name__ for node in inner.graph.nodes if node.op == "call_function"]
    assert called in (["conv_twist2d"], ["iso_twist2d"])
    assert torch.equal(inner(u), layer(u)) and torch.equal(inner(u[..., :5]), layer(u[..., :5]))


@transformation("activation checkpointing, both kinds")
@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing(name, reentrant):
    layer, u = build(name), draw(2, 4, 8, 8)
    plain = gradients(layer, layer, u)
    again = gradients(layer, lambda v: checkpoint(layer, v, use_reentrant=reentrant), u)
    for ours, expected in zip(again, plain, strict=True):
        torch.testing.assert_close(ours, expected)


def examples(name):
    """Return examples for a trace, one of a single row where the padding allows it."""
    return [draw(2, 4, 8, 10), draw(1, 4, *((3, 5) if name.startswith(("dilation", "steps")) else (1, 5)))]


@transformation("torch.jit.trace, run at other sizes")
def test_jit_trace_at_other_sizes(name):
    """Without a warning of PyTorch's, that it looked at a number."""
    layer = build(name)
    for example in examples(name):
        with warnings.catch_warnings():
            warnings.simplefilter("error", torch.jit.TracerWarning)
            traced = torch.jit.trace(layer, example)
        for size in ((2, 4, 8, 10), (3, 4, 13, 6), (1, 4, 5, 31), (2, 4, 9, 9), (0, 4, 8, 8)):
            torch.testing.assert_close(traced(draw(*size)), layer(draw(*size)))


@transformation("torch.onnx.export with dynamo=False, run at other sizes", slow_but=("similarity", "isotropic, slope"))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Constant folding")
def test_onnx_of_a_trace_at_other_sizes(name):
    runtime = pytest.importorskip("onnxruntime")
    layer, axes = build(name).eval(), {0: "n", 2: "h", 3: "w"}
    for example in examples(name):
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("error", torch.jit.TracerWarning)
            torch.onnx.export(layer, (example,), file, dynamo=False, input_names=["u"], output_names=["v"],
                              dynamic_axes={"u": axes, "v": axes})
        session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
        for size in ((2, 4, 8, 10), (3, 4, 13, 6), (1, 4, 5, 31), (2, 4, 9, 9)):
            (answer,) = session.run(None, {"u": draw(*size).numpy()})
            torch.testing.assert_close(torch.from_numpy(answer), layer(draw(*size)), rtol=1e-4, atol=2e-5)


@transformation("inference_mode, no_grad and frozen weights")
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


@transformation("inputs of every stride")
def test_inputs_of_every_stride_and_odd_sizes(name):
    layer = build(name)
    base = draw(2, 4, 20, 22)
    for u in (base[:, :, ::2, ::2], base.transpose(2, 3), base[:, :, 3:, 5:], base.flip(3), draw(1, 4, 1, 1).expand(
            2, 4, 6, 6), base.to(memory_format=torch.channels_last)[:, :, 1:]):
        for ours, expected in zip(gradients(layer, layer, u), gradients(layer, layer, u.contiguous()), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@functools.cache
def compiled_together():
    """Compile all kinds into machine code in one program, as the compiler takes seconds to start; run both layouts.

    Sizes are open in a second program, of two kinds: the compiler takes twice as long for it.
    """
    results = {name: [] for name in LAYERS}

    def run(u, layers):
        return {name: layer(u) for name, layer in layers.items()}

    for names, sizes in ((LAYERS, [(2, 4, 12, 6)]), (("similarity", "isotropic"), [(2, 4, 12, 6), (3, 4, 10, 14)])):
        torch._dynamo.reset()
        layers = {name: build(name) for name in names}
        compiled = torch.compile(run, fullgraph=True, dynamic=len(sizes) > 1)
        for size, layout in itertools.product(sizes, (torch.contiguous_format, torch.channels_last)):
            # No gradient of the input: PyTorch 2.13 fails at that of replicate padding, in a compiled Conv2d as well.
            u = draw(*size).to(memory_format=layout)
            outputs = compiled(u, layers)
            sum(output.square().sum() for output in outputs.values()).backward()
            for name, layer in layers.items():
                ours = [outputs[name].detach(), *(p.grad.clone() for p in layer.parameters())]
                output, _, *grads = gradients(layer, layer, u.detach())
                results[name].append((ours, [output, *grads]))
                layer.zero_grad()
    return results


@pytest.mark.slow
@transformation("torch.compile to machine code, in both layouts")
def test_compile_to_machine_code(name):
    """Outputs with their strides, and gradients."""
    for ours, expected in compiled_together()[name]:
        assert ours[0].stride() == expected[0].stride()
        for a, b in zip(ours, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@transformation("safetensors")
def test_safetensors(name, tmp_path):
    layer, path = build(name), tmp_path / "layer.safetensors"
    save_model(layer, path)
    torch.manual_seed(5)
    fresh, u = LAYERS[name](), draw(2, 4, 8, 8)
    assert not torch.equal(fresh(u), layer(u))
    assert load_model(fresh, path) == (set(), []) and torch.equal(fresh(u), layer(u))


@transformation("parametrizations.weight_norm of every weight")
def test_weight_norm(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    expected = gradients(layer, layer, u)
    for key in [key for key in ("weight", "twist") if key in dict(layer.named_parameters())]:
        parametrizations.weight_norm(layer, key)
    torch.testing.assert_close(layer(u), expected[0])
    layer(u).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    grouped = [p for group in param_groups(layer) for p in group["params"]]
    assert len(grouped) == len(list(layer.parameters()))


@transformation("prune.l1_unstructured of every weight")
def test_prune(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    keys = [key for key in ("weight", "twist") if key in dict(layer.named_parameters())]
    for key in keys:
        prune.l1_unstructured(layer, key, 0.5)
        assert (getattr(layer, key) == 0).float().mean() == 0.5
    pruned = layer(u)
    pruned.square().sum().backward()
    assert all((layer.get_parameter(f"{key}_orig").grad[getattr(layer, key) == 0] == 0).all() for key in keys)
    for key in keys:
        prune.remove(layer, key)
    assert torch.equal(layer(u), pruned) and not torch.equal(build(name)(u), pruned)


def with_norm(name):
    """Return a layer, a normalisation behind it that has seen other numbers, and what both make of ``u``."""
    layer, u = build(name).eval(), 2 + draw(2, 4, 8, 8)
    norm = nn.BatchNorm2d(layer.out_channels)
    norm(layer(u))
    norm.eval()
    return layer, norm, u, norm(layer(u))


@transformation("fold_batch_norm", refused={STEPS: "takes steps=2"})
def test_fold_batch_norm(name):
    layer, norm, u, expected = with_norm(name)
    torch.testing.assert_close(fold_batch_norm(layer, norm)(u), expected, rtol=1e-4, atol=1e-4)


@transformation("torch.nn.utils.fuse_conv_bn_eval", refused={name: "use convtwist.fold_batch_norm" for name in TWISTS})
def test_fold_by_pytorch(name):
    """PyTorch scales weight and bias, which is all that an ``IsoTwist2d`` has; a twist would be left out."""
    layer, norm, u, expected = with_norm(name)
    torch.testing.assert_close(fuse_conv_bn_eval(layer, norm)(u), expected, rtol=1e-4, atol=1e-4)


@transformation("quantize_dynamic, which leaves the layers alone")
@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
def test_dynamic_quantisation(name):
    model, u = nn.Sequential(build(name), nn.Flatten(), nn.LazyLinear(3)), draw(2, 4, 8, 8)
    model(u)
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    assert torch.equal(quantised[0](u), model[0](u))
    assert (quantised(u) - model(u)).abs().max() < 0.1 * model(u).abs().max()


@transformation("FlopCounterMode")
def test_flops_are_counted_without_a_change(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    with FlopCounterMode(display=False) as counter:
        output = layer(u)
    torch.testing.assert_close(output, layer(u), rtol=1e-4, atol=1e-5)
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3, groups=layer.groups, padding=1,
                      stride=getattr(layer, "stride", 1))
    with FlopCounterMode(display=False) as other:
        plain(u)
    assert counter.get_total_flops() != 0 and (counter.get_total_flops() > other.get_total_flops()) == (name in TWISTS)


@transformation("convert leaves it, and revert", refused={
    **{name: "twist is not zero" for name in TWISTS}, "groups in a cycle": "permute reorders", STEPS: "steps=2"})
@pytest.mark.filterwarnings("ignore:no layer was swapped")
def test_convert_and_revert(name):
    """A layer that is there already stays; what no Conv2d computes is not turned into one."""
    model, u = nn.Sequential(build(name)), draw(2, 4, 8, 8)
    assert torch.equal(convert(model)(u), model(u))
    assert torch.equal(revert(model)(u), model(u))


@transformation("revert with drop_twist=True", refused={"groups in a cycle": "permute reorders", STEPS: "steps=2"},
                not_applicable={name: "has no twist" for name in LAYERS if name not in TWISTS})
def test_revert_without_the_twist(name):
    layer, u = build(name), draw(2, 4, 8, 8)
    plain = revert(layer, drop_twist=True)
    assert type(plain) is nn.Conv2d and isinstance(layer, ConvTwist2d)
    with torch.no_grad():
        layer.twist.zero_()
    torch.testing.assert_close(plain(u), layer(u))


DDP = """
import sys, torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from variants import LAYERS, build, draw

torch.set_num_threads(1)
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
u = draw(4, 4, 6, 6)
for name in LAYERS:
    alone, parallel = build(name), DistributedDataParallel(build(name))
    parallel(u[2 * rank : 2 * rank + 2]).square().mean().backward()
    alone(u).square().mean().backward()
    for ours, expected in zip(parallel.parameters(), alone.parameters()):
        torch.testing.assert_close(ours.grad, expected.grad, rtol=1e-4, atol=1e-5)
    print("same:", name, flush=True)
dist.destroy_process_group()
"""


DTENSOR = """
import copy, sys, torch
import torch.distributed as dist
from torch.distributed.tensor import Replicate, Shard, distribute_module, distribute_tensor, init_device_mesh
from variants import LAYERS, build, draw, gradients

torch.set_num_threads(1)
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
mesh, u = init_device_mesh("cpu", (2,)), draw(4, 4, 6, 6)
for name in sys.argv[3:]:
    layer = build(name)
    expected = gradients(layer, layer, u)
    spread = distribute_module(copy.deepcopy(layer), mesh)
    for placement in (Shard(0), Replicate()):
        spread.zero_grad()
        v = distribute_tensor(u, mesh, [placement]).requires_grad_()
        output = spread(v)
        output.square().sum().backward()
        ours = output.detach(), v.grad, *(p.grad for p in spread.parameters())
        for a, b in zip(ours, expected):
            torch.testing.assert_close(a.full_tensor(), b, rtol=1e-4, atol=1e-4)
    print("same:", name, flush=True)
dist.destroy_process_group()
"""


@functools.cache
def two_processes(folder, code=DDP, names=()):
    """Run layers in two processes, and return what each says."""
    store = str(folder / f"store of {len(names)}")
    both = [subprocess.Popen([sys.executable, "-c", code, str(rank), store, *names], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent) for rank in (0, 1)]
    said = [process.communicate(timeout=90) for process in both]
    assert all(process.returncode == 0 for process in both), said
    return [out for out, _ in said]


@pytest.mark.slow
@transformation("DistributedDataParallel, two processes on gloo")
def test_two_processes(name, tmp_path_factory):
    assert all(f"same: {name}\n" in out for out in two_processes(tmp_path_factory.getbasetemp()))


NO_STRATEGY = {name: "torch spreads no such padding or pooling over processes, with Conv2d neither"
               for name in ("depthwise, replicate, no bias", STEPS, "isotropic, groups, reduced")}


@pytest.mark.slow
@transformation("DTensor, the batch in parts or whole, two processes on gloo", not_applicable=NO_STRATEGY)
def test_distributed_tensors(name, tmp_path_factory):
    pytest.importorskip("torch.distributed.tensor")
    names = tuple(name for name in LAYERS if name not in NO_STRATEGY)
    assert all(f"same: {name}\n" in out for out in two_processes(tmp_path_factory.getbasetemp(), DTENSOR, names))


if __name__ == "__main__":
    PAGE.write_text(grid(), encoding="utf-8")
