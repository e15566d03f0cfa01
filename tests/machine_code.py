"""Compile the GPU kernels for a GPU that isn't there, and print what each takes: ``python machine_code.py 90 fp32``.

Triton's wheel holds the compiler down to machine code.  A line for each kernel: its name, number type and bank, the
stages asked for, how often it fetches ahead, products in 32 bits that are offsets in 64, registers, bytes spilled to
local memory, bytes of shared memory.  The second argument is the type in which coordinates' units come: ``fp32``, or
``fp64`` as from a compiled program.
It runs in a process of its own, since elsewhere the kernels are interpreted.
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

from convtwist._engine import triton_kernels, triton_registers, triton_tiles

POINTERS = ("maps", "weights", "output", "bank", "factor", "products", "parts")
ALIGNED = ("channels", "out", "stride_f", "stride_k")
TOOL = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"


def build(capability, unit, kernel, dtype, blocks, stride=1, **options):
    blocks, launch = dict(blocks), {"enable_fp_fusion": True}
    launch["num_warps"] = blocks.pop("num_warps")
    names = inspect.signature(kernel.fn).parameters
    constants = {"S0": stride, "S1": stride, "P0": 1, "P1": 1, "D0": 1, "D1": 1, "stride_n": 1, "WIDE": False,
                 "CURVED": 1.0, **blocks, **options}
    constants = {name: value for name, value in constants.items() if name in names}
    signature, aligned = {}, {}
    for k, name in enumerate(names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in POINTERS:
            signature[name] = "*fp32" if name == "products" else f"*{dtype}"
            aligned[k,] = [["tt.divisibility", 16]]
        else:
            signature[name] = unit if name.endswith("_unit") else "i32"
            if name in ALIGNED:
                aligned[k,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    binary = compile(source, target=GPUTarget("cuda", capability, 32), options=launch)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        used = subprocess.run([TOOL, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", used).groups()
    ahead = binary.asm["ttgir"].count("async_copy_global_to_local")
    narrow = widened(binary.asm["ttir"])
    print(kernel.fn.__name__, dtype, options.get("BANK"), blocks.get("STAGES", 1), ahead, narrow, registers, stack,
          binary.metadata.shared, flush=True)
    for parameter in kernel.params:
        assert parameter.do_not_specialize == (parameter.name in triton_kernels._SIZES), parameter.name


def widened(code):
    """Return how many products of two sizes in 32 bits become offsets in 64: larger maps would overflow them."""
    constants = {*re.findall(r"(%\S+) = arith\.constant", code)}
    products = {name for name, *factors in re.findall(r"(%\S+) = arith\.muli (%\S+), (%\S+) :.*i32>? loc", code)
                if not constants & {*factors}}
    return len(products & {*re.findall(r"arith\.extsi (%\S+) :", code)})


def main(capability, unit):
    large = capability >= 90
    for dtype in ("fp32", "bf16") if large else ("fp32",):  # one type for the older generation saves time
        for bank in ("similarity", "iso"):
            build(capability, unit, triton_registers.near_bank_kernel, dtype, triton_tiles.near_tiles(256, 14),
                  BANK=bank, SCALE=1.0, TRANSPOSED=True)
        for bank, count in (("similarity", 2), ("first_order", 8)):
            build(capability, unit, triton_kernels.bank_kernel, dtype, triton_tiles.bank_tiles(256, 14), 2, BANK=bank,
                  COUNT=count, SCALE=1.0, TRANSPOSED=False)
        build(capability, unit, triton_kernels.spread_kernel, dtype, triton_tiles.spread_tiles(128, 28), 2,
              BANK="similarity", COUNT=2)
    for dtype in ("fp16", "bf16") if large else ("bf16",):
        for bank, channels in (("similarity", 64), ("iso", 64), *([("similarity", 128)] if large else [])):
            for back in (False, True):
                blocks = triton_tiles.mix_tiles(bank, channels, channels, 28)
                if back:
                    blocks = triton_tiles.back_tiles(channels, channels, 28, large)
                elif dtype == "fp16" and large:  # which benchmarks/gpu_blocks.py tries
                    blocks["STAGES"], blocks["AHEAD"] = 2, False
                build(capability, unit, triton_registers.fields_kernel, dtype, blocks, BANK=bank, SCALE=1.0,
                      TRANSPOSED=back, MIX=True, KEEP=bank != "iso", MULTIPLY=back)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
