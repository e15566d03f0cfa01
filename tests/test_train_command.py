"""``python -m convtwist.train``: a run from end to end, cut short and resumed, on two processes, and its refusals."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from train_pictures import write_pictures

from convtwist.train import __main__ as entry
from convtwist.train import cli

HERE = Path(__file__).parent
SMALL = ["--trainer.accelerator=cpu", "--trainer.max_epochs=3", "--data.size=16", "--data.batch_size=4",
         "--data.workers=0", "--model.mixup=0.3", "--data.degrees=10", "--data.erase=0.3",
         "--model.network_options={stem: small, depths: [1, 1]}", "--trainer.log_every_n_steps=1",
         "--trainer.enable_model_summary=false", "--trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pets"), {"train": 5, "val": 3})


def command(folder, root, *more, subcommand="fit"):
    return [subcommand, "--config=folder", f"--data.path={folder}", f"--trainer.default_root_dir={root}", *SMALL, *more]


def here(monkeypatch, args):
    """Run a command in this process."""
    monkeypatch.setattr(sys, "argv", ["convtwist.train", *args])
    cli.run()


def elsewhere(args, **environment):
    """Run a command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, "-m", "convtwist.train", *args], env=environment, capture_output=True,
                          text=True, timeout=300)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """One run that nothing interrupts, for the tests to look at."""
    root = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        here(patch, command(folder, root))
    return root


