"""The judge of the book's exercises, and sentences that follow the reader's own picture.

Book: every chapter.  An exercise is the stub ``answer = None``, a folded cell that ends in ``solution = ...`` and a
folded ``check(answer, expected, solution=solution)``.
"""

from collections.abc import Callable, Mapping, Set
from numbers import Number
from typing import Any

import numpy as np
import torch

__all__ = ["check", "observe"]


def check(answer: object, expected: object = ..., *, solution: object = None,
          where: Callable[[Any], object] | None = None, given: tuple[Any, ...] | None = None, hint: str = "",
          rtol: float | None = None, atol: float = 1e-5) -> None:
    """Print one line that says whether ``answer`` is right, or what differs and where; the run goes on either way.

    Args:
        answer: numbers, words, truth values, lists, tuples, arrays or tensors of any type, in any mixture; or a
            function, if ``given`` is set. ``None`` counts as not answered yet.
        expected: what the answer must equal. Containers and number types don't matter, nor do leading axes of length
            one. Words are compared without regard to case. In a set the order doesn't matter.
        solution: the book's own solution. It is judged too, and an error in it stops the run.
        where: a function of the answer that says whether it is right, for exercises with more than one right answer.
            It gets numbers as a tensor in float32, whatever holds them.
        given: a tuple of arguments. ``answer`` and ``solution`` are functions then, and their results are judged.
        hint: a sentence that is added to a wrong answer's line.
        rtol: how far a number may be off, as a share of the largest expected number. By default whole numbers must
            be exact and others agree to a thousandth.
        atol: how far a number may be off in any case.

    The line never shows ``expected``.

    Raises:
        TypeError: neither ``expected`` nor ``where`` is given.
        AssertionError: ``solution`` is wrong.

    >>> check([1, 2, 3], torch.tensor([1, 2, 4]), solution=(1, 2, 4))
    Not yet: 1 of 3 entries differs, the entry [2], where yours is 3.
    >>> check(None, 7, solution=7)
    Not answered yet: replace None in the cell above. (The solution passes this check.)
    """
    if expected is ... and where is None:
        raise TypeError("check needs what is expected, or a function where= that says what is right")

    def fault(value: object) -> str:
        return _fault(value, expected, where, given, rtol, atol)

    if solution is not None and (wrong := fault(solution)):
        raise AssertionError(f"the book's solution does not pass its own check: {wrong}")
    if _unanswered(answer):
        passes = " (The solution passes this check.)" if solution is not None else ""
        print(f"Not answered yet: replace None in the cell above.{passes}")
    elif wrong := fault(answer):
        print(f"Not yet: {wrong}." + f" Hint: {hint}" * bool(hint))
    else:
        print("Right.")


def observe(condition: object, says: str, *, otherwise: str) -> None:
    """Print the one of two sentences that is true of this picture; for what a theorem doesn't promise.

    A theorem is asserted. What was merely seen on one photograph may be otherwise on the reader's.

    >>> observe(2 > 1, "The second map is darker.", otherwise="On this picture the second map is not darker.")
    The second map is darker.
    """
    print(says if condition else otherwise)


def _unanswered(value):
    parts = value if isinstance(value, (list, tuple)) else [value]
    return len(parts) > 0 and all(part is None for part in parts)


def _fault(value, expected, where, given, rtol, atol):
    """Return what is wrong with an answer, or an empty string."""
    if given is not None:
        if not callable(value):
            return f"a function is asked for, yours is {_named(value)}"
        try:
            value = value(*given)
        except Exception as error:
            return f"your function stopped with {type(error).__name__}: {_line(error)}"
    try:
        if where is not None:
            form = _form(value)
            if not where(torch.as_tensor(form).float() if isinstance(form, np.ndarray) else value):
                return f"{_named(value)} does not do what is asked"
            if expected is ...:
                return ""
        return _difference(_form(value), _form(expected), rtol, atol, ())
    except Exception as error:
        return f"{_named(value)} cannot be judged ({type(error).__name__}: {_line(error)})"


