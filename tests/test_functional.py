"""The functions against the slow loops of tests/oracle.py, and the derivatives against finite differences."""

import itertools

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scorecard import record
from torch.autograd import gradcheck, gradgradcheck

from convtwist.functional import conv_twist2d, iso_twist2d
from convtwist.operators import coordinate_grid

torch.set_num_threads(1)

FIELDS = {"similarity": 2, "affine": 4, "first_order": 8}


def draw(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def parameters(out, width, operators, seed=1, dtype=torch.float32, center=True):
    weight = draw(seed, out, width, 3, 3, dtype=dtype)
    twist = draw(seed + 1, FIELDS[operators], out, width, dtype=dtype)
    return weight, twist, draw(seed + 2, out, dtype=dtype), draw(seed + 3, 2, out, dtype=dtype) if center else None


def five_inputs(channels, smallest=5):
    """Square, wider than high and not contiguous, an empty batch, unbatched, and as narrow as will go."""
    return {
        "square": draw(10, 2, channels, 6, 6),
        "not contiguous": draw(11, 1, channels, 8, smallest).transpose(2, 3),
        "channels last": draw(12, 2, channels, smallest + 1, smallest).to(memory_format=torch.channels_last),
        "empty batch": draw(13, 0, channels, 6, 5),
        "unbatched": draw(14, channels, smallest, 7),
    }


def assert_agrees(result, expected, what):
    expected = torch.from_numpy(np.asarray(expected))
    assert result.shape == expected.shape, what
    # The size of the sum's terms, not of the sum, sets the rounding error of float32.
    scale = expected.abs().max().item() if expected.numel() else 1
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-6 * scale,
                               msg=lambda m: f"{what}\n{m}")
    return ((result.double() - expected).abs().max() / scale).item() if expected.numel() else 0.0


GRID = list(itertools.product(
    ("similarity", "affine", "first_order"),  # operators
    ("zeros", "reflect", "replicate", "circular"),  # padding_mode
    (1, 2),  # stride
    (1, 2),  # dilation
    (1, 2),  # groups
    (False, True),  # center
    ("centered", "legacy"),  # coords
))


