"""The checks of the book's exercises, run on answers: right ones in every form pass, wrong ones are refused in words.

Of a chapter only those cells run that an exercise of the table reads. Answers are text, evaluated where the reader
would write them; a text that begins with a new line is run.
"""

import ast
import contextlib
import io
import json
import re
import warnings
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pytest
import torch
from cell_memory import _names
from scorecard import record

BOOK = Path(__file__).parents[1] / "book"

SLOPE = "0.5 * 3**0.5 * basis_kernel('dx') + 0.5 * basis_kernel('dy')"
MEANS = "for d in (u[0, 0] - u[0, 1], u[0, 1] - u[0, 2], u[0, 2] - u[0, 0])]"
WHIRL = "lambda x, y: (lambda s: {})((1 - x**2 - y**2).clamp(min=0))"
BLUR = "avg_pool2d({}, 31, stride=1, padding=15, count_include_pad=False)"
TOSSES = "lambda a, d: sum(math.comb(d, k) for k in range(d + 1) if {} >= a) / 2**d"
BACKWARDS = """
def answer(layers, i):
    first = last = i
    while layers:
        k, s, p = layers.pop()
        first, last = first * s - p, last * s - p + k - 1
    return {}
"""
FOLD = """
def answer(layer, norm):
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    norm.bias.data -= norm.running_mean * scale
    layer.weight.data *= scale[:, None, None]
    layer.bias = nn.Parameter((0 if layer.bias is None else layer.bias) * scale + norm.bias)
    return layer
"""
INSTALL = """
def answer(layer, weight):
    if layer.weight.shape != weight.shape:
        raise {}
    layer.weight.data = weight
    weight {}
"""
IN_PLACE = """
def answer(map):
    mean = map.mean()
    map[2:5, 2:5] = 0
    return mean - map.mean()
"""
# What is right, and what is wrong with a piece of what the check says of it.
TABLE = {
    "1.1": (["-32", "[[-32.0]]", "{-32}", "torch.tensor([[[[-32]]]])"], {"32": "32 is not right", "'x'": "a number"}),
    "1.2": (["[0, 0, 0, 0, 0, 1, 0, 0, 0]", "torch.eye(9)[5].half()", "np.eye(9)[5].reshape(3, 3)"],
            {"[[0, 0, 0], [1, 0, 0], [0, 0, 0]]": "does not do", "[[0, 0, 0], [0, 0, None], [0, 0, 0]]": "still None",
             "torch.zeros(2, 2)": "9 numbers are asked for, yours has 4", "'right'": "yours is a word",
             "[['0'] * 3] * 3": "has a word in it", "max": "yours is a function"}),
    "1.3": (["[[-1], [1], [0], [0], [1], [-1]]", "np.array([-1, 1, 0, 0, 1, -1.0])"],
            {"[-1, 1, 0, None, 1, -1]": "the entry at [3] is still None",
             "[-1, 1, 0, 'x', 1, -1]": "asked for at [3]"}),
    "1.4": (["lambda a, b: conv2d(a.double(), b.double().flip(2, 3))",
             "lambda a, b: reference.conv2d(a[0, 0], b[0, 0])",
             "lambda a, b: conv2d(a, b.flip(2, 3)).numpy()", "lambda a, b: conv2d(a, b.copy_(b.flip(2, 3)))"],
            {"conv2d": "4 of 4 entries", "3": "a function is asked for, yours is 3",
             "lambda a, b: None": "returned None",
             "lambda a: a": "stopped with TypeError", "torch.nn": "yours is of type module"}),
    "1.6": (["['yes', 'no', 'Yes', 'No']", "'yes no yes no'", "[1, 0, True, False]", "torch.tensor([1, 0, 1, 0])"],
            {"['yes'] * 4": "(2 of 4 entries are wrong)", "{1, 3}": "4 entries are asked for",
             "['left'] * 4": "a word"}),
    "2.1": (["(73_856, 231_211_008)"], {"(73_856, 231_612_416)": "where yours is 231612416"}),
    "2.4": (["[0.3, 0.6, 0.1]", "torch.tensor([[0.299], [0.587], [0.114]]).double()"],
            {"[0.25, 0.6, 0.15]": "2 of 3", "[0.34, 0.56, 0.1]": "1 of 3", "[1 / 3] * 3": "3 of 3",
             "{'red': 0.3, 'green': 0.6, 'blue': 0.1}": "yours is a dict", "[0.3, 0.6, None]": "at [2] is still None"}),
    "2.6": (["'yes, no, no, yes'"], {"[True, False, True, True]": "the entry [2]"}),
    "2.7": (["[d.abs().mean() " + MEANS, "[[[d.abs().mean().item()]] " + MEANS],
            {"[d.mean() " + MEANS: "of 3 entries",
             "conv2d(u, differences).mean((0, 2, 3))": "1 of 3 entries differs, the entry [2]"}),
    "3.1": (["(2, [9, 8, 7, 3])", "(2, {3, 7, 8, 9})", "[2, 3, 7, 8, 9]", "torch.tensor([2, 9, 8, 3, 7])"],
            {"(2, {3, 7, 8})": "of your 3 entries at [1] 3 belong there: 1 missing",
             "(3, {3, 7, 8, 9})": "3 at [0] is not"}),
    "3.4": (["'no'", "0", "[False]", "'No.'"],
            {"'yes'": "True is not right", "'refuses'": "True or False is asked for"}),
    "3.5": (["lambda x: " + BLUR.format("x.double()"), "lambda x: " + BLUR.format("x") + ".numpy()",
             "lambda x: " + BLUR.format("x").replace("avg", "x.copy_(avg") + ")",
             "nn.AvgPool2d(31, 1, 15, False, False)", "lambda x: " + BLUR.format("x.half()")],
            {"lambda x: x": "what your function returns is not",
             "lambda x: torch.ones_like(x)": "is not what is asked",
             "lambda x: avg_pool2d(x, 31, stride=1)": "the shape", "white": "a function is asked for",
             "[]": "yours is []"}),
    "3.6": (["[1, 2, 2, 4]", "[[1, 2], [2, 4]]"],
            {"[1, 2, 2]": "the shape (2, 2) is asked for, yours has the shape (3,)"}),
    "3.8": ([BACKWARDS.format("first, last"), BACKWARDS.format("torch.tensor([first, last])")],
            {BACKWARDS.format("first, last + 1"): "entry [1]", "[14, 21]": "a function", "np.zeros(2)": "a function"}),
    "4.3": (["('no', 'yes')", "[0, 1]"], {"('yes', 'no')": "True at [0] is not right (2 of 2 entries are wrong)"}),
    "4.4": (["lambda x, size: max_pool2d(x[None], size)[0].tolist()",
             "lambda x, size: max_pool2d(x.mul_(1)[None], size)"],
            {"lambda x, size: max_pool2d(x[None], 3)[0]": "in case 2 of 2", "lambda x, size: x.amax()": "one number"}),
    "4.5": ([INSTALL.format("ValueError", ""), INSTALL.format("ValueError", " *= 1")],
            {INSTALL.format("RuntimeError", ""): "your function cannot be judged (RuntimeError: )",
             INSTALL.format("ValueError", " *= 2"): "your function does not do what is asked",
             "weight1": "a function"}),
    "5.2": (["(1, 'no')", "[1, 0]", "(1, False)"],
            {"(1, True)": "True at [1] is not right", "(1, 'yes')": "True at [1]"}),
    "5.3": (["lambda y: pad(y.double()[..., :-1], (1, 0)).numpy()", "lambda y: pad(y, (1, -1))[0, 0]"],
            {"lambda y: y.roll(1, -1)": "5 of 30",
             "lambda y: y.mean()": "the shape (5, 6) is asked for, yours is one"}),
    "5.4": (["[(6, 2), (6, 3), (2, 2)]", "{(2, 2), (6, 3), (6, 2)}", "torch.tensor([[2, 2], [6, 2], [6, 3]])"],
            {"[(2, 2), (6, 3)]": "of your 2 entries 2 belong there: 1 missing", "[1, 4, 5]": "belong there",
             "[(3, 2), [5, 3], (6, 2)]": "1 belong there: 2 too many and 2 missing",
             "[[1, 2], [3]]": "0 belong there"}),
    "5.6": (["['bilinear']", "'Bilinear.'"], {"'nearest'": "'nearest' is not right", "True": "a word is asked for"}),
    "5.7": (["lambda x, w, s: conv_transpose2d(x[None, None], w[None, None], stride=s)"],
            {"lambda x, w, s: conv_transpose2d(x[None, None], w[None, None], stride=3)": "in case 1 of 3"}),
    "5.8": (["[1, 2, 3, 4]", "torch.arange(1, 5).view(2, 2)"], {"[[1, 3], [2, 4]]": "2 of 4 entries differ"}),
    "6.2": (["([[-1], [0], [1]], [[1, 2, 1]])", "(torch.tensor([[-1.], [0], [1]]), torch.tensor([[1, 2, 1]]))",
             "([-2, 0, 2], [0.5, 1, 0.5])", "np.array([[-1, 0, 1], [1, 2, 1]])"],
            {"([1, 2, 1], [-1, 0, 1])": "does not do what is asked", "([-1, 0, 1], None)": "at [1] is still None",
             "[-1, 0, 1]": "6 numbers are asked for, yours has 3"}),
    "6.6": (["['identity', 'box', 'gaussian', 'sharpen', 'Laplacian']",
             "'Laplacian, box, Gaussian, sharpen, identity'"],
            {"['identity', 'box', None]": "at [2] is still None",
             "[['identity', 'box'], ['sharpen']]": "0 belong there"}),
    "7.2": ([SLOPE, f"({SLOPE}).flatten()", f"({SLOPE}).double().tolist()",
             SLOPE.replace("basis_kernel('dx')", "kernels.sobel_x()").replace("basis_kernel('dy')",
                                                                              "kernels.sobel_y()")],
            {SLOPE + " + basis_kernel('1')": "does not do", SLOPE + " + basis_kernel('dxx')": "does not do",
             "torch.tensor([1.0, 0, 0])": "9 numbers are asked for, yours has 3", "basis_kernel('dx')": "does not do"}),
    "7.3": (["{1, 'dxx', 'dyy', 'dxxyy'}", "['1', 'DXX', 'dyy', 'dxxyy']"],
            {"{'1', 'dxx'}": "2 belong there: 2 missing"}),
    "8.2": (["[-1, 0, 0, 0, 1, 0]"], {"[[1, 0, 0], [0, -1, 0]]": "2 of 6", "[[-1, 0, 0], [0, 1, None]]": "at [1, 2]"}),
    "8.3": (["[5, 10, 0, 15, 0, 20]"], {"[[5, 10], [0, 15], None]": "the entry at [2] is still None"}),
    "8.4": (["[40.7, 63.9]", "(40.744, 63.897)"], {"[40.7, 64]": "the entry [1]", "[40.8, 63.9]": "the entry [0]"}),
    "8.6": (["lambda u, change, h: u.add_(h * change(u + h / 2 * change(u)))",
             "lambda u, change, h: (u + h * change(u + h / 2 * change(u))).float().numpy()"],
            {"lambda u, change, h: u + h / 2 * change(u) + h / 2 * change(u + h / 2 * change(u))": "of 32 entries",
             "lambda u, change, h: u + h * change(u)": "of 32 entries", "lambda u, h: u": "stopped with TypeError",
             "lambda u, change, h: solution(u, change, h) + h**3 / 6 * change(change(change(u)))": "of 32 entries"}),
    "8.7": ([WHIRL.format("(s * y, -s * x)"), WHIRL.format("[(1000 * s * y).numpy(), (-1000 * s * x).numpy()]"),
             WHIRL.format("torch.stack([s * y, -s * x]).double()"), WHIRL.format("(s[None] * y, -s[None] * x)")],
            {WHIRL.format("(-s * y, s * x)"): "is not what is asked", WHIRL.format("s * y"): "the shape (2, 128, 128)",
             "lambda x, y: (y, -x)": "parts of different shapes",
             "lambda x, y: (0, 0) if x > y else (y, -x)": "RuntimeError",
             "lambda x: x": "stopped with TypeError", "7": "a function is asked for",
             "lambda x, y: None": "returned None"}),
    "8.9": (["[0.92, 4.43]"], {"[0.92, 4.44]": "the entry [1]"}),
    "9.2": (["(0, 0.98)", "(0, 0.977)"], {"(0, 1.0)": "the entry [1]", "(0.02, 0.98)": "the entry [0]"}),
    "9.4": (["('yes', 'no', 'no')"], {"('yes', 'yes', 'no')": "True at [1]"}),
    "9.6": (["0.44", "4 / 9"], {"0.45": "0.45 is not right"}),
    "10.2": (["[[6, 7], [0, 1], [2, 3], [4, 5]]"], {"{6, 7, 0, 1, 2, 3, 4, 5}": "a set, which has no order"}),
    "10.3": (["(30, 'no')"], {"(30, True)": "True at [1]", "(31, 'yes')": "(2 of 2 entries are wrong)"}),
    "10.5": (["lambda b: torch.tensor(channels.path_length(b))"], {"lambda b: 1.95": "in case"}),
    "11.1": (["(0.69, 0)", "(math.log(2), 0)"], {"(0.7, 0)": "the entry [0]", "(1, 0)": "the entry [0]"}),
    "11.2": ([IN_PLACE, "lambda m: (m.double()[2:5, 2:5].sum() / 49).numpy()"],
             {"lambda m: m[2:5, 2:5].mean()": "not right", "lambda m: m[2:5, 2:5].sum() / 40": "not right"}),
    "11.3": (["'(b)'", "'b)'", "['b']", "' B.'"], {"'(a)'": "'a' is not right", "2": "a word is asked for"}),
    "11.4": (["lambda s, c, m: float(solution(s, c, m))"], {"lambda s, c, m: solution(s, 10, 0.1)": "0.4, 5, 0.2"}),
    "12.4": (["'(B)'"], {"'(c)'": "is not right"}),
    "12.5": ([TOSSES.format("abs(2 * k - d)")], {"lambda a, d: 0.69": "with the arguments 4, 10",
             TOSSES.format("2 * k - d"): "with the arguments 3, 25"}),
    "13.3": (["'no'"], {"'yes'": "True is not right"}),
    "13.5": (["'(c)'"], {"'a'": "'a' is not right"}),
    "13.6": (["lambda n, l: int(l.in_channels == l.out_channels and l.stride[0] == 1)"],
             {"lambda n, l: l.in_channels == 8 and l.stride == (1, 1)": "does not do",
              "True": "a function is asked for"}),
    "13.7": ([FOLD],
             {"lambda layer, norm: layer": "does not do", "lambda layer, norm: nn.Sequential(layer, norm)": "does"}),
}
LONG = (3, 8, 10, 11)  # chapters that take more than two seconds
INSTEAD = {11: {"whole": torch.rand(7, 7)}}  # made by a network, which takes long
ANYTHING = ["1", "[]", "'abc'", "[None]", "float('nan')", "object()", "{}", "{1: 2}", "iter([1])", "[[1, 2], [3]]",
            "..."]
