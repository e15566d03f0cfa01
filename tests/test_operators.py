"""Coordinates, derivatives, fields; and the mathematics that the layers stand on."""

import itertools
import math

import oracle
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scorecard import record

from convtwist.operators import (
    BANKS,
    OPERATORS,
    coordinate_grid,
    fields,
    gradient,
    isotropic_fields,
    twist_kernels,
)

torch.set_num_threads(1)


def draw(seed, *shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Coordinates


@given(st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None)
def test_coordinates_are_centred_symmetric_and_square(height, width):
    x, y = coordinate_grid(height, width, dtype=torch.float64)
    assert x.shape == (1, width) and y.shape == (height, 1)
    assert torch.equal(x, -x.flip(1)) and torch.equal(y, -y.flip(0))
    assert max(x.abs().max(), y.abs().max()) == (max(height, width) - 1) / max(height, width)
    for axis in (x[0], y[:, 0]):
        torch.testing.assert_close(axis.diff(), torch.full((len(axis) - 1,), 2 / max(height, width)).double())


def test_legacy_coordinates_are_those_of_the_posts():
    x, y = coordinate_grid(3, 4, coords="legacy")
    assert x[0].tolist() == [-1, -0.5, 0, 0.5]
    torch.testing.assert_close(y[:, 0], torch.tensor([-1, -1 / 3, 1 / 3]))


def test_coordinates_are_rounded_last():
    """bfloat16 alone cannot count to 512."""
    x, _ = coordinate_grid(1, 512, dtype=torch.bfloat16)
    exact = (2 * torch.arange(512, dtype=torch.float64) + 1 - 512) / 512
    assert torch.equal(x[0], exact.to(torch.bfloat16))
    careless = (2 * torch.arange(512).to(torch.bfloat16) + 1 - 512) / 512
    assert not torch.equal(x[0], careless)


@pytest.mark.parametrize("coords", ["centered", "legacy"])
def test_a_trace_knows_the_coordinates_of_every_size_bit_for_bit(coords):
    traced = torch.jit.trace(lambda u: coordinate_grid(*u.shape, coords=coords), torch.zeros(1, 5))
    for size in itertools.product((1, 2, 7, 300, 4099), repeat=2):
        for ours, expected in zip(traced(torch.empty(size)), coordinate_grid(*size, coords=coords), strict=True):
            assert torch.equal(ours, expected)


# Derivatives


@pytest.mark.parametrize("padding_mode", oracle.NUMPY_MODES)
def test_gradient_in_every_shape(padding_mode):
    u = draw(0, 2, 3, 5, 6)
    dx, dy = gradient(u, padding_mode=padding_mode)
    sobel = torch.from_numpy(oracle.SOBEL_X)[None, None]
    mode = {"zeros": "constant"}.get(padding_mode, padding_mode)
    padded = F.pad(u.view(6, 1, 5, 6), (1, 1, 1, 1), mode=mode)
    torch.testing.assert_close(dx, F.conv2d(padded, sobel).view(u.shape))
    torch.testing.assert_close(dy, F.conv2d(padded, sobel.transpose(2, 3)).view(u.shape))
    torch.testing.assert_close(gradient(u[0, 0], padding_mode=padding_mode)[0], dx[0, 0])
    assert gradient(u[:0])[0].shape == (0, 3, 5, 6)


@pytest.mark.parametrize("dilation", [(1, 1), (2, 2), (1, 3), (4, 2)])
def test_derivatives_stay_per_pixel_under_dilation(dilation):
    """On x, y, x y^2 / 2 and x^2 y / 2 the derivatives are known, dxyy and dxxy being 1 on the last two."""
    axis = torch.arange(24, dtype=torch.float64)
    x, y = torch.broadcast_tensors(axis[None, :], axis[:, None])
    maps = torch.stack([x, y, x * y**2 / 2, x**2 * y / 2])[None]
    bank = fields(maps, "first_order", padding=0, dilation=dilation)
    X, Y = coordinate_grid(*bank.shape[-2:], dtype=torch.float64)
    one = torch.ones(bank.shape[-2:], dtype=torch.float64)
    on_x, on_y, on_xyy, on_xxy = bank[0].unbind(1)
    for axis_, coordinate in enumerate((X, Y)):
        torch.testing.assert_close(on_x[axis_], coordinate * one)
        torch.testing.assert_close(on_x[2 + axis_], 0 * one)
        torch.testing.assert_close(on_y[2 + axis_], coordinate * one)
        torch.testing.assert_close(on_xyy[4 + axis_], coordinate * one)
        torch.testing.assert_close(on_xyy[6 + axis_], 0 * one)
        torch.testing.assert_close(on_xxy[6 + axis_], coordinate * one)


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.sampled_from([1, 2, 3]))
@settings(deadline=None, max_examples=30)
def test_dx_and_dy_are_exact_on_quadratics(c, dilation):
    axis = torch.arange(12, dtype=torch.float64) - 6
    x, y = axis[None, :], axis[:, None]
    u = c[0] + c[1] * x + c[2] * y + c[3] * x**2 + c[4] * x * y + c[5] * y**2
    bank = fields(u[None, None], "affine", padding=0, dilation=dilation)[0, :, 0]
    inner = slice(dilation, -dilation)
    dx, dy = c[1] + 2 * c[3] * x + c[4] * y, c[2] + 2 * c[5] * y + c[4] * x
    X, Y = coordinate_grid(*bank.shape[-2:], dtype=torch.float64)
    for field, expected in zip(bank, (X * dx[inner, inner], Y * dx[inner, inner], X * dy[inner, inner],
                                      Y * dy[inner, inner]), strict=True):
        torch.testing.assert_close(field, expected, rtol=1e-10, atol=1e-10)


