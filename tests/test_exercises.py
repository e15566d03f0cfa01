"""convtwist.exercises: right answers pass in any dress, wrong ones get a hint that doesn't give them away."""

import doctest
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

import convtwist
from convtwist import exercises
from convtwist.exercises import accepted, check, observe

GRID = [[1, 2], [3, 4]]


def said(capsys, *arguments, **options):
    assert check(*arguments, **options) is None
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and line.endswith("\n")
    return line.strip()


@pytest.mark.parametrize("answer", [
    GRID, ((1, 2), (3, 4)), [(1.0, 2), (3, 4 + 0j)], np.array(GRID, np.uint8), np.array(GRID, np.float16),
    torch.tensor(GRID), torch.tensor(GRID, dtype=torch.bfloat16), torch.tensor(GRID).float().requires_grad_(),
    torch.tensor(GRID).view(1, 1, 2, 2), torch.tensor(GRID).to_sparse(), [torch.tensor([1.0, 2]), np.array([3, 4])],
    [[torch.tensor(1), np.int8(2)], [3, np.float32(4)]], torch.tensor(GRID).t().contiguous().t(), [range(1, 3), [3, 4]],
])
def test_the_container_and_the_type_do_not_matter(capsys, answer):
    assert said(capsys, answer, torch.tensor(GRID)) == "Right."
    assert said(capsys, GRID, answer) == "Right."


@pytest.mark.parametrize(("answer", "expected"), [
    (True, np.bool_(True)), (1, True), ("  Left ", "left"), (("E", 3, True), ["e", torch.tensor(3.0), 1]),
    ([[1, 2], [3]], ((1, 2), (3,))), (["b", "A"], {"a", "b"}), ([2.0, 1, 1], {1, 2}), (torch.tensor([1, 2]), {2, 1}),
    (0.333, 1 / 3), ([1e6, 0.3], [1e6, 0.3001]), ([float("nan"), 1], [float("nan"), 1]), (1 + 2j, 1 + 2j), ([], ()),
    ({"a": [1]}, {"a": torch.ones(1)}), (torch.float32, torch.float32), ([5], 5), (5, [5]), (2, 2.000001),
    ([[1], [2]], [1, 2]), ([1, 2, 3, 4], GRID), (GRID, [1, 2, 3, 4]),
                                                  ([[1, 2], [3, 4], [5, 6]], [[1, 2, 3], [4, 5, 6]]),
    ([2, 3, 7], (2, [3, 7])), ([2, 7, 3], (2, {3, 7})), ((2, {7, 3}), (2, {3, 7})), (["even", [2]], ("even", 2)),
    ("(b)", "b"), (" b.", "b"), ("'B'", "b"), (["b"], "b"), ({"b"}, "b"), ({5}, 5), ("upward.", "upward"),
    ("yes", True), ("No", False), (["yes", "no"], [True, False]), ("yes, no", [True, False]), ([1, "no"], (1, False)),
    ([[True, "no"], [0, "false"]], [[True, False], [False, False]]), ([True, 0], torch.tensor([True, False])),
    ([(3, 4), (1, 2)], {(1, 2), (3, 4)}), ({(3, 4), (1, 2)}, {(1, 2), (3, 4)}),
                                                  (torch.tensor([[3, 4], [1, 2]]), {(1, 2), (3, 4)}),
    ({1, "dx"}, {"1", "dx"}), ("Sobel x, box", {"box", "sobel X"}), ({"a": 0, "B": 0}, {"a", "b"}),
                                                  (Fraction(1, 4), 0.25),
    (Decimal("0.5"), 0.5),
])
def test_right_in_any_dress(capsys, answer, expected):
    assert said(capsys, answer, expected) == "Right."


