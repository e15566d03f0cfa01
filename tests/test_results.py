"""convtwist.results: the measurements that a release carries, complete enough for chapter 12 to show."""

import pytest

from convtwist import results


@pytest.mark.parametrize("name", ["layer", "groups"])
def test_results_name_their_machine_and_hold_ratios(name):
    measured = results.load(name)
    assert measured["machine"]["cpu"] and measured["machine"]["torch"]
    assert measured["rows"]
    key = "ratio" if name == "layer" else "speedup"
    assert all(row["training"][key] > 0 for row in measured["rows"])


def test_conv2d_is_its_own_measure():
    rows = [row for row in results.load("layer")["rows"] if row["contender"] == "Conv2d"]
    assert rows and all(row["training"]["ratio"] == 1 and row["memory"] == 1 for row in rows)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="groups, layer; got 'speed'"):
        results.load("speed")


def test_tables_of_runs_hold_numbers():
    rows = results.rows("evidence")
    assert rows and all(row["correct"] / row["test_images"] == pytest.approx(row["accuracy"]) for row in rows)
    assert all(isinstance(row["variant"], str) and row["cpu_seconds"] > 0 for row in rows)
    with pytest.raises(ValueError, match="evidence, evidence_twists; got 'speed'"):
        results.rows("speed")
