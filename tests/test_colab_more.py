"""What test_colab.py leaves, alone on Colab with a picture of a reader's; chapter 2 is no slow test."""

import colab_session
import pytest
from built_book import built_book
from environments import distributions
from scorecard import record

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return built_book(tmp_path_factory)


@pytest.mark.slow
@pytest.mark.parametrize("path", colab_session.NOTEBOOKS[3::2], ids=lambda path: path.stem)
def test_runs_alone_on_an_own_photograph(path, html, tmp_path, tmp_path_factory):
    colab_session.run_chapter(path, html, distributions(tmp_path_factory), tmp_path)
    record("notebooks run alone, as on Colab", 1)