@pytest.mark.parametrize(("answer", "expected", "line"), [
    (-31, -32, "Not yet: -31 is not right."),
    (28671, 28672, "Not yet: 28671 is not right."),
    (0.33, 1 / 3, "Not yet: 0.33 is not right."),
    (False, True, "Not yet: False is not right."),
    ("right", "left", "Not yet: 'right' is not right."),
    ([1, 2, 5, 4], [1, 2, 3, 4], "Not yet: 1 of 4 entries differs, the entry [2], where yours is 5."),
    (torch.zeros(2, 2), GRID, "Not yet: 4 of 4 entries differ, the first at [0, 0], where yours is 0."),
    ([1, 2], GRID, "Not yet: the shape (2, 2) is asked for, yours has the shape (2,)."),
    ([1, 2, 3], 7, "Not yet: a single number is asked for, yours has the shape (3,)."),
    (7, [1, 2, 3], "Not yet: the shape (3,) is asked for, yours is one number."),
    ("7", 8, "Not yet: a number is asked for, yours is a word."),
    (7, "left", "Not yet: a word is asked for, yours is a number."),
    ("left", True, "Not yet: True or False is asked for, yours is a word."),
    (("E", 4, False), ("E", 3, True), "Not yet: 4 at [1] is not right (2 of 3 entries are wrong)."),
    (("E", 3), ("E", 3, True), "Not yet: 3 entries are asked for, yours has 2."),
    ([1, None], [1, 2], "Not yet: the entry at [1] is still None."),
    ({"b": 1}, {"a": 1}, "Not yet: a dict with the keys 'a' is asked for."),
    (["b", "c"], {"a", "b"}, "Not yet: of your 2 entries 1 belong there: 1 too many and 1 missing."),
    (float("nan"), 1, "Not yet: nan is not right."),
    (object(), 1, "Not yet: a number is asked for, yours is of type object."),
    (1 + 2j, 1.5, "Not yet: 1+2j is not right."),
    ([1, 2, None, 4], [[1, 2, 3, 4]], "Not yet: the entry at [2] is still None."),
    ([[1, None], [None, 4]], GRID, "Not yet: the entry at [0, 1] is still None."),
    ([1, "x", 3], [[1, 2, 3]], "Not yet: a number is asked for at [1], yours is a word."),
    (231_612_416, 231_211_008, "Not yet: 231612416 is not right."),
    (1234567.75, 123456.5, "Not yet: 1234567.75 is not right."),
    ((1, True), (1, False), "Not yet: True at [1] is not right."),
    ((1, "yes"), (1, False), "Not yet: True at [1] is not right."),
    ((1, "left"), (1, False), "Not yet: True or False is asked for at [1], yours is a word."),
    ((("a", "b"), ("c", "d")), (("e", "f"), ("g", "h")),
     "Not yet: 'a' at [0, 0] is not right (2 of 2 entries are wrong)."),
    ((2, {3, 7}), (2, {3, 8}), "Not yet: of your 2 entries at [1] 1 belong there: 1 too many and 1 missing."),
    ((2, {3, 7}), (2, [3, 7]), "Not yet: a list is asked for at [1], yours is a set, which has no order."),
    ({"a": 1, "b": 2}, [1, 2], "Not yet: a list is asked for, yours is a dict."),
    ([(1, 2)], {(1, 2), (3, 4)}, "Not yet: of your 1 entry 1 belong there: 1 missing."),
    ([[1, 2], [3]], {"a", "b"}, "Not yet: of your 2 entries 0 belong there: 2 too many and 2 missing."),
    ("(a)", "b", "Not yet: 'a' is not right."),
    (print, 7, "Not yet: a number is asked for, yours is a function."),
])
def test_a_wrong_answer_is_placed_and_never_given_away(capsys, answer, expected, line):
    assert said(capsys, answer, expected) == line
    assert said(capsys, answer, expected, hint="Count again.") == f"{line} Hint: Count again."


@pytest.mark.parametrize("stub", [None, [None, None], (None, None), [[None, None], [None]]])
def test_not_answered_yet(capsys, stub):
    assert said(capsys, stub, [1, 2]) == "Not answered yet: replace None in the cell above."
    judged = said(capsys, stub, [1, 2], solution=(1, 2))
    assert judged == "Not answered yet: replace None in the cell above. (The solution passes this check.)"


def test_the_solution_is_judged_whether_there_is_an_answer_or_not(capsys):
    for answer in (None, 7):
        with pytest.raises(AssertionError, match="the book's solution does not pass its own check: 8 is not right"):
            check(answer, 7, solution=8)
    assert said(capsys, 7, 7, solution=7) == "Right."


