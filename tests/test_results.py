"""convtwist.results: the measurements that a release carries, complete enough for chapter 13 to show."""

from dataclasses import asdict

import pytest
import torch

from benchmarks.evidence.networks import build, parameters
from benchmarks.evidence.plan import quick
from benchmarks.evidence.run import RESULTS
from benchmarks.evidence.train import correct, trained
from benchmarks.network import RUN
from convtwist import results
from convtwist.results import network
from convtwist.train import fashion


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
    with pytest.raises(ValueError, match="evidence, evidence_2, evidence_2_twists, evidence_3, evidence_3_named, "
                                         "evidence_twists, frozen, imagewoof, imagewoof_epochs; got 'speed'"):
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


def test_the_small_network_is_the_one_it_is_said_to_be():
    """As many weights, the same layers as the evidence builds, and no more than a reader wants to download."""
    told, model = network.about(), network.fashion()
    assert (RESULTS / "fashion_network.npz").stat().st_size < 100_000
    assert {key: told[key] for key in asdict(RUN) if key != "tests"} == {
        key: value for key, value in asdict(RUN).items() if key != "tests"}
    wanted = build(told["variant"], told["seed"]).eval()
    assert parameters(wanted) == told["parameters"] == sum(p.numel() for p in model.parameters())
    assert [str(layer) for layer in model] == [str(layer) for layer in wanted]
    wanted.load_state_dict(model.state_dict())
    pictures = torch.rand(2, 1, 28, 28)
    assert torch.equal(model(pictures), wanted(pictures)) and not model.training
    fresh = build(told["variant"], told["seed"])
    assert not torch.allclose(model[0].weight, fresh[0].weight, atol=0.1)  # it has learned


@pytest.mark.skipif(not fashion.DEBIAN.is_dir(), reason="Fashion-MNIST is not installed")
def test_the_small_network_is_as_good_as_it_is_said_to_be():
    told = network.about()
    pictures, labels = fashion.load("test")
    right = int(correct(network.fashion(), pictures[:, None] / 255, labels).sum())
    assert told["test_images"] == len(labels) and abs(right - told["correct"]) <= 20  # stored in half precision


@pytest.mark.skipif(not fashion.DEBIAN.is_dir(), reason="Fashion-MNIST is not installed")
def test_the_small_network_can_be_trained_again(tmp_path):
    """Two steps on few pictures go the same way as the whole run: the weights are handed out."""
    weights = {}
    rows, _ = trained(quick(RUN), test_images=100, weights=weights)
    assert rows[0]["steps"] == 2 and weights.keys() == network.fashion().state_dict().keys()
