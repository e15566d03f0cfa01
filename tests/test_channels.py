"""Permutations against the dense kernels they replace; graph measures against networkx and against a walk."""

import math

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convtwist import channels
from convtwist.channels import clustering, connections, depth_to_reach_all, path_length, permutation

torch.set_num_threads(1)


def dense_kernel(weight, groups, source_group):
    """Lay a grouped weight out in a dense kernel, mostly zeros: group ``g`` reads ``source_group(g)``."""
    out, width = weight.shape[:2]
    rows = out // groups
    dense = weight.new_zeros(out, width * groups, 3, 3)
    for g in range(groups):
        s = source_group(g)
        dense[rows * g : rows * (g + 1), width * s : width * (s + 1)] = weight[rows * g : rows * (g + 1)]
    return dense


@pytest.mark.parametrize(("groups", "width", "rows"), [(1, 3, 2), (2, 1, 1), (4, 2, 3), (8, 4, 4), (5, 3, 1)])
def test_cycle_is_the_threads_dense_kernel_and_a_roll(groups, width, rows):
    torch.manual_seed(groups)
    u = torch.randn(2, groups * width, 5, 6, dtype=torch.float64)
    weight = torch.randn(groups * rows, width, 3, 3, dtype=torch.float64)
    order = permutation("cycle", groups * width, groups)
    assert torch.equal(u[:, order], u.roll(width, dims=1))
    ours = F.conv2d(u[:, order], weight, padding=1, groups=groups)
    dense = dense_kernel(weight, groups, lambda g: (g - 1) % groups)
    torch.testing.assert_close(ours, F.conv2d(u, dense, padding=1), rtol=0, atol=1e-12)
    if groups > 2:  # with two groups, forward and backward are the same
        wrong = dense_kernel(weight, groups, lambda g: (g + 1) % groups)
        assert not torch.allclose(ours, F.conv2d(u, wrong, padding=1))