@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("padding_mode", oracle.NUMPY_MODES)
def test_the_grid_of_configurations_agrees_with_the_loops(operators, padding_mode):
    worst, cases = 0.0, 0
    configurations = [c for c in GRID if c[:2] == (operators, padding_mode)]
    for _, _, stride, dilation, groups, centred, coords in configurations:
        weight, twist, bias, center = parameters(6, 4 // groups, operators, center=centred)
        options = {"stride": (stride, 3 - stride), "padding": (1, dilation), "dilation": (dilation, 1),
                   "groups": groups, "padding_mode": padding_mode, "coords": coords}
        for name, u in five_inputs(4).items():
            result = conv_twist2d(u, weight, twist, bias, center=center, **options)
            batched = u if u.dim() == 4 else u[None]
            expected = oracle.conv_twist2d(batched, weight.numpy(), twist, bias, center=center, **options)
            expected = expected if u.dim() == 4 else expected[0]
            worst = max(worst, assert_agrees(result, expected, f"{name} {operators} center={centred} {options}"))
            cases += 1
    assert cases == 5 * 32
    record("oracle: configurations x inputs", cases)
    record("oracle: largest error, relative to the largest output", worst)


@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("permute", [None, "cycle", *(
    pytest.param(order, marks=pytest.mark.slow) for order in ("4-cycle", "shuffle", (3, 1, 0, 2, 7, 6, 4, 5)))])
def test_steps_and_permutations_agree_with_the_loops(operators, permute):
    cases = 0
    for steps, groups, padding_mode, centred in itertools.product((1, 2, 3), (4, 8), ("zeros", "circular"),
                                                                  (False, True)):
        weight, twist, bias, center = parameters(8, 8 // groups, operators, center=centred)
        options = {"padding": (1, 1), "groups": groups, "padding_mode": padding_mode, "steps": steps,
                   "permute": permute}
        for name, u in five_inputs(8, smallest=4).items():
            given_permute = torch.tensor(permute) if isinstance(permute, tuple) and steps == 2 else permute
            result = conv_twist2d(u, weight, twist, bias, center=center, **{**options, "permute": given_permute})
            batched = u if u.dim() == 4 else u[None]
            expected = oracle.conv_twist2d(batched, weight.numpy(), twist, bias, center=center, **options)
            assert_agrees(result, expected if u.dim() == 4 else expected[0], f"{name} {operators} {options}")
            cases += 1
    record("oracle: configurations x inputs", cases)


@pytest.mark.parametrize("reduce", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("coords", ["centered", "legacy"])
def test_iso_twist2d_agrees_with_the_loops(reduce, groups, coords):
    weight, bias = draw(1, 6, 4 // groups, 4), draw(2, 6)
    for name, u in five_inputs(4).items():
        result = iso_twist2d(u, weight, bias, groups=groups, reduce=reduce, coords=coords)
        batched = u if u.dim() == 4 else u[None]
        expected = oracle.iso_twist2d(batched, weight, bias, groups=groups, reduce=reduce, coords=coords)
        assert_agrees(result, expected if u.dim() == 4 else expected[0], name)
        record("oracle: configurations x inputs", 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2), (1, 2)])
def test_the_smallest_maps(size):
    weight, twist, bias, center = parameters(2, 3, "similarity")
    u = draw(5, 2, 3, *size)
    result = conv_twist2d(u, weight, twist, bias, padding=1, center=center)
    assert_agrees(result, oracle.conv_twist2d(u, weight.numpy(), twist, bias, padding=(1, 1), center=center), size)
    result = iso_twist2d(u, draw(6, 2, 3, 4), reduce=2)
    assert_agrees(result, oracle.iso_twist2d(u, draw(6, 2, 3, 4), reduce=2), size)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_geometry_agrees_with_the_loops(data):
    def pairs(low, high):
        return data.draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    stride, padding, dilation = pairs(1, 3), pairs(0, 3), pairs(1, 3)
    height = data.draw(st.integers(max(1, 2 * dilation[0] + 1 - 2 * padding[0]), 9))
    width = data.draw(st.integers(max(1, 2 * dilation[1] + 1 - 2 * padding[1]), 9))
    groups = data.draw(st.sampled_from((1, 2, 3)))
    operators = data.draw(st.sampled_from(sorted(FIELDS)))
    weight, twist, bias, center = parameters(groups, 2, operators, data.draw(st.integers(0, 99)))
    u = draw(7, 1, 2 * groups, height, width)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    expected = oracle.conv_twist2d(u, weight.numpy(), twist, bias, center=center, **options)
    assert_agrees(conv_twist2d(u, weight, twist, bias, center=center, **options), expected, options)
    plain = torch.nn.functional.conv2d(u, weight, bias, **options)
    assert plain.shape == expected.shape


GRADIENT_CASES = {
    "plain": {"padding": 1},
    "no padding": {},
    "stride": {"padding": 1, "stride": 2},
    "dilation": {"padding": (1, 2), "dilation": (1, 2)},
    "groups": {"padding": 1, "groups": 2},
    "reflect": {"padding": 1, "padding_mode": "reflect"},
    "replicate": {"padding": (2, 1), "padding_mode": "replicate"},
    "circular": {"padding": 1, "padding_mode": "circular", "stride": 2},
    "steps": {"padding": 1, "steps": 2},
    "cycle": {"padding": 1, "groups": 2, "permute": "cycle", "steps": 2},
    "legacy": {"padding": 1, "coords": "legacy"},
}


@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_first_and_second_derivatives(operators, case):
    options = GRADIENT_CASES[case]
    width = 2 // options.get("groups", 1)
    tensors = [draw(9, 1, 2, 4, 3, dtype=torch.float64), *parameters(2, width, operators, dtype=torch.float64)]
    tensors = [t.requires_grad_() for t in tensors]

    def function(u, weight, twist, bias, center):
        return conv_twist2d(u, weight, twist, bias, center=center, **options)

    assert gradcheck(function, tensors, fast_mode=case != "plain")
    assert gradgradcheck(function, tensors, fast_mode=True)
    without_center = [t for t in tensors[:4]]
    assert gradcheck(lambda *t: conv_twist2d(*t, **options), without_center, fast_mode=True)
    record("gradient checks, first and second order", 3)


@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"reduce": 2}, {"coords": "legacy"}])
def test_first_and_second_derivatives_of_the_isotropic_layer(options):
    width = 2 // options.get("groups", 1)
    tensors = [draw(9, 1, 2, 5, 4, dtype=torch.float64), draw(8, 2, width, 4, dtype=torch.float64),
               draw(7, 2, dtype=torch.float64)]
    tensors = [t.requires_grad_() for t in tensors]
    assert gradcheck(lambda *t: iso_twist2d(*t, **options), tensors)
    assert gradgradcheck(lambda *t: iso_twist2d(*t, **options), tensors, fast_mode=True)
    record("gradient checks, first and second order", 2)


