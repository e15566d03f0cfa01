"""The labs' Python side: what a cell stores, and what the calls refuse. The browser's side is tests/browser."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convtwist import images, labs
from convtwist.labs.page import joined_modules
from convtwist.labs.still import to_bytes_image, to_data_url

PHOTO = np.random.default_rng(0).integers(0, 256, (300, 451, 3), dtype=np.uint8)
SMALL = PHOTO[:8, :9]


def settings(lab) -> dict:
    return json.loads(html.unescape(re.search(r'data-config="([^"]*)"', lab._repr_html_())[1]))


def decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))


@pytest.mark.parametrize("lab", [labs.correlation_stepper(SMALL), labs.size_calculator()], ids=lambda lab: lab.name)
def test_a_cell_stores_one_self_contained_piece(lab):
    markup = lab._repr_html_()
    assert repr(lab) == f"<convtwist lab: {lab.name}>"
    assert len(markup) < 60_000
    assert markup.count("<script") == markup.count("</script>") == 1
    assert "<noscript>" in markup
    assert not re.search(r"^\s*(import|export)\b", markup, re.MULTILINE)
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", markup)
    addresses = set(re.findall(r"https?://[^\s\"'`]*", markup))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_same_calls_give_same_bytes():
    code = (
        "import numpy as np; from convtwist import labs; p = np.arange(3000, dtype=np.uint16).reshape(50, 60) * 20;"
        "import hashlib; a = labs.correlation_stepper(p)._repr_html_() + labs.size_calculator(8, 3)._repr_html_();"
        "print(hashlib.sha256(a.encode()).hexdigest())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != ""
    assert labs.size_calculator(8, 3)._repr_html_() == labs.size_calculator(8, 3)._repr_html_()


def test_importing_the_labs_needs_no_pillow():
    code = "import sys; sys.modules['PIL'] = None; from convtwist import labs; labs.size_calculator()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_join_without_clashing_names():
    for names in [("correlation_stepper.mjs",), ("size_rules.mjs", "size_calculator.mjs")]:
        source = joined_modules("core.mjs", "widgets.mjs", "picture.mjs", *names)
        declared = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", source, re.MULTILINE)
        # Indentation is gone from the joined text, so only the modules themselves tell what is top-level.
        assert {"correlate", "make", "mountAll"} <= set(declared)


@pytest.mark.skipif(shutil.which("tsc") is None, reason="no tsc: types were not checked (npm install -g typescript)")
def test_types_in_the_modules_agree():
    """What the JSDoc comments and the standard library say of types fits together, in all modules at once."""
    modules = sorted(Path(labs.__file__).parent.glob("*.mjs"))
    options = ["--allowJs", "--checkJs", "--noEmit", "--target", "esnext", "--module", "esnext", "--moduleResolution",
               "bundler", "--lib", "esnext,dom,dom.iterable"]
    result = subprocess.run(["tsc", *options, *modules], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout


def test_a_notebook_without_trust_is_told_how_to_get_it():
    """Where style, script and <noscript> are dropped, one sentence is left; a page shows the other."""
    markup = labs.size_calculator()._repr_html_()
    kept = re.sub(r"<(style|script)\b.*?</\1>|</?noscript>", "", markup, flags=re.DOTALL)
    assert re.search(r'<span [^>]*\bhidden="hidden">It needs JavaScript', kept)
    assert "trust the notebook (File &gt; Trust Notebook) or run this cell again" in kept


def test_settings_reach_the_page():
    stepper = labs.correlation_stepper(SMALL, input=np.arange(12).reshape(3, 4), kernel=[[1, -1]])
    assert settings(stepper) == {"input": [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], "kernel": [[1, -1]]}
    assert settings(labs.correlation_stepper(SMALL)) == {"input": None, "kernel": None}
    calculator = labs.size_calculator((8, 7), 3, 2, (1, 0), dilation=2, output_padding=1, transposed=True)
    assert settings(calculator) == {
        "input": [8, 7], "kernel": [3, 3], "stride": [2, 2], "padding": [1, 0], "dilation": [2, 2],
        "outputPadding": [1, 1], "operation": "transposed", "ceilMode": False,
    }
    assert settings(labs.size_calculator(operation="pooling", ceil_mode=True))["ceilMode"] is True


def test_alternative_text_is_escaped():
    markup = labs.correlation_stepper(SMALL, alt='a "cat" <here>')._repr_html_()
    assert 'alt="a &quot;cat&quot; &lt;here&gt;"' in markup


@pytest.mark.parametrize(
    ("photo", "shape"),
    [
        (PHOTO, (300, 451, 3)),
        (PHOTO[..., 0], (300, 451)),
        (PHOTO[..., :1], (300, 451)),
        (PHOTO / 255, (300, 451, 3)),
        (PHOTO.astype(np.float32) / 255, (300, 451, 3)),
        (PHOTO.astype(np.uint16) * 257, (300, 451, 3)),
        (np.concatenate([PHOTO, np.full_like(PHOTO[..., :1], 255)], axis=2), (300, 451, 3)),
    ],
)
def test_photographs_of_every_dtype(photo, shape):
    pixels = to_bytes_image(photo)
    assert pixels.dtype == np.uint8 and pixels.shape == shape
    assert (pixels == (PHOTO if len(shape) == 3 else PHOTO[..., 0])).all()


def test_photographs_are_rounded_as_everywhere():
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert (to_bytes_image(deep) == images.to_uint8(deep)).all()
    assert to_bytes_image(np.array([[-0.0009, 0.5, 1.0009]])).tolist() == [[0, 128, 255]]
    assert to_bytes_image(np.array([[True, False]])).tolist() == [[255, 0]]


def test_transparency_is_laid_on_white():
    clear = np.zeros((2, 2, 4), np.uint8)
    assert (to_bytes_image(clear) == 255).all()


def test_still_is_small_and_in_proportion():
    still = decoded(to_data_url(PHOTO))
    assert still.size == (256, 170) and still.format == "JPEG"
    assert decoded(to_data_url(SMALL)).size == (9, 8)
    assert decoded(to_data_url(np.zeros((1, 3000), np.uint8))).size == (256, 1)
    flat = np.asarray(decoded(to_data_url(np.full((40, 40), 99, np.uint8))))
    assert np.abs(flat.astype(int) - 99).max() <= 1


@pytest.mark.parametrize(
    ("photo", "error", "message"),
    [
        (PHOTO.astype(float), ValueError, "0..1"),
        (np.full((3, 3), np.nan), ValueError, "0..1"),
        (np.zeros((2, 3, 4, 5), np.uint8), ValueError, "shaped"),
        (np.zeros((2, 3, 2), np.uint8), ValueError, "shaped"),
        (np.zeros((0, 3), np.uint8), ValueError, "shaped"),
        (np.zeros((3, 3), np.int64), ValueError, "int64"),
    ],
)
def test_what_is_no_photograph_is_refused(photo, error, message):
    with pytest.raises(error, match=message):
        labs.correlation_stepper(photo)


@pytest.mark.parametrize(
    "options",
    [
        {"input": [[1, 2], [3]]},
        {"input": []},
        {"input": [[0] * 13]},
        {"input": [[float("nan")]]},
        {"kernel": [[float("inf")]]},
        {"kernel": [[0] * 7]},
        {"input": [[1, 2]], "kernel": [[1], [2]]},
    ],
)
def test_the_stepper_refuses(options):
    with pytest.raises(ValueError):
        labs.correlation_stepper(SMALL, **options)


@pytest.mark.parametrize(
    "options",
    [{"input": 0}, {"kernel": 1.5}, {"stride": 0}, {"padding": -1}, {"dilation": (1, 2, 3)}, {"kernel": True},
     {"operation": "deconvolution"}, {"operation": "average", "dilation": 2}],
)
def test_the_calculator_refuses(options):
    with pytest.raises(ValueError):
        labs.size_calculator(**options)
