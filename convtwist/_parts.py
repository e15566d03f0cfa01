"""Which part of a layer a parameter belongs to, whatever normalisation or pruning has made of its name.

Book: chapter 13.  Source: new here.
"""

import re

__all__ = ["part_of"]


def part_of(name: str) -> str | None:
    """Return which of weight, twist and center a layer's parameter is or goes into, or None.

    >>> [part_of(name) for name in ("twist", "center_orig", "parametrizations.weight.original0", "bias")]
    ['twist', 'center', 'weight', None]
    """
    match = re.match(r"parametrizations\.(weight|twist|center)\.|(weight|twist|center)(?:_orig|_g|_v)?$", name)
    return match[1] or match[2] if match else None
