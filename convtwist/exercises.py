"""The judge of the book's exercises, and sentences that follow the reader's own picture.

Book: every chapter.  An exercise is the stub ``answer = None``, a folded cell that ends in ``solution = ...`` and a
folded ``check(answer, expected, solution=solution)``.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from convtwist import _forms as forms

__all__ = ["accepted", "check", "observe"]


def check(answer: object, expected: object = ..., *, solution: object = None,
          where: Callable[[Any], object] | None = None,
          given: tuple[Any, ...] | Sequence[Any] | None = None, hint: str = "",
          rtol: float | None = None, atol: float = 1e-5) -> None:
    """Print one line that says whether ``answer`` is right, or what differs and where; the run goes on either way.

    Args:
        answer: numbers, words, truth values, lists, tuples, arrays or tensors of any type, in any mixture; or a
            function, if ``given`` is set or ``solution`` is one. ``None`` counts as not answered yet.
        expected: what the answer must equal. Containers and number types don't matter, nor does how the entries are
            bracketed, row by row. Words are compared without regard to case and punctuation, and "yes" and "no" are
            truth values. In a set the order doesn't matter.
        solution: the book's own solution. It is judged too, and an error in it stops the run.
        where: a function of the answer that says whether it is right, for exercises with more than one right answer.
            It gets numbers as a tensor in float32 of the solution's shape, whatever holds them.
        given: a tuple of arguments. ``answer`` and ``solution`` are functions then, and their results are judged.
            They get copies, so they may write into them. The shape of a result matters, but for axes of length one.
            A list of such tuples makes several cases; ``expected`` is a list of as many, and ``where`` gets one.
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
        return _fault(value, expected, where, given, solution, forms.Tolerance(rtol, atol))

    if solution is not None and (wrong := fault(solution)):
        raise AssertionError(f"the book's solution does not pass its own check: {wrong}")
    if _unanswered(answer):
        passes = " (The solution passes this check.)" if solution is not None else ""
        print(f"Not answered yet: replace None in the cell above.{passes}")
    elif wrong := fault(answer):
        print(f"Not yet: {wrong}." + f" Hint: {hint}" * bool(hint))
    else:
        print("Right.")


def accepted(answer: object, expected: object = ..., *, solution: Any, where: Callable[[Any], object] | None = None,
             given: tuple[Any, ...] | Sequence[Any] | None = None, rtol: float | None = None,
             atol: float = 1e-5) -> Any:
    """Return ``answer`` if `check` with the same arguments calls it right, else ``solution``: for a cell that uses it.

    >>> accepted("bird", {"cat", "dog"}, solution={"dog", "cat"}) == {"cat", "dog"}
    True
    """
    wrong = _unanswered(answer) or _fault(answer, expected, where, given, solution, forms.Tolerance(rtol, atol))
    return solution if wrong else answer


def observe(condition: object, says: str, *, otherwise: str) -> None:
    """Print the one of two sentences that is true of this picture; for what a theorem doesn't promise.

    A theorem is asserted. What was merely seen on one photograph may be otherwise on the reader's.

    >>> observe(2 > 1, "The second map is darker.", otherwise="On this picture the second map is not darker.")
    The second map is darker.
    """
    print(says if condition else otherwise)


def _unanswered(value):
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(map(_unanswered, value))
    return value is None


def _fault(value, expected, where, given, solution, within):
    """Return what is wrong with an answer, or an empty string."""
    try:
        if given is not None or callable(solution):
            if not callable(value):
                return f"a function is asked for, yours is {forms.named(value, 'of type')}"
            if given is None:
                return "" if where(value) else "your function does not do what is asked"
            return _fault_of_function(value, expected, where, given, solution, within)
        if at := forms.none_at(value):
            return f"the entry at {list(at)} is still None"
        mine = forms.form(value)
        if where is not None:
            like = forms.form(solution)
            if isinstance(like, np.ndarray):
                mine = forms.bracketed(mine, like)
                if other := _other_numbers(mine, like):
                    return other
            if not where(_tensors(mine, value)):
                return f"{forms.named(value)} does not do what is asked"
        true = forms.form(expected)
        return "" if expected is ... else forms.difference(forms.bracketed(mine, true), true, within)
    except Exception as error:
        return f"{_shown(value)} cannot be judged ({type(error).__name__}: {_line(error)})"


def _fault_of_function(function, expected, where, given, solution, within):
    several = isinstance(given, list) and len(given) > 0 and all(isinstance(case, tuple) for case in given)
    cases = given if several else [given]
    results = []
    for number, case in enumerate(cases, 1):
        wrong, value, result = _called(function, case, solution if where is not None else None)
        if not wrong and expected is not ...:
            true = forms.form(expected[number - 1] if several else expected)
            wrong = forms.difference(result, true, within)
        if wrong:
            arguments = f"{'argument' if len(case) == 1 else 'arguments'} {', '.join(map(repr, case))}"
            short = len(arguments) <= 60
            return wrong + (f", with the {arguments}" if short else f", in case {number} of {len(cases)}") * several
        results.append(_tensors(result, value))
    if where is not None and not where(results if several else results[0]):
        return "what your function returns is not what is asked"
    return ""


def _called(function, case, solution):
    """Return what is wrong with a function's result at first sight, the result, and its form, shaped like ours."""
    try:
        value = function(*copy.deepcopy(case))
    except Exception as error:
        return f"your function stopped with {type(error).__name__}: {_line(error)}", None, None
    if value is None:
        return "your function returned None", None, None
    if at := forms.none_at(value):
        return f"the entry at {list(at)} is still None", None, None
    result, like = forms.form(value), forms.form(solution(*copy.deepcopy(case))) if solution is not None else None
    wrong = ""
    if isinstance(like, np.ndarray) and isinstance(result, np.ndarray):
        wrong = forms.different_shapes(result, like)
        result = result if wrong else result.reshape(like.shape)
    elif isinstance(like, np.ndarray):
        got = "parts of different shapes" if isinstance(result, list) else forms.kind(result)
        wrong = f"the shape {like.shape} is asked for, your function returned {got}"
    return wrong, value, result


def _tensors(mine, value):
    return torch.as_tensor(mine).float() if isinstance(mine, np.ndarray) else value


def _other_numbers(mine, like):
    """Return a sentence if a form does not hold as many numbers as another, or an empty string."""
    asked = f"{forms.count(like.size, 'number is', 'numbers are')} asked for"
    if isinstance(mine, np.ndarray):
        return "" if mine.size == like.size else f"{asked}, yours has {mine.size}"
    entries = forms.leaves(mine)
    if any(isinstance(entry, str) for entry in entries):
        return f"{asked}, yours {'is a word' if isinstance(mine, str) else 'has a word in it'}"
    if not all(isinstance(entry, np.ndarray) for entry in entries):
        return f"{asked}, yours is {forms.kind(mine)}"
    return "" if len(entries) == like.size else f"{asked}, yours has {len(entries)}"


def _shown(value):
    try:
        return forms.named(value)
    except Exception:  # an object that can't even be written
        return f"your {type(value).__name__}"


def _line(error):
    text = " ".join(str(error).split())
    return text if len(text) <= 120 else text[:117] + "..."
