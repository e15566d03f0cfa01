"""Compile the GPU kernels for a GPU that isn't there, and print what each takes: ``python machine_code.py 90``.

Triton's wheel holds the compiler down to machine code.  A line for each kernel: its name, registers, bytes spilled to
local memory, bytes of shared memory.  It runs in a process of its own, since elsewhere the kernels are interpreted.
"""

import inspect
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from convtwist._engine import triton_kernels, triton_tiles

POINTERS = ("maps", "weights", "output", "bank", "factor", "products", "parts")
TOOL = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"


def build(capability, kernel, dtype, blocks, stride=1, **options):
    blocks, launch = dict(blocks), {}
    for key in ("num_warps", "num_stages", "enable_fp_fusion"):
        if key in blocks:
            launch[key] = blocks.pop(key)
    constants = {"S0": stride, "S1": stride, "P0": 1, "P1": 1, "D0": 1, "D1": 1, **blocks, **options}
    signature, aligned = {}, {}
    for k, name in enumerate(inspect.signature(kernel.fn).parameters):
        if name in constants:
            signature[name] = "constexpr"
        elif name in POINTERS:
            signature[name] = "*fp32" if name == "products" else f"*{dtype}"
            aligned[k,] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32" if name.endswith("_unit") else "i32"
            if name in ("channels", "out"):
                aligned[k,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    binary = compile(source, target=GPUTarget("cuda", capability, 32), options=launch)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        used = subprocess.run([TOOL, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", used).groups()
    print(kernel.fn.__name__, dtype, options.get("BANK"), registers, stack, binary.metadata.shared, flush=True)


def main(capability):
    for dtype in ("fp32", "bf16"):
        for bank, first, count in (("similarity", 0, 2), ("first_order", 0, 8), ("iso", 1, 4)):
            build(capability, triton_kernels.bank_kernel, dtype, triton_tiles.bank_tiles(256, 14), BANK=bank,
                  FIRST=first, COUNT=count, SCALE=1.0, TRANSPOSED=True, WIDE=False)
        build(capability, triton_kernels.spread_kernel, dtype, triton_tiles.spread_tiles(128, 28), 2,
              BANK="similarity", COUNT=2, WIDE=False)
    for dtype in ("fp16", "bf16"):
        for transposed in (False, True):
            build(capability, triton_kernels.add_kernel, dtype, triton_tiles.add_tiles(64, 64, 56), BANK="similarity",
                  COUNT=2, SCALE=1.0, TRANSPOSED=transposed, KEEP=True, WIDE=False)
        build(capability, triton_kernels.products_kernel, dtype, triton_tiles.product_tiles(64, 64, 56),
              BANK="similarity", COUNT=2, SCALE=1.0, WIDE=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
