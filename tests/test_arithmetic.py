"""convtwist.arithmetic: the formulas of chapters 2 to 5 against the shapes, weights and counts of PyTorch."""


import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convtwist import arithmetic

numbers = {"stride": st.integers(1, 4), "padding": st.integers(0, 5), "dilation": st.integers(1, 4)}
settings.register_profile("quiet", deadline=None)
settings.load_profile("quiet")


@given(st.integers(1, 40), st.integers(1, 7), st.fixed_dictionaries(numbers))
def test_output_size_equals_pytorch(size, kernel_size, options):
    layer = nn.Conv1d(1, 1, kernel_size, **options)
    if size + 2 * options["padding"] < arithmetic.span(kernel_size, options["dilation"]):
        with pytest.raises(ValueError, match="does not fit"):
            arithmetic.output_size(size, kernel_size, **options)
    else:
        shape = layer(torch.zeros(1, 1, size)).shape
        assert shape[-1] == arithmetic.output_size(size, kernel_size, **options)


@given(st.integers(1, 30), st.integers(1, 7), st.fixed_dictionaries(numbers), st.booleans())
def test_pooling_size_equals_pytorch(size, kernel_size, options, ceil_mode):
    assume(options["padding"] <= kernel_size // 2)  # PyTorch's rule for pooling
    options = options | {"ceil_mode": ceil_mode}
    try:
        shape = nn.functional.max_pool2d(torch.zeros(1, size, size), kernel_size, **options).shape
    except RuntimeError:
        with pytest.raises(ValueError, match="does not fit"):
            arithmetic.output_size(size, kernel_size, **options)
    else:
        assert shape[-1] == arithmetic.output_size(size, kernel_size, **options)


@given(st.integers(1, 12), st.integers(1, 6), st.fixed_dictionaries(numbers), st.integers(0, 4))
def test_transposed_sizes_and_overlap_counts_equal_pytorch(size, kernel_size, options, output_padding):
    options = options | {"output_padding": output_padding}
    try:
        stamped = nn.functional.conv_transpose1d(torch.ones(1, 1, size), torch.ones(1, 1, kernel_size), **options)
    except RuntimeError:
        with pytest.raises(ValueError, match="padding"):
            arithmetic.transposed_output_size(size, kernel_size, **options)
    else:
        assert stamped.shape[-1] == arithmetic.transposed_output_size(size, kernel_size, **options)
        assert stamped[0, 0].tolist() == arithmetic.overlap_count(size, kernel_size, **options)


@given(st.integers(1, 40), st.integers(1, 7), st.fixed_dictionaries(numbers))
def test_output_padding_returns_to_every_input_size(size, kernel_size, options):
    assume(size + 2 * options["padding"] >= arithmetic.span(kernel_size, options["dilation"]))
    places = arithmetic.output_size(size, kernel_size, **options)
    reach = arithmetic.span(kernel_size, options["dilation"])
    extra = size - (options["stride"] * (places - 1) + reach - 2 * options["padding"])
    assert 0 <= extra < options["stride"]
    assert arithmetic.transposed_output_size(places, kernel_size, output_padding=extra, **options) == size


@given(st.integers(1, 8), st.integers(1, 5))
def test_overlaps_are_even_exactly_if_the_stride_divides_the_kernel(kernel_size, stride):
    inside = arithmetic.overlap_count(20, kernel_size, stride)[kernel_size:-kernel_size]
    assert (len(set(inside)) == 1) == (kernel_size % stride == 0)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.tuples(st.integers(1, 5), st.integers(1, 5)),
       st.booleans(), st.tuples(st.integers(5, 9), st.integers(5, 9)))
def test_convolution_counts_equal_pytorch(groups, inside, outside, kernel_size, bias, sides):
    channels = {"in_channels": groups * inside, "out_channels": groups * outside}
    layer = nn.Conv2d(**channels, kernel_size=kernel_size, groups=groups, bias=bias)
    learned = sum(parameter.numel() for parameter in layer.parameters())
    assert learned == arithmetic.conv_parameters(**channels, kernel_size=kernel_size, groups=groups, bias=bias)
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        output = layer.to("meta")(torch.empty(1, groups * inside, *sides))
    expected = arithmetic.conv_multiply_adds(**channels, kernel_size=kernel_size, output_size=tuple(output.shape[2:]),
                                             groups=groups)
    assert counter.get_total_flops() == 2 * expected  # it counts a multiplication and an addition as two


