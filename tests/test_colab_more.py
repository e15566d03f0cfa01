"""A whole notebook, alone on Colab with a picture of a reader's.

All chapters' code runs on readers' pictures in test_own_pictures.py, which shuts out what Colab lacks;
test_reader_notebooks.py compares the readers' code with it. Here it is the last chapter, whose way depends on what is
installed. ``CONVTWIST_ALL_PICTURES=1 pytest tests/test_colab_more.py`` takes every chapter, some fifteen seconds each.
"""

import os

import colab_session
import pytest
from built_book import built_book
from environments import distributions
from scorecard import record

pytestmark = pytest.mark.slow
HERE = colab_session.NOTEBOOKS if os.environ.get("CONVTWIST_ALL_PICTURES") else colab_session.NOTEBOOKS[-1:]


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return built_book(tmp_path_factory)


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_runs_alone_on_an_own_photograph(path, html, tmp_path, tmp_path_factory):
    colab_session.run_chapter(path, html, distributions(tmp_path_factory), tmp_path)
    record("notebooks run alone, as on Colab", 1)