def test_a_run_leaves_checkpoints_logs_config_and_weights(finished, folder):
    assert sorted(p.name for p in (finished / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    logs = finished / "logs" / "version_0"
    assert list(logs.glob("events.out.tfevents*"))
    assert yaml.safe_load((logs / "config.yaml").read_text())["data"]["path"] == str(folder)
    rows = list(csv.DictReader((logs / "metrics.csv").open()))
    steps = [float(row["train_loss_step"]) for row in rows if row["train_loss_step"]]
    assert len(steps) == 9 and all(0 < loss < 20 for loss in steps)  # 3 epochs of 15 // 4 batches
    assert sum(bool(row["val_accuracy"]) for row in rows) == 3
    checkpoint = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)  # nothing in it but numbers
    weights = load_file(finished / "weights.safetensors")
    assert {f"network.{name}" for name in weights} == set(checkpoint["state_dict"])
    assert all(torch.equal(tensor, checkpoint["state_dict"][f"network.{name}"]) for name, tensor in weights.items())
    groups = [group["name"] for group in checkpoint["optimizer_states"][0]["param_groups"]]
    assert groups == ["decay", "no_decay", "twist"]


def test_interrupted_and_resumed_ends_with_the_same_weights(finished, folder, tmp_path, monkeypatch, capsys):
    killed = elsewhere(command(folder, tmp_path, "--trainer.callbacks+=train_pictures.Kill"))
    assert killed.returncode == -9, killed.stderr[-2000:]
    assert not (tmp_path / "weights.safetensors").exists()
    with pytest.raises(SystemExit, match=r"holds a run already; continue it with --ckpt_path=last"):
        here(monkeypatch, command(folder, tmp_path))
    torch.rand(5)  # what was drawn before must not matter
    here(monkeypatch, command(folder, tmp_path, "--ckpt_path=last"))
    whole, resumed = (load_file(root / "weights.safetensors") for root in (finished, tmp_path))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    rows = list(csv.DictReader((tmp_path / "logs" / "version_1" / "metrics.csv").open()))
    assert {row["epoch"] for row in rows} == {"1", "2"}  # it did continue, after epoch 0


def test_two_processes_train_and_stay_equal(folder, tmp_path):
    done = elsewhere(command(folder, tmp_path, "--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2",
                             "--trainer.max_epochs=1", "--trainer.callbacks+=train_pictures.ShowWeights"),
                     SHOW_WEIGHTS=str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    digests = [(tmp_path / rank).read_text() for rank in "01"]
    assert digests[0] == digests[1]
    rows = list(csv.DictReader((tmp_path / "logs" / "version_0" / "metrics.csv").open()))
    assert sum(bool(row["train_loss_step"]) for row in rows) == 4  # 15 pictures, 8 to a process, 2 to a batch
    (accuracy,) = [float(row["val_accuracy"]) for row in rows if row["val_accuracy"]]
    assert (9 * accuracy) == pytest.approx(round(9 * accuracy), abs=1e-5)  # of 9 pictures, none counted twice


@pytest.mark.parametrize("subcommand", ["validate", "test"])
def test_trained_weights_are_evaluated(finished, folder, monkeypatch, capsys, subcommand):
    with pytest.raises(SystemExit, match=f"{subcommand} needs trained weights"):
        here(monkeypatch, command(folder, finished, subcommand=subcommand))
    given = {"validate": "--ckpt_path=last", "test": f"--model.weights={finished / 'weights.safetensors'}"}
    here(monkeypatch, command(folder, finished, given[subcommand], subcommand=subcommand))
    name = {"validate": "val", "test": "test"}[subcommand]
    assert f"{name}_accuracy" in capsys.readouterr().out
    logs = sorted((finished / "logs").iterdir(), key=lambda path: path.stat().st_mtime)
    last = list(csv.DictReader((logs[-1] / "metrics.csv").open()))[-1]
    fit = [row for row in csv.DictReader((finished / "logs/version_0/metrics.csv").open()) if row["val_accuracy"]][-1]
    assert float(last[f"{name}_accuracy"]) == pytest.approx(float(fit["val_accuracy"]))


def test_averaging_and_conversion_run_and_an_archive_is_unpacked(folder, tmp_path, monkeypatch):
    archive = shutil.make_archive(str(tmp_path / "pets"), "gztar", folder)
    average = "--trainer.callbacks+={class_path: EMAWeightAveraging, init_args: {decay: 0.5}}"
    here(monkeypatch, command(archive, tmp_path / "run", average, "--trainer.max_epochs=1", "--model.layer=conv2d",
                              "--model.convert=true", "--model.convert_options={operators: affine}"))
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    twists = [tensor for name, tensor in weights.items() if name.endswith(".twist")]
    assert twists and all(tensor.shape[0] == 4 and tensor.any() for tensor in twists)
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    current = checkpoint["current_model_state"]
    assert any(not torch.equal(current[f"network.{name}"], tensor) for name, tensor in weights.items())
    assert all(torch.equal(checkpoint["state_dict"][f"network.{n}"], tensor) for n, tensor in weights.items())


@pytest.mark.parametrize("name", sorted(path.stem for path in cli.CONFIGS.glob("*.yaml")))
def test_every_config_parses_by_its_name(name, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        here(monkeypatch, ["fit", "--config", name, "--data.path=pictures", "--print_config"])
    assert not ended.value.code
    printed = yaml.safe_load(capsys.readouterr().out)
    shipped = yaml.safe_load((cli.CONFIGS / f"{name}.yaml").read_text())
    assert printed["trainer"]["max_epochs"] == shipped["trainer"]["max_epochs"]
    for key, value in shipped["model"].items():
        assert key == "optimizer" or printed["model"][key] == value


@pytest.mark.parametrize(("more", "message"), [
    (["--data.path=nowhere"], "no folder or archive at nowhere"),
    (["--model.layer=conv"], "name must be one of 'conv2d'"),
    (["--model.convert_options={operators: affine}"], "pass --model.convert true"),
])
def test_mistakes_are_answered_with_a_sentence(folder, tmp_path, monkeypatch, more, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        here(monkeypatch, command(folder, tmp_path, *more))


def test_a_config_that_does_not_exist(monkeypatch):
    with pytest.raises(SystemExit, match="neither a file nor one of those shipped: fashion_mnist, folder, imagenette"):
        here(monkeypatch, ["fit", "--config", "cifar"])
    assert cli.with_config_paths(["fit", "-c", "imagewoof", "--config=folder.yaml"]) == [
        "fit", "-c", str(cli.CONFIGS / "imagewoof.yaml"), f"--config={cli.CONFIGS / 'folder.yaml'}"]


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(entry, "find_spec", lambda name: None if name in ("lightning", "PIL") else name)
    with pytest.raises(SystemExit, match=r'needs lightning, PIL: pip install "convtwist\[train\]"'):
        entry.main()


def test_the_description_in_the_weights_builds_the_network_again(finished):
    from safetensors import safe_open

    from convtwist.train.export import load_weights
    from convtwist.train.networks import build

    with safe_open(finished / "weights.safetensors", "pt") as file:
        description = json.loads(file.metadata()["network"])
    network = build(**description)
    assert load_weights(network, finished / "weights.safetensors")["classes"] == ["ants", "bees", "crabs"]