def test_more_than_one_right_answer(capsys):
    def edge(kernel):
        return kernel.sum() == 0 and kernel.dtype == torch.float32

    for kernel in ([[1, -1]], np.array([2.0, 0, -2]), torch.tensor([3, -3])):
        assert said(capsys, kernel, where=edge) == "Right."
    assert said(capsys, [1, 1], where=edge) == "Not yet: [1, 1] does not do what is asked."
    assert said(capsys, "word", where=edge).startswith("Not yet: 'word' cannot be judged (AttributeError: ")
    assert said(capsys, [1, 2], [1, 2], where=edge) == "Not yet: [1, 2] does not do what is asked."


def test_where_gets_as_many_numbers_as_the_solution_has_in_its_shape(capsys):
    def diagonal(kernel):
        return kernel.dtype == torch.float32 and torch.equal(kernel, torch.eye(2))

    for kernel in ([1, 0, 0, 1], np.eye(2, dtype=np.float16), torch.eye(2).double()[None, None], [[1], [0], [0], [1]]):
        assert said(capsys, kernel, where=diagonal, solution=torch.eye(2)) == "Right."
    for kernel, says in (([1, 0, 0], "4 numbers are asked for, yours has 3"),
                         ([1, 0, None, 1], "the entry at [2] is still None"),
                         ("1001", "4 numbers are asked for, yours is a word"),
                         (["1", 0, 0, 1], "4 numbers are asked for, yours has a word in it"),
                         ({"a": 1}, "4 numbers are asked for, yours is a dict"),
                         ([1, 0, 1, 1], "[1, 0, 1, 1] does not do what is asked")):
        assert said(capsys, kernel, where=diagonal, solution=torch.eye(2)) == f"Not yet: {says}."


def test_a_function_that_only_where_calls(capsys):
    def keeps(function):
        return function(2) == 2

    def keep(x):
        return x

    assert said(capsys, lambda x: x, where=keeps, solution=keep) == "Right."
    for answer, says in ((2, "a function is asked for, yours is 2"), ([], "a function is asked for, yours is []"),
                         (subprocess, "a function is asked for, yours is of type module"),
                         (lambda x: 3, "your function does not do what is asked"),
                         (lambda: 2, "your function cannot be judged (TypeError: ")):
        assert said(capsys, answer, where=keeps, solution=keep).startswith(f"Not yet: {says}")


def test_a_function_gets_copies_and_several_cases(capsys):
    def double(x):
        x *= 2
        return x

    numbers = torch.tensor([1.0, 2])
    for _ in range(2):
        assert said(capsys, double, [2, 4], given=(numbers,), solution=double) == "Right."
    assert numbers.tolist() == [1, 2]
    cases = [(numbers,), (torch.tensor([5.0]),)]
    assert said(capsys, double, [[2, 4], 10], given=cases, solution=double) == "Right."
    assert said(capsys, lambda x: torch.tensor([2.0, 4]), [[2, 4], 10], given=cases) == \
        "Not yet: a single number is asked for, yours has the shape (2,), with the argument tensor([5.])."
    assert said(capsys, lambda x: None, 2, given=(1,)) == "Not yet: your function returned None."
    assert said(capsys, lambda x: [2, None], [2, 2], given=(1,)) == "Not yet: the entry at [1] is still None."
    line = said(capsys, lambda x: x[1], [2, 4], given=cases)
    assert "stopped with IndexError" in line and line.endswith("with the argument tensor([5.]).")


def test_results_are_judged_by_where_as_tensors_of_the_solutions_shape(capsys):
    def grow(results):
        return all(torch.equal(result, torch.full((2,), 1.0 + k)) for k, result in enumerate(results))

    def solution(x):
        return torch.full((2,), float(x))

    options = {"where": grow, "given": [(1,), (2,)], "solution": solution}
    for answer in (solution, lambda x: [x, x], lambda x: (torch.tensor(x), x), lambda x: np.full((1, 2), x, np.int8)):
        assert said(capsys, answer, **options) == "Right."
    for answer, says in ((lambda x: x, "the shape (2,) is asked for, yours is one number, with the argument 1"),
                         (lambda x: [x, [x, x]], "your function returned parts of different shapes"),
                         (lambda x: "x", "the shape (2,) is asked for, your function returned a word"),
                         (lambda x: [2, 2], "what your function returns is not what is asked")):
        assert says in said(capsys, answer, **options)


