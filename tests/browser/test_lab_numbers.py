"""The numbers behind the labs, computed in Chromium and compared with PyTorch."""

import random
import re

import pytest
import torch
from lab_pages import LabPages
from torch.nn import functional as F


@pytest.fixture
def pages(browser, tmp_path):
    """Open labs on bare pages; the test fails on any console error or outside request."""
    opened = LabPages(browser, tmp_path)
    yield opened
    opened.close()


def test_correlate_equals_conv2d(pages):
    page = pages.open_core()
    draw = random.Random(0)
    cases, expected = [], []
    while len(cases) < 120:
        height, width, kh, kw = (draw.randint(1, 12) for _ in range(4))
        stride, padding, dilation = ([draw.randint(low, 3) for _ in range(2)] for low in (1, 0, 1))
        if min(height + 2 * padding[0] - dilation[0] * (kh - 1), width + 2 * padding[1] - dilation[1] * (kw - 1)) < 1:
            continue
        flip = draw.random() < 0.5
        x, k = torch.randn(height, width, dtype=torch.float64), torch.randn(kh, kw, dtype=torch.float64)
        used = k.flip(0, 1) if flip else k
        out = F.conv2d(x[None, None], used[None, None], stride=stride, padding=padding, dilation=dilation)[0, 0]
        options = {"stride": stride, "padding": padding, "dilation": dilation, "flip": flip}
        cases.append([x.tolist(), k.tolist(), options])
        expected.append(out)
    run = """(cases, kind) => cases.map(([x, k, options]) => {
      const toPlane = rows => plane(rows.length, rows[0].length, kind.from(rows.flat()));
      const out = correlate(toPlane(x), toPlane(k), options);
      return [out.height, out.width, Array.from(out.data)];
    })"""
    for kind, tolerance in (("Float64Array", 1e-12), ("Float32Array", 1e-5)):
        results = page.evaluate(f"cases => ({run})(cases, {kind})", cases)
        for (height, width, data), wanted in zip(results, expected, strict=True):
            assert torch.tensor(data, dtype=torch.float64).view(height, width).shape == wanted.shape
            assert (torch.tensor(data, dtype=torch.float64).view(height, width) - wanted).abs().max() <= tolerance
    scalar = page.evaluate("Array.from(correlate(plane(3, 3, Float64Array.of(0,1,2,3,4,5,6,7,8)), "
                           "plane(2, 2, Float64Array.of(0,1,2,3)), { stride: 1 }).data)")
    assert scalar == [19, 25, 37, 43]


def test_grid_is_pixel_centred(pages):
    page = pages.open_core()
    for height, width in [(1, 1), (1, 5), (4, 6), (7, 3), (256, 171)]:
        found = page.evaluate("([h, w]) => { const g = grid(h, w); return [[...g.x], [...g.y]]; }", [height, width])
        scale = max(height, width)
        x = (2 * torch.arange(width, dtype=torch.float64) + 1 - width) / scale
        y = (2 * torch.arange(height, dtype=torch.float64) + 1 - height) / scale
        assert torch.allclose(torch.tensor(found[0], dtype=torch.float64), x, atol=1e-12, rtol=0)
        assert torch.allclose(torch.tensor(found[1], dtype=torch.float64), y, atol=1e-12, rtol=0)


def torch_size(axis: dict) -> int | None:
    """Return the side PyTorch gives a square of this axis, or None where it refuses."""
    x = torch.zeros(1, 1, axis["input"], axis["input"])
    weight = torch.zeros(1, 1, axis["kernel"], axis["kernel"])
    options = {name: axis[name] for name in ("stride", "padding", "dilation")}
    try:
        if axis["operation"] == "transposed":
            size = F.conv_transpose2d(x, weight, output_padding=axis["outputPadding"], **options).shape[-1]
            return size or None  # some of its backends return an empty map where the others refuse
        if axis["operation"] == "pooling":
            return F.max_pool2d(x, axis["kernel"], ceil_mode=axis["ceilMode"], **options).shape[-1]
        return F.conv2d(x, weight, **options).shape[-1]
    except RuntimeError:
        return None


