"""Every posted layer can be had, to the last digit: weights carried over against loops written from the formula."""

import numpy as np
import oracle
import pytest
import torch
from scorecard import record

from convtwist.posted import from_version1, from_version2, twist_from_kernels

torch.set_num_threads(1)


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def agree(layer, u, expected):
    result = layer(u)
    assert result.shape == expected.shape
    error = np.abs(result.detach().numpy() - expected).max()
    assert error < 1e-12
    record("posted layers: largest difference in float64", float(error))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("centers", [True, False])
@pytest.mark.parametrize("size", [(6, 6), (5, 8)])
def test_version_1_with_its_centres_learned_or_absorbed(stride, centers, size):
    state = {"conv.weight": draw(1, 4, 3, 3, 3), "conv_x.weight": draw(2, 4, 3, 3, 3),
             "conv_y.weight": draw(3, 4, 3, 3, 3), "center_x": draw(4, 4), "center_y": draw(5, 4)}
    u = draw(6, 2, 3, *size)
    expected = oracle.posted_version1(u.numpy(), *(t.numpy() for t in state.values()), stride)
    layer = from_version1(state, stride=stride, centers=centers)
    assert (layer.center is not None) == centers
    assert all(p.requires_grad for p in layer.parameters())
    agree(layer, u, expected)


def test_version_1_as_initialised_prints_the_odd_symmetry_and_the_quarter_turn():
    """The announcement's printed weights: opposite ends differ in sign, conv_y is conv_x turned."""
    conv_x = torch.tensor([[-0.0752, -0.0183, 0.0832], [-0.0698, 0.0000, 0.0698], [-0.0832, 0.0183, 0.0752]])
    conv_y = torch.tensor([[-0.0832, -0.0698, -0.0752], [0.0183, 0.0000, -0.0183], [0.0752, 0.0698, 0.0832]])
    from convtwist.kernels import odd_part, rotate90
    from convtwist.operators import twist_kernels

    assert torch.equal(odd_part(conv_x), conv_x) and torch.equal(rotate90(conv_x), conv_y)
    kx, ky = twist_kernels(twist_from_kernels(conv_x[None, None], conv_y[None, None]))
    torch.testing.assert_close(kx[0, 0], conv_x)
    torch.testing.assert_close(ky[0, 0], conv_y)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("iters", [1, 2, 4])
@pytest.mark.parametrize(("groups", "out"), [(1, 8), (2, 8), (4, 8), (2, 4)])
def test_version_2_with_strides_iterations_and_groups_in_a_cycle(stride, iters, groups, out):
    width = 8 // groups
    state = {"conv.weight": 0.2 * draw(1, out, width, 3, 3), "coeff_Ax": 0.2 * draw(2, out, width),
             "coeff_Ay": 0.2 * draw(3, out, width)}
    u = draw(6, 2, 8, 6, 5)
    expected = oracle.posted_version2(u.numpy(), *(t.numpy() for t in state.values()), stride, groups, iters)
    layer = from_version2(state, stride=stride, groups=groups, iters=iters)
    assert layer.steps == (iters if stride == 1 and out == 8 else 1)
    agree(layer, u, expected)


@pytest.mark.parametrize("iters", [1, 3])
def test_version_2_with_4_cycles(iters):
    state = {"conv.weight": 0.2 * draw(1, 16, 2, 3, 3), "coeff_Ax": 0.2 * draw(2, 16, 2),
             "coeff_Ay": 0.2 * draw(3, 16, 2)}
    u = draw(6, 1, 16, 5, 5)
    expected = oracle.posted_version2(u.numpy(), *(t.numpy() for t in state.values()), 1, 8, iters, ring=4)
    agree(from_version2(state, groups=8, iters=iters, permute="4-cycle"), u, expected)


def test_version_2_unpermuted_is_the_plain_grouped_layer():
    state = {"conv.weight": draw(1, 8, 4, 3, 3), "coeff_Ax": draw(2, 8, 4), "coeff_Ay": draw(3, 8, 4)}
    layer = from_version2(state, groups=2, permute=None)
    expected = oracle.conv_twist2d(draw(6, 1, 8, 5, 5), state["conv.weight"],
                                   8 * torch.stack([state["coeff_Ax"], state["coeff_Ay"]]), padding=(1, 1), groups=2,
                                   coords="legacy")
    agree(layer, draw(6, 1, 8, 5, 5), expected)


def test_the_oracle_of_version_2_is_not_the_plain_layer():
    """A cycle of groups really connects: guard against a test that would pass without it."""
    arrays = [draw(k, *shape).numpy() for k, shape in enumerate([(8, 4, 3, 3), (8, 4), (8, 4)])]
    u = draw(6, 1, 8, 5, 5).numpy()
    joined = oracle.posted_version2(u, *arrays, 1, 2, 1)
    plain = oracle.conv_twist2d(u, arrays[0], 8 * np.stack(arrays[1:]), padding=(1, 1), groups=2, coords="legacy")
    assert np.abs(joined - plain).max() > 1


def test_other_states_are_refused():
    with pytest.raises(ValueError, match=r"version 2.*coeff_Ax.*got weight"):
        from_version2({"weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="version 1"):
        from_version1({})
