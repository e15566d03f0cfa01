"""What reaches the network: every picture once, the same for the same seed and epoch, and no bad file in silence."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from train_pictures import write_pictures

from convtwist.train.augment import Augment
from convtwist.train.data import Pictures
from convtwist.train.pictures import ArrayPictures, FilePictures, middle_cut, random_cut
from convtwist.train.sampling import NOT_COUNTED, KeySampler, key_of, seeded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pets"), {"train": 5, "val": 2})


def test_processes_share_an_epoch_and_the_key_follows_the_picture():
    alone = KeySampler(10, training=True, seed=1)
    alone.set_epoch(4)
    both = [KeySampler(10, training=True, seed=1, processes=2, rank=rank) for rank in (0, 1)]
    for sampler in both:
        sampler.set_epoch(4)
    assert sorted([*both[0], *both[1]]) == sorted(alone)
    assert sorted(index for index, _ in alone) == list(range(10))
    first = list(alone)
    assert list(alone) == first
    alone.set_epoch(5)
    assert [i for i, _ in alone] != [i for i, _ in first] and not {k for _, k in alone} & {k for _, k in first}


@pytest.mark.parametrize(("length", "processes"), [(10, 4), (3, 8), (8, 4)])
def test_evaluation_counts_every_picture_once(length, processes):
    parts = [list(KeySampler(length, training=False, seed=1, processes=processes, rank=r)) for r in range(processes)]
    assert len({len(part) for part in parts}) == 1
    assert sorted(i for part in parts for i, key in part if key != NOT_COUNTED) == list(range(length))


def test_seeded_leaves_the_generator_as_it_was():
    state = torch.get_rng_state()
    with seeded(key_of(1, 2)):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)
    with seeded(key_of(1, 2)):
        assert torch.equal(torch.rand(3), first)
    assert key_of(1, 2) != key_of(2, 1)


def test_cuts():
    draw = np.random.default_rng(0)
    for _ in range(50):
        top, left, h, w = random_cut(40, 60, 0.35, draw)
        assert 0 <= top and top + h <= 40 and 0 <= left and left + w <= 60
        assert 0.33 <= h * w / 2400 <= 1.02 and 0.7 <= w / h <= 1.4
    assert middle_cut(5, 8) == (0, 1, 5, 5)
    item, label, key = ArrayPictures(torch.arange(64, dtype=torch.uint8).view(1, 8, 8), torch.tensor([3]), size=8,
                                     least=None)[0, 7]
    assert item.flatten().tolist() == list(range(64)) and (label, key) == (3, 7)


def test_pictures_of_all_kinds_come_as_three_channels_of_eight_bits(tmp_path):
    grey = np.full((9, 9), 200, np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([grey] * 3 + [grey * 0])).save(tmp_path / "clear.png")  # transparent: white
    Image.fromarray(np.full((9, 9), 10420, np.uint16)).save(tmp_path / "deep.png")  # 40.54 * 257
    turned = Image.fromarray(np.vstack([np.full((4, 8, 3), 255, np.uint8), np.zeros((4, 8, 3), np.uint8)]))
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    names = ["grey.png", "clear.png", "deep.png", "turned.jpg"]
    pictures = FilePictures([str(tmp_path / n) for n in names], [0] * 4, size=8, least=None, on_corrupt="raise")
    values = [pictures[i][0] for i in range(4)]
    assert all(v.shape == (3, 8, 8) and v.dtype == torch.uint8 for v in values)
    assert [int(v.unique()) for v in values[:3]] == [200, 255, 41]
    assert values[3][:, :3].max() < 30 and values[3][:, 5:].min() > 225


def test_a_picture_that_cannot_be_read_is_named(folder, tmp_path):
    good = sorted(folder.glob("train/ants/*"))
    bad = tmp_path / "bad.JPEG"
    bad.write_bytes(good[0].read_bytes()[:300])
    paths, options = [str(bad), str(good[1])], {"size": 8}
    with pytest.raises(ValueError, match=r"bad.JPEG is damaged.*remove it, or pass --data.on_corrupt skip"):
        FilePictures(paths, [0, 1], least=0.5, on_corrupt="raise", **options)[0]
    with pytest.warns(UserWarning, match=r"bad.JPEG is damaged.*another takes its place"):
        assert FilePictures(paths, [0, 1], least=0.5, on_corrupt="skip", **options)[0, 5][1:] == (1, 5)
    with pytest.warns(UserWarning, match=r"bad.JPEG is damaged.*left out of the count"):
        assert FilePictures(paths, [0, 1], least=None, on_corrupt="skip", **options)[0, 5][2] == NOT_COUNTED
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=r"none of the 1 pictures can be read"):
        FilePictures(paths[:1], [0], least=0.5, on_corrupt="skip", **options)[0]


def trainer(training=True):
    return SimpleNamespace(world_size=1, global_rank=0, is_global_zero=True, training=training)


def batches(data, name="train_dataloader"):
    data.trainer = trainer(name == "train_dataloader")
    return [data.on_after_batch_transfer(batch, 0) for batch in getattr(data, name)()]


@pytest.fixture(scope="module")
def options(folder):
    return {"path": str(folder), "size": 16, "batch_size": 4, "seed": 1, "degrees": 20.0, "zoom": 1.2, "erase": 0.5}


def test_batches_do_not_depend_on_workers_or_on_what_was_drawn_before(options):
    found = []
    for workers in (0, 2):
        torch.rand(workers + 1)
        data = Pictures(**options, workers=workers)
        data.setup("fit")
        found.append(batches(data))
    assert [len(labels) for _, labels, _ in found[0]] == [4, 4, 4, 3]  # of 15 pictures none is left out
    for here, there in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))
    pictures, labels, _ = found[0][0]
    assert pictures.shape == (4, 3, 16, 16) and pictures.dtype == torch.float32 and labels.max() <= 2


@pytest.mark.parametrize(("size", "sizes"), [(14, [14]), (7, [7, 7]), (2, [2] * 7), (15, [15]), (1, [1] * 15)])
def test_a_last_batch_of_one_picture_is_left_out_and_said(options, size, sizes):
    data = Pictures(**{**options, "batch_size": size}, workers=0)
    data.setup("fit")
    data.trainer = trainer()
    if sum(sizes) == 15:
        loader = data.train_dataloader()
    else:
        with pytest.warns(UserWarning, match=f"15 pictures in batches of {size} leave one picture over, too few for"):
            loader = data.train_dataloader()
    epochs = []
    for epoch in range(12):
        loader.sampler.set_epoch(epoch)
        found = list(loader)
        assert [len(labels) for _, labels, _ in found] == sizes
        epochs.append({index for index, _ in list(loader.sampler)[: sum(sizes)]})
    assert len(set.union(*epochs)) == 15  # it isn't always the same picture that is left out


def test_evaluation_is_plain_unless_asked_to_turn(options):
    plain, turned = Pictures(**options, workers=0), Pictures(**options, workers=0, turn_evaluation=True)
    for data in (plain, turned):
        data.setup("validate")
    (first, _, keys), *_ = batches(plain, "val_dataloader")
    again = batches(plain, "val_dataloader")[0][0]
    other, once_more = (batches(turned, "val_dataloader")[0][0] for _ in range(2))
    assert torch.equal(first, again) and torch.equal(other, once_more) and not torch.equal(first, other)
    assert sum(len(b[1]) for b in batches(plain, "val_dataloader")) == 6 and (keys >= 0).all()
    with pytest.warns(UserWarning, match="accuracy on the validation split"):
        plain.test_dataloader()


def test_limits_are_nested_and_leave_the_validation_set_alone(folder, options):
    few, more = (Pictures(**options, workers=0, limit=limit) for limit in (4, 9))
    for data in (few, more):
        data.setup("fit")
    assert len(few.sets["train"]) == 4 and set(few.sets["train"].paths) <= set(more.sets["train"].paths)
    assert len(few.sets["val"]) == 6


@pytest.mark.parametrize(("wrong", "message"), [
    ({"path": None}, "pass --data.path"), ({"kind": "cifar"}, "kind must be one of 'folder', 'fashion_mnist'"),
    ({"crop": 2.0}, "crop is a share"), ({"flip": -1.0}, "flip is a probability"),
    ({"degrees": 200.0}, "degrees must lie"), ({"zoom": 0.5}, "zoom is a factor from 1"),
    ({"on_corrupt": "ignore"}, "on_corrupt must be one of 'raise', 'skip'"), ({"workers": -1}, "workers"),
])
def test_refusals(options, wrong, message):
    with pytest.raises(ValueError, match=message):
        Pictures(**{**options, **wrong})


def test_augmentation_turns_about_the_middle_and_erases_to_the_mean():
    u = torch.full((64, 1, 9, 9), 255, dtype=torch.uint8)
    u[:, :, 4, 4] = 0
    turned = Augment([0.5], [0.25], degrees=180, zoom=1.4)(u, key=3)
    assert (turned[:, 0, 4, 4] + 2).abs().max() < 1e-4  # black stays black in the middle: (0 - 0.5) / 0.25
    erased = Augment([0.5], [0.25], erase=1.0)(u, key=3)
    assert ((erased == 0).flatten(1).sum(1) > 0).all()
    flipped = Augment([0.0], [1.0], flip=1.0)(torch.arange(8, dtype=torch.uint8).view(1, 1, 1, 8), key=0)
    assert (flipped * 255).round().flatten().tolist() == list(range(7, -1, -1))
