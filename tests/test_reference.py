"""convtwist.reference: the loops of chapters 1 and 3 against PyTorch and against the numbers in the text."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from convtwist import reference

sides = st.integers(1, 7)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(deadline=None)
@given(sides, sides, st.integers(1, 4), st.integers(1, 4), pairs, pairs,
       st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(0, 2**31))
def test_corr2d_equals_pytorch(height, width, k, m, stride, dilation, padding, seed):
    assume(height + 2 * padding[0] > dilation[0] * (k - 1) and width + 2 * padding[1] > dilation[1] * (m - 1))
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(height, width, generator=generator, dtype=torch.float64)
    w = torch.rand(k, m, generator=generator, dtype=torch.float64)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = F.conv2d(x[None, None], w[None, None], **options)[0, 0]
    torch.testing.assert_close(reference.corr2d(x, w, **options), expected)
    torch.testing.assert_close(reference.conv2d(x, w.flip(0, 1), **options), expected)


@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect", "circular"])
@pytest.mark.parametrize("padding", [0, 1, (2, 3), (3, 0)])
def test_pad2d_equals_pytorch(mode, padding):
    x = torch.arange(1.0, 21).view(4, 5)
    rows, columns = padding if isinstance(padding, tuple) else (padding, padding)
    expected = F.pad(x[None, None], (columns, columns, rows, rows), "constant" if mode == "zeros" else mode)
    assert torch.equal(reference.pad2d(x, padding, mode), expected[0, 0])


def test_convolution_copies_its_kernel_onto_a_point():
    point, kernel = torch.zeros(5, 5), torch.arange(9.0).view(3, 3)
    point[2, 2] = 1
    assert torch.equal(reference.conv2d(point, kernel), kernel)
    assert torch.equal(reference.corr2d(point, kernel), kernel.flip(0, 1))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: reference.corr2d(torch.zeros(2, 2), torch.zeros(3, 3)), "does not fit in 2x2"),
    (lambda: reference.corr2d(torch.zeros(1, 2, 2), torch.zeros(1, 1)), "input must be two-dimensional"),
    (lambda: reference.corr2d(torch.zeros(2, 2), torch.zeros(1)), "kernel must be two-dimensional"),
    (lambda: reference.corr2d(torch.zeros(2, 2), torch.zeros(1, 1), stride=0), "stride must be .* got 0"),
    (lambda: reference.pad2d(torch.zeros(2, 2), -1), "padding must be .* from 0, got -1"),
    (lambda: reference.pad2d(torch.zeros(2, 2), 1, "mirror"), "got 'mirror'"),
    (lambda: reference.pad2d(torch.zeros(2, 2), 2, "reflect"), "wider than the 2 cells"),
    (lambda: reference.pad2d(torch.zeros(2, 2), 3, "circular"), "wider than the 2 cells"),
    (lambda: reference.dilate(torch.zeros(2, 2), 1.5), "dilation must be .* got 1.5"),
])
def test_refusals_say_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()
