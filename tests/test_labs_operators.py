"""The kernel microscope and the flow lab as Python calls: what they put out and what they refuse."""

import collections
import gzip
import re

import numpy as np
import pytest

from convtwist import images, kernels, labs
from convtwist.flow import GENERATORS
from convtwist.labs import page
from convtwist.labs.still import to_data_url

PHOTO = np.full((20, 30, 3), 127, dtype=np.uint8)
MODULES = {
    "microscope": ("core.mjs", "widgets.mjs", "picture.mjs", "operators.mjs", "products.mjs", "slider.mjs",
                   "camera.mjs", "kernel_microscope.mjs"),
    "flow": ("core.mjs", "widgets.mjs", "picture.mjs", "operators.mjs", "warp.mjs", "slider.mjs", "playback.mjs",
             "field.mjs", "patterns.mjs", "flow_lab.mjs"),
}


@pytest.mark.parametrize("lab", [labs.kernel_microscope, labs.flow_lab], ids=lambda lab: lab.__name__)
def test_the_same_bytes_each_time_and_not_many(lab):
    photo = images.sample("chelsea")
    first, second = lab(photo)._repr_html_(), lab(photo)._repr_html_()
    assert first == second
    assert len(gzip.compress(first.replace(to_data_url(photo), "").encode())) < 21_000
    assert "It needs JavaScript" in first and '<img src="data:image/jpeg' in first


@pytest.mark.parametrize("lab", MODULES)
def test_no_name_is_declared_twice(lab):
    """The modules of a lab share one scope once they are joined."""
    declared = re.findall(r"^(?:async )?(?:function|const|let) (\w+)",
                          "".join((page._HERE / name).read_text().replace("\nexport ", "\n") for name in MODULES[lab]),
                          flags=re.MULTILINE)
    assert [name for name, count in collections.Counter(declared).items() if count > 1] == []


def test_pruning_drops_what_is_never_reached_and_nothing_else():
    whole, pruned = page.joined_modules(*MODULES["flow"]), page.joined_modules(*MODULES["flow"], pruned=True)
    assert "function correlate(" in whole and "function correlate(" not in pruned
    for name in ("gradient", "exactWarp", "slider", "pretty", "mountFlow"):
        assert f"function {name}(" in pruned
    source = "const a = 1;\nconst b = () => a;\nconst c = 2;\nfunction d() {\n  return b();\n}\nd();\n"
    assert page._without_unused(source) == source.replace("const c = 2;\n", "")


def test_where_a_lab_starts():
    assert "&quot;view&quot;:&quot;operators&quot;" in labs.kernel_microscope(PHOTO, view="operators")._repr_html_()
    markup = labs.kernel_microscope(PHOTO, kernel=kernels.identity())._repr_html_()
    assert "&quot;kernel&quot;:[0.0,0.0,0.0,0.0,1.0" in markup
    markup = labs.flow_lab(PHOTO, motion="mix", field=GENERATORS["zoom"], amount=0.5, steps=7)._repr_html_()
    assert "&quot;field&quot;:[[-1.0,0.0,0.0],[0.0,-1.0,0.0]]" in markup and "&quot;steps&quot;:7" in markup
    assert repr(labs.flow_lab(PHOTO)) == "<convtwist lab: flow lab>"


@pytest.mark.parametrize(("call", "message"), [
    (lambda: labs.kernel_microscope(PHOTO, kernel="scharr"), "kernel must be one of 'identity'"),
    (lambda: labs.kernel_microscope(PHOTO, kernel=[[1, 2], [3, 4]]), "three rows of three finite numbers"),
    (lambda: labs.kernel_microscope(PHOTO, kernel=[[1, 2, float("nan")]] * 3), "three rows of three finite numbers"),
    (lambda: labs.kernel_microscope(PHOTO, view="side"), "view must be one of 'kernel', 'operators'"),
    (lambda: labs.flow_lab(PHOTO, motion="spin"), "motion must be one of 'dx'"),
    (lambda: labs.flow_lab(PHOTO, motion="zoom", amount=3), "amount must lie between 0.5 and 2"),
    (lambda: labs.flow_lab(PHOTO, steps=0), "steps must be a whole number from 1 to 3000"),
    (lambda: labs.flow_lab(PHOTO, method="heun"), "method must be one of 'euler', 'rk4'"),
    (lambda: labs.flow_lab(PHOTO, soften=9), "soften must lie between 0 and 6"),
    (lambda: labs.flow_lab(PHOTO, field=[[1, 2, 3]]), "field must be two rows of three"),
])
def test_what_is_refused_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()
