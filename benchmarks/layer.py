"""What a twist costs: time, memory and multiply-adds, against Conv2d in the same run.

Book: chapter 13.  ::

    python -m benchmarks.layer                        everything; a quarter of an hour on two cores
    python -m benchmarks.layer --quick                a smoke test
    python -m benchmarks.layer --skip compiled resnet
    python -m benchmarks.layer --gpu                  bfloat16, channels_last, ResNet-50 at 224 under autocast

On a GPU there is a third engine beside eager and compiled: the eager step in a CUDA graph, which shows the GPU's time
alone.  ResNet-50 has a fourth, "recorded": ``torch.compile`` with ``mode="reduce-overhead"``, which records its
programs as CUDA graphs.  Each contender takes turns with Conv2d.  A ratio is the median over the rounds of "this layer
/ Conv2d in the same round and the same engine".  Training is forward and backward, with the gradient of the input; for
ResNet-50 it is a whole step with loss and optimizer.  With ``--dtype`` a layer's parameters are of that type; with
``--autocast``, and in ResNet-50 always, they are float32 and the computation is under autocast.
"""

import argparse
import datetime
import itertools

import torch
import torch.nn.functional as F

from benchmarks.contenders import CONTENDERS
from benchmarks.timing import default_device, in_graph, interleaved, machine, peak_memory, summary, table, write
from convtwist import ConvTwist2d, convert
from convtwist.train.networks import resnet50

SHAPES = [(16, 64, 56), (16, 128, 28), (16, 256, 14), (8, 64, 128)]
GPU_SHAPES = [(256, 64, 56), (256, 128, 28), (256, 256, 14), (256, 512, 7)]
TARGETS = [  # contender, where, engine, what, at most
    ("ConvTwist similarity", "layer", "compiled", "training", 1.35),
    ("ConvTwist similarity", "layer", "eager", "training", 2.0),
    ("ConvTwist similarity", "layer", "eager", "memory", 1.6),
    ("ConvTwist similarity", "layer", "compiled", "memory", 1.6),
    ("ConvTwist similarity", "ResNet-50", "compiled", "training", 1.15),
    ("ConvTwist similarity", "ResNet-50", "compiled", "memory", 1.6),
    ("IsoTwist2d", "layer", "compiled", "training", 1.0),
]
GPU_TARGETS = [
    *(("ConvTwist similarity", "layer", engine, "training", most, shape)
      for engine in ("graph", "eager", "compiled")
      for shape, most in zip(GPU_SHAPES, (2.0, 1.8, 1.5, 1.5), strict=True)),
    *(("IsoTwist2d", "layer", engine, "training", most, shape)
      for engine in ("graph", "eager", "compiled")
      for shape, most in zip(GPU_SHAPES, (1.3, 1.3, 1.0, 1.0), strict=True)),
    *(("ConvTwist similarity", "ResNet-50", engine, what, most)
      for engine in ("graph", "eager", "compiled", "recorded")
      for what, most in (("training", 1.25), ("memory", 1.15))),
]


def main():
    options = arguments()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    torch._dynamo.config.recompile_limit = 64  # all contenders share the code of nn.Sequential
    device = torch.device(options.device) if options.device else default_device()
    results = {"machine": machine(device), "date": datetime.date.today().isoformat(), "repeats": options.repeats,
               "dtype": options.dtype, "autocast": options.autocast, "channels_last": options.channels_last, "rows": []}
    print(" ".join(f"{key}={value}" for key, value in results["machine"].items() if value is not None))
    engines = ["eager"] if "compiled" in options.skip else ["eager", "compiled"]
    if device.type == "cuda":
        engines.append("graph")
    if "resnet" not in options.skip:
        recorded = ["recorded"] if device.type == "cuda" and "compiled" in engines else []
        results["rows"] += resnet_rows(options, [*engines, *recorded], device)
        report(results["rows"], "ResNet-50")
    for shape in options.shapes:
        results["rows"] += layer_rows(shape, options, engines, device)
        report(results["rows"], " x ".join(map(str, shape)))
        if options.json:  # already now: what is measured is kept, should the rest be cut off
            write(options.json, results)
    if options.json and not options.shapes:
        write(options.json, results)
    print()
    for line in verdicts(results["rows"], GPU_TARGETS if device.type == "cuda" else TARGETS):
        print(line)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="rounds; the median of 7 or more is worth quoting")
    parser.add_argument("--shapes", nargs="+", type=lambda text: tuple(map(int, text.split(","))),
                        metavar="N,C,H", help="batch, channels in and out, side")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME",
                        help=f"from {', '.join(CONTENDERS)}; Conv2d always runs")
    parser.add_argument("--skip", nargs="+", choices=["compiled", "layers", "resnet"], default=[])
    parser.add_argument("--resnet-batch", type=int, default=8)
    parser.add_argument("--resnet-size", type=int, default=128)
    parser.add_argument("--resnet-contenders", nargs="+", choices=CONTENDERS, metavar="NAME",
                        help="those of ResNet-50; default: as for the layers")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--autocast", action="store_true", help="compute layers in --dtype under autocast")
    parser.add_argument("--channels-last", action="store_true", help="lay maps and weights out with channels innermost")
    parser.add_argument("--gpu", action="store_true",
                        help=f"the shapes {GPU_SHAPES}, bfloat16, channels_last, ResNet-50 on 128 pictures at 224")
    parser.add_argument("--threads", type=int, help="default: torch's choice")
    parser.add_argument("--device", help="default: the GPU where there is one")
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--training-only", action="store_true", help="don't time inference")
    parser.add_argument("--compile-only", action="store_true", help="fill the compilers' caches, and time nothing")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, 2 rounds: does it run?")
    options = parser.parse_args()
    if options.gpu:
        options.dtype, options.channels_last = "bfloat16", True
        options.resnet_batch, options.resnet_size = 128, 224
    options.shapes = [] if "layers" in options.skip else options.shapes or (GPU_SHAPES if options.gpu else SHAPES)
    options.contenders = ["Conv2d", *(name for name in options.contenders if name != "Conv2d")]
    options.resnet_contenders = ["Conv2d", *(name for name in options.resnet_contenders or options.contenders
                                             if name != "Conv2d")]
    options.layout = torch.channels_last if options.channels_last else torch.contiguous_format
    if options.quick:
        options.repeats, options.shapes = 2, [(2, 8, 12)]
        options.resnet_batch, options.resnet_size = 2, 64
    return options