def test_sizes_and_refusals_equal_torch(pages):
    page = pages.open_core()
    draw = random.Random(1)
    cases = [
        {
            "operation": draw.choice(["convolution", "transposed", "pooling"]), "input": draw.randint(1, 14),
            "kernel": draw.randint(1, 6), "stride": draw.randint(1, 4), "padding": draw.randint(0, 4),
            "dilation": draw.randint(1, 4), "outputPadding": draw.randint(0, 4), "ceilMode": draw.random() < 0.5,
        }
        for _ in range(1500)
    ]
    answers = page.evaluate("cases => cases.map(axisSize)", cases)
    wrong = [(c, a) for c, a in zip(cases, answers, strict=True) if a.get("size") != torch_size(c)]
    assert not wrong, "\n".join(map(repr, wrong[:5]))
    assert sum("fault" in answer for answer in answers) > 100
    # A suggestion is only help if PyTorch takes it.
    for case, answer in zip(cases, answers, strict=True):
        if "fault" not in answer:
            continue
        text, field = answer["fault"]["text"], answer["fault"]["fields"][0]
        most = re.search(r"use at most (\d+)", text)
        if most:
            mended = page.evaluate("axisSize", case | {field: int(most[1])})
            assert field not in mended.get("fault", {}).get("fields", [])
        enough = re.search(r"padding of at least (\d+)", text)
        if enough:
            assert torch_size(case | {"padding": int(enough[1])}) is not None
        larger = re.search(r"an input of at least (\d+)", text)
        if larger:
            assert torch_size(case | {"input": int(larger[1])}) is not None


def test_connections_equal_the_gradient(pages):
    """An output depends on an input exactly where the lab connects them."""
    page = pages.open_core()
    draw = random.Random(2)
    done = 0
    while done < 60:
        case = {"operation": draw.choice(["convolution", "transposed"]), "input": draw.randint(1, 8),
                "kernel": draw.randint(1, 4), "stride": draw.randint(1, 3), "padding": draw.randint(0, 2),
                "dilation": draw.randint(1, 3), "outputPadding": draw.randint(0, 2), "ceilMode": False}
        size = torch_size(case)
        if size is None:
            continue
        done += 1
        reads, feeds = page.evaluate(
            "([axis, size]) => { const { reads, feeds } = connections(axis);"
            "const all = (n, f) => Array.from({ length: n }, (_, i) => f(i));"
            "return [all(size, reads), all(axis.input, feeds)]; }",
            [case, size],
        )

        def layer(x, case=case):
            weight = torch.ones(1, 1, case["kernel"])
            options = {name: case[name] for name in ("stride", "padding", "dilation")}
            if case["operation"] == "transposed":
                return F.conv_transpose1d(x, weight, output_padding=case["outputPadding"], **options)
            return F.conv1d(x, weight, **options)

        jacobian = torch.autograd.functional.jacobian(layer, torch.zeros(1, 1, case["input"]))[0, 0, :, 0, 0]
        for cell_out in range(size):
            inside = {i for i in reads[cell_out] if 0 <= i < case["input"]}
            assert inside == set(jacobian[cell_out].nonzero().flatten().tolist())
        for cell_in in range(case["input"]):
            inside = {o for o in feeds[cell_in] if 0 <= o < size}
            assert inside == set(jacobian[:, cell_in].nonzero().flatten().tolist())


def test_numbers_as_people_write_them(pages):
    page = pages.open_core()
    typed = {"1.5": 1.5, " 1,5 ": 1.5, "\u22122": -2, "\u20132": -2, "1/4": 0.25, "-1/8": -0.125, "2e3": 2000,
             ".5": 0.5, "3.": 3}
    refused = ["", " ", "NaN", "Infinity", "-inf", "1e999", "1/0", "0/0", "1/2/3", "abc", "1.2.3", "--1", "0x10"]
    assert page.evaluate("list => list.map(parseNumber)", list(typed)) == list(typed.values())
    assert page.evaluate("list => list.map(parseNumber)", refused) == [None] * len(refused)
    shown = page.evaluate("[-0, -1e-9, 1 / 3, -2, 0.5, 12345678].map(pretty)")
    assert shown == ["0", "\u22121.00e\u22129", "0.333", "\u22122", "0.5", "1.23e+7"]
