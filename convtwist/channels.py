"""Who talks to whom: permutations of channels in front of a grouped convolution, and the graph they make.

Book: chapter 10.  Source: the forum thread's "permuting the groups", its board of 64 x 64 channels and its
pointer to Watts and Strogatz (Nature 393, 1998).  The thread widens the kernel to a dense one, mostly zeros,
so that each group reads the group before it; reordering the channels does the same without the zeros::

    F.conv2d(u[:, permutation("cycle", channels, groups)], weight, groups=groups)
"""

from collections.abc import Sequence
from functools import lru_cache
from math import inf
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from convtwist._arguments import as_shown, check_whole
from convtwist._distributed import alike
from convtwist._tracing import as_number, untraced

__all__ = [
    "clustering",
    "connections",
    "cycle",
    "depth_to_reach_all",
    "four_cycle",
    "path_length",
    "permutation",
    "reorder",
    "shuffle",
    "small_world",
]

Kind: TypeAlias = Literal["cycle", "4-cycle", "shuffle"]
Order: TypeAlias = Kind | Sequence[int] | Tensor
"""A permutation of the channels: by its name, or each channel's number once."""

_BLOCK = 4  # groups in a meta-group, the thread's 4-cycles
_KINDS: tuple[Kind, ...] = ("cycle", "4-cycle", "shuffle")


def permutation(kind: Order, channels: int, groups: int) -> Tensor:
    """Return the order in which a grouped convolution takes its input channels, ``(channels,)`` in ``int64``.

    ``kind`` is ``"cycle"``, ``"4-cycle"`` or ``"shuffle"`` (see :func:`cycle`, :func:`four_cycle`,
    :func:`shuffle`), or the numbers 0 to ``channels - 1`` in any order, which are checked and returned.

    Raises:
        ValueError: the kind is unknown, the numbers are no permutation, or the groups do not fit.

    >>> permutation("cycle", 6, 3).tolist(), permutation("shuffle", 6, 3).tolist()
    ([4, 5, 0, 1, 2, 3], [0, 2, 4, 1, 3, 5])
    """
    _check(channels, groups)
    if isinstance(kind, str):
        return reorder(torch.arange(channels)[None], kind, groups)[0]
    tolist = getattr(kind, "tolist", None)  # of a tensor or an array
    try:
        numbers = list(kind) if tolist is None else tolist()
    except TypeError:
        numbers = None
    if not isinstance(numbers, list) or any(type(number) is not int for number in numbers):
        raise ValueError(f"permute must be one row of {channels} whole numbers, got {as_shown(kind)}")
    if sorted(numbers) != list(range(channels)):
        raise ValueError(f"permute must hold each of 0 to {channels - 1} once, the input channels; "
                         f"got {len(numbers)} numbers")
    return torch.tensor(numbers)


def reorder(maps: Tensor, kind: Order, groups: int) -> Tensor:
    """Return ``maps``, ``(batch, channels, ...)``, with the channels in the order of :func:`permutation`.

    The numbers in a tensor on another device than the CPU are not looked at, for that would wait for the device.

    >>> reorder(torch.arange(6).view(1, 6), "cycle", 3).tolist()
    [[4, 5, 0, 1, 2, 3]]
    """
    channels = maps.shape[1]
    if isinstance(channels, Tensor):  # in a trace, where numbers are constants
        order = untraced(permutation, kind, as_number(channels), groups)
        return maps.index_select(1, kind if isinstance(kind, Tensor) else order.to(maps.device))
    if isinstance(kind, str):
        if kind not in _KINDS:
            names = ", ".join(map(repr, _KINDS))
            raise ValueError(f"permute must be {names} or a permutation of the input channels, got {kind!r}")
        if kind == "cycle":
            turn = channels // groups
            return _rolled(maps, turn) if torch.compiler.is_dynamo_compiling() else maps.roll(turn, 1)
        if kind == "shuffle":
            return maps.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
        rings = maps.unflatten(1, (_rings(groups, "permute='4-cycle'"), _BLOCK, -1))
        return (_rolled(rings, 1, 2) if torch.compiler.is_dynamo_compiling() else rings.roll(1, 2)).flatten(1, 3)
    if not isinstance(kind, Tensor):
        return maps.index_select(1, _order(kind, channels, groups, maps))
    if kind.shape != (channels,) or kind.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"permute must hold {channels} channel numbers, got {kind.dtype} shaped {tuple(kind.shape)}")
    seen = type(kind) is Tensor and kind.device.type == "cpu"
    if seen and not torch.compiler.is_compiling():
        permutation(kind, channels, groups)
    return maps.index_select(1, kind)


