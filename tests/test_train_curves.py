"""The curves of a run: what its logs say, put together where it was continued."""

import pytest

from convtwist.train import curves

HEAD = "epoch,lr_epoch,lr_step,step,train_accuracy,train_loss_epoch,train_loss_step,val_accuracy,val_loss\n"


@pytest.fixture
def run(tmp_path):
    """A run of three epochs of two steps, interrupted in the second and continued."""
    logs = {
        0: "0,,0.1,0,,,3.0,,\n0,,0.2,1,,,2.5,,\n0,,,1,,,,0.25,2.6\n0,0.15,,1,0.2,2.75,,,\n1,,0.3,2,,,9.0,,\n",
        2: "1,,0.3,2,,,2.0,,\n1,,0.2,3,,,1.8,,\n1,,,3,,,,0.75,1.9\n1,0.25,,3,0.5,1.9,,,\n2,,0.1,4,,,1.7,,\n"
           "2,,0.0,5,,,1.6,,\n2,,,5,,,,0.5,1.7\n2,0.05,,5,0.6,1.65,,,\n",
        10: "",
    }
    for version, text in logs.items():
        folder = tmp_path / "logs" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(HEAD + text)
    (tmp_path / "logs" / "version_3").mkdir()
    (tmp_path / "logs" / "version_3" / "metrics.csv").write_text("epoch,step,val_accuracy\n0,0,0.9\n")  # of validate
    return tmp_path


def test_the_log_of_a_continued_run_is_one(run):
    log = curves.read_log(run)
    assert log["train_loss_step"] == [(0, 3.0), (1, 2.5), (2, 2.0), (3, 1.8), (4, 1.7), (5, 1.6)]
    assert log["val_accuracy"] == [(1, 0.25), (3, 0.75), (5, 0.5)]
    first = curves.read_log(run / "logs" / "version_0" / "metrics.csv")
    assert first["train_loss_step"][-1] == (2, 9.0)


def test_the_curves_are_those_of_the_log(run):
    picture = curves.training_log(run)
    losses, accuracies, rates = picture.figure.axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[2.75, 1.9, 1.65], [2.6, 1.9, 1.7]]
    assert [line.get_ydata().tolist() for line in accuracies.lines] == [[0.2, 0.5, 0.6], [0.25, 0.75, 0.5]]
    assert [line.get_label() for line in accuracies.lines] == ["training", "validation"]
    assert rates.lines[0].get_ydata().tolist() == [0.1, 0.2, 0.3, 0.2, 0.1, 0.0]  # by step, the denser
    assert "ends at 0.500; it is highest, 0.750, at step 3" in picture.alt


def test_the_command_writes_a_file_or_says_why_not(run, tmp_path, capsys):
    assert curves.main([str(run), "--output", str(tmp_path / "new" / "run.png")]) == 0
    assert (tmp_path / "new" / "run.png").read_bytes().startswith(b"\x89PNG")
    assert "highest, 0.750" in capsys.readouterr().out
    assert curves.main([str(tmp_path / "nowhere")]) == 1
    assert "no metrics.csv of a training run in" in capsys.readouterr().err
    (tmp_path / "notes.csv").write_text("a,b\n1,two\n")
    assert curves.main([str(tmp_path / "notes.csv")]) == 1
    assert "notes.csv is no log of a run" in capsys.readouterr().err
