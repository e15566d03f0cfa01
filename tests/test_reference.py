"""convtwist.reference: the loops of chapters 1 to 5 against PyTorch and against the numbers in the text."""


import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from convtwist import reference

sides = st.integers(1, 7)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
edges = st.tuples(st.integers(0, 3), st.integers(0, 3))
seeds = st.integers(0, 2**31)


def random_map(height, width, seed):
    return torch.randn(height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same_or_refused(ours, theirs):
    """Compare two calls, of which both may refuse their arguments, but not one alone."""
    try:
        expected = theirs()
    except (RuntimeError, ValueError):
        with pytest.raises(ValueError):
            ours()
    else:
        torch.testing.assert_close(ours(), expected)


@settings(deadline=None)
@given(sides, sides, st.integers(1, 4), st.integers(1, 4), pairs, pairs, edges, seeds)
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


@settings(deadline=None)
@given(sides, sides, pairs, st.none() | pairs, edges, pairs, st.booleans(), seeds)
def test_max_pool2d_equals_pytorch(height, width, kernel_size, stride, padding, dilation, ceil_mode, seed):
    x = random_map(height, width, seed)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    same_or_refused(lambda: reference.max_pool2d(x, kernel_size, **options),
                    lambda: F.max_pool2d(x[None, None], kernel_size, **options)[0, 0])


@settings(deadline=None)
@given(sides, sides, pairs, st.none() | pairs, edges, st.booleans(), st.booleans(), seeds)
def test_avg_pool2d_equals_pytorch(height, width, kernel_size, stride, padding, ceil_mode, count_include_pad, seed):
    x = random_map(height, width, seed)
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    same_or_refused(lambda: reference.avg_pool2d(x, kernel_size, **options),
                    lambda: F.avg_pool2d(x[None, None], kernel_size, **options)[0, 0])


@settings(deadline=None)
@given(sides, sides, st.integers(1, 6) | pairs, st.sampled_from(["nearest", "bilinear", "corners"]), seeds)
def test_upsampling_equals_pytorch(height, width, scale, mode, seed):
    x = random_map(height, width, seed)
    if mode == "nearest":
        same_or_refused(lambda: reference.upsample_nearest(x, scale),
                        lambda: F.interpolate(x[None, None], scale_factor=scale, mode="nearest")[0, 0])
    else:
        corners = mode == "corners"
        same_or_refused(lambda: reference.upsample_bilinear(x, scale, align_corners=corners),
                        lambda: F.interpolate(x[None, None], scale_factor=scale, mode="bilinear",
                                              align_corners=corners)[0, 0])


@settings(deadline=None)
@given(sides, sides, pairs, pairs, edges, edges, pairs, seeds)
def test_conv_transpose2d_equals_pytorch(height, width, sizes, stride, padding, output_padding, dilation, seed):
    x, w = random_map(height, width, seed), random_map(*sizes, seed + 1)
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    same_or_refused(lambda: reference.conv_transpose2d(x, w, **options),
                    lambda: F.conv_transpose2d(x[None, None], w[None, None], **options)[0, 0])


def test_gradients_flow_through_the_loops():
    x = random_map(5, 6, 0).requires_grad_()
    for ours, theirs in [
        (lambda u: reference.max_pool2d(u, 2), lambda u: F.max_pool2d(u[None], 2)[0]),
        (lambda u: reference.avg_pool2d(u, 3, stride=2), lambda u: F.avg_pool2d(u[None], 3, 2)[0]),
        (lambda u: reference.upsample_bilinear(u, 2),
         lambda u: F.interpolate(u[None, None], scale_factor=2, mode="bilinear")),
    ]:
        (mine,) = torch.autograd.grad(ours(x).square().sum(), x)
        (expected,) = torch.autograd.grad(theirs(x).square().sum(), x)
        torch.testing.assert_close(mine, expected)


def test_whole_numbers_stay_whole_and_mixed_types_are_not_cut():
    numbers = torch.arange(9).view(3, 3)
    assert reference.max_pool2d(numbers - 20, 2, stride=1, padding=1).tolist()[0] == [-20, -19, -18, -18]
    assert reference.corr2d(numbers, torch.tensor([[0.5]])).tolist()[0] == [0, 0.5, 1]
    assert reference.conv_transpose2d(numbers, torch.tensor([[0.5]])).tolist()[0] == [0, 0.5, 1]


def test_the_numbers_of_chapter_four():
    table = torch.tensor([[1.0, 3, 2, 1, 3], [2, 9, 1, 1, 5], [1, 3, 2, 3, 2], [8, 3, 5, 1, 0], [5, 6, 1, 2, 9]])
    assert reference.max_pool2d(table, 3, stride=1).tolist() == [[9, 9, 5], [9, 9, 5], [8, 6, 9]]


def test_the_numbers_of_chapter_five():
    small = torch.tensor([[20.0, 45], [10, 43]])
    assert reference.upsample_bilinear(small, 2).tolist() == [
        [20, 26.25, 38.75, 45], [17.5, 24.25, 37.75, 44.5], [12.5, 20.25, 35.75, 43.5], [10, 18.25, 34.75, 43]]
    x, w = torch.tensor([[1, 4], [0, 2]]), torch.tensor([[2, 2], [1, 1]])
    apart = [[2, 2, 8, 8], [1, 1, 4, 4], [0, 0, 4, 4], [0, 0, 2, 2]]
    assert reference.conv_transpose2d(x, w, stride=2).tolist() == apart


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
    (lambda: reference.max_pool2d(torch.zeros(1, 4, 4), 2), "input must be two-dimensional"),
    (lambda: reference.max_pool2d(torch.zeros(4, 4), 5), "kernel_size=5, spanning 5, does not fit in 4"),
    (lambda: reference.max_pool2d(torch.zeros(4, 4), 0), "kernel_size must be .* got 0"),
    (lambda: reference.avg_pool2d(torch.zeros(4, 4), 2, padding=2), "padding must be at most half of kernel_size=2"),
    (lambda: reference.avg_pool2d(torch.zeros(4, 4), 2, stride=0), "stride must be .* got 0"),
    (lambda: reference.upsample_nearest(torch.zeros(2, 2), 0), "scale must be .* got 0"),
    (lambda: reference.upsample_bilinear(torch.zeros(2, 2), 1.5), "scale must be .* got 1.5"),
    (lambda: reference.upsample_bilinear(torch.zeros(2, 2).long(), 2), "input must be floating point"),
    (lambda: reference.conv_transpose2d(torch.zeros(2, 2), torch.zeros(2)), "kernel must be two-dimensional"),
    (lambda: reference.conv_transpose2d(torch.zeros(2, 2), torch.zeros(2, 2), output_padding=1), "output_padding must"),
    (lambda: reference.conv_transpose2d(torch.zeros(2, 2), torch.zeros(2, 2), padding=2), "padding=2 cuts everything"),
])
def test_refusals_say_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()