# Fields


@pytest.mark.parametrize("operators", OPERATORS)
def test_each_field_is_what_its_name_says(operators):
    u = draw(1, 2, 3, 6, 7)
    X, Y = coordinate_grid(6, 7, dtype=torch.float64)
    named = {"X": X, "Y": Y}
    for name, kernel in (("dx", oracle.SOBEL_X), ("dy", oracle.SOBEL_Y), ("dxyy", oracle.D_XYY),
                         ("dxxy", oracle.D_XXY)):
        taps = torch.from_numpy(kernel).expand(3, 1, 3, 3)
        named[name] = F.conv2d(u, taps, padding=1, groups=3)
    bank = fields(u, operators)
    assert bank.shape == (2, len(OPERATORS[operators]), 3, 6, 7)
    for k, name in enumerate(OPERATORS[operators]):
        words = name.split()
        expected = named[words[0]] * named[words[1]]
        if len(words) > 2:
            expected = expected + (1 if words[2] == "+" else -1) * named[words[3]] * named[words[4]]
        torch.testing.assert_close(bank[:, k], expected, rtol=1e-12, atol=1e-12)


def test_the_isotropic_bank():
    u = draw(2, 2, 3, 6, 7)
    bank = fields(u, "iso")
    laplacian = torch.from_numpy(oracle.LAPLACIAN).expand(3, 1, 3, 3)
    assert torch.equal(bank[:, 0], u)
    torch.testing.assert_close(bank[:, 1], F.conv2d(u, laplacian, padding=1, groups=3), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bank[:, 2:], fields(u, "similarity"))
    halved = isotropic_fields(u, reduce=2)
    assert halved.shape == (2, 4, 3, 3, 3)
    torch.testing.assert_close(halved[:, :, :, :, 0], oracle_average(bank, 2)[..., 0])


def oracle_average(bank, reduce):
    return torch.from_numpy(oracle.average(bank.flatten(1, 2).numpy(), reduce)).unflatten(1, bank.shape[1:3])


@pytest.mark.parametrize("operators", OPERATORS)
@pytest.mark.parametrize("dilation", [(1, 1), (1, 2), (3, 2)])
def test_twist_kernels_are_the_formula(operators, dilation):
    twist = draw(3, len(OPERATORS[operators]), 4, 2)
    for ours, theirs in zip(twist_kernels(twist, dilation), oracle.twist_kernels(twist, dilation), strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=1e-12, atol=1e-12)
        assert torch.equal(ours.flip(2, 3), -ours)  # odd, so it kills constants and all even terms


