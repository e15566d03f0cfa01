"""How the work of a layer is cut up on a GPU: which way is taken, and how large the blocks are.

Book: chapter 13.  Source: new here.  Nothing is tried out while a network runs: ``benchmarks/gpu_blocks.py`` measures
on a GPU what is best, and prints what to write here.

Sizes are powers of two, and at least 16 where a product is made, as Triton's products want it.
"""

import torch

__all__ = ["BANK_LIMIT", "add_tiles", "bank_tiles", "in_registers", "product_tiles", "spread_tiles"]

BANK_LIMIT = 1 << 28
"""The most numbers in a bank; of larger batches it is made some images at a time."""


def in_registers(fields: int, channels: int, out: int, dtype: torch.dtype) -> bool:
    """Say whether fields are made in registers in front of the product, rather than in a bank for cuBLAS.

    In registers a pixel's fields are made anew for each block of output channels, and need no memory.  cuBLAS is the
    better multiplier, above all in ``float32``.
    """
    return dtype != torch.float32 and fields <= 4 and channels <= 128 and out <= 128


def bank_tiles(channels: int, rows: int) -> dict[str, int]:
    """Return the blocks that write a bank."""
    return {"BM": 16, "BK": min(64, _power(channels)), "ROWS": min(14, rows), "num_warps": 4,
            "enable_fp_fusion": True}


def add_tiles(channels: int, out: int, rows: int) -> dict[str, int]:
    """Return the blocks that add fields, mixed, to the output; ``BK`` holds all channels."""
    return {"BM": 16 if channels > 64 else 32, "BK": _power(channels), "BN": min(128, _power(out)),
            "ROWS": min(8, rows), "num_warps": 8,
            "num_stages": 1, "enable_fp_fusion": True}


def product_tiles(channels: int, out: int, rows: int) -> dict[str, int]:
    """Return the blocks that multiply fields with a gradient, and into how many parts the sum is split."""
    wide = min(64, _power(out))
    return {"BM": 32, "BK": _power(channels), "BN": wide, "ROWS": min(14, rows), "SPLITS": 264 // -(-out // wide),
            "num_warps": 16 if channels > 64 else 8, "num_stages": 1, "enable_fp_fusion": True}


def spread_tiles(channels: int, rows: int) -> dict[str, int]:
    """Return the blocks that spread mixed parts out over the gradient of a strided layer's input."""
    return {"BM": 16, "BK": min(64, _power(channels)), "ROWS": min(8, rows), "num_warps": 4,
            "enable_fp_fusion": True}


def _power(count: int) -> int:
    return max(16, 1 << (count - 1).bit_length())
