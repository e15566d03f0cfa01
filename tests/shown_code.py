"""Trace layers for a GPU that isn't there, and print what a compiler is shown of each: ``python shown_code.py``.

A line for each layer: its name, and the operations in its program, forward and backward, that aren't PyTorch's own.
It runs in a process of its own, since elsewhere the kernels are interpreted.  Nothing is computed.
"""

import torch
import torch._higher_order_ops.triton_kernel_wrap as triton_kernel_wrap
import triton
from torch._dynamo.backends.common import aot_autograd
from triton.backends.compiler import GPUTarget

from convtwist import ConvTwist2d, IsoTwist2d
from convtwist._engine import gpu, triton_tiles

LAYERS = {
    "in registers": ConvTwist2d(16, 32, padding=1),
    "in a bank": ConvTwist2d(256, 16, padding=1),
    "strided": ConvTwist2d(16, 16, stride=2, padding=1),
    "affine": ConvTwist2d(16, 16, padding=1, operators="affine"),
    "groups": ConvTwist2d(16, 16, padding=1, groups=2),
    "isotropic": IsoTwist2d(16, 32, bias=False),
    "reduced": IsoTwist2d(16, 16, reduce=2),
}


class Driver:
    """What Triton and PyTorch ask of a GPU before they compile for it."""

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_active_torch_device(self):
        return torch.device("cuda", 0)


class Seen(Exception):
    """The program, instead of a run of it."""


def program(layer, source, dynamic=False):
    """Return the names of all operations of a training step, as a compiler gets them."""

    def look(graph, *_, **__):
        raise Seen([getattr(node.target, "_name", str(node.target)) for node in graph.graph.nodes
                    if node.op == "call_function"])

    torch._dynamo.reset()
    backend = aot_autograd(fw_compiler=look, bw_compiler=look, partition_fn=look)
    try:
        torch.compile(layer, backend=backend, fullgraph=True, dynamic=dynamic)(source)
    except Exception as error:
        while not isinstance(error, Seen):
            error = error.__cause__ or error.__context__
        return error.args[0]


def main():
    triton.runtime.driver.set_active(Driver())
    gpu.holds, gpu._usable, triton_tiles.is_large = lambda maps: True, lambda index: True, lambda device: True
    cases = [(name, layer, {}) for name, layer in LAYERS.items()]
    cases.append(("sizes left open", LAYERS["in registers"], {"dynamic": True}))
    for last in (False, True):
        for name, layer, options in cases:
            layer = layer.bfloat16()
            source = torch.randn(2, layer.in_channels, 8, 8, dtype=torch.bfloat16)
            if last:
                source = source.to(memory_format=torch.channels_last)
            foreign = [name for name in program(layer, source.requires_grad_(), **options) if "aten" not in name]
            print(f"{name}: {', '.join(name for name in foreign if 'getitem' not in name)}", flush=True)
    triton_kernel_wrap.get_mutated_tensors = lambda *arguments: []
    found = program(LAYERS["in a bank"], torch.randn(2, 256, 8, 8, dtype=torch.bfloat16))
    print(f"mistaken: {', '.join(name for name in found if 'convtwist' in name)}")


if __name__ == "__main__":
    main()
