"""How the work of a layer is cut up on a GPU: which way is taken, and how large the blocks are.

Book: chapter 13.  Source: new here.  Nothing is tried out while a network runs: ``benchmarks/gpu_blocks.py`` measures
on a GPU what is best.  What is written here won on an H200 (``benchmarks/results/gpu_blocks.json``).

Sizes are powers of two, and at least 16 where a product is made, as Triton's products want it.
"""

import torch

__all__ = ["BANK_LIMIT", "back_tiles", "bank_tiles", "in_registers", "is_large", "mix_tiles",
           "near_tiles", "spread_tiles"]

BANK_LIMIT = 1 << 28
"""The most numbers in a bank; of larger batches it is made some images at a time."""


def is_large(device: torch.device) -> bool:
    """Say whether a multiprocessor has as much shared memory as an H100's, 227 KB; the A100's has 163, others 99."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device)[0] in (9, 10)


def in_registers(operators: str, channels: int, out: int, dtype: torch.dtype, large: bool) -> bool:
    """Say whether fields are made in registers in front of the product, rather than in a bank for cuBLAS.

    In registers no field is written or read, but all channels have to fit.  cuBLAS is the better multiplier, above all
    in ``float32``.
    """
    return dtype != torch.float32 and max(channels, out) <= (128 if large and operators != "iso" else 64)


def mix_tiles(operators: str, channels: int, out: int, rows: int) -> dict[str, int]:
    """Return the blocks that add fields, mixed, to the output; ``BK`` holds all channels.

    A program takes one block of pixels, or every ``SPLITS``th.
    """
    return {"BM": 16, "BK": _power(channels), "BN": _power(out), "ROWS": _walk(14, rows), "SPLITS": 1 << 30,
            "AHEAD": operators == "iso", "STAGES": 1, "num_warps": 4}


def back_tiles(channels: int, out: int, rows: int, large: bool) -> dict[str, int]:
    """Return the blocks that add transposed fields, mixed, and multiply them; ``SPLITS`` parts of the sum are kept."""
    few = max(channels, out) <= 64
    return {"BM": 16, "BK": _power(channels), "BN": _power(out), "ROWS": _walk(14, rows), "SPLITS": 264, "AHEAD": False,
            "STAGES": 3 if large else 1, "num_warps": 4 if few and large else 8}


def near_tiles(channels: int, rows: int) -> dict[str, int]:
    """Return the blocks that write a bank of the usual layers."""
    few = channels <= 64
    return {"BM": 16 if few else 8, "BK": min(64 if few else 128, _power(channels)), "ROWS": _walk(14, rows),
            "AHEAD": not few, "STAGES": 1, "num_warps": 4}


def bank_tiles(channels: int, rows: int) -> dict[str, int]:
    """Return the blocks that write any other bank."""
    return {"BM": 16, "BK": min(64, _power(channels)), "ROWS": _walk(14, rows), "num_warps": 4}


def spread_tiles(channels: int, rows: int) -> dict[str, int]:
    """Return the blocks that spread mixed parts out over the gradient of a strided layer's input."""
    return {"BM": 16, "BK": min(64, _power(channels)), "ROWS": _walk(8, rows), "num_warps": 4}


def _walk(most: int, rows: int) -> int:
    """Return how many rows a program takes: CUDA launches at most 65,535 programs below each other."""
    return max(min(most, rows), -(-rows // 65535))


def _power(count: int) -> int:
    return max(16, 1 << (count - 1).bit_length())
