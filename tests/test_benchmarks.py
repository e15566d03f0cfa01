"""What the benchmarks compare must compute what it should, and their yardsticks must measure.  Nothing is timed."""

import datetime
import json
import re
from pathlib import Path

import pytest
import torch
from speed_table import gpu_markdown, markdown
from torch import nn

from benchmarks import contenders, frozen, groups, host, host_parts, layer, timing
from convtwist import results
from convtwist.posted import from_version2
from convtwist.train.networks import resnet50

ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)
CPU = torch.device("cpu")


def test_the_literal_version_2_computes_what_ours_does():
    torch.manual_seed(0)
    posted = contenders.ThreeConvolutions(6, 4, stride=2)
    state = {"conv.weight": posted.conv.weight, "coeff_Ax": posted.a[..., 0, 0], "coeff_Ay": posted.b[..., 0, 0]}
    u = torch.randn(2, 6, 9, 12)
    torch.testing.assert_close(posted(u), from_version2(state, stride=2)(u), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", contenders.CONTENDERS)
@pytest.mark.parametrize("stride", [1, 2])
def test_every_contender_takes_the_place_of_the_convolution(name, stride):
    module = contenders.CONTENDERS[name].build(4, 6, stride)
    u = torch.randn(2, 4, 8, 12, requires_grad=True)
    out = module(u)
    assert out.shape == nn.Conv2d(4, 6, 3, stride, 1)(u).shape
    out.sum().backward()
    contender = contenders.CONTENDERS[name]
    weights = sum(p.numel() for p in module.parameters())
    if name != "posted version 2":  # which ties what it multiplies with
        assert contender.multiply_adds(1, 4, 6, 1) == weights


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_both_ways_of_connecting_groups_agree(count):
    torch.manual_seed(count)
    built = dict(groups.contenders(16, count, CPU))
    u = torch.randn(2, 16, 6, 7)
    for what in ("convolution", "twist"):
        torch.testing.assert_close(built[f"{what}, dense"](u), built[f"{what}, permuted"](u), rtol=1e-4, atol=1e-4)


def test_resnet_50_is_resnet_50():
    model = resnet50(contenders.CONTENDERS["Conv2d"].build, classes=1000).to("meta")
    assert sum(p.numel() for p in model.parameters()) == 25_557_032
    assert model(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)
    adds = layer.resnet_multiply_adds(contenders.CONTENDERS["Conv2d"], 1, 224)
    assert adds == pytest.approx(4.09e9, rel=0.01)  # the well-known 4.1 billion


def test_the_peak_is_what_was_alive_at_once():
    def step():
        a = torch.ones(1_000_000)
        b = a + 1
        del a
        c = b + 1
        del b, c

    step()
    assert timing.peak_memory(step, CPU) == pytest.approx(8_000_000, abs=100)  # the number 1 takes a few bytes
    assert timing.peak_memory(step, CPU, resident=4_000_000) == pytest.approx(12_000_000, abs=100)


def test_contenders_take_turns_and_ratios_are_taken_within_a_round():
    calls = []
    seconds = timing.interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, CPU, repeats=4,
                                 least_seconds=0)
    assert "".join(calls[6:]) == "abc" "bca" "cab" "abc"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 4, "b": 4, "c": 4}
    # A slow second round doubles both and leaves the ratio alone.
    summary = timing.summary([2.0, 4.0, 2.2], [1.0, 2.0, 1.0])
    assert summary["ratio"] == 2.0 and summary["median_ms"] == 2200


def test_the_machine_is_named_without_paths(tmp_path):
    found = timing.machine(CPU)
    assert found["cpu"] and found["cores"] >= 1 and found["torch"] == torch.__version__
    assert not any("/" in str(value) for value in found.values())
    timing.write(tmp_path / "r.json", {"x": [1.23456789], "y": {"z": 3}})
    assert (tmp_path / "r.json").read_text().split() == ["{", '"x":', "[", "1.235", "],", '"y":', "{", '"z":', "3",
                                                         "}", "}"]


def test_the_readme_shows_the_stored_measurements():
    """The table in README.md is what tools/speed_table.py prints, and names the machine."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = results.load("layer")
    assert markdown(measured) in readme, "run tools/speed_table.py and put its table into README.md"
    cpu = measured["machine"]["cpu"].replace("GHz", " GHz")
    assert all(word in readme for word in re.findall(r"Xeon|[0-9.]+ GHz", cpu))


def test_the_readme_shows_the_gpus_measurements_and_says_when_they_were_made():
    """Before the GPU engine, with its kernels, and without them."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    before, stacked, after = (results.load(name) for name in ("gpu_before", "gpu_stacked", "gpu"))
    assert " ".join(gpu_markdown(before, stacked, after).split()) in readme, "run tools/speed_table.py"
    assert (before["date"] or "the day was not noted") in readme and "before the GPU engine" in readme
    day = datetime.date.fromisoformat(after["date"])
    for measured in (before, stacked, after):
        assert measured["machine"]["gpu"].split()[-1] in readme
    assert f"{day.day} {day:%B %Y}" in readme and stacked["date"] == after["date"]
    cut_off = {tuple(row["shape"]) for row in stacked["rows"]} - {tuple(row["shape"]) for row in after["rows"]}
    assert bool(cut_off) == ("Time ran out" in readme)
    for name, said in (("ConvTwist similarity", "in single layers {} to {} times"), ("IsoTwist2d", "{} to {} times")):
        peaks = [row["memory"] for row in after["rows"] if (row["contender"], row["where"]) == (name, "layer")
                 and row["engine"] == "eager"]
        assert said.format(f"{min(peaks):.2f}", f"{max(peaks):.2f}") in readme


