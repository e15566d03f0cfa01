"""convtwist.exercises: right answers pass in any dress, wrong ones get a hint that doesn't give them away."""

import doctest
import subprocess
import sys

import numpy as np
import pytest
import torch

import convtwist
from convtwist import exercises
from convtwist.exercises import check, observe

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
    ([[1], [2]], [1, 2], "Not yet: the shape (2,) is asked for, yours has the shape (2, 1)."),
    ([1, 2, 3], 7, "Not yet: a single number is asked for, yours has the shape (3,)."),
    (7, [1, 2, 3], "Not yet: the shape (3,) is asked for, yours has one number."),
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
])
def test_a_wrong_answer_is_placed_and_never_given_away(capsys, answer, expected, line):
    assert said(capsys, answer, expected) == line
    assert said(capsys, answer, expected, hint="Count again.") == f"{line} Hint: Count again."


@pytest.mark.parametrize("stub", [None, [None, None], (None, None)])
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