def _rolled(maps: Tensor, count: int, axis: int = 1) -> Tensor:
    """Return ``maps.roll(count, axis)``, which asks whether maps are empty: a program may not know that yet."""
    rest = maps.shape[axis] - count
    return torch.cat((maps.narrow(axis, rest, count), maps.narrow(axis, 0, rest)), axis)


def _order(kind: Sequence[int], channels: int, groups: int, maps: Tensor) -> Tensor:
    """Return the numbers on the device of ``maps``.  A layer's are kept: to copy them in each step waits for a GPU."""
    ordinary = type(maps) is Tensor and isinstance(kind, tuple) and all(type(number) is int for number in kind)
    if not ordinary or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return alike(permutation(kind, channels, groups).to(maps.device), maps)
    return _kept_order(kind, channels, groups, maps.device)


@lru_cache(maxsize=64)
def _kept_order(kind: tuple[int, ...], channels: int, groups: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False), _disable_current_modes():  # later calls have other modes
        return permutation(kind, channels, groups).to(device)


def cycle(channels: int, groups: int) -> Tensor:
    """Let each group read the group before it, and the first the last: ``u.roll(channels // groups, dims=1)``.

    >>> cycle(8, 4).tolist()
    [6, 7, 0, 1, 2, 3, 4, 5]
    """
    return permutation("cycle", channels, groups)


def four_cycle(channels: int, groups: int) -> Tensor:
    """Close the cycle inside every meta-group of four groups: four short rings for 16 groups.

    Raises:
        ValueError: ``groups`` is no multiple of 4.

    >>> four_cycle(8, 8).tolist()
    [3, 0, 1, 2, 7, 4, 5, 6]
    """
    return permutation("4-cycle", channels, groups)


def shuffle(channels: int, groups: int) -> Tensor:
    """Deal the groups out like cards, as ShuffleNet (arXiv 1707.01083) and ``nn.ChannelShuffle(groups)`` do.

    >>> shuffle(8, 2).tolist()
    [0, 4, 1, 5, 2, 6, 3, 7]
    """
    return permutation("shuffle", channels, groups)


def small_world(channels: int, groups: int, *, links: int = 1) -> Tensor:
    """Return the 4-cycles, but with ``links`` channels of every group borrowed from other meta-groups.

    The first linking channel comes from the meta-group before, the second from the one before that, and so on
    around: mostly neighbours, and a few acquaintances far away.  ``links=0`` gives :func:`four_cycle`.

    Raises:
        ValueError: fewer than 8 groups, no multiple of 4, or more links than a group has channels.

    >>> small_world(16, 8).tolist()
    [14, 7, 8, 1, 10, 3, 12, 5, 6, 15, 0, 9, 2, 11, 4, 13]
    """
    order = _check(channels, groups).view(_rings(groups, "small_world"), _BLOCK, -1).roll(1, 1)
    metas, _, width = order.shape
    if metas < 2:
        raise ValueError(f"small_world links meta-groups of {_BLOCK} groups and needs at least {2 * _BLOCK} groups, "
                         f'got {groups}; use "4-cycle"')
    if not isinstance(links, int) or not 0 <= links <= width:
        raise ValueError(f"links must be a whole number from 0 to {width}, the channels of a group; got {links!r}")
    for link in range(links):
        # Within one column every meta-group moves by the same number, so the order stays a permutation.
        order[:, :, link] = order[:, :, link].roll(1 + link % (metas - 1), 0)
    return order.flatten()


def connections(channels: int, groups: int, permute: Order | None = None) -> Tensor:
    """Return the thread's board, ``(channels, channels)`` in bool: does output row read input column?

    It has ``channels ** 2 / groups`` cells set, one for each 3x3 kernel that the layer keeps.  A permuted layer
    alone has links but no hubs; a stack that alternates plain and permuted layers has both, ``plain | permuted``.

    >>> connections(4, 2).int().tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    >>> connections(4, 2, "cycle").int().tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    """
    group = _check(channels, groups).flatten() // (channels // groups)
    board = torch.zeros(channels, channels, dtype=torch.bool)
    order = torch.arange(channels) if permute is None else permutation(permute, channels, groups)
    board[:, order] = group[:, None] == group[None, :]
    return board