@pytest.mark.parametrize("frozen", [("u",), ("weight",), ("twist",), ("bias",), ("u", "weight"), ("weight", "bias")])
def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same(frozen):
    names = ("u", "weight", "twist", "bias")
    tensors = [draw(9, 2, 2, 5, 4), *parameters(3, 2, "similarity")[:3]]
    upstream = draw(3, 2, 3, 5, 4)

    def gradients(off):
        leaves = [t.clone().requires_grad_(n not in off) for n, t in zip(names, tensors, strict=True)]
        conv_twist2d(*leaves, padding=1).backward(upstream)
        return [leaf.grad for leaf in leaves]

    for name, full, some in zip(names, gradients(()), gradients(frozen), strict=True):
        assert (some is None) == (name in frozen)
        if some is not None:
            torch.testing.assert_close(some, full)


def test_forward_mode_derivative_matches_finite_differences():
    u, (weight, twist, bias, _) = draw(9, 1, 2, 4, 5, dtype=torch.float64), parameters(2, 2, "similarity",
                                                                                       dtype=torch.float64)
    directions = [torch.randn_like(t) for t in (u, weight, twist, bias)]
    _, slope = torch.func.jvp(lambda *t: conv_twist2d(*t, padding=1), (u, weight, twist, bias), tuple(directions))
    h = 1e-6
    there, back = [conv_twist2d(*[t + s * h * d for t, d in zip((u, weight, twist, bias), directions, strict=True)],
                                padding=1) for s in (1, -1)]
    torch.testing.assert_close(slope, (there - back) / (2 * h), rtol=1e-6, atol=1e-6)


def test_zero_twist_is_conv2d_bit_for_bit():
    u, (weight, twist, bias, _) = draw(9, 2, 4, 9, 8), parameters(6, 4, "similarity")
    for options in ({}, {"padding": 1}, {"padding": 1, "stride": 2}, {"padding": 2, "dilation": 2}):
        expected = torch.nn.functional.conv2d(u, weight, bias, **options)
        assert torch.equal(conv_twist2d(u, weight, twist * 0, bias, **options), expected)


