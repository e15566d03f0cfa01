"""The fields of a layer and their transposes in one compiled pass, block by block; see ``convtwist.blocks``.

Book: chapter 12.  Source: new here.

Where a compiled layer runs, a compiler is at hand for its stencils.  If it fails after all, the stencils run
uncompiled, with the same result.
"""

import torch

from convtwist.blocks import block_slices
from convtwist.operators import Taps, coordinate_grid, each_field

__all__ = ["field_blocks", "transposed_blocks"]


def field_blocks(source, operators, size, padding, dilation, coords):
    """Yield what ``convtwist.blocks.field_blocks`` yields."""
    axes = coordinate_grid(*size, coords=coords, dtype=source.dtype, device=source.device)
    for images in block_slices(source, operators, size):
        yield images, _run("fields", source[images], *axes, operators, padding, dilation)


def transposed_blocks(slope, operators, size, padding, dilation, coords):
    """Yield what ``convtwist.blocks.transposed_blocks`` yields."""
    axes = coordinate_grid(*slope.shape[-2:], coords=coords, dtype=slope.dtype, device=slope.device)
    padding = tuple(2 * d - p for d, p in zip(dilation, padding, strict=True))
    for images in block_slices(slope, operators, size):
        yield images, _run("transposed", slope[images], *axes, operators, padding, dilation)


def _fields(u, x, y, operators, padding, dilation):
    return _channels_last(each_field(Taps(u, (1, 1), padding, dilation, "zeros"), x, y, operators))


def _transposed(g, x, y, operators, padding, dilation):
    # An odd kernel turned over is its negative.
    along_x, along_y = (Taps(-axis * g, (1, 1), padding, dilation, "zeros") for axis in (x, y))
    if operators in ("affine", "first_order"):
        names = ("dx", "dy", "dxyy", "dxxy")[: 2 if operators == "affine" else 4]
        return _channels_last(getattr(taps, name)() for name in names for taps in (along_x, along_y))
    found = [along_x.dx() + along_y.dy(), along_y.dx() - along_x.dy()]
    if operators == "iso":
        taps = Taps(g, (1, 1), padding, dilation, "zeros")
        found = [taps.middle(), taps.laplacian(), *found]
    return _channels_last(found)


def _channels_last(maps):
    return torch.cat([field.permute(0, 2, 3, 1) for field in maps], 3)


_PLAIN = {"fields": _fields, "transposed": _transposed}
_compiled = {}


def _run(name, *arguments):
    if name not in _compiled:
        _compiled[name] = torch.compile(_PLAIN[name], dynamic=True)
    with torch.no_grad():
        try:
            # One program for every number of images, one included.
            torch._dynamo.decorators.mark_unbacked(arguments[0], 0)
            return _compiled[name](*arguments)
        except Exception:  # whatever a compiler may run into; a fault of the arguments shows again
            _compiled[name] = _PLAIN[name]
            return _compiled[name](*arguments)