@given(st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_linear_parameters_equal_pytorch(inside, outside, bias):
    layer = nn.Linear(inside, outside, bias=bias)
    assert sum(p.numel() for p in layer.parameters()) == arithmetic.linear_parameters(inside, outside, bias=bias)


@given(st.integers(1, 20), st.integers(1, 5), st.fixed_dictionaries(numbers))
def test_unread_cells_are_those_without_a_gradient(size, kernel_size, options):
    assume(size + 2 * options["padding"] >= arithmetic.span(kernel_size, options["dilation"]))
    u = torch.zeros(1, 1, size, requires_grad=True)
    nn.functional.conv1d(u, torch.ones(1, 1, kernel_size), **options).sum().backward()
    assert arithmetic.unread(size, kernel_size, **options) == (u.grad[0, 0] == 0).nonzero().flatten().tolist()


@given(st.integers(1, 9), st.integers(1, 4))
def test_same_keeps_and_full_lets_every_overlap_count(kernel_size, dilation):
    full = arithmetic.full_padding(kernel_size, dilation)
    reach = arithmetic.span(kernel_size, dilation)
    assert arithmetic.output_size(10, kernel_size, padding=full, dilation=dilation) == 10 + reach - 1
    if reach % 2:
        same = arithmetic.same_padding(kernel_size, dilation)
        assert arithmetic.output_size(10, kernel_size, padding=same, dilation=dilation) == 10
    else:
        with pytest.raises(ValueError, match="an even number"):
            arithmetic.same_padding(kernel_size, dilation)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_receptive_field_is_what_the_gradient_reaches(layers):
    size = arithmetic.receptive_field(layers)
    u = torch.zeros(1, 1, size, requires_grad=True)
    v = u
    for kernel_size, stride, dilation in layers:
        v = nn.functional.conv1d(v, torch.ones(1, 1, kernel_size), stride=stride, dilation=dilation)
    assert v.shape[-1] == 1  # exactly one place: one cell less and nothing would fit
    v.sum().backward()
    assert u.grad[0, 0, 0] > 0 and u.grad[0, 0, -1] > 0


def test_the_numbers_of_chapter_three():
    assert arithmetic.output_size(8, 3) == 6
    assert arithmetic.output_size(128, 5) == 124
    assert arithmetic.output_size(128, 5, padding=2) == 128
    assert arithmetic.output_size(3, 2, padding=1, stride=2) == 2
    assert arithmetic.output_size(224, 7, padding=3, stride=2) == 112


def test_the_numbers_of_chapters_two_and_five():
    assert arithmetic.linear_parameters(100, 30) == 3030
    assert arithmetic.conv_parameters(3, 7, 5) == 532
    assert arithmetic.conv_parameters(3, 8, 5, bias=False) == 600
    assert arithmetic.conv_multiply_adds(64, 16, 3, (28, 28)) == 7_225_344
    narrow = arithmetic.conv_multiply_adds(64, 4, 1, 28), arithmetic.conv_multiply_adds(4, 16, 3, 28)
    assert narrow == (200_704, 451_584)
    assert arithmetic.transposed_output_size(2, 2) == 3 and arithmetic.transposed_output_size(2, 2, stride=2) == 4


def test_the_matrix_is_reached_from_here():
    from convtwist.matrix import convolution_matrix

    assert arithmetic.convolution_matrix is convolution_matrix


@pytest.mark.parametrize(("call", "message"), [
    (lambda: arithmetic.output_size(0, 3), "input_size must be .* got 0"),
    (lambda: arithmetic.output_size(8, 3, stride=0), "stride must be .* got 0"),
    (lambda: arithmetic.output_size(8, 3, padding=-1), "padding must be .* from 0, got -1"),
    (lambda: arithmetic.span(3, 0), "dilation must be .* got 0"),
    (lambda: arithmetic.span(2.5), "kernel_size must be .* got 2.5"),
    (lambda: arithmetic.transposed_output_size(4, 3, stride=2, output_padding=2), "output_padding must be .* got 2"),
    (lambda: arithmetic.transposed_output_size(2, 2, padding=2), "padding=2 cuts off"),
    (lambda: arithmetic.overlap_count(4, 3, 0), "stride must be .* got 0"),
    (lambda: arithmetic.conv_parameters(3, 8, 3, groups=2), "in_channels=3 must be divisible by groups=2"),
    (lambda: arithmetic.conv_multiply_adds(3, 8, 3, (0, 4)), r"output_size must be .* got \(0, 4\)"),
    (lambda: arithmetic.linear_parameters(0, 1), "in_features must be .* got 0"),
])
def test_refusals_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