def test_the_readme_says_what_launching_takes():
    """In milliseconds, of a layer with 256 channels: ours and Conv2d's, eager, compiled and recorded."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    took = {(row["contender"], row["engine"]): f"{(row['forward'] + row['backward']) / 1000:.2f}"
            for row in results.load("gpu_host")["rows"] if row["shape"][1] == 256}
    ours, conv = ({engine: took[name, engine] for engine in host.ENGINES} for name in host.NAMES[1::-1])
    assert f"takes {ours['eager']} milliseconds eagerly and {ours['compiled']} compiled" in readme
    assert f"where `Conv2d` takes {conv['eager']} and {conv['compiled']} " in readme
    assert f"it takes {ours['recorded']} where `Conv2d` takes {conv['recorded']}." in readme


def difference(ours, conv, digits):
    """Return a subtraction as a reader of a table would write it, who sees rounded numbers."""
    ours, conv = round(ours, digits), round(conv, digits)
    return f"{ours:.{digits}f} - {conv:.{digits}f} = {ours - conv:.{digits}f}"


def test_the_chapter_says_what_was_measured():
    """What stands in its text, and not in an output: times of Conv2d's, and what its subtractions start from."""
    cells = json.loads(next((ROOT / "book").glob("13_*.ipynb")).read_text(encoding="utf-8"))["cells"]
    text = " ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    cpu, graphics = ({row["engine"]: f"{row['training']['ratio']:.2f}" for row in results.load(name)["rows"]
                      if (row["contender"], row["where"]) == ("ConvTwist similarity", "ResNet-50")}
                     for name in ("layer", "gpu"))
    assert f"takes {cpu['eager']} times as long on a CPU, compiled {cpu['compiled']} times" in text
    assert f"it took {graphics['eager']} times as long" in text and f"Compiled it took {graphics['compiled']}" in text
    assert f"as a CUDA graph the step took only {graphics['graph']} times as long" in text
    for row in results.load("gpu")["rows"]:
        if (row["contender"], row["where"]) == ("ConvTwist similarity", "ResNet-50"):
            time, ratio = row["training"]["median_ms"], row["training"]["ratio"]
            assert difference(time, time / ratio, 1) in text, row["engine"]
    took = {(row["contender"], row["engine"]): (row["forward"] + row["backward"]) / 1000
            for row in results.load("gpu_host")["rows"] if row["shape"][1] == 256}
    for engine in ("eager", "compiled"):
        assert difference(took["ConvTwist similarity", engine], took["Conv2d", engine], 2) in text, engine
    narrow = [sum(row[way] for way in ("forward", "backward")) / 1000 for name in ("ConvTwist similarity", "Conv2d")
              for row in results.load("gpu_host")["rows"]
              if (row["contender"], row["engine"], row["shape"][1]) == (name, "eager", 64)]
    assert "took {:.2f} milliseconds to launch, eager, and {:.2f} with".format(*narrow) in text
    for engine, said in (("eager", "are larger, {:.2f} to {:.2f}"), ("compiled", "its ratios are {:.2f} to {:.2f}")):
        ratios = [row["training"]["ratio"] for row in results.load("layer")["rows"] if row["engine"] == engine
                  and (row["contender"], row["where"]) == ("ConvTwist similarity", "layer")]
        assert said.format(min(ratios), max(ratios)) in text


def test_launching_is_timed_forward_and_backward_and_profiled():
    found = host.launched("ConvTwist similarity", "eager", (1, 4, 5), 4, device="cpu")
    assert found.keys() == {"forward", "backward"} and all(0 < time < 1e6 for time in found.values())
    assert "convolution_backward" in host.profiled("ConvTwist similarity", (1, 4, 5), "cpu", 1)
    for name, call in host_parts.made("cpu", 1, 4, 5).items():
        assert 0 < host_parts.timed(call, bursts=1, wait=int) < 1e6, name


def test_the_gpus_table_has_a_line_for_each_way_and_engine():
    rows = [{"contender": name, "where": where, "shape": shape, "engine": engine, "training": {"ratio": ratio}}
            for name, where, shape, engine, ratio in (
                ("Conv2d", "ResNet-50", [8, 3, 224], "eager", 1.0),
                ("ConvTwist similarity", "layer", [8, 4, 5], "eager", 22.3),
                ("ConvTwist similarity", "ResNet-50", [8, 3, 224], "eager", 1.306),
                ("ConvTwist similarity", "ResNet-50", [8, 3, 224], "graph", 1.1),
                ("ConvTwist similarity", "ResNet-50", [8, 3, 224], "recorded", 1.2))]
    lines = gpu_markdown({"rows": rows[:3]}, {"rows": []}, {"rows": rows}).splitlines()
    assert lines == ["| layer | way | engine | ResNet-50 | 8 x 4 x 5 |", "| :-- | :-- | :-- | --: | --: |",
                     "| ConvTwist similarity | plain operations | eager | 1.31 | 22 |",
                     "| ConvTwist similarity | kernels | CUDA graph | 1.10 | not run |",
                     "| ConvTwist similarity | kernels | eager | 1.31 | 22 |",
                     "| ConvTwist similarity | kernels | reduce-overhead | 1.20 | not run |"]


