"""Mixup, smoothing, schedules and exported weights: the arithmetic, by hand."""

import math

import pytest
import torch
from torch import nn

from convtwist.train import schedules
from convtwist.train.export import load_weights, save_weights
from convtwist.train.mixing import mixup, soft_cross_entropy
from convtwist.train.sampling import seeded


def test_mixup_blends_pictures_and_labels_by_the_same_shares():
    labels = torch.arange(4).repeat(8)
    pictures = labels.view(-1, 1, 1, 1).float().expand(-1, 3, 2, 2)  # so a blend shows what it was made of
    with seeded(0):
        blended, shares = mixup(pictures, labels, 4, 0.5)
    torch.testing.assert_close(shares.sum(1), torch.ones(32))
    torch.testing.assert_close(blended[:, 0, 0, 0], shares @ torch.arange(4.0))
    own = shares[torch.arange(32), labels]
    assert own.min() >= 0.5 and own.unique().numel() > 8  # a share of its own for each picture
    with seeded(0):
        assert torch.equal(mixup(pictures, labels, 4, 0.5)[0], blended)
    same, hard = mixup(pictures, labels, 4, 0)
    assert same is pictures and torch.equal(hard.argmax(1), labels)
    with pytest.raises(ValueError, match=r"mixup must be 0 \(off\)"):
        mixup(pictures, labels, 4, -0.1)


def test_smoothing_by_hand():
    outputs = torch.tensor([[2.0, 0.0, 0.0]])
    log_sum = math.log(math.exp(2) + 2)
    logs = [2 - log_sum, -log_sum, -log_sum]
    q = [0.9 * 0.75 + 0.1 / 3, 0.9 * 0.25 + 0.1 / 3, 0.1 / 3]
    loss = soft_cross_entropy(outputs, torch.tensor([[0.75, 0.25, 0.0]]), 0.1)
    assert loss.item() == pytest.approx(-sum(a * b for a, b in zip(q, logs, strict=True)), rel=1e-6)


def test_schedules_rise_stay_and_fall():
    flat = [schedules.factor("flat_and_anneal", step, 101) for step in range(101)]
    assert flat[:76] == [1.0] * 76 and flat[100] == pytest.approx(0) and flat[75:] == sorted(flat[75:], reverse=True)
    cycle = [schedules.factor("one_cycle", step, 101) for step in range(101)]
    assert cycle[0] == pytest.approx(1 / 25) and cycle[25] == max(cycle) == 1 and cycle[100] == pytest.approx(1e-5)
    assert cycle[:26] == sorted(cycle[:26]) and cycle[25:] == sorted(cycle[25:], reverse=True)
    assert schedules.factor("constant", 7, 10) == 1 and schedules.factor("one_cycle", 500, 101) == cycle[-1]
    assert schedules.factor("one_cycle", 0, 1) == cycle[0]  # a run of one step
    with pytest.raises(ValueError, match="schedule must be one of 'one_cycle'"):
        schedules.factor("step", 0, 1)


def test_exported_weights_come_back_equal_and_refuse_another_network(tmp_path):
    def network():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)

    first, second = network(), network()
    path = tmp_path / "new" / "w.safetensors"
    save_weights(first, path, network={"layer": "conv2d"}, classes=["a", "b"])
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]
    assert load_weights(second, path) == {"network": {"layer": "conv2d"}, "classes": ["a", "b"]}
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    with pytest.raises(ValueError, match=r"another network \({'layer': 'conv2d'}\)"):
        load_weights(nn.Linear(3, 3), path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="damaged or no safetensors"):
        load_weights(first, path)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_weights(first, tmp_path / "none")
