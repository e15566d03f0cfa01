"""The classic kernels: values, signs, parts, and the nine operators that make up every one of them."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convtwist import kernels

torch.set_num_threads(1)

weights = st.lists(st.floats(-10, 10, width=32), min_size=9, max_size=9).map(
    lambda w: torch.tensor(w, dtype=torch.float64).view(3, 3))


def polynomial(p, q, size=7):
    """Return x^p y^q on a map with the origin in the middle."""
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    return axis[None, :] ** p * axis[:, None] ** q


def at_middle(image, kernel):
    answer = F.conv2d(image[None, None].double(), kernel[None, None].double())[0, 0]
    return answer[answer.shape[0] // 2, answer.shape[1] // 2].item()


def test_sobel_points_right_and_down_and_is_per_pixel():
    ramp_right, ramp_down = polynomial(1, 0), polynomial(0, 1)
    assert at_middle(ramp_right, kernels.sobel_x()) == 1
    assert at_middle(ramp_down, kernels.sobel_x()) == 0
    assert at_middle(ramp_down, kernels.sobel_y()) == 1
    assert at_middle(ramp_right, kernels.sobel_y(normalized=False)) == 0
    assert at_middle(ramp_right, kernels.sobel_x(normalized=False)) == 8
    assert kernels.sobel_y(normalized=False).tolist() == [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]


def test_sobel_agrees_with_kornia():
    from kornia.filters import spatial_gradient

    image = torch.rand(1, 1, 8, 9, generator=torch.manual_seed(0), dtype=torch.float64)
    theirs = spatial_gradient(image)[:, 0]  # also over 8, x first, edges repeated
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    for k, kernel in enumerate((kernels.sobel_x(), kernels.sobel_y())):
        ours = F.conv2d(padded, kernel[None, None].double())
        torch.testing.assert_close(ours, theirs[:, k : k + 1])


@pytest.mark.parametrize(("kind", "on_parabola"), [("cross", 4), ("isotropic", 4), ("square", 12)])
def test_laplacians(kind, on_parabola):
    parabola = polynomial(2, 0) + polynomial(0, 2)
    assert at_middle(parabola, kernels.laplacian(kind)) == pytest.approx(on_parabola, abs=1e-5)
    assert at_middle(polynomial(1, 0) + 3, kernels.laplacian(kind)) == pytest.approx(0, abs=1e-5)


def test_only_the_isotropic_laplacian_errs_alike_in_all_directions():
    """On cos(k . x) the error's leading part may depend on the length of k alone."""

    def answers(kind):
        axis = torch.arange(7, dtype=torch.float64) - 3
        k = 0.4
        directions = [(math.cos(a), math.sin(a)) for a in (0, math.pi / 8, math.pi / 4)]
        waves = [torch.cos(k * (c * axis[None, :] + s * axis[:, None])) for c, s in directions]
        return [at_middle(wave, kernels.laplacian(kind, dtype=torch.float64)) for wave in waves]

    def spread(kind):
        return max(answers(kind)) - min(answers(kind))

    assert spread("isotropic") < spread("cross") / 50


def test_averages_keep_a_constant_and_the_binomial_is_the_textbook_one():
    for kernel in (kernels.box(), kernels.box(5), kernels.gaussian(), kernels.gaussian(7), kernels.gaussian(5, 1.2),
                   kernels.sharpen(), kernels.sharpen(0.3), kernels.identity(), kernels.emboss()):
        assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert (kernels.gaussian(5)[2] * 256).tolist() == [6, 24, 36, 24, 6]
    row = kernels.gaussian(9, 1.0, dtype=torch.float64).sum(0)
    assert (row[4] / row[3]).item() == pytest.approx(math.exp(0.5))


def test_rotate90_is_the_turn_of_the_announcement_and_four_turns_are_none():
    kernel = torch.rand(5, 3, 3, 3, generator=torch.manual_seed(0))
    assert torch.equal(kernels.rotate90(kernel), kernel.transpose(2, 3).flip(3))
    assert torch.equal(kernels.rotate90(kernel, 4), kernel)
    assert torch.equal(kernels.rotate90(kernels.rotate90(kernel), -1), kernel)
    assert kernels.rotate90(kernel).is_contiguous()