def test_the_chosen_blocks_are_among_the_best_that_were_timed():
    """What triton_tiles.py says of few and of many channels, in bfloat16, against the stored times."""
    compared = set()
    tiles = pytest.importorskip("convtwist._engine.triton_tiles")
    for row in results.load("gpu_blocks")["rows"]:
        if "kernel" not in row:
            continue
        _, channels, side = row["shape"]
        chosen = {"mix": tiles.mix_tiles(row["bank"], channels, channels, side),
                  "back": tiles.back_tiles(channels, channels, side, True),
                  "near": tiles.near_tiles(channels, side)}[row["kernel"]]
        keys = [key for key in row if key in chosen]
        registers = tiles.in_registers(row["bank"], channels, channels, torch.bfloat16, True)
        if side < 14 or registers == (row["kernel"] == "near"):
            continue  # the times are of bands of 14 rows; and each way only where it is taken
        alike = [other for other in results.load("gpu_blocks")["rows"]
                 if all(other.get(key) == row[key] for key in ("kernel", "bank", "shape"))]
        (ours,) = [other["ms"] for other in alike if all(other[key] == chosen[key] for key in keys)]
        assert ours <= 1.25 * min(other["ms"] for other in alike if "ms" in other), row
        compared.add((row["kernel"], row["bank"], channels))
    assert compared == {*((kernel, *layer) for kernel in ("mix", "back")
                          for layer in (("similarity", 64), ("similarity", 128), ("iso", 64))),
                        *(("near", *layer) for layer in (("similarity", 256), ("iso", 128), ("iso", 256)))}


def test_a_target_may_be_for_one_shape():
    rows = [{"contender": "a", "where": "layer", "engine": "eager", "shape": [1, 2, side], "training": {"ratio": 1.5},
             "memory": 1.0} for side in (3, 4)]
    found = list(layer.verdicts(rows, [("a", "layer", "eager", "training", 1.4, (1, 2, 3)),
                                       ("a", "layer", "eager", "memory", 1.1)]))
    assert [line.split()[0] for line in found] == ["MISSED", "met", "met"]


def test_half_of_the_kernels_are_frozen_and_stay_as_they_were():
    nets = {kind: frozen.build(kind, seed=3) for kind in frozen.KINDS}
    counts = {kind: frozen.trained_parameters(net) for kind, net in nets.items()}
    assert counts["zero"] == counts["start"] and counts["narrow"] == pytest.approx(counts["zero"], rel=0.01)
    assert counts["all"] - counts["zero"] == sum(
        net.weight[:, :, 0, 0].numel() * 9 // 2 for net in nets["all"] if isinstance(net, nn.Conv2d)
        and net.in_channels > 1)
    torch.manual_seed(0)
    images, classes = torch.rand(8, 1, 28, 28), torch.arange(8)
    for kind in ("zero", "start"):
        optimizer = torch.optim.AdamW(nets[kind].parameters(), lr=0.1, weight_decay=0.5)
        nn.functional.cross_entropy(nets[kind](images), classes).backward()
        optimizer.step()
    for layer_all, layer_zero, layer_start in zip(nets["all"], nets["zero"], nets["start"], strict=True):
        if isinstance(layer_all, nn.Conv2d) and layer_all.in_channels > 1:
            trained = layer_zero.parametrizations.weight[0].trained.expand_as(layer_all.weight)
            assert trained.float().mean() == 0.5
            assert torch.equal(trained, layer_start.parametrizations.weight[0].trained.expand_as(layer_all.weight))
            assert not layer_zero.weight[~trained].any()
            assert torch.equal(layer_start.weight[~trained], layer_all.weight[~trained])
            assert not torch.isclose(layer_start.weight[trained], layer_all.weight[trained]).any()
    with pytest.raises(ValueError, match="kind must be one of all, zero, start, narrow; got 'half'"):
        frozen.build("half", 0)


def test_the_table_of_frozen_runs_is_the_plan_s():
    rows = results.rows("frozen")
    assert [(row["kind"], row["seed"]) for row in rows] == [(kind, seed) for seed in frozen.SEEDS
                                                            for kind in frozen.KINDS]
    assert all(row["correct"] / row["test_images"] == row["accuracy"] and row["test_images"] == 10_000 for row in rows)
    for row in rows:
        net = frozen.build(row["kind"], row["seed"])
        assert row["trained_parameters"] == frozen.trained_parameters(net)
        assert (row["steps"], row["rate"], row["images"]) == (frozen.STEPS, frozen.RATE, frozen.PICTURES)
