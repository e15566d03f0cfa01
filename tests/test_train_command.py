"""``python -m convtwist.train``: a run from end to end, cut short and resumed, on two processes, and its refusals."""

import csv
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import tomllib
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from train_pictures import write_pictures

from convtwist.train import __main__ as entry
from convtwist.train import cli, curves, schedules

pytestmark = pytest.mark.slow

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


def elsewhere(args, start_new_session=False, **environment):
    """Run a command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, "-m", "convtwist.train", *args], env=environment, capture_output=True,
                          text=True, timeout=300, start_new_session=start_new_session)


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
    assert len(steps) == 12 and all(0 < loss < 20 for loss in steps)  # 3 epochs of 15 pictures, 4 in a batch
    rates = [float(row["lr_step"]) for row in rows if row["lr_step"]]
    expected = [1e-3 * schedules.factor("one_cycle", step, 12) for step in range(12)]
    assert rates == pytest.approx(expected, rel=1e-5)
    right = [15 * float(row["train_accuracy"]) for row in rows if row["train_accuracy"]]
    assert len(right) == 3 and right == pytest.approx([round(count) for count in right], abs=1e-4)
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
    both = curves.read_log(tmp_path)  # the curves are those of one run, although two logs hold them
    assert both.pop("train_loss_epoch") and both == {name: curves.read_log(finished)[name] for name in both}


def test_two_processes_train_and_stay_equal(folder, tmp_path):
    done = elsewhere(command(folder, tmp_path, "--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2",
                             "--trainer.max_epochs=1", "--trainer.callbacks+=train_pictures.ShowWeights"),
                     SHOW_WEIGHTS=str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Trained for 1 epoch") == 1  # said by the first process alone
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
    (["--model.layer=conv"], "layer must be one of 'conv2d'"),
    (["--model.network=vgg"], "network must be one of 'resnet18'"),
    (["--model.convert_options={operators: affine}"], "pass --model.convert true"),
    (["--ckpt_path=last"], "holds no run to take the last epoch of.*check --trainer.default_root_dir, or leave"),
    (["--ckpt_path=lost.ckpt"], "there is no file lost.ckpt, seen from .*; check --ckpt_path"),
])
def test_mistakes_are_answered_with_a_sentence(folder, tmp_path, monkeypatch, more, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        here(monkeypatch, command(folder, tmp_path, *more))


def test_a_config_that_does_not_exist(monkeypatch):
    with pytest.raises(SystemExit, match="neither a file nor one of those shipped: fashion_mnist, folder, imagenette"):
        here(monkeypatch, ["fit", "--config", "cifar"])
    assert cli.with_config_paths(["fit", "-c", "imagewoof", "--config=folder.yaml"]) == [
        "fit", "-c", str(cli.CONFIGS / "imagewoof.yaml"), f"--config={cli.CONFIGS / 'folder.yaml'}"]


def test_evaluation_refuses_a_folder_without_a_run(folder, tmp_path, monkeypatch, capsys):
    for name in ("last", "best"):
        with pytest.raises(SystemExit, match=f"typo holds no run to take the {name} epoch of.*check --trainer.default"):
            here(monkeypatch, command(folder, tmp_path / "typo", f"--ckpt_path={name}", subcommand="validate"))
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(("subcommand", "more", "message"), [
    ("fit", ["--model.layer=conv2d"], r"last.ckpt was trained with layer 'similarity', but this command has layer "
                                      r"'conv2d'; give it the same --model settings"),
    ("validate", ["--model.network_options={stem: small, depths: [1]}"], r"trained with depths \[1, 1\], but .*\[1\]"),
    ("validate", ["--model.convert=true"], r"trained with convert 'left out', but this command has convert \{\}"),
])
def test_a_checkpoint_of_another_network_is_refused(finished, folder, monkeypatch, subcommand, more, message):
    with pytest.raises(SystemExit, match=f"error: the checkpoint .*{message}"):
        here(monkeypatch, command(folder, finished, "--ckpt_path=last", *more, subcommand=subcommand))


def test_a_checkpoint_of_other_classes_is_refused(finished, tmp_path, monkeypatch):
    other = write_pictures(tmp_path / "pets", {"train": 5, "val": 3})
    for split in ("train", "val"):
        (other / split / "ants").rename(other / split / "wasps")
    with pytest.raises(SystemExit, match="knows the classes ants, bees, crabs, the data has bees, crabs, wasps; check"):
        here(monkeypatch, command(other, finished, "--ckpt_path=best", subcommand="validate"))


def test_weights_from_elsewhere_are_refused_by_name(finished, tmp_path, folder, monkeypatch):
    checkpoint = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    del checkpoint["convtwist"]  # as from a network of somebody else's
    checkpoint["state_dict"]["network.0.weight"] = torch.zeros(2, 2)
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(SystemExit, match=r"other.ckpt holds the weights of another network: network.0.weight is \(2"):
        here(monkeypatch, command(folder, finished, f"--ckpt_path={tmp_path}/other.ckpt", subcommand="validate"))


def test_what_is_not_installed_is_named(monkeypatch):
    """By its own name: the project's, which nobody holds on PyPI, must not be installed from there."""
    monkeypatch.setattr(entry, "find_spec", lambda name: None if name in ("lightning", "PIL") else name)
    monkeypatch.setattr(sys, "argv", ["convtwist.train", "fit"])
    with pytest.raises(SystemExit, match=r'needs lightning, PIL; type: pip install "lightning==2.6.6" "pillow>=10.3"'):
        entry.main()
    extra = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    assert sorted({**entry._TRAINING, **entry._DRAWING}.values()) == sorted(extra)


