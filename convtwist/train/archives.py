"""Unpack a data set's archive only after its list of members has been read and found harmless.

Book: chapter 11.  Source: PEP 706 for ``filter="data"``; the digests of Imagewoof and Imagenette are those that
TensorFlow Datasets publishes.
"""

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

__all__ = ["SUFFIXES", "sha256", "target", "unpack"]

SUFFIXES = (".tgz", ".tar.gz", ".tar", ".zip")

_KNOWN = {
    "imagenette2-160.tgz": "88daccb09b6fce93f45e6c09ddeb269cce705549e6bff322092a2a5a11489863",
    "imagenette2-320.tgz": "5020a9130cea0348272823cb12d2db7e981c6f2afa3dce71ccd5b8013005c55e",
    "imagenette2.tgz": "de32de18a7d8df0114d5e2c3c14cafb9558e8f00441a73aa7953681ad02be49c",
    "imagewoof2-160.tgz": "663c22f69c2802d85e2a67103c017e047096702ffddf9149a14011b7002539bf",
    "imagewoof2-320.tgz": "4e4905ed7643120daaf9bf3b2ef7f3a7e8396d9bdaf254a38c6f01f618b4973d",
    "imagewoof2.tgz": "d6f2ffc7b95663f7701b94cea32db1683b9a50dd389382c7cca024e840af0379",
}
_MOST_MEMBERS = 5_000_000
_MOST_GROWTH = 200  # bytes unpacked for each byte packed; photographs stay near 1


def target(path: str | os.PathLike[str]) -> Path:
    """Return the folder beside an archive that its contents go to: ``woof.tgz`` to ``woof``."""
    path = Path(path)
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None or len(path.name) == len(suffix):
        raise ValueError(f"{path} is no archive; it should be a folder, or end in {', '.join(SUFFIXES)}")
    return path.with_name(path.name[: -len(suffix)])


def sha256(path: str | os.PathLike[str]) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def unpack(path: str | os.PathLike[str], *, digest: str | None = None, most_bytes: int | None = None) -> Path:
    """Unpack an archive beside itself and return the folder; if the folder is there already, only return it.

    The contents go to a folder with a temporary name, which is renamed when it is complete: an interruption leaves
    no half of a data set under the name of a whole one.

    Args:
        path: a ``.tgz``, ``.tar.gz``, ``.tar`` or ``.zip`` file.
        digest: its SHA-256.  Without one, the archives that fastai publishes are compared with the digest that
            is known of them, and a difference is a warning: they have been replaced before.
        most_bytes: refuse contents larger than this; by default larger than the free space on the disk.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no archive, damaged, too large, has another digest, or a member is a link, a device, or
            leads out of the folder; nothing has been unpacked then.
    """
    path, folder = Path(path), target(path)
    if folder.is_dir():
        return folder
    if not path.is_file():
        raise FileNotFoundError(f"no archive at {path}")
    _check_digest(path, digest)
    room = shutil.disk_usage(folder.parent).free if most_bytes is None else most_bytes
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        (_unzip if path.suffix.lower() == ".zip" else _untar)(path, partial, room)
        partial.chmod(0o755)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was first, and its copy is as good
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _check_digest(path, wanted):
    known = _KNOWN.get(path.name)
    if wanted is None and known is None:
        return
    found = sha256(path)
    if wanted is not None and found != wanted.lower():
        raise ValueError(f"{path} has SHA-256 {found}, expected {wanted.lower()}; download it again")
    if wanted is None and found != known:
        warnings.warn(f"{path} has SHA-256 {found}, not {known}, which is known of {path.name}; it may be a newer "
                      "edition, or damaged", stacklevel=3)


def _untar(path, partial, room):
    if not hasattr(tarfile, "data_filter"):
        raise ValueError("this Python unpacks tar files without filter='data'; update to 3.10.12, 3.11.4 or later")
    try:
        with tarfile.open(path) as archive:
            members = []
            for member in archive:
                kind = "" if member.isreg() or member.isdir() else "a link" if member.issym() or member.islnk() \
                    else "a device or pipe"
                members.append((member.name, member.size, kind))
                _check_count(path, members)
            _check(path, members, room)
            archive.extractall(partial, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); download it again") from error


def _unzip(path, partial, room):
    try:
        with zipfile.ZipFile(path) as archive:
            members = []
            for member in archive.infolist():
                mode = member.external_attr >> 16
                kind = "encrypted" if member.flag_bits & 1 else "a link" if stat.S_ISLNK(mode) else ""
                members.append((member.filename, member.file_size, kind))
            _check_count(path, members)
            _check(path, members, room)
            archive.extractall(partial)  # which checks every CRC
    except (zipfile.BadZipFile, EOFError, zlib.error, OSError, NotImplementedError) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); download it again") from error


def _check_count(path, members):
    if len(members) > _MOST_MEMBERS:
        raise ValueError(f"{path} has more than {_MOST_MEMBERS:,} members; unpack it yourself if you trust it")


def _check(path, members, room):
    if not members:
        raise ValueError(f"{path} is empty; download it again")
    seen = set()
    for name, _, kind in members:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not name or name.startswith(("/", "\\")) or PureWindowsPath(name).drive or ".." in parts or "\0" in name:
            raise ValueError(f"{path} is not unpacked: its member {name!r} leads out of the folder")
        if kind:
            raise ValueError(f"{path} is not unpacked: its member {name!r} is {kind}, where only plain files belong")
        key = os.path.normpath("/".join(parts))
        if key in seen and not name.endswith("/"):
            raise ValueError(f"{path} is not unpacked: two members are called {name!r}")
        seen.add(key)
    total, packed = sum(size for _, size, _ in members), path.stat().st_size
    if total > room or total > _MOST_GROWTH * packed + (1 << 20):
        raise ValueError(f"{path} is not unpacked: its {packed:,} bytes would grow to {total:,}, and {room:,} are free")
