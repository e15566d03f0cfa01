"""The channel board: which input channel feeds which output channel, and the graph that they make.

Book: chapter 10.
"""

import base64
from typing import Literal

from torch import Tensor

from convtwist.channels import Kind, Order, connections, permutation, small_world
from convtwist.labs.page import Lab, build

__all__ = ["channel_board"]

_MOST_CHANNELS = 128
_KINDS = (None, "cycle", "4-cycle", "shuffle", "small_world")


def channel_board(channels: int = 64, groups: int = 16, permute: Kind | Literal["small_world"] | None = "4-cycle", *,
                  links: int = 1, layers: int = 1, residual: bool = True, alternate: bool = False) -> Lab:
    """Return the lab that draws a grouped layer's board and ring of groups, and measures its small world.

    The arguments are only where it starts; a reader can change them all.

    Args:
        channels: input and output channels, from 2 to 128.
        groups: groups of the convolution; they divide the channels.
        permute: ``None``, ``"cycle"``, ``"4-cycle"``, ``"shuffle"`` or ``"small_world"``: what reorders the input
            channels in front of the groups, as in `convtwist.channels`.
        links: for ``"small_world"``, how many channels of every group come from other meta-groups.
        layers: how many layers are stacked, from 1 to 64.
        residual: whether each layer also passes its input on, ``u + f(u)``.
        alternate: whether plain and permuted layers take turns, a plain one first; otherwise all are permuted.

    Raises:
        ValueError: an argument is out of range or unknown, or the groups do not fit.
    """
    if permute not in _KINDS:
        raise ValueError(f"permute must be one of {', '.join(map(repr, _KINDS))}, got {permute!r}")
    for name, value, most in (("channels", channels, _MOST_CHANNELS), ("groups", groups, channels),
                              ("layers", layers, 64)):
        least = 2 if name == "channels" else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
    if isinstance(links, bool) or not isinstance(links, int) or links < 0:
        raise ValueError(f"links must be a whole number from 0, got {links!r}")
    order: Order | None = None
    if permute == "small_world":
        order = small_world(channels, groups, links=links)
    elif permute is not None:
        order = permutation(permute, channels, groups)
    board = connections(channels, groups, order)
    return build(
        "channel board",
        ("core.mjs", "widgets.mjs", "slider.mjs", "channel_graph.mjs", "channel_board.mjs"),
        says="Here a lab draws which input channel feeds which output channel for any number of groups and layers, "
        "with the path length and clustering of the graph and the weights it saves.",
        config={
            "channels": channels, "groups": groups, "permute": permute or "none", "links": links, "layers": layers,
            "residual": bool(residual), "alternate": bool(alternate),
        },
        still=(_drawn(board), f"Board of {channels} output rows by {channels} input columns; {int(board.sum())} cells "
               "are marked, where the output reads the input"),
    )


def _drawn(board: Tensor) -> str:
    """Return the board as an SVG data URL, one stroke for each run of cells."""
    n = len(board)
    strokes = []
    for row, cells in enumerate(board.int().tolist()):
        edges = [j for j in range(n + 1) if (cells[j] if j < n else 0) != (cells[j - 1] if j else 0)]
        strokes += [f"M{start} {row}h{stop - start}v1h{start - stop}" for start, stop in zip(*[iter(edges)] * 2,
                                                                                          strict=True)]
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" width="320" height="320" viewBox="0 0 {n} {n}">'
           f'<path d="M0 0h{n}v{n}H0" fill="#fff"/><path d="{"".join(strokes)}" fill="#222"/></svg>')
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
