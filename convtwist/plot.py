"""Every figure of the book: one style, one width, a shared scale where pictures are compared, and alt text.

Colours mean the same everywhere: white is zero, red positive, blue negative; a map without negative values runs from
black to white; what is not a number is amber, and a line under the figure says so. A map of more than 4096 values is
drawn without its outermost 0.5 %, lest one pixel grey out all others; the ends of its colour bar are then pointed.

The only module that imports matplotlib. Each function returns a :class:`Picture`, which a notebook shows when
it is a cell's last line.
"""

import base64
import html
import io
import itertools
import os
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import IO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from convtwist.images import to_image, to_uint8
from convtwist.results.intervals import mean_interval

__all__ = ["Animation", "Picture", "animation", "arrows", "before_after", "curves", "feature_maps", "intervals",
           "kernels", "numbers", "panels", "photo", "runs"]

Numbers: TypeAlias = np.ndarray | Tensor
Crop: TypeAlias = tuple[float, float, float, float]
Field: TypeAlias = Callable[[np.ndarray, np.ndarray], tuple[npt.ArrayLike, npt.ArrayLike]]

WIDTH = 7.0  # inches; at 120 dots an inch a figure fills the text column and stays legible on a phone
DPI = 120
SIGNED, UNSIGNED, NO_NUMBER = "RdBu_r", "gray", "#e6a400"
MANY = 36  # maps; more are drawn as one mosaic
TALLEST, TALLEST_ROW = 11, 7  # inches, of a whole figure and of one with a single row
_FONT = {"size": 12}


class Picture:
    """A figure that carries its alternative text into the notebook, the page and the screen reader.

    ``figure`` is the matplotlib figure, to change or to save.
    """

    figure: Figure
    alt: str

    def __init__(self, figure: Figure, alt: str) -> None:
        self.figure, self.alt = figure, alt

    def save(self, path: "str | os.PathLike[str] | IO[bytes]") -> None:
        """Write the figure to a file; the ending chooses the format."""
        self.figure.savefig(path, dpi=DPI, bbox_inches="tight")

    def __repr__(self) -> str:
        return f"Picture({self.alt!r})"

    def _repr_mimebundle_(self, include=None, exclude=None):
        # Photographs are smaller as JPEG, drawings as PNG: store whichever it is.
        files, (width, height) = self._files()
        mime = min(files, key=lambda kind: len(files[kind]))
        data = {"text/plain": repr(self), mime: base64.b64encode(files[mime]).decode()}
        return data, {mime: {"alt": self.alt, "width": width, "height": height}}

    def _files(self):
        """Return the figure as PNG and as JPEG, and its size; it is drawn once, for that takes longest."""
        from PIL import Image

        png, jpeg = io.BytesIO(), io.BytesIO()
        self.figure.savefig(png, format="png", dpi=DPI, bbox_inches="tight", facecolor="white",
                            metadata={"Software": None})
        with Image.open(png) as drawn:
            paper = Image.new("RGB", drawn.size, "white")
            paper.paste(drawn, mask=drawn.getchannel("A"))
        paper.save(jpeg, "JPEG", quality=88, subsampling=0, optimize=True, dpi=(DPI, DPI))
        return {"image/png": png.getvalue(), "image/jpeg": jpeg.getvalue()}, paper.size


class Animation:
    """A moving picture that repeats, with a still in its place in print and for readers who asked for less motion.

    ``moving`` and ``still`` are the encoded files, both WebP.
    """

    moving: bytes
    still: bytes
    alt: str

    def __init__(self, moving: bytes, still: bytes, alt: str, width: int) -> None:
        self.moving, self.still, self.alt, self._width = moving, still, alt, width

    def __repr__(self) -> str:
        return f"Animation({self.alt!r})"

    def _repr_html_(self) -> str:
        width, height = _size(self.moving)
        size = f'width="{self._width}" height="{round(height * self._width / width)}"'
        images = [f'<img class="{kind}" alt="{html.escape(self.alt)}" {size} '
                  f'src="data:image/webp;base64,{base64.b64encode(file).decode()}">'
                  for kind, file in (("moving", self.moving), ("still", self.still))]
        return ("<style>.convtwist-animation img { max-width: 100%; height: auto; }\n"
                ".convtwist-animation .still { display: none; }\n"
                "@media print, (prefers-reduced-motion: reduce) {\n"
                ".convtwist-animation .moving { display: none; }\n"
                ".convtwist-animation .still { display: inline; } }</style>\n"
                f'<div class="convtwist-animation">{images[0]}{images[1]}</div>')


