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
    with pytest.raises(ValueError, match="evidence, evidence_2, evidence_2_twists, evidence_twists, frozen, "
                                         "imagewoof, imagewoof_epochs; got 'speed'"):
        results.rows("speed")


def test_the_threads_log_counts_whole_pictures():
    """Every share in it is a whole number of Imagewoof's 3,929 validation pictures: nothing was mistyped."""
    rows = results.rows("imagewoof_epochs")
    assert [row["epoch"] for row in rows] == [*range(80), *range(75, 80)]
    counts = [row[key] * 3929 for row in rows for key in ("accuracy", "top5")]
    assert all(abs(count - round(count)) < 0.003 for count in counts)


def test_every_accuracy_on_imagewoof_has_its_source():
    rows = results.rows("imagewoof")
    assert all(row["source"].startswith(("forum thread (", "leaderboard (")) for row in rows)
    assert all(70 < row["accuracy"] < 95 for row in rows)
    last = {row["mixup"]: round(100 * row["accuracy"], 2) for row in results.rows("imagewoof_epochs")
            if row["epoch"] == 79}
    posted = {row["mixup"]: row["accuracy"] for row in rows if row["layer"] == "ConvTwist" and row["epochs"] == 80}
    assert last == posted == {0.5: 88.19, 0.2: 87.99}
