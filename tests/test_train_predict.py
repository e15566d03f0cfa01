"""Predictions on a picture: the network built again from its file, and maps that add up to its outputs."""

import numpy as np
import pytest
import torch
from PIL import Image

import convtwist
from convtwist.train import networks, predict
from convtwist.train.export import load_network, save_weights
from convtwist.train.pictures import FilePictures

CLASSES = ["ants", "bees", "crabs"]


def trained(channels=3, **recipe):
    """Return a small network whose numbers are those of no fresh one."""
    recipe = {"network": "resnet18", "stem": "small", "depths": [1, 1], "classes": 3, "channels": channels, **recipe}
    swapped = recipe.pop("convert", None)
    torch.manual_seed(0)
    network = networks.build(**recipe)
    if swapped is not None:
        network = convtwist.convert(network, **swapped)
        recipe["convert"] = swapped
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(0.1 + torch.rand_like(tensor) / 8)
    return network.eval(), recipe


def saved(path, channels=3, **recipe):
    network, recipe = trained(channels, **recipe)
    given = {"size": 16, "mean": [0.4] * channels, "std": [0.2] * channels}
    save_weights(network, path, network=recipe, classes=CLASSES, input=given, epochs=4)
    return network


@pytest.mark.parametrize("recipe", [{"layer": "similarity", "layer_options": {"permute": "4-cycle"}, "group_width": 8},
                                    {"layer": "conv2d", "convert": {"operators": "affine"}}, {"layer": "iso_twist"}])
def test_the_network_is_built_again_with_its_weights(tmp_path, recipe):
    network = saved(tmp_path / "w.safetensors", **recipe)
    state = torch.get_rng_state()
    again, about = load_network(tmp_path / "w.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    batch = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(again(batch), network(batch))
    assert about["classes"] == CLASSES and about["epochs"] == 4 and about["input"]["size"] == 16


def test_files_that_hold_no_network_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*best.ckpt"):
        load_network(tmp_path)
    save_weights(torch.nn.Linear(2, 2), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors doesn't say which network its weights belong to"):
        load_network(tmp_path / "other.safetensors")
    for name, data in (("torn.ckpt", b"PK\x03\x04nothing"), ("text.ckpt", b"hello")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name} is damaged or no checkpoint of a run"):
            load_network(tmp_path / name)
    torch.save({"epoch": 1}, tmp_path / "bare.ckpt")
    with pytest.raises(ValueError, match=r"bare.ckpt is damaged or no checkpoint"):
        load_network(tmp_path / "bare.ckpt")


def test_the_mean_of_a_map_and_the_bias_are_the_output():
    network, _ = trained(layer="similarity")
    outputs, maps = predict.activation_map(network, torch.randn(2, 3, 16, 16))
    assert maps.shape == (2, 3, 8, 8)
    torch.testing.assert_close(maps.mean((2, 3)) + network[-1].bias, outputs)


def test_a_picture_is_cut_and_normalised_as_in_validation(tmp_path):
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 256, (30, 50, 3), np.uint8)).save(tmp_path / "cat.png")
    picture = predict.read_picture(tmp_path / "cat.png", 16)
    path = str(tmp_path / "cat.png")
    assert torch.equal(picture, FilePictures([path], [0], size=16, least=None, on_corrupt="raise")[0][0])
    batch = predict.prepare(picture, [0.5, 0.4, 0.3], [0.2, 0.25, 0.5])
    assert batch.shape == (1, 3, 16, 16)
    assert batch[0, 2, 5, 6].item() == pytest.approx((picture[2, 5, 6].item() / 255 - 0.3) / 0.5, abs=1e-6)
    grey = predict.prepare(torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1), [0.0], [1.0])
    assert grey.flatten().tolist() == pytest.approx([0.299])


def test_the_overlay_marks_the_places_of_the_map():
    activation = torch.zeros(4, 4)
    activation[0, 3], activation[3, 0] = 2.0, -1.0
    picture = predict.overlay(torch.full((3, 16, 16), 100, dtype=torch.uint8), activation, "bees, 80%")
    left, right = picture.figure.axes[:2]
    assert len(left.images) == 1 and right.get_title() == "bees, 80%"
    shown = right.images[1]
    values, alpha = np.asarray(shown.get_array()), np.asarray(shown.get_alpha())
    assert values[0, 15] == values.max() == 2 and values[15, 0] == values.min() == -1
    assert shown.norm.vmin == -shown.norm.vmax == -values.max()
    assert alpha[0, 15] == pytest.approx(0.75) and alpha[8, 8] < 0.05
    assert "most at row 1 and column 15 of 16" in picture.alt
    flat = predict.overlay(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(2, 2), "nothing")
    assert not np.asarray(flat.figure.axes[1].images[1].get_alpha()).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_command_prints_classes_and_writes_one_map_for_each_picture(tmp_path, monkeypatch, capsys, channels):
    network = saved(tmp_path / "w.safetensors", channels, layer="similarity")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 30), "red" if folder == "a" else "blue").save(tmp_path / folder / "cat.png")
    pictures = [str(tmp_path / folder / "cat.png") for folder in "ab"]
    arguments = ["--ckpt_path", str(tmp_path / "w.safetensors"), "--top", "2", "--output", str(tmp_path / "maps")]
    assert predict.main([*arguments, *pictures]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("/")] == pictures
    batch = predict.prepare(predict.read_picture(pictures[0], 16), [0.4] * channels, [0.2] * channels)
    with torch.no_grad():
        shares = network(batch).softmax(1)[0]
    best = int(shares.argmax())
    assert lines[1].split() == [f"{shares[best]:.2%}", CLASSES[best]] and len(lines) == 8
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["cat_2_activation.png", "cat_activation.png"]


@pytest.mark.parametrize(("more", "message"), [
    (["none.png"], "error: no file at none.png"), (["w.safetensors"], "error: w.safetensors is not a picture"),
    (["cat.png", "--top", "0"], "error: --top must be at least 1, got 0"),
    (["cat.png", "--ckpt_path", "gone"], "error: no weights at gone"),
])
def test_mistakes_are_answered_with_a_sentence(tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    saved("w.safetensors", layer="conv2d")
    Image.new("RGB", (20, 20)).save("cat.png")
    assert predict.main(["--ckpt_path", "w.safetensors", *more]) == 1
    error = capsys.readouterr().err
    assert error.startswith(message) and "on_corrupt" not in error and len(error.splitlines()) == 1