"""Not right anywhere, and never a traceback."""


def code(chapter):
    path = next(BOOK.glob(f"{chapter:02}_*.ipynb"))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def exercises(chapter):
    """Return ``{number: its code cells}`` without answer boxes, and the code cells in front of the first."""
    found, before, cells = {}, [], None
    for kind, source in code(chapter):
        heading = re.findall(rf"^### ({chapter}\.\d+) ", source, re.MULTILINE) if kind == "markdown" else []
        if heading:
            cells = found.setdefault(heading[-1], [])
        elif kind == "markdown" and re.search("^##? ", source, re.MULTILINE):
            cells = before if not found else []
        elif kind == "code" and "labs.answer_box(" not in source:
            (before if cells is None else cells).append(source)
    return found, before


def names(source):
    """Return the names that a cell reads before it stores them, and those that it stores or changes an entry of."""
    reads, stores, statements = set(), set(), ast.parse(source).body
    while statements:
        first, *statements = statements
        if isinstance(first, ast.For):
            taken = ast.Assign([first.target], first.iter, lineno=0)
            statements = [taken, *first.body, *first.orelse, *statements]
            continue
        reading, _, storing = _names(ast.unparse(first))
        reads |= reading - stores
        stores |= storing | {node.value.id for node in ast.walk(first) if isinstance(node, ast.Subscript)
                             and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)}
    return reads, stores


