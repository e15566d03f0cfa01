"""convtwist.matrix: layers as matrices, and the adjoint identity <Ax, y> = <x, A'y> for each of chapter 5's layers."""


import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from convtwist import arithmetic, matrix, reference

sides = st.integers(1, 7)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
edges = st.tuples(st.integers(0, 2), st.integers(0, 2))
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def random_map(shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(sides, sides, pairs, pairs, edges, pairs, st.integers(0, 2**31))
def test_the_matrix_is_the_convolution_and_its_transpose_the_transposed(h, w, size, stride, padding, dilation, seed):
    spans = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    assume(all(n + 2 * p >= span for n, p, span in zip((h, w), padding, spans, strict=True)))
    kernel, u = random_map(size, seed), random_map((h, w), seed + 1)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    a = matrix.convolution_matrix(kernel, (h, w), **options)
    expected = F.conv2d(u[None, None], kernel[None, None], **options)[0, 0]
    torch.testing.assert_close(a @ u.flatten(), expected.flatten())
    places = [arithmetic.output_size(n, k, stride=s, padding=p, dilation=d)
              for n, k, s, p, d in zip((h, w), size, stride, padding, dilation, strict=True)]
    extra = [n - ((m - 1) * s - 2 * p + span)
             for n, m, s, p, span in zip((h, w), places, stride, padding, spans, strict=True)]
    y = random_map(places, seed + 2)
    back = F.conv_transpose2d(y[None, None], kernel[None, None], output_padding=extra, **options)[0, 0]
    torch.testing.assert_close(a.t() @ y.flatten(), back.flatten())


@given(sides, sides, pairs, pairs, edges, st.integers(0, 2**31))
def test_both_ways_to_the_matrix_agree(h, w, size, stride, padding, seed):
    assume(h + 2 * padding[0] >= size[0] and w + 2 * padding[1] >= size[1])
    kernel = random_map(size, seed)
    options = {"stride": stride, "padding": padding}
    probed = matrix.matrix_of(lambda u: reference.corr2d(u, kernel, **options), (h, w), dtype=torch.float64)
    torch.testing.assert_close(probed.to_dense(), matrix.convolution_matrix(kernel, (h, w), **options).to_dense())


LINEAR = {
    "padding": lambda u: reference.pad2d(u, (1, 2)),
    "mirror padding": lambda u: reference.pad2d(u, 2, "reflect"),
    "average pooling": lambda u: reference.avg_pool2d(u, 2, ceil_mode=True),
    "nearest": lambda u: reference.upsample_nearest(u, 2),
    "bilinear": lambda u: reference.upsample_bilinear(u, 2),
    "corners": lambda u: reference.upsample_bilinear(u, 3, align_corners=True),
    "subsampling": lambda u: u[::2, ::2],
    "transposed": lambda u: reference.conv_transpose2d(u, torch.ones(3, 3, dtype=u.dtype), stride=2, padding=1),
}


@pytest.mark.parametrize("layer", LINEAR.values(), ids=LINEAR)
def test_the_adjoint_of_a_linear_layer_is_its_gradient(layer):
    x = random_map((4, 5), 0).requires_grad_()
    a = matrix.matrix_of(layer, (4, 5), dtype=torch.float64)
    answer = layer(x)
    y = random_map(answer.shape, 1)
    torch.testing.assert_close(a @ x.detach().flatten(), answer.detach().flatten())
    left, back = (answer * y).sum(), a.t() @ y.flatten()
    torch.testing.assert_close(left, (x.flatten() * back).sum())
    torch.testing.assert_close(torch.autograd.grad(left, x)[0].flatten(), back)


@pytest.mark.parametrize("layer", [
    torch.relu, torch.abs, torch.square, lambda u: u + 1, lambda u: reference.max_pool2d(u, 2), lambda u: torch.ones(3),
    lambda u: u * (u.abs().sum() > 1.5),  # agrees with the identity's zero matrix on no random map
])
def test_what_is_not_linear_has_no_matrix(layer):
    with pytest.raises(ValueError, match="function is not linear"):
        matrix.matrix_of(layer, (3, 4))


def test_the_overlap_count_is_the_column_sum():
    a = matrix.convolution_matrix(torch.ones(1, 3), (1, 9), stride=2)
    assert (a.t() @ torch.ones(4)).tolist() == arithmetic.overlap_count(4, 3, 2) == [1, 1, 2, 1, 2, 1, 2, 1, 1]


def test_entries_are_the_weights_and_gradients_reach_them():
    kernel = torch.tensor([[2.0, 0.0, -2.0]] * 3, requires_grad=True)
    a = matrix.convolution_matrix(kernel, (6, 6))
    assert a.shape == (16, 36) and len(a.values()) == 16 * 9  # zero weights keep their place
    assert matrix.convolution_matrix(torch.ones(3, 3), (6, 6), padding=1)._nnz() == 16 * 16  # 36 x 9 less the frame
    u = random_map((6, 6), 3).float()
    (a.to_dense() @ u.flatten()).square().sum().backward()
    mine, kernel.grad = kernel.grad, None
    F.conv2d(u[None, None], kernel[None, None]).square().sum().backward()
    torch.testing.assert_close(mine, kernel.grad)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: matrix.convolution_matrix(torch.ones(3), (4, 4)), "kernel must be two-dimensional"),
    (lambda: matrix.convolution_matrix(torch.ones(3, 3), (2, 2)), "does not fit in 2x2"),
    (lambda: matrix.convolution_matrix(torch.ones(3, 3), (4,)), r"input_shape must be .* got \(4,\)"),
    (lambda: matrix.convolution_matrix(torch.ones(3, 3), (4, 4), stride=0), "stride must be .* got 0"),
    (lambda: matrix.matrix_of(torch.neg, (0, 4)), r"input_shape must be .* got \(0, 4\)"),
])
def test_refusals_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