def test_the_overview_names_commands_and_configs_without_loading_torch():
    code = "import sys; from convtwist.train import __main__ as entry\ntry: entry.main()\n" \
           "finally: print([name for name in ('lightning', 'kornia', 'matplotlib') if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    *page, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    assert page[0] == "usage: python -m convtwist.train COMMAND [options]" and max(map(len, page)) <= 120
    for name in ("fit", "validate", "test", "predict", "plot", "fashion_mnist", "folder", "imagenette", "imagewoof"):
        (line,) = [line for line in page if line.startswith(f"  {name} ")]
        assert len(line.split()) > 4
    assert any(line.strip() == "python -m convtwist.train fit --config folder --data.path pictures" for line in page)


def test_the_entry_point_of_the_package_is_this_command(monkeypatch, capsys):
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    (entry_point,) = [metadata.EntryPoint(name, value, "console_scripts") for name, value in project["scripts"].items()
                      if name == "convtwist-train"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/convtwist-train"])
    with pytest.raises(SystemExit) as ended:
        entry_point.load()()
    assert ended.value.code == 2 and capsys.readouterr().out.startswith("usage: convtwist-train COMMAND")


@pytest.mark.parametrize("subcommand", ["fit", "validate"])
def test_help_is_a_page_and_help_all_is_everything(subcommand, monkeypatch, capsys):
    pages = {}
    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as ended:
            here(monkeypatch, [subcommand, option])
        assert not ended.value.code
        pages[option] = capsys.readouterr().out
    short = pages["--help"].splitlines()
    assert short[0].startswith(f"usage: python -m convtwist.train {subcommand} ") and len(short) < 90
    assert max(map(len, short)) <= 120 and "``" not in pages["--help"]
    for setting in ("--model.layer similarity", "--model.network resnet18", "--data.path", "--trainer.max_epochs 20",
                    "--trainer.default_root_dir runs/default", "--data.on_corrupt raise", "--ckpt_path"):
        assert any(line.startswith(f"  {setting} ") for line in short), setting
    assert "overfit_batches" in pages["--help-all"] and "overfit_batches" not in pages["--help"]


@pytest.fixture
def handlers():
    """Bring back what signals did before a run was stopped in this process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def summary(text):
    """Return the lines of a run's last words, from the one that says how it ended."""
    lines = text.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith(("Trained for", "Stopped by"))):]