def path_length(board: Tensor, *, directed: bool = False) -> float:
    """Return how many links lie between two channels, averaged over all pairs; infinite if some never meet.

    By default links count both ways, as in Watts and Strogatz.  With ``directed=True`` a link leads from the
    channel that is read to the one that reads, so that the number is the layers a signal has to pass in a
    residual stack of equal layers.

    >>> path_length(connections(16, 4, "cycle"), directed=True), path_length(connections(16, 4))
    (2.4, inf)
    """
    links = _links(board, directed)
    n = len(links)
    if n < 2:
        raise ValueError(f"a path needs two channels, got {n}")
    reached = torch.eye(n, dtype=torch.bool)
    steps, total = 0, 0
    while not reached.all():
        nearer = reached | _product(links, reached)
        fresh = int((nearer & ~reached).sum())
        if not fresh:
            return inf
        steps += 1
        total += steps * fresh
        reached = nearer
    return total / (n * (n - 1))


def clustering(board: Tensor) -> float:
    """Return Watts and Strogatz's C: of a channel's neighbours, the share of pairs that are neighbours too.

    Links count both ways and a channel is no neighbour of itself; a channel with fewer than two neighbours
    counts as 0; the mean is over all channels.

    >>> clustering(connections(12, 3)), clustering(connections(4, 4, "cycle"))
    (1.0, 0.0)
    """
    links = _links(board, directed=False).double()
    links.fill_diagonal_(0)
    neighbours = links.sum(1)
    pairs = neighbours * (neighbours - 1)
    linked = ((links @ links) * links).sum(1)
    return float((linked / pairs.clamp(min=1)).mean())


def depth_to_reach_all(boards: Tensor | Sequence[Tensor], *, residual: bool = True) -> int | None:
    """Return after how many layers every channel depends on every channel of the input, or None for never.

    One board is stacked on itself without end; a sequence of boards is a stack of just those layers, the first
    board first.  With ``residual=True`` each layer also passes its input on (``u + f(u)``).

    >>> depth_to_reach_all(connections(64, 16, "cycle")), depth_to_reach_all(connections(64, 16, "4-cycle"))
    (16, None)
    """
    endless = isinstance(boards, Tensor)
    stack = [_square(board) for board in ([boards] if endless else boards)]
    if not stack:
        raise ValueError("a stack needs at least one board")
    if len({len(board) for board in stack}) > 1:
        raise ValueError(f"all boards of a stack need as many channels, got {[len(board) for board in stack]}")
    reached = torch.eye(len(stack[0]), dtype=torch.bool)
    seen, depth = set(), 0
    while endless or depth < len(stack):
        deeper = _product(stack[0 if endless else depth], reached)
        reached = deeper | reached if residual else deeper
        depth += 1
        if reached.all():
            return depth
        # An endless stack of one board is a walk through finitely many states: a state met twice is a loop.
        state = reached.numpy().tobytes()
        if endless and state in seen:
            return None
        seen.add(state)
    return None


def _check(channels: int, groups: int) -> Tensor:
    """Return the channels laid out by group, ``(groups, channels // groups)``."""
    if check_whole(channels, "channels") % check_whole(groups, "groups"):
        raise ValueError(f"{channels} channels do not split into {groups} equal groups; "
                         "choose groups that divide the channels")
    return torch.arange(channels).view(groups, -1)


def _rings(groups: int, name: str) -> int:
    """Return how many meta-groups there are."""
    if groups % _BLOCK:
        raise ValueError(f"{name} closes rings of {_BLOCK} groups and needs groups divisible by {_BLOCK}, got "
                         f"groups={groups}; change groups or use 'cycle'")
    return groups // _BLOCK


def _square(board: Tensor) -> Tensor:
    if not isinstance(board, Tensor) or board.ndim != 2 or board.shape[0] != board.shape[1]:
        shape = tuple(board.shape) if isinstance(board, Tensor) else type(board).__name__
        raise ValueError(f"a board is a square tensor with one row and one column for each channel, got {shape}")
    return board.detach().cpu() != 0


def _links(board: Tensor, directed: bool) -> Tensor:
    board = _square(board)
    return board if directed else board | board.t()


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two boards: True where any path leads through.  Float products count paths exactly enough."""
    return (left.float() @ right.float()) > 0

