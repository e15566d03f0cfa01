"""Archives: unpacked whole or not at all, and never a member outside the folder."""

import io
import stat
import tarfile
import zipfile

import pytest

from convtwist.train import archives


def tar(path, members):
    """Write a .tgz of ``{name: bytes}``; a ``tarfile.TarInfo`` as value is added as it is."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            if isinstance(data, tarfile.TarInfo):
                archive.addfile(data)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def left(tmp_path, *kept):
    """Return what lies in the folder besides the archives themselves, hidden or not."""
    return sorted(p.name for p in tmp_path.iterdir() if p.name not in kept)


def test_unpacks_beside_itself_once(tmp_path):
    path = tar(tmp_path / "woof.tgz", {"woof/train/a/1.txt": b"one", "woof/val/a/2.txt": b"two"})
    folder = archives.unpack(path, digest=archives.sha256(path).upper())
    assert folder == tmp_path / "woof" and (folder / "woof/val/a/2.txt").read_bytes() == b"two"
    assert left(tmp_path) == ["woof", "woof.tgz"]
    path.unlink()
    assert archives.unpack(path) == folder  # it is there already


def test_unpacks_zip(tmp_path):
    path = tmp_path / "Pets.ZIP"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cats/1.txt", "one")
    assert (archives.unpack(path) / "cats/1.txt").read_text() == "one"


@pytest.mark.parametrize(("name", "value", "message"), [
    ("../out.txt", b"x", "leads out"),
    ("a/../../out.txt", b"x", "leads out"),
    ("/etc/out.txt", b"x", "leads out"),
    ("C:\\out.txt", b"x", "leads out"),
    ("..\\out.txt", b"x", "leads out"),
    ("link", special("link", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
    ("hard", special("hard", tarfile.LNKTYPE, "ok.txt"), "a link"),
    ("pipe", special("pipe", tarfile.FIFOTYPE), "a device or pipe"),
    ("./ok.txt", b"again", "two members"),
])
def test_refuses_what_could_do_harm(tmp_path, name, value, message):
    path = tar(tmp_path / "bad.tgz", {"ok.txt": b"fine", name: value})
    with pytest.raises(ValueError, match=message):
        archives.unpack(path)
    assert left(tmp_path) == ["bad.tgz"]


@pytest.mark.parametrize("what", ["traversal", "link"])
def test_refuses_the_same_in_a_zip(tmp_path, what):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("../out.txt" if what == "traversal" else "link")
        if what == "link":
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="leads out" if what == "traversal" else "a link"):
        archives.unpack(path)
    assert left(tmp_path) == ["bad.zip"]


def test_refuses_a_wrong_digest_and_warns_of_an_unknown_edition(tmp_path):
    path = tar(tmp_path / "imagewoof2-160.tgz", {"a/1.txt": b"one"})
    with pytest.raises(ValueError, match=r"has SHA-256 .*, expected 00"):
        archives.unpack(path, digest="00" * 32)
    assert left(tmp_path) == ["imagewoof2-160.tgz"]
    with pytest.warns(UserWarning, match="newer edition, or damaged"):
        assert archives.unpack(path).is_dir()


def test_refuses_what_is_damaged_empty_or_too_large(tmp_path):
    whole = tar(tmp_path / "a.tgz", {"a.bin": bytes(range(256)) * 40}).read_bytes()
    (tmp_path / "a.tgz").write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=r"a.tgz cannot be unpacked"):
        archives.unpack(tmp_path / "a.tgz")
    (tmp_path / "b.zip").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"b.zip cannot be unpacked"):
        archives.unpack(tmp_path / "b.zip")
    with pytest.raises(ValueError, match="is empty"):
        archives.unpack(tar(tmp_path / "c.tgz", {}))
    with pytest.raises(ValueError, match="would grow to 10,000, and 9,999 are free"):
        archives.unpack(tar(tmp_path / "d.tgz", {"d.bin": bytes(10_000)}), most_bytes=9_999)
    with pytest.raises(ValueError, match="would grow"):
        archives.unpack(tar(tmp_path / "e.tgz", {"e.bin": bytes(30_000_000)}))  # a bomb: zeros shrink a thousandfold
    assert left(tmp_path) == ["a.tgz", "b.zip", "c.tgz", "d.tgz", "e.tgz"]
    with pytest.raises(FileNotFoundError, match="no archive at"):
        archives.unpack(tmp_path / "none.tgz")
    with pytest.raises(ValueError, match="is no archive"):
        archives.unpack(tmp_path / "a.rar")


def test_an_interruption_leaves_nothing_under_the_final_name(tmp_path, monkeypatch):
    path = tar(tmp_path / "woof.tgz", {"1.txt": b"one", "2.txt": b"two"})
    extract = tarfile.TarFile.extractall

    def interrupted(self, folder, **options):
        extract(self, folder, members=self.getmembers()[:1], **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            archives.unpack(path)
    assert left(tmp_path) == ["woof.tgz"]
    assert sorted(p.name for p in archives.unpack(path).iterdir()) == ["1.txt", "2.txt"]