def test_the_shape_of_a_result_matters(capsys):
    assert said(capsys, lambda: [1, 2, 3, 4], GRID, given=()) == \
        "Not yet: the shape (2, 2) is asked for, yours has the shape (4,)."
    assert said(capsys, lambda: torch.tensor(GRID)[None, :, None], GRID, given=()) == "Right."


def test_accepted_returns_the_answer_or_the_solution():
    def right(x):
        return -x

    def ours(x):
        return 0 - x

    assert accepted(right, -2, given=(2,), solution=ours) is right
    for answer in (None, 7, lambda: 0, lambda x: x, lambda x: 1 / 0):
        assert accepted(answer, -2, given=(2,), solution=ours) is ours


class Unwritable:
    """An object that can't even be shown."""

    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize("answer", [[], {}, "", {None}, float("nan"), float("inf"), object(), iter([1]),
                                    [[1, 2], [3]], ..., print, np.zeros((0, 3)), torch.zeros(0), [float("nan")] * 4,
                                    10**400, Unwritable(), np.array(["1", "2"]), [[[]]], {(1, 2)}, {1: None},
                                    [object()] * 4, [{}] * 4])
def test_nothing_ends_in_a_traceback(capsys, answer):
    for expected in (7, "word", True, GRID, [True, False], {"a", "b"}, {(1, 2), (3, 4)}, (2, {3, 4}), (9, [2, 3]),
                     {"a": 1}):
        assert said(capsys, answer, expected).startswith("Not yet: ")
        assert said(capsys, lambda: answer, expected, given=()).startswith("Not yet: ")
    options = {"where": lambda value: torch.equal(value, torch.eye(2)), "solution": torch.eye(2)}
    assert said(capsys, answer, **options).startswith("Not yet: ")
    options["solution"] = lambda: torch.eye(2)
    assert said(capsys, lambda: answer, given=(), **options).startswith("Not yet: ")
    if answer is not print:  # which prints
        assert said(capsys, answer, where=lambda function: function() == 3, solution=lambda: 3).startswith("Not yet: ")


def test_functions_are_judged_by_what_they_return(capsys):
    def double(x):
        return 2 * x

    assert said(capsys, double, [2, 4], given=(torch.tensor([1, 2]),), solution=lambda x: x + x) == "Right."
    assert said(capsys, None, 2, given=(1,), solution=double).endswith("(The solution passes this check.)")
    assert said(capsys, double, 3, given=(1,)) == "Not yet: 2 is not right."
    assert said(capsys, 2, 2, given=(1,)) == "Not yet: a function is asked for, yours is 2."
    stopped = said(capsys, lambda x: x.size, 2, given=(1,))
    assert stopped == "Not yet: your function stopped with AttributeError: 'int' object has no attribute 'size'."


def test_tolerances(capsys):
    assert said(capsys, 100.4, 100.0) == "Not yet: 100.4 is not right."
    assert said(capsys, 100.4, 100.0, rtol=0.01) == "Right."
    assert said(capsys, 100.4, 100.0, atol=0.5) == "Right."
    assert said(capsys, 100.004, 100.1) == "Right."


def test_a_check_that_judges_nothing_is_refused():
    with pytest.raises(TypeError, match="needs what is expected, or a function where="):
        check(3)


def test_observe_says_what_is_true_of_the_picture(capsys):
    for condition, line in ((torch.tensor(True), "Darker."), (np.nan > 1, "Not darker."), (0, "Not darker.")):
        assert observe(condition, "Darker.", otherwise="Not darker.") is None
        assert capsys.readouterr().out == line + "\n"


def test_reached_from_the_package_and_light():
    assert convtwist.check is check
    code = "import sys, convtwist; convtwist.check(1, 1); assert not {'matplotlib', 'PIL', 'cv2'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "Right.\n"


def test_examples():
    assert doctest.testmod(exercises).attempted >= 3 and doctest.testmod(exercises).failed == 0