@given(weights)
@settings(deadline=None)
def test_odd_and_even_parts(kernel):
    odd, even = kernels.odd_part(kernel), kernels.even_part(kernel)
    torch.testing.assert_close(odd + even, kernel)
    assert torch.equal(odd.flip(0, 1), -odd) and torch.equal(even.flip(0, 1), even)
    assert odd[1, 1] == 0
    assert (odd * even).sum().abs() < 1e-9


@given(weights)
@settings(deadline=None)
def test_odd_kernels_kill_constants_and_every_even_term(kernel):
    odd = kernels.odd_part(kernel)
    for p, q in ((0, 0), (2, 0), (1, 1), (0, 2), (2, 2), (4, 0), (3, 1), (1, 3)):
        assert abs(at_middle(polynomial(p, q), odd)) < 1e-9


@given(weights)
@settings(deadline=None)
def test_compose_undoes_decompose(kernel):
    torch.testing.assert_close(kernels.compose(kernels.decompose(kernel)), kernel, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(kernels.decompose(kernels.compose(kernel.flatten())), kernel.flatten(), rtol=1e-12,
                               atol=1e-12)


@given(weights, st.lists(st.floats(-3, 3), min_size=6, max_size=6))
@settings(deadline=None)
def test_a_kernel_acts_on_quadratics_exactly_as_its_operators_say(kernel, c):
    """u = c0 + c1 x + c2 y + c3 x^2 + c4 x y + c5 y^2 has these derivatives at the origin, and no others."""
    powers = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    image = sum(value * polynomial(p, q) for value, (p, q) in zip(c, powers, strict=True))
    derivatives = [c[0], c[1], c[2], 2 * c[3], c[4], 2 * c[5], 0, 0, 0]
    expected = sum(a * d for a, d in zip(kernels.decompose(kernel).tolist(), derivatives, strict=True))
    assert at_middle(image, kernel) == pytest.approx(expected, abs=1e-8)


def test_decompose_names_what_it_should():
    def parts(kernel):
        return {name: value for name, value in zip(kernels.BASIS, kernels.decompose(kernel).tolist(), strict=True)
                if abs(value) > 1e-6}

    assert parts(kernels.identity()) == {"1": 1}
    assert parts(kernels.sobel_x()) == {"dx": 1, "dxyy": 0.25}
    assert parts(kernels.sobel_y()) == {"dy": 1, "dxxy": 0.25}
    assert parts(kernels.laplacian()) == {"dxx": 1, "dyy": 1}
    assert parts(kernels.gaussian()) == {"1": 1, "dxx": 0.25, "dyy": 0.25, "dxxyy": 0.0625}
    assert kernels.decompose(torch.zeros(2, 5, 3, 3)).shape == (2, 5, 9)
    for k, name in enumerate(kernels.BASIS):
        odd = (name.count("x") + name.count("y")) % 2 == 1
        assert torch.equal(kernels.odd_part(kernels.basis()[k]), kernels.basis()[k] * odd)


def test_dtype_and_device_are_honoured():
    for make in (kernels.identity, kernels.sobel_x, kernels.sobel_y, kernels.laplacian, kernels.box,
                 kernels.gaussian, kernels.sharpen, kernels.emboss, kernels.basis):
        made = make(dtype=torch.float64, device="meta")
        assert made.dtype == torch.float64 and made.device.type == "meta"
        assert make().dtype == torch.float32 and make().is_contiguous()
    assert kernels.decompose(torch.ones(3, 3, dtype=torch.int64)).dtype == torch.float32


@pytest.mark.parametrize(("call", "message"), [
    (lambda: kernels.laplacian("round"), "kind must be one of"),
    (lambda: kernels.box(2), "size must be an odd"),
    (lambda: kernels.gaussian(3.0), "size must be an odd"),
    (lambda: kernels.gaussian(3, 0), "sigma must be positive"),
    (lambda: kernels.decompose(torch.zeros(5, 5)), r"kernel must end in \(3, 3\)"),
    (lambda: kernels.rotate90(torch.zeros(3, 2)), "kernel must end in a square"),
    (lambda: kernels.odd_part(torch.zeros(3)), "kernel must end in a square"),
    (lambda: kernels.compose(torch.zeros(8)), "coefficients must end in an axis of 9"),
])
def test_what_is_refused_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()