def test_a_finished_run_says_how_it_went_and_its_commands_work(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    here(monkeypatch, command(folder, "run", "--trainer.max_epochs=1"))
    first, *rest = summary(capsys.readouterr().out)
    rows = list(csv.DictReader(Path("run/logs/version_0/metrics.csv").open()))
    (best,) = [float(row["val_accuracy"]) for row in rows if row["val_accuracy"]]
    assert first == f"Trained for 1 epoch; best val_accuracy {best:.4f}, in epoch 0 (the first is 0)."
    assert rest[:3] == ["  checkpoints  run/checkpoints (best.ckpt, last.ckpt)",
                        "  metrics      run/logs/version_0/metrics.csv", "  weights      run/weights.safetensors"]
    assert all(Path(line.split()[1]).exists() for line in rest[:3])
    plot, predict, longer = (shlex.split(rest[rest.index(title) + 1]) for title in (
        "Draw the curves:", "Try it on a picture:", "Train longer:"))
    picture = sorted(folder.glob("val/bees/*"))[0]
    for words in (plot, [*predict[:-1], str(picture)]):
        assert words[:3] == ["python", "-m", "convtwist.train"]
        monkeypatch.setattr(sys, "argv", words[2:])
        with pytest.raises(SystemExit) as ended:
            entry.main()
        assert not ended.value.code
    printed = capsys.readouterr().out
    assert "Drawn into run/curves.png" in printed and Path("run/curves.png").stat().st_size > 5000
    names = [line.split()[1] for line in printed.splitlines() if "%" in line]
    assert sorted(names) == ["ants", "bees", "crabs"]
    assert Image.open(f"{picture.stem}_activation.png").size[0] > 400
    here(monkeypatch, longer[3:])
    assert summary(capsys.readouterr().out)[0].startswith("Trained for 2 epochs; best val_accuracy")


@pytest.mark.parametrize(("signum", "name", "code"), [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143)])
@pytest.mark.usefixtures("handlers")
def test_a_stopped_run_says_how_to_continue(folder, tmp_path, monkeypatch, capsys, signum, name, code):
    stop = f"--trainer.callbacks+={{class_path: train_pictures.Stop, init_args: {{number: {int(signum)}}}}}"
    words = command(folder, tmp_path, stop)
    with pytest.raises(SystemExit) as ended:
        here(monkeypatch, words)
    assert ended.value.code == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err and "eceived SIGTERM" not in printed.err and "Detected" not in printed.err
    first, *rest = summary(printed.out)
    assert re.match(rf"Stopped by {name} with 1 epoch of 3 done; best val_accuracy [01]\.\d{{4}}, in epoch 0 ", first)
    assert rest == [f"  checkpoints  {tmp_path}/checkpoints (best.ckpt, last.ckpt)",
                    f"  metrics      {tmp_path}/logs/version_0/metrics.csv",
                    "Continue after the last of these epochs:", f"  {rest[-1].strip()}"]
    resume = shlex.split(rest[-1])
    assert resume == ["python", "-m", "convtwist.train", *words, "--ckpt_path=last"]
    here(monkeypatch, [word for word in resume[3:] if word != stop])
    assert summary(capsys.readouterr().out)[0].startswith("Trained for 3 epochs")


def test_a_group_of_processes_stopped_in_its_first_epoch_says_that_nothing_is_kept(folder, tmp_path):
    """The processes that read pictures get the signal, too, and torch raises an error for each of them."""
    stop = "--trainer.callbacks+={class_path: train_pictures.Stop, init_args: {number: 15, epoch: 0, group: true}}"
    words = command(folder, tmp_path, stop, "--data.workers=2")
    stopped = elsewhere(words, start_new_session=True)
    assert stopped.returncode == 143 and "Traceback" not in stopped.stderr, stopped.stderr[-2000:]
    assert summary(stopped.stdout) == ["Stopped by SIGTERM before the first epoch was over, so nothing is kept. Start "
                                       "again:", f"  python -m convtwist.train {shlex.join(words)}"]


def test_the_readme_says_how_to_load_the_weights(finished, tmp_path, monkeypatch):
    text = (HERE.parent / "README.md").read_text().partition("\n## Train\n")[2].partition("\n## ")[0]
    assert not re.search(r"pip install\s+[\"']?convtwist", text)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 6
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "folder").symlink_to(finished)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(code, space)
    assert space["shares"].shape == (1, 3) and space["shares"].sum().item() == pytest.approx(1, abs=1e-5)
    assert space["about"]["classes"] == ["ants", "bees", "crabs"] and not space["network"].training