def layer_rows(shape, options, engines, device):
    """Time the layers on one shape and return a row for each contender and engine."""
    batch, channels, side = shape
    torch.compiler.reset()  # what an earlier shape has compiled is not to be looked through at every call
    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    cast = torch.autocast(device.type, dtype=dtype, enabled=options.autocast and dtype != torch.float32)
    held = torch.float32 if options.autocast else dtype
    u, gradient = (torch.randn(batch, channels, side, side, device=device).to(kind, memory_format=options.layout)
                   for kind in (held, dtype))
    u.requires_grad_()
    layers = {name: CONTENDERS[name].build(channels, channels, device=device).to(held, memory_format=options.layout)
              for name in options.contenders}
    calls = {name: with_engines(layer, engines) for name, layer in layers.items()}

    def forget(layer):
        u.grad = None
        layer.zero_grad(set_to_none=True)

    def training(name, engine):
        def step():
            forget(layers[name])
            with cast:
                output = calls[name][engine](u)
            output.backward(gradient)
        return step

    def inference(name, engine):
        def step():
            with torch.no_grad(), cast:
                calls[name][engine](u)
        return step

    def resident(name):
        forget(layers[name])
        return size([u, gradient, *layers[name].parameters()])

    kinds = {"training": training} if options.training_only else {"inference": inference, "training": training}
    rows = measure(options, options.contenders, engines, device, kinds, resident)
    for row in rows:
        contender = CONTENDERS[row["contender"]]
        row.update(where="layer", shape=list(shape),
                   parameters=sum(p.numel() for p in layers[row["contender"]].parameters()),
                   multiply_adds=contender.multiply_adds(batch, channels, channels, side * side))
    return rows


def resnet_rows(options, engines, device):
    """Time whole training steps of ResNet-50 with each contender in the place of its 3x3 layers."""
    batch, side = options.resnet_batch, options.resnet_size
    torch.compiler.reset()
    torch.manual_seed(0)
    u = torch.randn(batch, 3, side, side, device=device).to(memory_format=options.layout)
    dtype = getattr(torch, options.dtype)
    cast = torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
    labels = torch.randint(10, (batch,), device=device)
    models = {name: network(name).to(device, memory_format=options.layout).train()
              for name in options.resnet_contenders}
    calls = {name: with_engines(model, engines) for name, model in models.items()}
    optimizers = {name: torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9) for name, model in models.items()}

    def training(name, engine):
        def step():
            optimizers[name].zero_grad(set_to_none=True)
            with cast:
                loss = F.cross_entropy(calls[name][engine](u), labels)
            loss.backward()
            optimizers[name].step()
        return step

    def resident(name):
        optimizers[name].zero_grad(set_to_none=True)
        momenta = [value for state in optimizers[name].state.values() for value in state.values()
                   if isinstance(value, torch.Tensor)]
        return size([u, *models[name].parameters(), *models[name].buffers(), *momenta])

    rows = measure(options, options.resnet_contenders, engines, device, {"training": training}, resident)
    for row in rows:
        contender, model = CONTENDERS[row["contender"]], models[row["contender"]]
        row.update(where="ResNet-50", shape=[batch, 3, side], parameters=sum(p.numel() for p in model.parameters()),
                   multiply_adds=resnet_multiply_adds(contender, batch, side))
    return rows