def animation(frames: Iterable[Numbers], *, alt: str, width: int = 360, seconds: float = 0.08) -> Animation:
    """Make a moving picture out of pictures with values from 0 to 1; it rests on the last one and starts again.

    Args:
        frames: at least two pictures of one size, as :func:`convtwist.images.to_image` takes them.
        alt: what a reader who can't see the motion should know.
        width: of the picture on the page, in pixels.
        seconds: how long each frame is shown; the first and the last stay for a second longer.

    Raises:
        ValueError: fewer than two frames, or frames of different sizes; no alt text.
    """
    from PIL import Image

    _check_alt(alt)
    pictures = [Image.fromarray(to_image(frame)).convert("RGB") for frame in frames]
    if len(pictures) < 2 or len({picture.size for picture in pictures}) > 1:
        sizes = sorted({picture.size for picture in pictures})
        raise ValueError(f"frames must be at least two pictures of one size, got {len(pictures)} of sizes {sizes}")
    moving, still = io.BytesIO(), io.BytesIO()
    shown = [round(1000 * seconds)] * len(pictures)
    shown[0] = shown[-1] = shown[0] + 1000
    pictures[0].save(moving, "WEBP", save_all=True, append_images=pictures[1:], duration=shown, loop=0, quality=60)
    pictures[-1].save(still, "WEBP", quality=75)
    return Animation(moving.getvalue(), still.getvalue(), alt, width)


def photo(image: Numbers, *, alt: str, title: str = "", crop: Crop | None = None) -> Picture:
    """Show one picture: an array from ``convtwist.images`` or a tensor of 1 or 3 channels in 0..1."""
    return panels([image], [title], alt=alt, crop=crop)


def before_after(before: Numbers, after: Numbers | Sequence[Numbers], *, alt: str,
                 titles: Sequence[str] = ("before", "after"), signed: bool | None = None,
                 crop: Crop | None = None) -> Picture:
    """Show the input of a layer beside its output (or several outputs, given as a list).

    The outputs share one scale; it is centred on zero where a value is negative, or where ``signed`` says so.
    ``crop`` shows a piece of each, see :func:`panels`.
    """
    after = list(after) if isinstance(after, (list, tuple)) else [after]
    return panels([before, *after], titles, alt=alt, signed=signed, shared=range(1, len(after) + 1), crop=crop)


def feature_maps(maps: Numbers, *, alt: str, titles: Sequence[str] | None = None, signed: bool | None = None,
                 columns: int | None = None, crop: Crop | None = None) -> Picture:
    """Show every channel of ``(1, channels, height, width)`` or ``(channels, height, width)`` on one scale.

    More than 36 maps without titles are drawn as one mosaic, row by row, and so are fewer that would be too small on
    their own. ``columns`` is two by default, more for tall maps, or for a mosaic as many as make it square. ``crop``
    shows a piece of each map, see :func:`panels`.

    Raises:
        ValueError: another shape, no channel at all, or titles for more than 36.
    """
    maps = _tensor(maps, "maps")
    maps = maps[0] if maps.ndim == 4 and len(maps) == 1 else maps
    if maps.ndim != 3 or maps.numel() == 0:
        raise ValueError("maps must be (channels, height, width) or a batch of one, with at least one channel and one "
                         f"pixel, got {tuple(maps.shape)}")
    if titles is None:
        wide, high = _columns(len(maps), 2, maps.shape[1] / maps.shape[2])
        if len(maps) > MANY or (columns is None and len(maps) > wide and high > 1.3 * TALLEST):
            return _mosaic(maps, alt, signed, columns, crop)
        titles = [f"channel {c}" for c in range(len(maps))]
    elif len(maps) > MANY:
        raise ValueError(f"titles are drawn for at most {MANY} maps, got {len(maps)}; leave titles out for one sheet, "
                         f"or show a part, such as maps[:, :{MANY}]")
    columns = columns or _columns(len(maps), 2, maps.shape[1] / maps.shape[2])[0]
    return panels(list(maps), titles, alt=alt, signed=signed, shared=range(len(maps)), columns=columns, crop=crop)


