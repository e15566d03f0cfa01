"""Find the pictures of a folder of class folders, and say what is wrong with it before training starts.

Book: chapter 11.  Source: the layout of Imagenette and Imagewoof, ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``.
"""

import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["PICTURES", "Listing", "locate", "scan", "split"]

PICTURES = (".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_SPLITS = ("train", "val", "test")


class Listing(NamedTuple):
    """The pictures of one split: their paths, the number of each one's class, and the classes' names."""

    paths: list[str]
    labels: list[int]
    classes: list[str]


def locate(root: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the folder of each split: ``"train"``, ``"val"`` and perhaps ``"test"``, or ``"all"`` if it has none.

    A folder that holds nothing but one other folder, as an unpacked archive does, is looked through.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it cannot be read, is a file, or has a ``val`` but no ``train``.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"no folder or archive at {root}, seen from {Path.cwd()}; Imagenette and Imagewoof are "
                                "to be had at https://github.com/fastai/imagenette")
    folders, files = _entries(root)
    found = {name: root / name for name in _SPLITS if name in folders}
    if not found and not files and len(folders) == 1 and _entries(root / folders[0])[0]:
        return locate(root / folders[0])
    if not found:
        return {"all": root}
    if "train" not in found:
        raise ValueError(f"{root} has {' and '.join(found)} but no folder train; add it, or name the folder of classes")
    return found


def scan(folder: str | os.PathLike[str], classes: list[str] | None = None) -> Listing:
    """List the pictures in a folder of class folders, sorted by class and name; subfolders belong to their class.

    Hidden files are passed over, and so is ``__MACOSX``, which a Mac puts into archives; other files that are no
    pictures by their ending are named in a warning.

    Args:
        folder: holds one folder for each class.
        classes: the classes there must be, those of the training split; by default all that are found.

    Raises:
        ValueError: the folder cannot be read, has no classes or others than asked for, a class is empty, links
            run in a circle or lead nowhere.
    """
    folder = Path(folder)
    found, stray = _entries(folder)
    if not found:
        raise ValueError(f"{folder} holds no class folders; it should hold one folder of pictures for each class")
    if classes is not None and found != classes:
        missing, extra = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
        wrong = [f"{word} {', '.join(names)}" for word, names in (("lacks", missing), ("adds", extra)) if names]
        raise ValueError(f"the classes in {folder} are not those of the training split: it {' and '.join(wrong)}")
    paths, labels, others = [], [], [str(folder / name) for name in stray]
    for label, name in enumerate(found):
        here = len(paths)
        for path in _walk(folder / name, ()):
            if path.lower().endswith(PICTURES):
                paths.append(path)
                labels.append(label)
            else:
                others.append(path)
        if len(paths) == here:
            raise ValueError(f"the class folder {folder / name} holds no pictures ({', '.join(PICTURES)}); fill it or "
                             "remove it")
    if others:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        warnings.warn(f"passed over, not pictures by their ending: {shown}", stacklevel=2)
    return Listing(paths, labels, found)


def split(listing: Listing, share: float, seed: int) -> tuple[Listing, Listing]:
    """Deal out ``share`` of every class, at least one picture, to the second listing; the same for the same seed.

    Raises:
        ValueError: ``share`` is not between 0 and 1, or a class has only one picture.
    """
    if not 0 < share < 1:
        raise ValueError(f"validation must be a share between 0 and 1, got {share!r}")
    second = set()
    for label, name in enumerate(listing.classes):
        members = [i for i, other in enumerate(listing.labels) if other == label]
        if len(members) < 2:
            raise ValueError(f"the class {name} has {len(members)} picture; it takes two to train and to validate")
        count = min(len(members) - 1, max(1, round(share * len(members))))
        second.update(random.Random(f"{seed} {name}").sample(members, count))
    kept = [i for i in range(len(listing.paths)) if i not in second]

    def part(which: list[int]) -> Listing:
        return Listing([listing.paths[i] for i in which], [listing.labels[i] for i in which], listing.classes)

    return part(kept), part(sorted(second))


def _entries(folder: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """Return the names of a folder's folders and files, sorted, without hidden ones and those that a Mac adds."""
    try:
        with os.scandir(folder) as found:
            seen = (e for e in found if not e.name.startswith(".") and e.name != "__MACOSX")
            entries = sorted(seen, key=lambda entry: entry.name)
    except NotADirectoryError:
        raise ValueError(f"{folder} is a file, not a folder or a known archive") from None
    except OSError as error:
        raise ValueError(f"the folder {folder} cannot be read: {error.strerror}") from error
    return [e.name for e in entries if e.is_dir()], [e.name for e in entries if not e.is_dir()]


def _walk(folder: str | os.PathLike[str], above: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths of all files below, sorted; ``above`` are the real paths of the folders on the way here."""
    real = os.path.realpath(folder)
    if real in above:
        raise ValueError(f"{folder} is a link that leads back to {real}, around and around; remove it")
    folders, files = _entries(folder)
    for name in files:
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            raise ValueError(f"{path} is a link that leads nowhere; remove it")
        yield path
    for name in folders:
        yield from _walk(os.path.join(folder, name), (*above, real))