def network(name):
    if name.startswith("ConvTwist"):
        model = convert(resnet50(CONTENDERS["Conv2d"].build), inplace=True, operators=name.split()[1])
        for module in model.modules():
            if isinstance(module, ConvTwist2d):
                torch.nn.init.normal_(module.twist, std=1e-3)
        return model
    return resnet50(CONTENDERS[name].build)


def resnet_multiply_adds(contender, batch, side):
    """Add up the network's multiply-adds by a run on tensors without memory, with this contender's 3x3 layers."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Linear):
            total += batch * module.weight.numel()
        elif module.kernel_size == (3, 3):
            total += contender.multiply_adds(batch, module.in_channels, module.out_channels, output[0, 0].numel())
        else:
            total += batch * output[0, 0].numel() * module.weight.numel()

    model = resnet50(CONTENDERS["Conv2d"].build).to("meta")
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    model(torch.empty(batch, 3, side, side, device="meta"))
    return total


def measure(options, contenders, engines, device, kinds, resident):
    """Time every contender in turns with Conv2d, and take its peak of memory."""
    rows = []
    for name, engine in itertools.product(contenders, engines):
        pairs = itertools.product(kinds, ("Conv2d", name))
        cases = {(kind, who): kinds[kind](who, "eager" if engine == "graph" else engine) for kind, who in pairs}
        if options.compile_only:
            for case in cases.values():
                case()
            continue
        if engine == "graph":
            cases = {key: in_graph(case) for key, case in cases.items()}
        wall = {}
        least = 0.02 if device.type == "cuda" else 0.05
        seconds = interleaved(cases, device, repeats=options.repeats, least_seconds=0 if options.quick else least,
                              wall=wall)
        row = {"contender": name, "engine": engine}
        for kind in kinds:
            row[kind] = summary(seconds[kind, name], seconds[kind, "Conv2d"])
            if device.type == "cuda":
                row[kind]["wall"] = summary(wall[kind, name], wall[kind, "Conv2d"])
        if engine in ("eager", "compiled"):  # a graph's memory is all taken beforehand
            held = resident(name)
            row["peak_bytes"] = peak_memory(cases["training", name], device, held)
            resident(name)  # gradients out of the way of the next
        rows.append(row)
    for row in rows:
        if "peak_bytes" not in row:
            continue
        (reference,) = [r for r in rows if r["contender"] == "Conv2d" and r["engine"] == row["engine"]]
        row["memory"] = row["peak_bytes"] / reference["peak_bytes"]
    return rows


def with_engines(module, engines):
    """Return the module as each engine runs it; a layer that breaks the graph is an error, not a slow number."""
    modes = {"compiled": "default", "recorded": "reduce-overhead"}
    return {engine: torch.compile(module, dynamic=False, fullgraph=True, mode=modes[engine]) if engine in modes
            else module for engine in engines}


def size(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def report(rows, title):
    """Print the rows that were added last, those of one shape."""
    if not rows:
        return
    rows = [row for row in rows if row["where"] == rows[-1]["where"] and row["shape"] == rows[-1]["shape"]]
    reference = rows[0]
    kinds = [kind for kind in ("inference", "training") if kind in reference]
    digits = 3 if any("wall" in row[kind] for row in rows for kind in kinds) else 1
    lines = [["contender", "engine", "multiply-adds", *itertools.chain(*((f"{kind}, ms", "ratio") for kind in kinds)),
              "peak, MB", "ratio"]]
    for row in rows:
        times = itertools.chain(*((f"{row[kind]['median_ms']:.{digits}f}", f"{row[kind]['ratio']:.2f}")
                                  for kind in kinds))
        lines.append([row["contender"], row["engine"], f"{row['multiply_adds'] / reference['multiply_adds']:.2f}",
                      *times, *((f"{row['peak_bytes'] / 1e6:.1f}", f"{row['memory']:.2f}") if "memory" in row
                                else ("", ""))])
    print(f"\n{title}\n{table(lines)}", flush=True)


def verdicts(rows, targets):
    """Yield a line for each target and each row that it is about; a target may be for one shape."""
    for contender, where, engine, what, most, *shape in targets:
        for row in rows:
            if ((row["contender"], row["where"], row["engine"]) == (contender, where, engine)
                    and (not shape or row["shape"] == list(shape[0])) and (what != "memory" or what in row)):
                value = row["memory"] if what == "memory" else row[what]["ratio"]
                yield (f"{'met   ' if value <= most else 'MISSED'}  {contender}, {where} {row['shape']}, {engine} "
                       f"{what}: {value:.2f}, target {most}")


if __name__ == "__main__":
    main()
