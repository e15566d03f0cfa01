"""A linear layer as a matrix: one row per output cell, one column per input cell, and the transpose for free.

Book: chapter 5.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convtwist._arguments import OneOrTwo
from convtwist.reference import corr2d

__all__ = ["convolution_matrix", "matrix_of"]


def convolution_matrix(kernel: Tensor, input_shape: Sequence[int], *, stride: OneOrTwo = 1, padding: OneOrTwo = 0,
                       dilation: OneOrTwo = 1) -> Tensor:
    """Return the sparse matrix ``A`` with ``A @ u.flatten() == corr2d(u, kernel).flatten()``.

    It stores one entry for each tap that meets a cell of the map, so every row repeats the same few weights; taps
    over the padding meet no cell and have no entry.  Gradients flow from the entries back to ``kernel``.

    Args:
        kernel: ``(kernel_height, kernel_width)``.
        input_shape: ``(height, width)`` of the map ``u``.
        stride: as in :func:`convtwist.reference.corr2d`, like the next two.
        padding: zeros on each side.
        dilation: the distance between neighbouring taps.

    Returns:
        A coalesced COO tensor of ``(output cells, input cells)``, in the kernel's dtype.

    Raises:
        ValueError: the shapes are not two-dimensional, or the kernel fits nowhere.

    >>> convolution_matrix(torch.tensor([[1., -1.]]), (1, 4)).to_dense().tolist()
    [[1.0, -1.0, 0.0, 0.0], [0.0, 1.0, -1.0, 0.0], [0.0, 0.0, 1.0, -1.0]]
    """
    cells = _cells(input_shape)
    numbered = torch.arange(1.0, cells + 1, dtype=torch.float64).view(*input_shape)  # 0 is left for the padding
    outputs: list[Tensor] = []
    inputs: list[Tensor] = []
    weights: list[Tensor] = []
    rows = 0
    for tap, weight in enumerate(kernel.flatten()):
        # A kernel that is 1 at this tap and 0 elsewhere reads off the number of the cell that the tap lies on.
        alone = torch.zeros(kernel.shape, dtype=torch.float64)
        alone.view(-1)[tap] = 1
        read = corr2d(numbered, alone, stride=stride, padding=padding, dilation=dilation).flatten().long()
        rows, met = len(read), read.nonzero().flatten()
        outputs.append(met)
        inputs.append(read[met] - 1)
        weights.append(weight.expand(len(met)))
    indices = torch.stack([torch.cat(outputs), torch.cat(inputs)]).to(kernel.device)
    return torch.sparse_coo_tensor(indices, torch.cat(weights), (rows, cells), check_invariants=True).coalesce()


def matrix_of(
    function: Callable[[Tensor], Tensor], input_shape: Sequence[int], *, dtype: torch.dtype | None = None
) -> Tensor:
    """Return the sparse matrix ``A`` of any linear map, with ``A @ u.flatten() == function(u).flatten()``.

    It shows ``function`` one map for each input cell, 1 there and 0 elsewhere; the answers are the columns of ``A``.

    Args:
        function: takes a map of ``input_shape``, returns a tensor of any shape.
        input_shape: ``(height, width)``.
        dtype: of the maps shown; by default PyTorch's default dtype.

    Returns:
        A coalesced COO tensor of ``(output cells, input cells)`` without zeros.

    Raises:
        ValueError: ``function`` is not linear, as ReLU, max pooling and anything with a bias are not.

    >>> matrix_of(lambda u: u.flip(1), (1, 3)).to_dense().tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    cells, dtype = _cells(input_shape), dtype or torch.get_default_dtype()
    units = torch.eye(cells, dtype=dtype)
    matrix = torch.stack([function(unit.view(*input_shape)).flatten() for unit in units], dim=1)
    # A map is linear if it agrees with its matrix on every input; random ones of both signs tell.
    for seed in range(3):
        trial = torch.randn(cells, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
        answer = function(trial.view(*input_shape)).flatten()
        room = 100 * torch.finfo(dtype).eps * (matrix.abs() @ trial.abs() + 1)
        if not ((answer - matrix @ trial).abs() <= room).all():
            raise ValueError("function is not linear: it does not treat a sum of maps as the sum of its answers, "
                             "so no matrix stands for it")
    return matrix.to_sparse().coalesce()


def _cells(shape: Sequence[int]) -> int:
    if len(shape) != 2 or not all(isinstance(side, int) and side >= 1 for side in shape):
        raise ValueError(f"input_shape must be (height, width), two whole numbers from 1, got {shape!r}")
    return shape[0] * shape[1]
