"""Folders of pictures: what is found, and what is said of everything that is wrong with them."""

import os

import pytest

from convtwist.train import folders


def tree(root, *files):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_lists_by_class_and_name_and_looks_into_subfolders(tmp_path):
    tree(tmp_path, "b/2.JPEG", "b/1.png", "a/deep/er/3.webp", "a/.hidden.jpg", ".cache/x.jpg", "a/4.avif",
         "__MACOSX/a/._3.webp", "__MACOSX/b.jpg")
    paths, labels, classes = folders.scan(tmp_path)
    assert [os.path.relpath(p, tmp_path) for p in paths] == ["a/4.avif", "a/deep/er/3.webp", "b/1.png", "b/2.JPEG"]
    assert labels == [0, 0, 1, 1] and classes == ["a", "b"]


def test_finds_the_splits_through_an_archives_outer_folder(tmp_path):
    tree(tmp_path, "out/woof/train/a/1.jpg", "out/woof/val/a/2.jpg", "flat/a/1.jpg", "half/val/a/1.jpg",
         "out/__MACOSX/woof/._train")
    assert folders.locate(tmp_path / "out") == {s: tmp_path / "out" / "woof" / s for s in ("train", "val")}
    assert folders.locate(tmp_path / "flat") == {"all": tmp_path / "flat"}
    with pytest.raises(ValueError, match="has val but no folder train"):
        folders.locate(tmp_path / "half")
    with pytest.raises(FileNotFoundError, match=r"no folder or archive at .*nowhere.*github.com/fastai/imagenette"):
        folders.locate(tmp_path / "nowhere")


def test_names_files_that_are_no_pictures(tmp_path):
    tree(tmp_path, "a/1.jpg", "a/notes.txt", "labels.csv")
    with pytest.warns(UserWarning, match=r"not pictures by their ending: .*labels.csv, .*a.notes.txt"):
        assert len(folders.scan(tmp_path).paths) == 1


def test_names_what_is_wrong(tmp_path, monkeypatch):
    tree(tmp_path, "empty/a/1.jpg", "file/a.jpg", "two/a/1.jpg", "two/b/1.jpg")
    (tmp_path / "empty" / "b").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*empty.b holds no pictures"):
        folders.scan(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"file holds no class folders"):
        folders.scan(tmp_path / "file")
    with pytest.raises(ValueError, match=r"a.jpg is a file, not a folder"):
        folders.scan(tmp_path / "file" / "a.jpg")
    with pytest.raises(ValueError, match=r"it lacks c and adds b"):
        folders.scan(tmp_path / "two", ["a", "c"])

    def forbidden(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(folders.os, "scandir", forbidden)  # root may read everything
    with pytest.raises(ValueError, match=r"folder .*two cannot be read: Permission denied"):
        folders.scan(tmp_path / "two")


def test_links(tmp_path):
    tree(tmp_path, "woof/a/1.jpg", "else/2.jpg")
    (tmp_path / "woof" / "b").symlink_to(tmp_path / "else")  # a class may lie elsewhere
    assert folders.scan(tmp_path / "woof").labels == [0, 1]
    (tmp_path / "else" / "round").symlink_to(tmp_path / "else")
    with pytest.raises(ValueError, match=r"round is a link that leads back to .*else"):
        folders.scan(tmp_path / "woof")
    (tmp_path / "else" / "round").unlink()
    (tmp_path / "woof" / "a" / "3.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match=r"3.jpg is a link that leads nowhere"):
        folders.scan(tmp_path / "woof")


def test_splits_every_class_the_same_way_for_the_same_seed():
    listing = folders.Listing([f"{i}.jpg" for i in range(44)], [0] * 40 + [1] * 4, ["a", "b"])
    train, val = folders.split(listing, 0.25, seed=3)
    assert val.labels == [0] * 10 + [1] and sorted(train.paths + val.paths) == sorted(listing.paths)
    assert folders.split(listing, 0.25, seed=3) == (train, val)
    assert folders.split(listing, 0.25, seed=4)[1].paths != val.paths
    with pytest.raises(ValueError, match="class b has 1 picture"):
        folders.split(folders.Listing(["1", "2", "3"], [0, 0, 1], ["a", "b"]), 0.5, 0)
    with pytest.raises(ValueError, match="validation must be a share between 0 and 1, got 1"):
        folders.split(listing, 1, 0)
