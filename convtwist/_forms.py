"""What an answer says, whatever holds it: answers brought to one form, and where two forms differ.

A form is an array of numbers or of truth values, a word in small letters, a set, or a list or dict of forms.
``exercises`` judges by it.
"""

from collections.abc import Mapping, Set
from itertools import chain
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import torch

_TRUTHS = {"yes": True, "no": False, "true": True, "false": False}
_AROUND_WORDS = " .,;:!?()[]{}'\"`\u2018\u2019\u201c\u201d"


class Tolerance(NamedTuple):
    """How far a number may be off: a share of the largest expected number, None for the usual one, and a distance."""

    rtol: float | None
    atol: float


def form(value: Any) -> Any:
    """Bring a value to an array, a word, a set, or a list or dict of these; what is none of them stays as it is."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().to_dense() if value.layout != torch.strided else value.detach().cpu()
        value = value.resolve_conj().resolve_neg()
        value = (value if value.is_complex() or not value.is_floating_point() else value.double()).numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value) if value.dtype.kind in "biufc" else value.tolist()
    if isinstance(value, str):
        return " ".join(value.split()).casefold().strip(_AROUND_WORDS)
    if isinstance(value, Number):
        array = np.asarray(value)
        return array if array.dtype.kind in "biufc" else np.asarray(float(value))  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {key: form(part) for key, part in value.items()}
    if isinstance(value, Set):
        return frozenset(_hashable(form(part)) for part in value)
    if isinstance(value, (list, tuple, range)):
        parts = [form(part) for part in value]
        alike = all(isinstance(part, np.ndarray) and part.shape == parts[0].shape for part in parts)
        if alike and len({part.dtype == bool for part in parts}) < 2:  # a truth value among numbers stays one
            return np.stack(parts) if parts else np.zeros(0)
        return parts
    return value


def bracketed(mine: Any, like: Any) -> Any:
    """Return the entries of ``mine``, row by row, in the brackets of ``like``; if they are as many, else ``mine``."""
    if isinstance(mine, str) and isinstance(like, np.ndarray) and like.dtype == bool and like.size > 1:
        mine = form(mine.replace(",", " ").split())  # "yes no no"
    if isinstance(mine, (frozenset, dict)) or isinstance(like, (frozenset, dict)):
        return mine
    size = _size(like)
    entries = leaves(mine) if _size(mine) == size else []
    return _filled(iter(entries), like) if len(entries) == size > 0 else mine


def _filled(entries, like):
    if isinstance(like, frozenset):
        return frozenset(_hashable(next(entries)) for _ in like)
    if length(like) is None:
        return next(entries)
    return form([_filled(entries, part) for part in like])


def _size(some):
    if isinstance(some, (np.ndarray, frozenset)):
        return some.size if isinstance(some, np.ndarray) else len(some)
    return sum(map(_size, some)) if isinstance(some, list) else 1


def leaves(mine: Any) -> list[Any]:
    """Return the single entries of a form, row by row; a set or dict, which has no rows, is one entry."""
    if isinstance(mine, np.ndarray):
        return [np.asarray(entry) for entry in mine.ravel()]
    return list(chain.from_iterable(map(leaves, mine))) if isinstance(mine, list) else [mine]


def bare(some: Any) -> Any:
    """Return a form without outer brackets that hold one entry."""
    while isinstance(some, (list, np.ndarray)) and length(some) == 1:
        some = form(some[0])
    return some


def difference(mine: Any, true: Any, within: Tolerance, at: tuple[Any, ...] = ()) -> str:
    """Return where two forms differ, or an empty string; ``at`` is the place inside the answer."""
    place = f" at {list(at)}" * bool(at)
    if isinstance(true, frozenset):
        return _different_sets(mine, true, place)
    mine, true = bare(mine), bare(true)
    if isinstance(mine, frozenset) and len(mine) == 1:
        mine = form(next(iter(mine)))
    if isinstance(mine, str) and isinstance(true, np.ndarray) and true.dtype == bool and true.ndim == 0:
        mine = np.asarray(_TRUTHS[mine]) if mine in _TRUTHS else mine
    if isinstance(true, dict):
        if not isinstance(mine, dict) or mine.keys() != true.keys():
            return f"a dict with the keys {', '.join(map(repr, true))} is asked for{place}"
        pairs = [(key, mine[key], true[key]) for key in true]
    elif isinstance(true, np.ndarray) and isinstance(mine, np.ndarray):
        return _different_numbers(mine, true, within, at)
    elif length(true) is not None:
        if length(mine) != len(true):
            got = f"yours is {kind(mine)}" if length(mine) is None else f"yours has {len(mine)}"
            return f"{count(len(true), 'entry is', 'entries are')} asked for{place}, {got}"
        if isinstance(mine, (frozenset, dict)):
            unordered = ", which has no order" * isinstance(mine, frozenset)
            return f"a list is asked for{place}, yours is {kind(mine)}{unordered}"
        pairs = list(zip(range(len(true)), map(form, mine), map(form, true), strict=True))
    elif isinstance(true, str) != isinstance(mine, str) or length(mine) is not None:
        return f"{kind(true)} is asked for{place}, yours is {kind(mine)}"
    elif isinstance(mine, str) or isinstance(mine, type(true)):
        return "" if mine == true else f"{named(mine)}{place} is not right"
    else:
        return f"{kind(true)} is asked for{place}, yours is {kind(mine)}"
    wrong = [fault for key, a, b in pairs if (fault := difference(a, b, within, (*at, key)))]
    more = f" ({len(wrong)} of {len(true)} entries are wrong)" if len(wrong) > 1 and not at else ""
    return wrong[0] + more if wrong else ""


def different_shapes(mine: np.ndarray, true: np.ndarray, place: str = "") -> str:
    """Return how two shapes differ, or an empty string; axes of length one don't count."""
    shapes = [array.squeeze().shape for array in (true, mine)]
    asked, got = [f"the shape {shape}" if shape else "a single number" for shape in shapes]
    yours = f"has {got}" if shapes[1] else "is one number"
    return "" if shapes[0] == shapes[1] else f"{asked} is asked for{place}, yours {yours}"


