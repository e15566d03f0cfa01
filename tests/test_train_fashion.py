"""Fashion-MNIST: found, checked, read; and what is said where it is missing or damaged."""

import gzip
import hashlib
import os

import numpy as np
import pytest
import torch

from convtwist.train import fashion


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Write four small idx files and let their digests stand for the published ones; return folder and numbers."""
    rng = np.random.default_rng(0)
    numbers = {}
    for split, count in (("train", 5), ("t10k", 3)):
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            array = rng.integers(0, 10, shape, np.uint8)
            data = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + array.tobytes()
            name = f"{split}-{kind}-ubyte"
            packed = split == "train"
            (tmp_path / (name + ".gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
            monkeypatch.setitem(fashion._SHA256, name, hashlib.sha256(data).hexdigest())
            numbers[name] = torch.from_numpy(array)
    return tmp_path, numbers


@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_reads_packed_and_unpacked_files(small, split, prefix):
    folder, numbers = small
    images, labels = fashion.load(split, folder)
    assert images.dtype == torch.uint8 and labels.dtype == torch.int64
    assert torch.equal(images, numbers[f"{prefix}-images-idx3-ubyte"])
    assert torch.equal(labels, numbers[f"{prefix}-labels-idx1-ubyte"].long())


def test_says_what_is_missing_and_where_to_get_it(small):
    folder, _ = small
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks t10k-labels-idx1-ubyte; .*apt-get install dataset-fashion"):
        fashion.load("train", folder)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*apt-get install dataset-fashion-mnist"):
        fashion.load("train", folder / "nowhere")
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'"):
        fashion.load("val", folder)


def test_says_what_is_damaged(small):
    folder, _ = small
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz cannot be read"):
        fashion.load("train", folder)
    data = bytearray(gzip.decompress(whole))
    data[100] ^= 1
    path.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is damaged.*SHA-256"):
        fashion.load("train", folder)


def test_the_real_files_where_debian_has_them():
    if not fashion.DEBIAN.is_dir():
        if os.environ.get("CI"):
            pytest.fail("apt-get install dataset-fashion-mnist: the tests in CI read it")
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    images, labels = fashion.load("test")
    assert images.shape == (10_000, 28, 28) and labels.bincount().tolist() == [1000] * 10
    assert len(fashion.CLASSES) == 10
