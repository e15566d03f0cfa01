"""What a trained network sees in a picture: its classes in their order, and a map of where it saw the first.

Book: chapter 11.  Source: class activation maps are arXiv 1512.04150.  The networks here end in a mean over the map and
one linear layer, so the map is exact: its mean is the class's output, apart from the bias.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convtwist.train.export import load_network
from convtwist.train.overview import program
from convtwist.train.pictures import FilePictures

if TYPE_CHECKING:
    from convtwist.plot import Picture

__all__ = ["activation_map", "main", "overlay", "prepare", "read_picture"]


def read_picture(path: str | os.PathLike[str], size: int) -> Tensor:
    """Return the middle square of a picture file as ``(3, size, size)`` in uint8, as in validation.

    Raises:
        FileNotFoundError, ValueError: as :func:`convtwist.images.load`.
    """
    try:
        return FilePictures([str(path)], [0], size=size, least=None, on_corrupt="raise")[0][0]
    except ValueError as error:
        raise (error.__cause__ or error) from None


def prepare(picture: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalise ``(3, size, size)`` in uint8 to the network's input ``(1, channels, size, size)``.

    Where the network has one channel it gets the luma.
    """
    batch = picture[None].float() / 255
    if len(mean) == 1:
        batch = torch.einsum("c,bchw->bhw", torch.tensor([0.299, 0.587, 0.114]), batch)[:, None]
    return (batch - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


@torch.no_grad()
def activation_map(network: nn.Sequential, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return the outputs ``(batch, classes)`` and every class's map ``(batch, classes, rows, columns)``.

    The mean of a map is the class's output less its bias: a positive place speaks for the class, a negative one
    against it.

    Args:
        network: of :func:`convtwist.train.networks.build`, in evaluation mode.
        batch: ``(batch, channels, size, size)``, normalised.
    """
    features = network[:-3](batch)
    return network[-3:](features), torch.einsum("kc,bchw->bkhw", network[-1].weight, features)


def overlay(picture: Tensor, activation: Tensor, title: str) -> "Picture":
    """Return a ``convtwist.plot.Picture`` of a map ``(rows, columns)`` over a picture ``(3, size, size)`` in uint8."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from convtwist.plot import SIGNED, WIDTH, Picture

    size = picture.shape[-1]
    smooth = F.interpolate(activation[None, None], (size, size), mode="bilinear", align_corners=False)[0, 0]
    most = max(float(smooth.abs().max()), 1e-12)
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(picture.permute(1, 2, 0).numpy())
    left.set_title("what the network gets", fontsize=11)
    right.imshow(picture.float().mean(0).numpy(), cmap="gray", vmin=0, vmax=255)
    shown = right.imshow(smooth.numpy(), cmap=SIGNED, vmin=-most, vmax=most, alpha=(0.75 * smooth.abs() / most).numpy())
    right.set_title(title, fontsize=11)
    for axis in (left, right):
        axis.set_axis_off()
    bar = figure.colorbar(ScalarMappable(shown.norm, shown.cmap), ax=right, shrink=0.8)  # without transparency
    bar.set_label("contribution to the output", fontsize=10)
    row, column = divmod(int(smooth.argmax()), size)
    return Picture(figure, f"A picture, and the same in grey under the activation map of {title}: red speaks for the "
                           f"class, most at row {row + 1} and column {column + 1} of {size}, blue against it.")


def main(args: list[str]) -> int:
    """Name what is in each picture and write its activation map into a file; return the exit code."""
    parser = argparse.ArgumentParser(
        f"{program()} predict", description="Print the likeliest classes of each picture, and write a class activation "
        "map of the first: red places speak for the class, blue ones against it. The network gets the middle square.")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file")
    parser.add_argument("--ckpt_path", required=True, metavar="FILE",
                        help="a checkpoint, weights.safetensors, or the folder of a run, whose best epoch is taken")
    parser.add_argument("--output", default=".", metavar="FOLDER", help="where the maps go; by default here")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes to print; by default 5")
    given = parser.parse_args(args)
    try:
        if given.top < 1:
            raise ValueError(f"--top must be at least 1, got {given.top}")
        network, about = load_network(given.ckpt_path)
        for path, file in zip(given.pictures, _files(given.pictures, Path(given.output)), strict=True):
            _show(network, about, path, file, given.top)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _show(network: nn.Sequential, about: dict[str, Any], path: str, file: Path, top: int) -> None:
    given = about["input"]
    picture = read_picture(path, given["size"])
    outputs, maps = activation_map(network, prepare(picture, given["mean"], given["std"]))
    shares = outputs[0].softmax(0)
    order = shares.argsort(descending=True)[:top].tolist()
    print(path)
    for index in order:
        print(f"  {shares[index]:7.2%}  {about['classes'][index]}")
    file.parent.mkdir(parents=True, exist_ok=True)
    overlay(picture, maps[0, order[0]], f"{about['classes'][order[0]]}, {shares[order[0]]:.0%}").save(file)
    print(f"  map of {about['classes'][order[0]]} in {file}")


def _files(pictures: list[str], folder: Path) -> Iterator[Path]:
    """Return one name for each picture's map, none twice."""
    taken = set()
    for path in pictures:
        stem, number = Path(path).stem, 1
        while (name := f"{stem}{f'_{number}' if number > 1 else ''}_activation.png") in taken:
            number += 1
        taken.add(name)
        yield folder / name
