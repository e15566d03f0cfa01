"""Every example in a docstring of the package gives what stands beneath it; new modules are found by themselves."""

import doctest
import importlib
import pkgutil

import pytest
from scorecard import record

import convtwist

MODULES = ["convtwist", *(module.name for module in pkgutil.walk_packages(convtwist.__path__, "convtwist."))]
EXTRAS = {"cv2", "jsonargparse", "kornia", "lightning", "matplotlib", "PIL", "safetensors", "tensorboard", "triton",
          "IPython"}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        pytest.skip(f"{name} needs {error.name}, which is not installed")
    failed, attempted = doctest.testmod(module)
    assert failed == 0
    record("examples in docstrings", attempted)


def test_an_example_that_is_wrong_is_caught(capsys):
    wrong = type("Wrong", (), {"__doc__": ">>> 1 + 1\n3\n", "__module__": __name__})
    test = doctest.DocTestFinder().find(wrong, "wrong", globs={})[0]
    assert doctest.DocTestRunner().run(test).failed == 1
    assert "Expected:\n    3" in capsys.readouterr().out