def test_the_first_order_kernels_span_all_odd_kernels():
    twist = torch.eye(8, dtype=torch.float64)[:, :, None]
    kx, ky = twist_kernels(twist)
    assert torch.linalg.matrix_rank(torch.cat([kx, ky], 1).flatten(1)) == 8


def test_similarity_kernel_y_is_the_quarter_turn_of_kernel_x():
    kx, ky = twist_kernels(draw(3, 2, 4, 5))
    torch.testing.assert_close(ky, kx.transpose(2, 3).flip(3))


@pytest.mark.parametrize("bank", BANKS)
def test_fields_are_linear_and_kill_constants_inside(bank):
    u, v = draw(1, 1, 2, 6, 7), draw(2, 1, 2, 6, 7)
    torch.testing.assert_close(fields(2 * u - 3 * v, bank), 2 * fields(u, bank) - 3 * fields(v, bank))
    flat = fields(torch.full((1, 1, 6, 7), 5.0), bank, padding=0)[:, 1 if bank == "iso" else 0 :]
    assert flat.abs().max() < 1e-5


# What E and R commute with


def smooth(size, seed):
    """A band-limited picture that fades to zero towards the border, as a function of position."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(12, 2, generator=generator, dtype=torch.float64) * 3
    phases = torch.rand(12, generator=generator, dtype=torch.float64) * 2 * math.pi

    def picture(x, y):
        wave = torch.cos(waves[:, 0, None, None] * x + waves[:, 1, None, None] * y + phases[:, None, None]).sum(0)
        return wave * torch.exp(-20 * (x**2 + y**2))

    x, y = coordinate_grid(size, size, dtype=torch.float64)
    return picture, x, y


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("size", [(6, 6), (7, 7), (5, 8)])
def test_isotropic_fields_commute_exactly_with_quarter_turns(turns, size):
    u = draw(0, 1, 2, *size)
    for reduce in (1, 2, 3):
        turned = isotropic_fields(u.rot90(turns, (2, 3)), reduce=reduce)
        expected = isotropic_fields(u, reduce=reduce).rot90(turns, (3, 4))
        torch.testing.assert_close(turned, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_e_and_r_commute_with_any_turn_and_zoom_up_to_the_grid(size):
    """turned(E u) against E(turned u) at 20 random angles and factors; sampled from a formula, not interpolated."""
    worst = 0.0
    generator = torch.Generator().manual_seed(1)
    for k in range(20):
        picture, x, y = smooth(size, k)
        angle = float(torch.rand((), generator=generator)) * 2 * math.pi
        factor = 0.8 + 0.4 * float(torch.rand((), generator=generator))
        c, s = math.cos(angle) * factor, math.sin(angle) * factor
        turned = picture(c * x - s * y, s * x + c * y)
        bank = fields(turned[None, None], "similarity")[0, :, 0] * size / 2  # per unit, not per pixel
        xs = (c * x - s * y).requires_grad_()
        ys = (s * x + c * y).requires_grad_()
        dx, dy = torch.autograd.grad(picture(xs, ys).sum(), (xs, ys))
        exact = torch.stack([xs * dx + ys * dy, ys * dx - xs * dy]).detach()
        worst = max(worst, ((bank - exact).norm() / exact.norm()).item())
    # Second order: a quarter of the error on twice the pixels.
    assert worst < 0.06 * (64 / size) ** 2
    record(f"E and R against 20 random turns and zooms, {size} pixels: largest relative error", worst)


def test_no_other_first_order_operator_with_linear_coefficients_commutes_with_turns_and_zooms():
    """Among (a x + b y + c) dx + (d x + e y + f) dy, solve L(turned u) = turned(L u): two dimensions are left."""
    basis = [torch.zeros(2, 3, dtype=torch.float64) for _ in range(6)]
    for k, matrix in enumerate(basis):
        matrix.view(-1)[k] = 1
    equations = []
    for angle, factor in ((0.7, 1.0), (2.1, 1.0), (0.0, 1.3)):
        turn = factor * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
                                     dtype=torch.float64)
        # L has the velocity v(p) = A p + c; it commutes with u -> u(G p) where G v(p) = v(G p) for all p.
        columns = [torch.cat([(turn @ m[:, :2] - m[:, :2] @ turn).flatten(), turn @ m[:, 2] - m[:, 2]])
                   for m in basis]
        equations.append(torch.stack(columns, 1))
    system = torch.cat(equations)
    assert 6 - int(torch.linalg.matrix_rank(system)) == 2
    for name, six in (("E", [1, 0, 0, 0, 1, 0]), ("R", [0, 1, 0, -1, 0, 0])):
        assert (system @ torch.tensor(six, dtype=torch.float64)).abs().max() < 1e-12, name


def test_commutators_of_the_generators():
    """[dx, E] = dx, [dx, R] = -dy, [dy, R] = dx, [E, R] = 0: on polynomials of degree two these hold exactly."""
    size = 14
    x = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2)[None, :].expand(size, size)
    y = x.t()

    def d(u):
        return gradient(u, padding_mode="replicate")

    operators = {
        "dx": lambda u: d(u)[0],
        "dy": lambda u: d(u)[1],
        "E": lambda u: x * d(u)[0] + y * d(u)[1],
        "R": lambda u: y * d(u)[0] - x * d(u)[1],
        "0": torch.zeros_like,
    }
    brackets = {("dx", "dy"): (0, "0"), ("dx", "E"): (1, "dx"), ("dy", "E"): (1, "dy"), ("dx", "R"): (-1, "dy"),
                ("dy", "R"): (1, "dx"), ("E", "R"): (0, "0")}
    inner = slice(3, -3)
    for (a, b), (sign, name) in brackets.items():
        for p, q in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)):
            u = x**p * y**q
            bracket = operators[a](operators[b](u)) - operators[b](operators[a](u))
            difference = bracket - sign * operators[name](u)
            assert difference[inner, inner].abs().max() < 1e-10, (a, b, p, q)


def test_the_only_even_kernels_that_commute_with_quarter_turns_and_with_45_degrees_are_two():
    """Identity and Laplacian: in Fourier space a kernel must not depend on the direction, to leading orders."""
    from convtwist.kernels import BASIS

    # Symbols at lowest order: 1, ik, im, -k^2, -km, -m^2; isotropic ones are combinations of 1 and k^2 + m^2.
    angles = torch.linspace(0, math.pi, 9, dtype=torch.float64)
    k, m = torch.cos(angles), torch.sin(angles)
    symbols = {"1": 1 + 0 * k, "dx": k, "dy": m, "dxx": k * k, "dxy": k * m, "dyy": m * m}
    orders = {0: ["1"], 1: ["dx", "dy"], 2: ["dxx", "dxy", "dyy"]}
    assert list(itertools.chain(*orders.values())) == list(BASIS[:6])
    free = 0
    for names in orders.values():
        varying = torch.stack([symbols[name] - symbols[name].mean() for name in names], 1)
        free += len(names) - int(torch.linalg.matrix_rank(varying, atol=1e-9))
    assert free == 2


@pytest.mark.parametrize(("call", "message"), [
    (lambda: coordinate_grid(0, 3), "sides must be at least 1"),
    (lambda: coordinate_grid(3, 3, coords="middle"), "coords must be one of 'centered', 'legacy'"),
    (lambda: gradient(torch.zeros(3)), r"input must end in \(height, width\)"),
    (lambda: gradient(torch.zeros(3, 3), padding_mode="edge"), "padding_mode must be one of"),
    (lambda: fields(torch.zeros(3, 3, 3)), r"input must be \(batch, channels, height, width\)"),
    (lambda: fields(torch.zeros(1, 1, 3, 3), "both"), "operators must be one of"),
    (lambda: fields(torch.zeros(1, 1, 3, 3), padding=0, dilation=2), "does not fit into input"),
    (lambda: isotropic_fields(torch.zeros(1, 1, 3, 3), reduce=0), "reduce must be a whole number"),
])
def test_what_is_refused_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()
