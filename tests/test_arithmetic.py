"""convtwist.arithmetic: the size formulas of chapter 3 against the shapes that PyTorch returns."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

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


@pytest.mark.parametrize(("call", "message"), [
    (lambda: arithmetic.output_size(0, 3), "input_size must be .* got 0"),
    (lambda: arithmetic.output_size(8, 3, stride=0), "stride must be .* got 0"),
    (lambda: arithmetic.output_size(8, 3, padding=-1), "padding must be .* from 0, got -1"),
    (lambda: arithmetic.span(3, 0), "dilation must be .* got 0"),
    (lambda: arithmetic.span(2.5), "kernel_size must be .* got 2.5"),
])
def test_refusals_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