@pytest.mark.parametrize("operators", FIELDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_centres_are_redundant(operators, stride):
    """(X - cx)(Kx u) = X (Kx u) - cx (Kx u), and the last is a convolution: the centre theorem, by the loops."""
    weight, twist, bias, center = parameters(3, 2, operators, dtype=torch.float64)
    u = draw(9, 2, 2, 7, 6, dtype=torch.float64)
    kx, ky = oracle.twist_kernels(twist, (1, 1))
    cx, cy = center.numpy().reshape(2, -1, 1, 1, 1)
    absorbed = torch.from_numpy(weight.numpy() - cx * kx - cy * ky)
    with_center = oracle.conv_twist2d(u, weight.numpy(), twist, bias, center=center, padding=(1, 1),
                                      stride=(stride, stride))
    ours = conv_twist2d(u, absorbed, twist, bias, stride, 1)
    error = (ours - torch.from_numpy(with_center)).abs().max().item()
    assert error < 2e-14
    record("centre theorem: largest difference in float64", error)


def test_the_family_is_closed_under_translation():
    """A layer, looked at through a shifted window, is a layer of the family with the same twist and another weight."""
    weight, twist, _, _ = parameters(3, 2, "first_order", dtype=torch.float64)
    u = draw(9, 1, 2, 12, 12, dtype=torch.float64)
    kx, ky = (torch.from_numpy(k) for k in oracle.twist_kernels(twist, (1, 1)))
    whole = conv_twist2d(u, weight, twist)  # 10 x 10
    down, right = 2, 3
    window = conv_twist2d(u[..., down:, right:], weight, twist, coords="centered")  # 8 x 7
    x, y = coordinate_grid(10, 10, dtype=torch.float64)
    xw, yw = coordinate_grid(*window.shape[-2:], dtype=torch.float64)
    # The window's unit is 8 / 10 of the whole's; x = scale * xw + shift.
    scale = (x[0, 1] - x[0, 0]) / (xw[0, 1] - xw[0, 0])
    shift_x, shift_y = x[0, right] - scale * xw[0, 0], y[down, 0] - scale * yw[0, 0]
    moved = conv_twist2d(u[..., down:, right:], weight + shift_x * kx + shift_y * ky, scale * twist)
    torch.testing.assert_close(moved, whole[..., down:, right:], rtol=1e-12, atol=1e-12)
    assert (window - whole[..., down:, right:]).abs().max() > 0.1  # so there was something to show


def test_steps_are_a_power():
    """(1 + L / n)^n - 1, with L written out as a matrix."""
    weight, twist, _, _ = parameters(2, 2, "similarity", dtype=torch.float64)
    size = (2, 4, 5)
    count = 2 * 4 * 5
    images = torch.eye(count, dtype=torch.float64).view(count, *size)
    matrix = conv_twist2d(images, weight, twist, padding=1).flatten(1).t()
    u = draw(9, 1, *size, dtype=torch.float64)
    for steps in (2, 3, 5):
        one = torch.eye(count, dtype=torch.float64)
        power = torch.linalg.matrix_power(one + matrix / steps, steps) - one
        expected = (power @ u.flatten()).view(1, *size)
        torch.testing.assert_close(conv_twist2d(u, weight, twist, padding=1, steps=steps), expected)


U, W, T = torch.rand(2, 4, 6, 6), torch.rand(4, 4, 3, 3), torch.rand(2, 4, 4)
REFUSED = {
    "input must have 4 channels on axis 1": lambda: conv_twist2d(U[:, :3], W, T),
    r"permute\(0, 3, 1, 2\)": lambda: conv_twist2d(U.permute(0, 2, 3, 1), W, T),
    "a single grey picture needs input": lambda: conv_twist2d(U[0, 0], W, T),
    r"input must be \(batch, channels": lambda: conv_twist2d(U[None], W, T),
    "kernels": lambda: conv_twist2d(U, torch.rand(4, 4, 5, 5), T),
    "weight must have 4 axes": lambda: conv_twist2d(U, W[0], T),
    "twist must be": lambda: conv_twist2d(U, W, T[:1]),
    r"twist must be \(fields, 4, 4\)": lambda: conv_twist2d(U, W, T[:, :2]),
    "center must be": lambda: conv_twist2d(U, W, T, center=torch.zeros(2)),
    "stride must be": lambda: conv_twist2d(U, W, T, stride=0),
    "stride must be one or two": lambda: conv_twist2d(U, W, T, stride=(1, 1, 1)),
    "padding must be one or two": lambda: conv_twist2d(U, W, T, padding=-1),
    "padding must be one of 'same', 'valid'": lambda: conv_twist2d(U, W, T, padding="full"),
    "padding='same' needs stride=1": lambda: conv_twist2d(U, W, T, padding="same", stride=2),
    "dilation must be": lambda: conv_twist2d(U, W, T, dilation=1.5),
    "groups must be a whole number": lambda: conv_twist2d(U, W, T, groups=0),
    "groups=3 must divide": lambda: conv_twist2d(torch.rand(1, 12, 6, 6), W, T, groups=3),
    "padding_mode must be one of": lambda: conv_twist2d(U, W, T, padding_mode="mirror"),
    "coords must be": lambda: conv_twist2d(U, W, T, coords="pixel"),
    "steps must be a whole number": lambda: conv_twist2d(U, W, T, steps=0),
    "steps=2 needs an output of the input's size": lambda: conv_twist2d(U, W, T, steps=2),
    "as many output as input": lambda: conv_twist2d(U, W[:2], T[:, :2], padding=1, steps=2),
    "permute must be 'cycle'": lambda: conv_twist2d(U, W, T, permute="random"),
    "'4-cycle' closes rings of 4 groups": lambda: conv_twist2d(U, W, T, permute="4-cycle"),
    "permute must hold each of 0 to 3": lambda: conv_twist2d(U, W, T, permute=[0, 1, 1, 3]),
    "permute must hold 4 channel": lambda: conv_twist2d(U, W, T, permute=torch.arange(3)),
    "reduce must be": lambda: iso_twist2d(U, torch.rand(4, 4, 4), reduce=0),
    r"weight must be \(out, in / groups, 4\)": lambda: iso_twist2d(U, torch.rand(4, 4, 3)),
    "weight must have 3 axes": lambda: iso_twist2d(U, W),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused_says_why(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
    record("refusals that name the argument", 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_refused_with_the_cure(dtype):
    with pytest.raises(TypeError, match=r"input.float\(\) / 255"):
        conv_twist2d(torch.zeros(1, 4, 6, 6, dtype=dtype), W, T)
    with pytest.raises(TypeError, match=r"input.float\(\) / 255"):
        iso_twist2d(torch.zeros(1, 4, 6, 6, dtype=dtype), torch.rand(4, 4, 4))


def test_a_map_too_small_for_the_kernel_is_refused_like_in_conv2d():
    with pytest.raises((ValueError, RuntimeError), match=r"does not fit|Kernel size can.t be greater"):
        conv_twist2d(U[..., :2], W, T)


@pytest.mark.parametrize("wrong", [{"stride": True}, {"stride": 1.0}, {"groups": 1.0}, {"groups": True},
                                   {"padding": 1.0}, {"dilation": (1, True)}, {"steps": 1.0}])
def test_what_passed_once_does_not_let_its_likes_pass(wrong):
    """Checks are remembered by arguments; ``True`` and ``1.0`` equal 1, and are refused all the same."""
    u, weight, twist = torch.rand(1, 3, 6, 6), torch.rand(3, 3, 3, 3), torch.rand(2, 3, 3)
    right = {"stride": 1, "groups": 1, "padding": 1, "dilation": (1, 1), "steps": 1}
    for _ in range(2):
        conv_twist2d(u, weight, twist, **right)
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            conv_twist2d(u, weight, twist, **{**right, **wrong})
    conv_twist2d(u, weight, twist, **right)
    for other in (u.double(), u[:, :2], u.to(torch.uint8)):
        with pytest.raises((TypeError, ValueError), match=r"input must|input is"):
            conv_twist2d(other, weight, twist, **right)