@pytest.mark.parametrize("groups", [4, 8, 16])
def test_four_cycles_stay_inside_blocks_of_four_groups(groups):
    torch.manual_seed(groups)
    u = torch.randn(1, groups * 4, 5, 5, dtype=torch.float64)
    weight = torch.randn(groups * 4, 4, 3, 3, dtype=torch.float64)
    dense = dense_kernel(weight, groups, lambda g: g // 4 * 4 + (g - 1) % 4)
    ours = F.conv2d(u[:, permutation("4-cycle", groups * 4, groups)], weight, groups=groups)
    torch.testing.assert_close(ours, F.conv2d(u, dense), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("count", "groups"), [(12, 3), (8, 8), (6, 1), (16, 4)])
def test_shuffle_is_torchs_channel_shuffle(count, groups):
    u = torch.arange(2 * count * 4).view(2, count, 2, 2)
    assert torch.equal(u[:, channels.shuffle(count, groups)], nn.ChannelShuffle(groups)(u))


def test_small_world_keeps_the_cycles_and_borrows_from_every_other_meta_group():
    count, groups, width = 64, 16, 4
    order = channels.small_world(count, groups, links=3)
    ring = channels.four_cycle(count, groups)
    slot = torch.arange(count) % width
    assert torch.equal(order[slot == 3], ring[slot == 3])
    away = (order // 16 - ring // 16)[slot < 3].remainder(4).view(-1, 3)
    assert away.tolist() == [[3, 2, 1]] * 16  # one, two and three meta-groups before
    assert torch.equal(channels.small_world(count, groups, links=0), ring)
    assert not torch.equal(channels.small_world(count, groups, links=1), ring)


@pytest.mark.parametrize("order", [
    channels.cycle(24, 8), channels.four_cycle(24, 8), channels.shuffle(24, 8),
    *(channels.small_world(24, 8, links=n) for n in range(4)),
])
def test_every_permutation_holds_each_channel_once(order):
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(24))


def test_a_permutation_of_ones_own_is_checked_and_copied():
    own = torch.tensor([2, 0, 1])
    order = permutation(own, 3, 1)
    assert order.tolist() == [2, 0, 1]
    own[0] = 7
    assert order[0] == 2
    assert permutation([1, 0], 2, 1).tolist() == [1, 0]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: permutation("ring", 8, 4), "'cycle', '4-cycle', 'shuffle' or a permutation"),
    (lambda: permutation([0, 0, 1], 3, 1), "each of 0 to 2 once"),
    (lambda: permutation([0, 1], 3, 1), "each of 0 to 2 once"),
    (lambda: permutation([0.0, 1.0], 2, 1), "whole numbers"),
    (lambda: permutation([[0, 1]], 2, 1), "one row of 2"),
    (lambda: channels.cycle(10, 4), "do not split into 4"),
    (lambda: channels.cycle(8, 0), "groups must be a whole number from 1"),
    (lambda: channels.shuffle(0, 1), "channels must be a whole number from 1"),
    (lambda: channels.four_cycle(12, 6), "needs groups divisible by 4, got groups=6; change groups or use"),
    (lambda: channels.small_world(16, 4), "at least 8 groups"),
    (lambda: channels.small_world(16, 8, links=3), "links must be a whole number from 0 to 2"),
    (lambda: path_length(torch.ones(2, 3)), "square"),
    (lambda: path_length(torch.ones(1, 1)), "two channels"),
    (lambda: clustering([[1]]), "square"),
    (lambda: depth_to_reach_all([]), "at least one board"),
    (lambda: depth_to_reach_all([torch.ones(2, 2), torch.ones(3, 3)]), "as many channels"),
])
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("kind", [None, "cycle", "4-cycle", "shuffle"])
def test_the_board_is_what_the_grouped_convolution_reads(kind):
    count, groups = 16, 8
    board = connections(count, groups, kind)
    u = torch.eye(count)[:, :, None, None].expand(-1, -1, 3, 3)  # one channel alight at a time
    order = torch.arange(count) if kind is None else permutation(kind, count, groups)
    out = F.conv2d(u[:, order], torch.ones(count, count // groups, 3, 3), groups=groups)
    assert torch.equal(board, out[:, :, 0, 0].t() > 0)
    assert int(board.sum()) == count**2 // groups


def test_the_threads_board_has_sixteen_groups_in_four_rings():
    board = connections(64, 16, "4-cycle")
    blocks = board.view(16, 4, 16, 4)
    assert torch.equal(blocks.all(3).all(1), blocks.any(3).any(1))  # a block is full or empty
    read = blocks.any(3).any(1).int().argmax(1)
    assert read.tolist() == [3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14]


BOARDS = {
    "cycle": connections(24, 8, "cycle"),
    "shuffle": connections(24, 8, "shuffle"),
    "small world": connections(24, 8, channels.small_world(24, 8)),
    "dense": connections(12, 1),
    "random": torch.rand(20, 20, generator=torch.Generator().manual_seed(1)) < 0.15,
}


@pytest.mark.parametrize("name", BOARDS)
def test_graph_measures_agree_with_networkx(name):
    board = BOARDS[name]
    directed = nx.from_numpy_array(board.t().numpy(), create_using=nx.DiGraph)  # from what is read to the reader
    undirected = nx.from_numpy_array((board | board.t()).numpy())
    for graph in (directed, undirected):
        graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    assert clustering(board) == pytest.approx(nx.average_clustering(undirected))
    for graph, length in ((undirected, path_length(board)), (directed, path_length(board, directed=True))):
        connected = nx.is_strongly_connected(graph) if graph.is_directed() else nx.is_connected(graph)
        assert length == (pytest.approx(nx.average_shortest_path_length(graph)) if connected else math.inf)


def test_groups_that_never_meet_are_infinitely_far_apart():
    assert path_length(connections(16, 4)) == math.inf
    assert path_length(connections(64, 16, "4-cycle")) == math.inf
    assert path_length(connections(64, 16, "cycle")) < math.inf


def test_a_permuted_layer_alone_has_no_hubs():
    # Group 5 reads group 4 and is read by group 6; those two never meet, so no triangle closes.
    assert clustering(connections(64, 16, "cycle")) == 0
    assert clustering(connections(64, 16)) == 1


def test_hubs_with_a_few_links_are_a_small_world():
    hubs = connections(64, 16)
    ring = hubs | connections(64, 16, "cycle")
    world = hubs | connections(64, 16, channels.small_world(64, 16))
    random = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) < world.float().mean()
    # As in Watts and Strogatz: paths nearly as short as in a random graph, hubs nearly as tight as in the ring.
    assert path_length(ring) > 2 * path_length(random)
    assert path_length(world) < 1.5 * path_length(random)
    assert clustering(world) > 2 * clustering(random)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("name", [*BOARDS, "apart"])
def test_depth_is_where_a_stack_of_layers_mixes_everything(name, residual):
    board = BOARDS.get(name, connections(16, 4))
    state, depth = torch.eye(len(board)), None
    for layer in range(1, 200):
        state = (board.float() @ state + (state if residual else 0)).clamp(max=1)
        if (state > 0).all():
            depth = layer
            break
    assert depth_to_reach_all(board, residual=residual) == depth


def test_depth_of_a_stack_of_different_layers():
    apart, cycle = connections(16, 4), connections(16, 4, "cycle")
    shuffle = connections(16, 4, "shuffle")
    assert depth_to_reach_all([apart, shuffle]) == 2
    assert depth_to_reach_all([apart, cycle]) is None
    assert depth_to_reach_all([connections(8, 1)]) == 1
    assert depth_to_reach_all(cycle, residual=False) is None  # it only ever moves on