def _different_numbers(mine, true, within, at):
    if other := different_shapes(mine, true, f" at {list(at)}" * bool(at)):
        return other
    truth = mine.dtype == bool
    dtype = complex if "c" in mine.dtype.kind + true.dtype.kind else float
    mine, true = (array.squeeze().astype(dtype) for array in (mine, true))
    finite = np.abs(true[np.isfinite(true)])
    rtol = within.rtol
    if rtol is None:
        rtol = 1e-9 if np.array_equal(finite, finite.round()) else 1e-3
    near = np.isclose(mine, true, rtol=0, atol=within.atol + rtol * finite.max(initial=0), equal_nan=True)
    if near.all():
        return ""
    first = tuple(int(k) for k in np.argwhere(~near)[0])
    yours = str(bool(mine[first])) if truth else _written(mine[first])
    place = [*at, *first]
    if true.size == 1:
        return f"{yours}{f' at {place}' * bool(place)} is not right"
    many = int((~near).sum())
    if many == 1:
        return f"1 of {true.size} entries differs, the entry {place}, where yours is {yours}"
    return f"{many} of {true.size} entries differ, the first at {place}, where yours is {yours}"


def _written(number):
    """Write a number as short as it can be recognized: whole ones in full, others with six digits, large ones more."""
    if number.imag:
        return f"{number:.6g}"
    real = float(number.real)
    return f"{real:.0f}" if real.is_integer() and abs(real) < 1e15 else f"{real:.{6 if abs(real) < 1e5 else 12}g}"


def _different_sets(mine, true, place):
    width = next((len(part) for part in true if isinstance(part, tuple)), 0)  # 2 in a set of pairs
    if isinstance(mine, str):
        mine = mine.split(",")
    elif isinstance(mine, np.ndarray):
        mine = mine.reshape(-1, width) if width and mine.size % width == 0 else mine.ravel()
    elif length(mine) is None:
        return f"{count(len(true), 'entry is', 'entries are')} asked for{place}, yours is {kind(mine)}"
    mine = {_hashable(form(part)) for part in mine}
    if all(isinstance(part, str) for part in true):
        mine = {f"{part:g}" if isinstance(part, (int, float)) else part for part in mine}
    extra, missing = len(mine - true), len(true - mine)
    parts = [f"{many} {what}" for many, what in ((extra, "too many"), (missing, "missing")) if many]
    return f"of your {count(len(mine), 'entry', 'entries')}{place} {len(mine & true)} belong there: " \
           f"{' and '.join(parts)}" if parts else ""


def _hashable(some):
    if isinstance(some, np.ndarray) and some.ndim == 0:
        return some.item()
    return tuple(_hashable(form(part)) for part in some) if isinstance(some, (list, np.ndarray, dict)) else some


def length(some: Any) -> int | None:
    """Return how many entries a form has, None for a single number or word."""
    if isinstance(some, (list, frozenset, set, dict)) or (isinstance(some, np.ndarray) and some.ndim):
        return len(some)
    return None


def none_at(value: Any, at: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
    """Return the place of the first None inside a value, None if there is none."""
    if value is None:
        return at
    rows = enumerate(value) if isinstance(value, (list, tuple)) else ()
    parts = value.items() if isinstance(value, Mapping) else rows
    return next((found for key, part in parts if (found := none_at(part, (*at, key))) is not None), None)


def count(number: int, one: str, many: str) -> str:
    """Return a number and the noun for as many."""
    return f"{number} {one if number == 1 else many}"


def kind(some: Any) -> str:
    """Say of what kind a form is."""
    if isinstance(some, np.ndarray):
        truth = some.dtype == bool
        return ("True or False" if truth else "a number") if some.ndim == 0 else "a list of numbers"
    names = {str: "a word", list: "a list", dict: "a dict", frozenset: "a set"}
    return "a function" if callable(some) else names.get(type(some), f"of type {type(some).__name__}")


def named(value: Any, long: str = "your") -> str:
    """Return a value as it was given if that is short, else ``long`` and of what type it is."""
    if callable(value):
        return "your function"
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{long} {type(value).__name__}"
