"""convtwist.polar: turns and zooms become shifts, the way back, gradients, sizes and refusals."""

import pytest
import torch

from convtwist.operators import coordinate_grid
from convtwist.polar import LogPolar, from_log_polar, log_polar


def spots(height=64, width=64, *, degrees=0.0, zoom=1.0):
    """Return two soft spots, turned clockwise and zoomed about the centre by their formula, not by resampling."""
    x, y = coordinate_grid(height, width, dtype=torch.float64)
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    back_x = (angle.cos() * x + angle.sin() * y) / zoom
    back_y = (-angle.sin() * x + angle.cos() * y) / zoom
    return sum(torch.exp(-((back_x - a) ** 2 + (back_y - b) ** 2) / 0.02)
               for a, b in ((0.3, 0.1), (-0.1, 0.35))).view(1, 1, height, width)


def test_a_turn_moves_the_rows_around():
    first, turned = log_polar(spots(), angles=72), log_polar(spots(degrees=25), angles=72)  # 5 rows of 5 degrees
    torch.testing.assert_close(turned, first.roll(5, 2), atol=0.02, rtol=0)
    assert (turned - first).abs().max() > 0.5


def test_a_zoom_moves_the_columns():
    step = (1 / 0.05) ** (1 / 63)
    first, larger = log_polar(spots()), log_polar(spots(zoom=step**6))
    torch.testing.assert_close(larger[..., 12:], first[..., 6:-6], atol=0.03, rtol=0)
    assert (larger - first).abs().max() > 0.5


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 64), (64, 40)])
def test_rows_are_angles_and_columns_are_distances_in_pixels(height, width):
    """At a place that is a pixel, the value is that pixel's: to the right, down, to the left, up."""
    u = torch.rand(1, 2, height, width, dtype=torch.float64)
    r = 20.5 / (max(height, width) / 2)  # between two pixels across an even side
    seen = log_polar(u, angles=4, radii=2, smallest=r / 2, largest=r)[..., 1]
    if min(height, width) > 41:
        middle_row, middle_column = height // 2, width // 2
        right = u[..., middle_row - 1:middle_row + 1, middle_column + 20].mean(-1)
        down = u[..., middle_row + 20, middle_column - 1:middle_column + 1].mean(-1)
        left = u[..., middle_row - 1:middle_row + 1, middle_column - 21].mean(-1)
        up = u[..., middle_row - 21, middle_column - 1:middle_column + 1].mean(-1)
        torch.testing.assert_close(seen, torch.stack([right, down, left, up], -1), atol=1e-6, rtol=0)
    else:
        assert (seen == 0).any()  # beyond the border of the shorter side


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 64), (33, 57)])
def test_there_and_back(height, width):
    u = spots(height, width)
    back = from_log_polar(log_polar(u, angles=256, radii=128), height, width)
    x, y = coordinate_grid(height, width, dtype=torch.float64)
    inside = (torch.hypot(x, y) < 0.9).expand(1, 1, height, width)
    assert inside.any() and (back - u)[inside].abs().max() < 0.05
    assert (back[(torch.hypot(x, y) > 1).expand_as(back)] == 0).all()


def test_there_is_no_seam_where_the_circle_closes():
    flat = from_log_polar(torch.ones(1, 1, 12, 9), 21, 21, largest=2.0)
    torch.testing.assert_close(flat, torch.ones_like(flat))


def test_gradients():
    u = torch.rand(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: log_polar(u, 7, 4), u)
    assert torch.autograd.gradcheck(lambda u: from_log_polar(u, 4, 5), u)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_reads_at_the_same_places(dtype):
    u = torch.rand(1, 1, 64, 64)
    assert log_polar(u.to(dtype)).dtype == dtype
    torch.testing.assert_close(log_polar(u.to(dtype)).float(), log_polar(u.to(dtype).float()), atol=0.01, rtol=0)


def test_as_a_layer():
    layer, u = LogPolar(angles=36, smallest=0.1), torch.rand(2, 3, 20, 24)
    assert torch.equal(layer(u), log_polar(u, 36, smallest=0.1)) and not list(layer.parameters())
    assert repr(layer) == "LogPolar(angles=36, smallest=0.1)" and repr(LogPolar()) == "LogPolar()"
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=True)
    for each in (u, torch.rand(1, 3, 18, 31)):
        torch.testing.assert_close(compiled(each), layer(each))


def test_what_is_refused():
    u = torch.rand(1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"input must be \(batch, channels, height, width\).*got shape \(8, 8\)"):
        log_polar(u[0, 0])
    with pytest.raises(TypeError, match=r"floating point, got torch\.uint8; for a picture use input\.float\(\) / 255"):
        LogPolar()(u.byte())
    with pytest.raises(TypeError, match=r"input must be a .*tensor"):
        log_polar(u.numpy())
    with pytest.raises(ValueError, match=r"at least one pixel, got shape \(1, 1, 0, 8\)"):
        log_polar(u[:, :, :0])
    with pytest.raises(ValueError, match=r"radii must be a whole number from 2, got 1"):
        LogPolar(radii=1)
    with pytest.raises(TypeError, match=r"largest must be a number, got '1'"):
        log_polar(u, largest="1")
    with pytest.raises(ValueError, match="angles"):
        log_polar(u, angles=0)
    with pytest.raises(ValueError, match=r"0 < smallest < largest, got smallest=0.0, largest=1.0"):
        log_polar(u, smallest=0.0)
    with pytest.raises(ValueError, match="input must have at least 2 columns"):
        from_log_polar(u[..., :1], 8, 8)