def needed(cells, wanted):
    """Return those of the cells that make the names that are wanted, or what these read, in order."""
    kept = []
    for source in reversed(cells):
        reads, stores = names(source)
        if stores & wanted:
            kept.append(source)
            wanted = wanted - stores | reads
    return kept[::-1]


def run(space, *cells):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for source in cells:
            exec(compile(source, "<cell>", "exec"), space)
    matplotlib.pyplot.close("all")
    return said.getvalue()


def verdict(space, answer, *cells):
    run(space, answer if answer.startswith("\n") else f"answer = {answer}")
    lines = [line for line in run(space, *cells).splitlines() if re.match("Right|Not (yet|answered)", line)]
    assert len(lines) == 1, lines
    return lines[0]


def test_every_exercise_of_the_table_is_in_the_book():
    assert set(TABLE) <= {number for chapter in range(1, 14) for number in exercises(chapter)[0]}


@pytest.mark.parametrize("chapter", [
    pytest.param(chapter, marks=pytest.mark.slow if chapter in LONG else ()) for chapter in range(1, 14)])
def test_answers(chapter, monkeypatch):
    monkeypatch.chdir(BOOK)
    monkeypatch.setattr(matplotlib.pyplot, "show", lambda: None)
    threads = torch.get_num_threads()
    found, before = exercises(chapter)
    mine = {number: cells for number, cells in found.items() if number in TABLE}
    space = {"__name__": "__main__", "np": np, **INSTEAD.get(chapter, {})}
    answers = [answer for number in mine for group in TABLE[number] for answer in group]
    read = ["\n".join(cells) for cells in mine.values()] + answers
    run(space, *needed(before, set().union(*(names(source)[0] for source in read)) - space.keys()))
    for number, (stub, solution, check, *after) in mine.items():
        right, wrong = TABLE[number]
        run(space, stub, solution)
        for answer in right:
            assert verdict(space, answer, check, *after) == "Right.", f"{number}: {answer}"
        for answer, piece in wrong.items():
            line = verdict(space, answer, check, *after)
            assert line.startswith("Not yet") and piece in line and "0x" not in line, f"{number}: {answer}: {line}"
        for answer in ANYTHING:
            line = verdict(space, answer, check)
            assert line.startswith("Not "), f"{number}: {answer}: {line}"
        unchanged = verdict(space, "None", solution, check, *after)  # no answer has written into the book's own data
        assert "passes this check" in unchanged
        record("answers judged by the book's checks", len(right) + len(wrong) + len(ANYTHING))
    torch.set_num_threads(threads)
