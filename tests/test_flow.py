"""Flows: many small steps against the exact warp, against kornia, and the numbers that the book prints."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import warp_affine
from PIL import Image
from scorecard import record

from convtwist.flow import GENERATORS, exact_warp, flow, generator_matrix

torch.set_num_threads(1)


def photograph(size=128, sigma=3.0):
    """Return the cameraman in grey, softened so that a pixel's slope says where the next pixel is."""
    image = Image.open(Path(__file__).parent.parent / "images" / "camera.png").convert("L").resize((size, size))
    image = torch.from_numpy(np.array(image, dtype=np.float64)) / 255
    reach = 2 * math.ceil(4 * sigma) + 1
    return gaussian_blur2d(image[None, None], (reach, reach), (sigma, sigma))[0, 0]


def relative_error(result, expected):
    """Return the relative root mean square error inside 0.7 of the radius."""
    height, width = expected.shape[-2:]
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height)[:, None] - (height - 1) / 2
    inside = (x**2 + y**2).sqrt() < 0.7 * min(height, width) / 2
    return ((result - expected)[..., inside].norm() / expected[..., inside].norm()).item()


# degrees, steps, method, and the largest error in percent that the book's chapter 8 promises
PRINTED = [
    (10, 10, "euler", 3.3), (10, 30, "euler", 1.4), (10, 100, "euler", 0.8),
    (30, 30, "euler", 11), (30, 100, "euler", 3.6), (30, 300, "euler", 2.3), (90, 300, "euler", 11),
    (10, 30, "rk4", 0.7), (30, 100, "rk4", 2.0), (90, 100, "rk4", 5.9),
]


@pytest.mark.parametrize(("degrees", "steps", "method", "percent"), PRINTED)
def test_rotation_meets_the_printed_errors(degrees, steps, method, percent):
    image, angle = photograph(), math.radians(degrees)
    error = relative_error(flow(image, "rotate", angle, steps, method), exact_warp(image, "rotate", angle))
    assert 100 * error < percent
    record(f"rotation by {degrees} degrees, {steps} steps of {method}: error in percent", round(100 * error, 2))


@pytest.mark.parametrize(("steps", "method"), [(30, "euler"), (10, "rk4")])
def test_a_quarter_turn_in_a_hurry_blows_up(steps, method):
    image = photograph()
    assert relative_error(flow(image, "rotate", math.pi / 2, steps, method), image) > 10


def test_zoom_meets_the_printed_error():
    image, t = photograph(), math.log(1.5)
    error = relative_error(flow(image, "zoom", t, 100), exact_warp(image, "zoom", t))
    assert error < 0.014
    assert torch.equal(flow(image, "zoom", t, 3), flow(image, "E", -t, 3))