def _form(value):
    """Bring a value to an array of numbers, a word, or a list of these; what is none of them stays as it is."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().to_dense() if value.layout != torch.strided else value.detach().cpu()
        value = value.resolve_conj().resolve_neg()
        value = (value if value.is_complex() or not value.is_floating_point() else value.double()).numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value) if value.dtype.kind in "biufc" else value.tolist()
    if isinstance(value, str):
        return " ".join(value.split()).casefold()
    if isinstance(value, Number):
        return np.asarray(value)
    if isinstance(value, Mapping):
        return {key: _form(part) for key, part in value.items()}
    if isinstance(value, Set):
        return frozenset(part.item() if isinstance(part, np.ndarray) else part for part in map(_form, value))
    if isinstance(value, (list, tuple, range)):
        parts = [_form(part) for part in value]
        if all(isinstance(part, np.ndarray) and part.shape == parts[0].shape for part in parts):
            return np.stack(parts) if parts else np.zeros(0)
        return parts
    return value


def _difference(mine, true, rtol, atol, at):
    """Return where two forms differ, or an empty string; ``at`` is the place inside the answer."""
    place = f" at {list(at)}" * bool(at)
    if mine is None:
        return f"the entry{place} is still None" if at else "there is still a None in it"
    if isinstance(true, frozenset):
        return _different_sets(mine, true)
    if isinstance(true, dict):
        if not isinstance(mine, dict) or mine.keys() != true.keys():
            return f"a dict with the keys {', '.join(map(repr, true))} is asked for{place}"
        pairs = [(key, mine[key], true[key]) for key in true]
    elif isinstance(true, np.ndarray) and isinstance(mine, np.ndarray):
        return _different_numbers(mine, true, rtol, atol, at)
    elif _length(true) is not None:
        if _length(mine) != len(true):
            got = f"yours is {_kind(mine)}" if _length(mine) is None else f"yours has {len(mine)}"
            return f"{_count(len(true), 'entry is', 'entries are')} asked for{place}, {got}"
        pairs = zip(range(len(true)), map(_form, mine), map(_form, true), strict=True)
    elif isinstance(true, str) != isinstance(mine, str) or _length(mine) is not None:
        return f"{_kind(true)} is asked for{place}, yours is {_kind(mine)}"
    elif isinstance(mine, str) or isinstance(mine, type(true)):
        return "" if mine == true else f"{_named(mine)}{place} is not right"
    else:
        return f"{_kind(true)} is asked for{place}, yours is {_kind(mine)}"
    wrong = [fault for key, a, b in pairs if (fault := _difference(a, b, rtol, atol, (*at, key)))]
    more = f" ({len(wrong)} of {len(true)} entries are wrong)" if len(wrong) > 1 else ""
    return wrong[0] + more if wrong else ""


def _different_numbers(mine, true, rtol, atol, at):
    while mine.ndim > true.ndim and mine.shape[0] == 1:
        mine = mine[0]
    while true.ndim > mine.ndim and true.shape[0] == 1:
        true = true[0]
    if mine.shape != true.shape:
        kinds = ["a single number" if not shape else f"the shape {shape}" for shape in (true.shape, mine.shape)]
        return f"{kinds[0]} is asked for{f' at {list(at)}' * bool(at)}, yours has {kinds[1].replace('a single', 'one')}"
    truth = mine.dtype == bool
    mine, true = (part.astype(complex if "c" in mine.dtype.kind + true.dtype.kind else float) for part in (mine, true))
    finite = np.abs(true[np.isfinite(true)])
    if rtol is None:
        rtol = 1e-9 if np.array_equal(finite, finite.round()) else 1e-3
    near = np.isclose(mine, true, rtol=0, atol=atol + rtol * finite.max(initial=0), equal_nan=True)
    if near.all():
        return ""
    first = tuple(int(k) for k in np.argwhere(~near)[0])
    found = mine[first]
    yours = str(bool(found)) if truth else f"{found.real:.6g}" if found.imag == 0 else f"{found:.6g}"
    place = [*at, *first]
    if true.size == 1:
        return f"{yours}{f' at {place}' * bool(place)} is not right"
    count = int((~near).sum())
    if count == 1:
        return f"1 of {true.size} entries differs, the entry {place}, where yours is {yours}"
    return f"{count} of {true.size} entries differ, the first at {place}, where yours is {yours}"


def _different_sets(mine, true):
    if isinstance(mine, (str, np.ndarray)):
        mine = [mine] if isinstance(mine, str) else mine.ravel().tolist()
    if _length(mine) is None:
        return f"{len(true)} entries are asked for, yours is {_kind(mine)}"
    mine = {part.item() if isinstance(part, np.ndarray) else part for part in mine}
    extra, missing = len(mine - true), len(true - mine)
    parts = [f"{count} {what}" for count, what in ((extra, "too many"), (missing, "missing")) if count]
    return f"of your {_count(len(mine), 'entry', 'entries')} {len(mine & true)} belong there: {' and '.join(parts)}" \
        if parts else ""


def _length(form):
    """Return how many entries a form has, None for a single number or word."""
    if isinstance(form, (list, frozenset, set, dict)) or (isinstance(form, np.ndarray) and form.ndim):
        return len(form)
    return None


def _count(number, one, many):
    return f"{number} {one if number == 1 else many}"


def _kind(form):
    if isinstance(form, np.ndarray):
        truth = form.dtype == bool
        return ("True or False" if truth else "a number") if form.ndim == 0 else "a list of numbers"
    names = {str: "a word", list: "a list", dict: "a dict", frozenset: "a set"}
    return names.get(type(form), f"of type {type(form).__name__}")


def _named(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"your {type(value).__name__}"


def _line(error):
    text = " ".join(str(error).split())
    return text if len(text) <= 120 else text[:117] + "..."