def panels(images: Iterable[Numbers], titles: Iterable[str], *, alt: str, signed: bool | None = None,
           shared: Iterable[int] = (), columns: int | None = None, crop: Crop | None = None) -> Picture:
    """Show pictures side by side.

    Args:
        images: arrays or tensors. Three channels are a photograph; one channel is a map of numbers.
        titles: one a picture.
        alt: what a reader who can't see the figure should know.
        signed: True centres the colours on zero; None does so where a value is negative.
        shared: indices of the maps that share one scale, drawn beside them. Another signed map has a scale of its own.
        columns: how many stand in a row; by default up to three, or two if they are four, more if they are tall.
        crop: show only a piece of each picture, for detail: ``(top, left, height, width)`` as shares of its sides,
            such as ``(0.25, 0.4, 0.3, 0.3)``. Each pixel is then a square of its own.

    Raises:
        ValueError: no alt text, not one title a picture, more than 36 pictures, or a crop beyond the picture.
    """
    images, titles, shared = [_pixels(image) for image in images], list(titles), list(shared)
    if len(images) != len(titles) or not images:
        raise ValueError(f"titles must name each of the {len(images)} pictures, got {len(titles)}")
    if len(images) > MANY:
        raise ValueError(f"images must be at most {MANY}, since more are too small to see, got {len(images)}; show a "
                         "part, or maps of one size with convtwist.plot.feature_maps")
    scales = _scales(images, signed, shared)
    if crop is not None:
        images = [_cropped(image, crop) for image in images]
    aspect = max(image.shape[0] / image.shape[1] for image in images)
    if columns is None:
        columns, _ = _columns(len(images), 2 if len(images) == 4 else 3, aspect)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    width = WIDTH if columns > 1 else WIDTH * 0.75
    maps = [k for k in shared if images[k].ndim == 2]
    alone = [k for k, scale in enumerate(scales) if k not in shared and scale and scale[1].vmin < 0]
    bars = bool(maps or alone)
    under = bars and rows * aspect / columns < 0.2  # a bar beside so low a figure has no room for its numbers
    room = 0.12 * width if bars and not under else 0
    height = rows * ((width - room) / columns * aspect + 0.4) + 0.5 * under
    limit = TALLEST if rows > 1 else TALLEST_ROW
    if height > limit:  # as narrow as the pictures then are, lest they stand far apart
        width = room + max((width - room) * (limit - 0.4 * rows) / (height - 0.4 * rows), 1.3 * columns)
    figure = _figure(alt, width, min(max(height, 0.9), limit))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    drawn = []
    for axis, image, title, scale in zip(axes, images, titles, scales, strict=False):
        cmap, norm = scale or (None, None)
        sharp = crop is not None or image.shape[1] < 64
        shown = image if image.ndim == 3 else np.ma.masked_invalid(image)
        drawn.append(axis.imshow(shown, cmap=cmap, norm=norm, interpolation="nearest" if sharp else None))
        # Four in a row shrink to thumbnails on a phone: larger letters keep their titles legible there.
        axis.set_title(_wrap(title, columns), fontsize=_FONT["size"] + 3 * (columns == 4))
        axis.set_anchor("N" if under else "C")
    for axis in axes:
        axis.set_axis_off()
    if maps:
        _bar(figure, drawn[maps[0]], [images[k] for k in maps], axes, under)
    for k in alone:
        _bar(figure, drawn[k], [images[k]], axes[k], under)
    _mention_no_numbers(figure, images)
    return Picture(figure, alt)