def kornia_warp(image, angle, factor, supersample=1):
    """The same turn and zoom by kornia: clockwise by angle, larger by factor, about the middle."""
    middle = (image.shape[-1] - 1) / 2
    c, s = math.cos(angle) * factor, math.sin(angle) * factor
    matrix = torch.tensor([[c, -s, middle - c * middle + s * middle], [s, c, middle - s * middle - c * middle]],
                          dtype=image.dtype)
    return warp_affine(image[None, None], matrix[None], image.shape[-2:], align_corners=True)[0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_random_turns_and_zooms_approach_kornias_warp_as_one_over_n(seed):
    generator = torch.Generator().manual_seed(seed)
    angle, zoom = ((torch.rand(2, generator=generator) - 0.5) * torch.tensor([0.6, 0.4])).tolist()
    angle, zoom = math.copysign(abs(angle) + 0.15, angle), math.copysign(abs(zoom) + 0.1, zoom)
    image = photograph(64, sigma=4.0)
    combined = [[-zoom, angle, 0], [-angle, -zoom, 0]]
    target = kornia_warp(image, angle, math.exp(zoom))
    torch.testing.assert_close(exact_warp(image, combined, 1.0)[8:-8, 8:-8], target[8:-8, 8:-8], rtol=0, atol=1e-6)
    # The grid's own error remains when the steps have shrunk to nothing; what is left falls as 1 / n.
    limit = flow(image, combined, 1.0, 40, "rk4")
    errors = [relative_error(flow(image, combined, 1.0, n), limit) for n in (20, 40, 80)]
    assert relative_error(limit, target) < 0.02
    assert 1.8 < errors[0] / errors[1] < 3.0 and 1.8 < errors[1] / errors[2] < 2.4
    record("random turns and zooms against kornia's warp", 1)


def test_runge_kutta_converges_with_order_four():
    image = photograph(48, sigma=4.0)
    limit = flow(image, "rotate", 0.4, 64, "rk4")
    errors = [relative_error(flow(image, "rotate", 0.4, n, "rk4"), limit) for n in (8, 16)]
    assert 12 < errors[0] / errors[1] < 20


def test_translation_moves_by_pixels_and_the_names_say_where_to():
    image = photograph(64)
    inner = slice(12, -12)
    for name, dims, shift in (("right", 1, 5), ("down", 0, 5), ("dx", 1, -5), ("dy", 0, -5)):
        moved = flow(image, name, 5, 50, "rk4")
        expected = image.roll(shift, dims)
        assert (moved - expected)[inner, inner].abs().max() < 0.03
        torch.testing.assert_close(exact_warp(image, name, 5)[inner, inner], expected[inner, inner])


def test_one_twentieth_of_the_difference_a_hundred_times_is_ten_pixels_to_the_left():
    image = photograph(64, sigma=4.0)
    u = torch.nn.functional.pad(image[None, None], (20, 20, 0, 0), mode="replicate")[0, 0]
    for _ in range(100):
        u = u + (u.roll(-1, 1) - u.roll(1, 1)) / 20
    expected = torch.nn.functional.pad(image[None, None], (20, 20, 0, 0), mode="replicate")[0, 0].roll(-10, 1)
    assert (u - expected)[:, 35:-35].norm() / expected[:, 35:-35].norm() < 0.03
    by_flow = flow(photograph(64, sigma=4.0), "dx", 10, 100)
    assert (by_flow - image.roll(-10, 1))[8:-8, 20:-20].norm() / image[8:-8, 20:-20].norm() < 0.03


@pytest.mark.parametrize("name", GENERATORS)
def test_every_named_flow_agrees_with_its_exact_warp(name):
    image = photograph(64, sigma=4.0)
    t = 3.0 if generator_matrix(name)[:, 2].any() else 0.15
    assert relative_error(flow(image, name, t, 60, "rk4"), exact_warp(image, name, t)) < 0.01
    assert relative_error(image, exact_warp(image, name, t)) > 0.02  # it does move


def test_exact_quarter_turn_is_rot90_on_any_shape_of_batch():
    image = torch.rand(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(exact_warp(image, "rotate", math.pi / 2), image.rot90(-1, (2, 3)))
    assert flow(image, "rotate", 0.1, 2).shape == image.shape
    assert flow(image[0, 0].float(), "R", 0.1, 2).dtype == torch.float32


def test_flows_are_differentiable_in_their_generator():
    """So a layer can learn the angle from before and after."""
    image = photograph(32, sigma=3.0)
    target = exact_warp(image, "rotate", 0.2)
    angle = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([angle], lr=0.05)
    for _ in range(40):
        loss = (flow(image, "rotate", angle, 5) - target)[6:-6, 6:-6].square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert angle.item() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("call", "message"), [
    (lambda u: flow(u, "spin", 1, 1), "generator must be one of 'dx'"),
    (lambda u: flow(u, [[1, 2], [3, 4]], 1, 1), "two rows of three numbers"),
    (lambda u: flow(u, "R", 1, 0), "steps must be a whole number"),
    (lambda u: flow(u, "R", 1, 1, "heun"), "method must be one of 'euler', 'rk4'"),
    (lambda u: flow(u.to(torch.uint8), "R", 1, 1), r"image.float\(\) / 255"),
    (lambda u: exact_warp(u[0], "R", 1), "image must be a floating point tensor"),
])
def test_what_is_refused_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(5, 5))