def numbers(grids: Iterable[Numbers], titles: Sequence[str], *, alt: str, signs: str = "",
            highlight: Sequence[tuple[int, int, int, int] | None] | None = None, signed: bool | None = None,
            scale: float | Literal["each"] | None = None, columns: int | None = None) -> Picture:
    """Write small matrices out as coloured cells, side by side.

    Args:
        grids: two-dimensional tensors.
        titles: one a grid.
        alt: alternative text.
        signs: one character between each two grids, such as ``"*="``; a blank for none.
        highlight: for each grid None, or the ``(top, left, height, width)`` of a frame to draw.
        signed: of no effect; zero is white, red positive and blue negative in every grid.
        scale: the size of a number in full colour: by default the largest of all grids, so that equal numbers have
            equal colours; ``"each"`` takes the largest of each grid.
        columns: how many grids stand in a row; cells are then equally large in all rows.

    Raises:
        ValueError: no grid or more than 36, another shape, not one title a grid, or a scale that is none.
    """
    grids = [_tensor(grid, "grids") for grid in grids]
    if not grids or any(grid.ndim != 2 or grid.numel() == 0 for grid in grids) or len(titles) != len(grids):
        raise ValueError(f"grids must be two-dimensional with one title each, got {len(grids)} and {len(titles)}")
    if len(grids) > MANY:
        raise ValueError(f"grids must be at most {MANY}, since more are too small to read, got {len(grids)}; show a "
                         "part, or all as pictures with convtwist.plot.feature_maps")
    grids = [grid.double().numpy() for grid in grids]
    reaches = [_reach([grid]) if scale == "each" else scale or _reach(grids) for grid in grids]
    if not all(isinstance(reach, (int, float)) and reach > 0 for reach in reaches):
        raise ValueError(f'scale must be a number above 0, "each" or None, got {scale!r}')
    signs, highlight = list(signs) or [""] * (len(grids) - 1), highlight or [None] * len(grids)
    gap = 0.9  # cells between two grids, room for the sign
    widths = [max(grid.shape[1], 2) for grid in grids]
    tallest = max(grid.shape[0] for grid in grids)
    room = 12 if max(len(f"{value:.4g}") for grid in grids for value in grid.flat) > 4 else 16
    ratios = [max(widths[k::columns]) for k in range(min(columns, len(grids)))] if columns else None
    columns = columns or (len(grids) if any(signs) or sum(widths) <= 16 else max(1, room // (max(widths) + 1)))
    rows = -(-len(grids) // columns)
    widest = sum(ratios) if ratios else max(sum(widths[k : k + columns]) for k in range(0, len(grids), columns))
    total = widest + gap * (columns - 1)
    cell = min(0.62, WIDTH / total, 4 / tallest)
    figure = _figure(alt, cell * total, rows * (cell * tallest + 0.55))
    ratios = widths if rows == 1 else ratios
    axes = list(figure.subplots(rows, columns, width_ratios=ratios, squeeze=False).flat)
    for axis in axes[len(grids) :]:
        axis.set_axis_off()
    for k, (axis, grid, title) in enumerate(zip(axes, grids, titles, strict=False)):
        _cells(axis, grid, cell, reaches[k])
        axis.set_title(_wrap(title, columns), fontsize=_FONT["size"])
        if highlight[k] is not None:
            top, left, high, wide = highlight[k]
            axis.add_patch(_frame(left - 0.5, top - 0.5, wide, high))
        if k < len(signs) and signs[k].strip():
            axis.annotate(signs[k], (1, 0.5), xytext=(0.42 * cell * 72, 0), xycoords="axes fraction",
                          textcoords="offset points", ha="center", va="center", fontsize=18, annotation_clip=False)
    return Picture(figure, alt)


def kernels(weights: Numbers, *, alt: str, titles: Sequence[str] | None = None) -> Picture:
    """Write kernels out with their numbers, zero in white: ``(height, width)`` or ``(number, height, width)``."""
    weights = _tensor(weights, "weights")
    weights = weights[None] if weights.ndim == 2 else weights
    titles = titles or ["kernel" if len(weights) == 1 else f"kernel {k}" for k in range(len(weights))]
    return numbers(list(weights), titles, alt=alt)


def arrows(image: Numbers, velocities: Mapping[str, Field], *, alt: str, columns: int | None = None) -> Picture:
    """Draw the motion that each named velocity field gives the picture, as arrows on top of it.

    A field is a function of ``x`` and ``y``, the pixel's place counted from the middle, ``y`` downward; it returns
    the velocity to the right and downward.
    """
    picture = panels([image] * len(velocities), list(velocities), alt=alt, columns=columns)
    height, width = _pixels(image).shape[:2]
    step = max(height, width) / 9
    rows, cols = np.meshgrid(np.arange(step / 2, height, step), np.arange(step / 2, width, step), indexing="ij")
    for axis, velocity in zip(picture.figure.axes, velocities.values(), strict=False):
        x, y = cols + 0.5 - width / 2, rows + 0.5 - height / 2
        right, down = (np.broadcast_to(np.asarray(part, float), x.shape) for part in velocity(x, y))
        longest = np.hypot(right, down).max() or 1
        axis.quiver(cols, rows, right, down, angles="xy", scale_units="xy", scale=longest / (0.95 * step), width=0.012,
                    color="#ffd23f", edgecolor="black", linewidth=0.7, pivot="middle")  # legible on bright and dark
    return picture


def curves(lines: Mapping[str, npt.ArrayLike | tuple[npt.ArrayLike, npt.ArrayLike]], *, alt: str, x: str, y: str,
           log: str = "") -> Picture:
    """Draw named curves; each value is a sequence, or a pair ``(positions, heights)``.

    ``log`` names the axes that are logarithmic: ``"y"`` or ``"xy"``.
    """
    figure = _figure(alt, WIDTH * 0.8, 3.4)
    axis = figure.subplots()
    styles = itertools.cycle(("-o", "--s", "-.^", ":D", "-v", "--P"))
    for (name, values), style in zip(lines.items(), styles, strict=False):
        positions, heights = values if isinstance(values, tuple) else (range(1, len(values) + 1), values)
        axis.plot(positions, heights, style, label=name, markersize=5)
    axis.set_xlabel(_lines(x, 52), fontsize=_FONT["size"])
    axis.set_ylabel(_lines(y, 32), fontsize=_FONT["size"])
    axis.grid(alpha=0.3)
    if all(float(p).is_integer() for p in positions):
        axis.xaxis.get_major_locator().set_params(integer=True)
    if "y" in log:
        axis.set_yscale("log")
    if "x" in log:
        axis.set_xscale("log")
    if len(lines) > 1:
        axis.legend()
    return Picture(figure, alt)


def runs(groups: Mapping[str, Collection[float]], *, alt: str, x: str, level: float | None = None) -> Picture:
    """Draw every single run as a dot and the mean of each group as a bar, one named group below the other.

    With ``level``, such as 0.95, a line shows Student's interval of that level for the mean of two runs or more.
    """
    figure, axis = _rows(alt, groups, x)
    for place, values in enumerate(groups.values()):
        if level is not None and len(values) > 1:
            _, low, high, _ = mean_interval(list(values), level)
            axis.plot([low, high], [place, place], color="black", linewidth=1)
        values = list(values)
        axis.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.55, markersize=6)
        axis.plot([np.mean(values)], [place], "|", color="black", markersize=16, markeredgewidth=2)
    return Picture(figure, alt)


def intervals(named: Mapping[str, Sequence[float]], *, alt: str, x: str,
              band: tuple[float, float] | None = None) -> Picture:
    """Draw ``(mean, low, high)`` as a dot with its interval, one below the other, against zero.

    ``band`` shades a range, such as the bounds within which two results count as equal.
    """
    figure, axis = _rows(alt, named, x)
    if band is not None:
        axis.axvspan(*band, color="tab:green", alpha=0.15)
    axis.axvline(0, color="black", linewidth=0.8)
    for place, (mean, low, high, *_) in enumerate(named.values()):
        axis.plot([low, high], [place, place], color="tab:blue", linewidth=2)
        axis.plot([mean], [place], "o", color="tab:blue", markersize=7)
    return Picture(figure, alt)


def _rows(alt, names, x):
    """Return a figure with one named row for each of ``names``; long names and a long label take several lines."""
    names, width = [_lines(name, 36) for name in names], WIDTH * 0.9
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    label = _lines(x, max(20, int((width - 0.085 * longest) / 0.09)))  # inches a letter of ticks, and of a label
    most = max((name.count("\n") for name in names), default=0)
    figure = _figure(alt, width, 0.6 + 0.2 * (label.count("\n") + 1) + (0.34 + 0.17 * most) * len(names))
    axis = figure.subplots()
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel(label, fontsize=_FONT["size"])
    axis.grid(axis="x", alpha=0.3)
    return figure, axis


def _columns(count, least, aspect):
    """Return how many pictures of ``aspect`` (height / width) stand in a row, and how high the figure would be."""
    for columns in range(min(least, count), min(6, count) + 1):
        rows = -(-count // columns)
        height = rows * (0.88 * WIDTH / columns * aspect + 0.4)
        if height <= (TALLEST if rows > 1 else TALLEST_ROW):
            break
    return columns, height


def _check_alt(alt: str) -> None:
    if not isinstance(alt, str) or len(alt.split()) < 3:
        raise ValueError(f"alt must say in words what the figure shows, got {alt!r}")


def _figure(alt, width, height):
    _check_alt(alt)
    return Figure(figsize=(width, height), layout="constrained")


def _size(file):
    """Return width and height in pixels of an encoded picture."""
    from PIL import Image

    with Image.open(io.BytesIO(file)) as picture:
        return picture.size


def _tensor(value, name):
    try:
        value = torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers in a tensor or an array ({error})") from None
    if value.is_complex():
        raise ValueError(f"{name} must be real, got {value.dtype}; take its abs(), real or imag")
    return value


def _pixels(image):
    """Bring a picture to ``(height, width)`` numbers or ``(height, width, 3)`` colours."""
    if isinstance(image, torch.Tensor):
        image = _tensor(image, "image")
        image = image[0] if image.ndim == 4 and len(image) == 1 else image
        if image.ndim == 3:
            image = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        image = image.double().numpy() if image.is_floating_point() else image.numpy()
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] != 3:
        raise ValueError(f"an array's channels come last, got shape {image.shape}; pass torch.from_numpy(image)")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
        raise ValueError(f"a panel shows one map or one colour picture, got shape {image.shape}; "
                         "show several channels with convtwist.plot.feature_maps")
    if image.dtype == np.uint16:
        image = to_uint8(image)
    if image.dtype == bool:
        image = image.astype(float)
    if image.ndim == 2 or image.dtype == np.uint8:
        return image
    image = image.astype(float)
    if not (image.min() >= -1e-6 and image.max() <= 1 + 1e-6):  # NaN is refused, too
        raise ValueError(f"a colour picture must be uint8 or lie in 0..1, got {image.min():.3g} to {image.max():.3g}; "
                         "show its channels with convtwist.plot.feature_maps")
    return image.clip(0, 1)


def _cropped(image, crop):
    top, left, height, width = crop
    if not (0 <= top < 1 and 0 <= left < 1 and 0 < height <= 1 - top + 1e-9 and 0 < width <= 1 - left + 1e-9):
        raise ValueError(f"crop must be (top, left, height, width) as shares from 0 to 1 of the sides, got {crop}")
    rows, columns = image.shape[:2]
    top, left = min(round(top * rows), rows - 1), min(round(left * columns), columns - 1)
    return image[top : top + max(1, round(height * rows)), left : left + max(1, round(width * columns))]


def _mosaic(maps, alt, signed, columns, crop):
    """Draw many maps as one picture, since each axis of its own takes a tenth of a second and more."""
    tiles = [_pixels(one) for one in maps]
    (cmap, norm), = _scales([np.stack(tiles).reshape(-1, tiles[0].shape[1])], signed, [0])
    tiles = [tile if crop is None else _cropped(tile, crop) for tile in tiles]
    high, wide = tiles[0].shape
    columns = columns or max(1, round((len(tiles) * high / wide) ** 0.5))
    rows = -(-len(tiles) // columns)
    line = max(1, round(0.03 * wide))
    sheet = np.full((rows * (high + line) - line, columns * (wide + line) - line), np.nan)
    for k, tile in enumerate(tiles):
        top, left = k // columns * (high + line), k % columns * (wide + line)
        sheet[top : top + high, left : left + wide] = tile
    figure = _figure(alt, WIDTH, min(WIDTH * 0.88 * sheet.shape[0] / sheet.shape[1] + 0.4, 11))
    axis = figure.subplots()
    place = np.zeros(sheet.shape, bool)
    for k in range(len(tiles)):
        top, left = k // columns * (high + line), k % columns * (wide + line)
        place[top : top + high, left : left + wide] = True
    colours = cmap(norm(np.ma.masked_invalid(sheet)))
    colours[~place] = 1
    shown = axis.imshow(colours, interpolation="nearest" if crop is not None or wide < 64 else None)
    shown.set(cmap=cmap, norm=norm)
    axis.set_title(f"channels 0 to {len(tiles) - 1}, {columns} in a row", fontsize=_FONT["size"])
    axis.set_axis_off()
    _bar(figure, shown, tiles, axis, under=sheet.shape[0] / sheet.shape[1] < 0.2)
    _mention_no_numbers(figure, tiles)
    return Picture(figure, alt)


def _bar(figure, shown, maps, axes, under):
    """Draw the colours' scale, beside the maps or ``under`` them; its ends are pointed where a map goes beyond."""
    low, high = shown.norm.vmin, shown.norm.vmax
    finite = [part[np.isfinite(part)] for part in maps]
    below = any((part < low).any() for part in finite)
    above = any((part > high).any() for part in finite)
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    place = {"location": "bottom", "shrink": 0.6} if under else {"shrink": 0.8}
    bar = figure.colorbar(shown, ax=axes, aspect=30, pad=0.02, extend=extend, **place)
    bar.ax.tick_params(labelsize=10)


def _mention_no_numbers(figure, images):
    missing = sum(int((~np.isfinite(image)).sum()) for image in images if image.dtype.kind == "f")
    if missing:
        label = f"not a finite number (NaN, infinite): {missing} in all"
        figure.legend(handles=[Patch(color=NO_NUMBER, label=label)], loc="outside lower center", frameon=False)


def _scales(images, signed, shared):
    """Choose colours and range for each picture: None for photographs, a common range for the shared maps."""
    together = [images[k] for k in shared if images[k].ndim == 2]
    common = _scale(together, signed) if together else None
    return [None if image.ndim == 3 else common if k in shared else _scale([image], signed)
            for k, image in enumerate(images)]


def _scale(maps, signed):
    low, high = (float(limit) for limit in _range(maps))
    if signed or (signed is None and low < 0):
        reach = max(abs(low), abs(high)) or 1
        return colormaps[SIGNED].with_extremes(bad=NO_NUMBER), Normalize(-reach, reach)
    grey = colormaps[UNSIGNED].with_extremes(bad=NO_NUMBER)
    if all(one.dtype == np.uint8 for one in maps):
        return grey, Normalize(0, 255)
    low = min(low, 0)  # black is zero: a constant map then looks constant
    return grey, Normalize(low, max(high, 1 if low == 0 and len(maps) == 1 else low + 1e-12))


def _range(maps):
    """Return the range of the maps' finite values, of many without the outermost 0.5 %."""
    values = np.concatenate([np.ravel(m) for m in maps])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0, 0
    share = 0.5 if values.size > 4096 else 0
    low, high = np.percentile(values, [share, 100 - share])
    return (low, high) if low < high else (values.min(), values.max())


def _reach(grids):
    sizes = np.abs(np.concatenate([grid.ravel() for grid in grids]))
    return float(sizes[np.isfinite(sizes)].max(initial=0)) or 1.0


def _cells(axis, grid, cell, reach):
    """Draw one matrix as cells with their numbers, dark text on light cells and the other way round."""
    cmap = colormaps[SIGNED].with_extremes(bad=NO_NUMBER)
    norm = Normalize(-reach * 1.6, reach * 1.6)  # pale, so that the numbers stay legible
    axis.imshow(np.ma.masked_invalid(grid), cmap=cmap, norm=norm, aspect="equal")
    texts = [[f"{value:.4g}" for value in row] for row in np.round(grid, 3) + 0.0]  # no "-0"
    longest = max(len(text) for row in texts for text in row)
    size = min(14, 72 * cell / (0.62 * max(longest, 2) + 0.5))
    for (i, j), value in np.ndenumerate(grid):
        red, green, blue, _ = cmap(norm(value)) if np.isfinite(value) else (1, 1, 1, 1)
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        axis.text(j, i, texts[i][j], ha="center", va="center", fontsize=size, color="black" if light else "white")
    axis.set_xticks(np.arange(-0.5, grid.shape[1]), [])
    axis.set_yticks(np.arange(-0.5, grid.shape[0]), [])
    axis.grid(color="0.6", linewidth=0.8)
    axis.tick_params(length=0)


def _frame(left, top, width, height):
    return Rectangle((left, top), width, height, fill=False, edgecolor="#d95f02", linewidth=3, clip_on=False, zorder=5)


def _wrap(title, columns):
    return _lines(title, max(12, 66 // columns))


def _lines(text, width):
    """Break a text into lines; a name longer than a line, such as ``layer4.2.conv2``, is broken behind a dot."""
    return "\n".join(_Wrapper(width).wrap(text)) or text


class _Wrapper(textwrap.TextWrapper):
    def _split(self, text):
        return [piece for word in super()._split(text)
                for piece in (re.split(r"(?<=[._/])(?=[^\W\d])", word) if len(word) > self.width else [word])]
