"""convtwist.plot: scales that can be compared, zero in the middle, and alt text that reaches the notebook."""

import base64
import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

from convtwist import images, plot

PHOTO = images.sample("chelsea")
SIGNED = torch.linspace(-1, 3, 64).view(1, 1, 8, 8)


def drawn(picture):
    return [image for axis in picture.figure.axes for image in axis.images]


def test_a_signed_map_is_centred_on_zero():
    image = drawn(plot.before_after(PHOTO, SIGNED, alt="a signed map"))[1]
    assert (image.norm.vmin, image.norm.vmax) == (-3, 3)
    assert image.cmap(image.norm(0.0))[:3] == pytest.approx((1, 1, 1), abs=0.05)


def test_maps_in_a_row_share_one_scale():
    maps = torch.stack([torch.zeros(8, 8), torch.full((8, 8), 2.0)])
    first, second = drawn(plot.feature_maps(maps, alt="two flat maps"))
    assert (first.norm.vmin, first.norm.vmax) == (second.norm.vmin, second.norm.vmax) == (0, 2)


def test_one_wild_pixel_does_not_grey_out_a_photograph_and_the_bar_says_so():
    wild = torch.rand(1, 1, 100, 100) - 0.5
    wild[0, 0, 3, 3] = 1000
    picture = plot.before_after(PHOTO, wild, alt="one wild pixel")
    assert drawn(picture)[1].norm.vmax < 1
    assert drawn(picture)[1].colorbar.extend == "both"


def test_numbers_are_written_in_every_cell():
    picture = plot.numbers([torch.tensor([[1.0, -2.5], [0.0, 30.0]])], ["grid"], alt="a small grid")
    assert [text.get_text() for text in picture.figure.axes[0].texts] == ["1", "-2.5", "0", "30"]


def faces(picture, value):
    """Return the colour in which each grid of the figure shows ``value``."""
    return [tuple(image.cmap(image.norm(value))) for image in drawn(picture)]


def test_equal_numbers_have_equal_colours_in_a_row_of_grids():
    grids = [torch.tensor([[0.0, 30.0]]), torch.tensor([[2.0, -2.0]]), torch.tensor([[180.0, 0.0]])]
    picture = plot.numbers(grids, ["input", "kernel", "output"], signs="*=", alt="three grids in a row")
    for value in (30.0, -2.0):
        assert len(set(faces(picture, value))) == 1
    assert len(set(faces(plot.numbers(grids, list("abc"), scale="each", alt="three grids alone"), 30.0))) == 3
    assert drawn(plot.numbers(grids, list("abc"), scale=10, alt="three grids to ten"))[2].norm.vmax == 16


def test_grids_stand_in_rows_of_equally_large_cells():
    rows = [torch.ones(3, 6), torch.ones(3, 3), torch.ones(1, 4)] * 3
    picture = plot.numbers(rows, list("abcdefghi"), signs="*= *= *=", columns=3, alt="three rows of three grids")
    picture.figure.draw_without_rendering()
    boxes = [axis.get_window_extent() for axis in picture.figure.axes]
    sides = [box.width / grid.shape[1] for box, grid in zip(boxes, rows, strict=True)]
    assert max(sides) < 1.02 * min(sides)
    assert [round(box.y0) for box in boxes[0:2]] == [round(boxes[0].y0)] * 2 and boxes[3].y1 < boxes[0].y0
    assert [text.get_text() for axis in picture.figure.axes for text in axis.texts if text.get_text() in "*="] == \
        ["*", "="] * 3


def test_red_is_positive_and_blue_negative_in_every_grid():
    for grid in (torch.tensor([[0.0, 5.0]]), torch.tensor([[-5.0, 5.0]]), torch.tensor([[-5.0, 0.0]])):
        picture = plot.numbers([grid], ["one"], alt="one small grid")
        (plus,), (minus,), (zero,) = (faces(picture, value) for value in (5.0, -5.0, 0.0))
        assert plus[0] > plus[2] and minus[2] > minus[0] and min(zero[:3]) > 0.95


def test_every_signed_map_has_a_bar_of_its_own_or_a_shared_one():
    picture = plot.panels([PHOTO, SIGNED, 5 * SIGNED], list("abc"), alt="two signed maps")
    assert [image.colorbar is not None for image in drawn(picture)[:3]] == [False, True, True]
    assert [image.norm.vmax for image in drawn(picture)[1:3]] == [3, 15]
    shared = plot.panels([PHOTO, SIGNED, 5 * SIGNED], list("abc"), alt="two signed maps", shared=(1, 2))
    assert [image.norm.vmax for image in drawn(shared)[1:3]] == [15, 15]
    assert [image.colorbar is not None for image in drawn(shared)[:3]] == [False, True, False]
    assert drawn(plot.photo(PHOTO[..., 0], alt="a grey photograph"))[0].colorbar is None


def test_what_is_no_number_is_amber_and_mentioned():
    broken = torch.rand(1, 1, 8, 8) - 0.5
    broken[0, 0, 2, 3], broken[0, 0, 4, 4] = torch.nan, torch.inf
    for picture in (plot.before_after(PHOTO, broken, alt="two broken pixels"),
                    plot.feature_maps(broken, alt="two broken pixels")):
        image = drawn(picture)[-1] if len(drawn(picture)) == 1 else drawn(picture)[1]
        assert 0 < image.norm.vmax < 1
        face = image.to_rgba(image.get_array())
        assert face[2, 3] == pytest.approx((0xE6 / 255, 0xA4 / 255, 0, 1)) and face[4, 4] == pytest.approx(face[2, 3])
        legend, = picture.figure.legends
        assert legend.get_texts()[0].get_text() == "not a finite number (NaN, infinite): 2 in all"
    assert not plot.before_after(PHOTO, SIGNED, alt="a whole map").figure.legends
    whole = plot.feature_maps(torch.full((1, 4, 4), torch.nan), alt="nothing but NaN")
    assert whole.figure.legends and whole._repr_mimebundle_()
    assert plot.numbers([[[1.0, float("nan")]]], ["grid"], alt="a grid with NaN")._repr_mimebundle_()


def test_truth_values_and_bytes_are_shown_as_they_are():
    mask = SIGNED[0, 0] > 0
    shown = drawn(plot.photo(mask, alt="a mask of pixels"))[0]
    assert np.array_equal(shown.get_array(), mask.numpy()) and (shown.norm.vmin, shown.norm.vmax) == (0, 1)
    photo = torch.from_numpy(PHOTO).permute(2, 0, 1)
    assert np.array_equal(drawn(plot.photo(photo, alt="the photograph itself"))[0].get_array(), PHOTO)


def test_a_crop_shows_the_same_place_of_pictures_of_different_sizes():
    small = images.load(PHOTO, max_side=90)
    crop = (0.25, 0.4, 0.3, 0.2)
    first, second = drawn(plot.panels([PHOTO, small], ["large", "small"], crop=crop, alt="one eye in two sizes"))
    assert np.array_equal(first.get_array(), PHOTO[75:165, 180:270])
    assert np.array_equal(second.get_array(), small[15:33, 36:54])
    assert first.get_interpolation() == "nearest"
    for picture in (plot.photo(PHOTO, crop=crop, alt="one eye alone"),
                    plot.before_after(PHOTO, PHOTO, crop=crop, alt="one eye twice"),
                    plot.feature_maps(images.to_tensor(PHOTO), crop=crop, alt="the same eye")):
        assert drawn(picture)[0].get_array().shape[:2] == (90, 90)
    corner = plot.photo(PHOTO, crop=(0.9999, 0.9999, 0.0001, 0.0001), alt="the last pixel")
    assert drawn(corner)[0].get_array().shape == (1, 1, 3)


def test_many_maps_are_one_mosaic_and_quick():
    maps = torch.randn(256, 14, 14)
    picture = plot.feature_maps(maps, alt="many channels at once")
    sheet = drawn(picture)[0]
    assert len(picture.figure.axes) == 2 and sheet.get_array().shape == (16 * 15 - 1, 16 * 15 - 1, 4)
    expected = sheet.cmap(sheet.norm(maps[17].double().numpy()))
    assert np.allclose(sheet.get_array()[15:29, 15:29], expected)
    assert (sheet.get_array()[14] == 1).all()
    started = time.process_time()
    picture._repr_mimebundle_()
    assert time.process_time() - started < 5  # with an axis for each map it was 39


STRIP, TALL = torch.linspace(-1, 1, 60 * 520).view(1, 1, 60, 520), torch.linspace(-1, 1, 60 * 215).view(1, 1, 215, 60)


@pytest.mark.parametrize("shape", [STRIP, TALL], ids=["strip", "tall"])
@pytest.mark.parametrize("count", [1, 2, 4, 12])
def test_maps_of_hostile_shapes_are_as_large_as_may_be_and_nothing_overlaps(shape, count):
    """A bar is no longer than the maps beside or above it; neither maps, titles nor bars lie over each other."""
    picture = plot.feature_maps(shape.expand(1, count, -1, -1), alt="maps of one hostile shape")
    figure = picture.figure
    figure.draw_without_rendering()
    *maps, bar = [axis.get_tightbbox() for axis in figure.axes]
    *shown, scale = [axis.get_window_extent() for axis in figure.axes]
    assert not [1 for k, box in enumerate(maps) for other in [*maps[:k], bar] if box.overlaps(other)]
    all_maps = max(box.y1 for box in maps) - min(box.y0 for box in maps)
    assert scale.height <= all_maps
    assert max(box.width for box in shown) > 40 and max(box.height for box in shown) > 30
    assert figure.get_figheight() <= 11 and (count > 2 or figure.get_figheight() <= 7)


def test_a_long_name_is_broken_behind_a_dot_and_no_label_is_cut():
    name = "features.denseblock3.denselayer12.conv2.weight"
    titled = plot.panels([torch.randn(9, 9)] * 3, [name] * 3, alt="three grey squares")
    assert titled.figure.axes[0].get_title().split("\n") == ["features.denseblock3.", "denselayer12.conv2.", "weight"]
    label = "what is drawn along the horizontal axis, in percentage points of the accuracy"
    for picture in (plot.runs({name: [1, 2], "short": [2]}, x=label, alt="two named rows"),
                    plot.intervals({name: (1, 0, 2)}, x=label, alt="one named row"),
                    plot.curves({name: [1, 2]}, x=label, y=label, alt="one named curve")):
        picture.figure.draw_without_rendering()
        axis, = picture.figure.axes
        assert axis.get_xlabel().split() == label.split()
        texts = [axis.xaxis.label, axis.yaxis.label, *axis.get_yticklabels()]
        for text in (text for text in texts if text.get_text()[:1].isalpha()):  # numbers may stand beyond the limits
            box, page = text.get_window_extent(), picture.figure.bbox
            assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1


def test_every_curve_is_drawn_however_many_they_are():
    nine = {str(k): [k, k + 1] for k in range(9)}
    axis, = plot.curves(nine, x="step", y="value", alt="nine rising curves").figure.axes
    assert [list(line.get_ydata()) for line in axis.lines] == [[k, k + 1] for k in range(9)]


def test_text_on_cells_contrasts_with_them():
    picture = plot.kernels(torch.tensor([[-9.0, 0.0, 9.0]]), alt="a steep kernel")
    axis = picture.figure.axes[0]
    for j, text in enumerate(axis.texts):
        image = axis.images[0]
        red, green, blue, _ = image.cmap(image.norm(image.get_array()[0, j]))
        light = 0.299 * red + 0.587 * green + 0.114 * blue
        assert (light > 0.5) == (text.get_color() == "black")


@pytest.mark.parametrize("make", [
    lambda alt: plot.photo(PHOTO, alt=alt),
    lambda alt: plot.before_after(PHOTO, SIGNED, alt=alt),
    lambda alt: plot.feature_maps(SIGNED, alt=alt),
    lambda alt: plot.feature_maps(SIGNED.expand(1, 40, 8, 8), alt=alt),
    lambda alt: plot.kernels(torch.eye(3), alt=alt),
    lambda alt: plot.numbers([torch.eye(2)], ["eye"], alt=alt),
    lambda alt: plot.curves({"loss": [3, 2, 1]}, x="step", y="loss", alt=alt),
    lambda alt: plot.runs({"conv": [70, 72], "twist": [77]}, x="accuracy", alt=alt),
    lambda alt: plot.intervals({"twist": (7, 6, 8)}, x="points", band=(-1, 1), alt=alt),
])
def test_every_figure_carries_alt_text_into_the_notebook(make):
    data, metadata = make("what the figure shows")._repr_mimebundle_()
    mime = next(kind for kind in data if kind.startswith("image/"))
    assert metadata[mime]["alt"] == "what the figure shows"
    size = Image.open(io.BytesIO(base64.b64decode(data[mime]))).size
    assert size[0] > 100 and size == (metadata[mime]["width"], metadata[mime]["height"])
    for alt in ("", "  ", "cat", None):
        with pytest.raises(ValueError, match="alt must say in words"):
            make(alt)


def test_a_figure_is_the_same_bytes_twice():
    pictures = [plot.before_after(PHOTO, SIGNED, alt="a signed map")._repr_mimebundle_() for _ in range(2)]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("image", [PHOTO, PHOTO.astype(np.uint16) * 257, PHOTO[:, :, 0], PHOTO / 255,
                                   images.to_tensor(PHOTO), images.to_tensor(PHOTO, grey=True)])
def test_photo_takes_what_images_gives(image):
    assert drawn(plot.photo(image, alt="the photograph itself"))[0].get_array().shape[:2] == PHOTO.shape[:2]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: plot.photo(torch.zeros(1, 8, 4, 4), alt="eight channels here"), "feature_maps"),
    (lambda: plot.photo(torch.full((3, 4, 4), 2.0), alt="far too bright"), "0..1, got 2 to 2"),
    (lambda: plot.panels([PHOTO], [], alt="no title given"), "1 pictures, got 0"),
    (lambda: plot.feature_maps(torch.zeros(2, 3, 4, 4), alt="a batch of two"), r"\(2, 3, 4, 4\)"),
    (lambda: plot.feature_maps(torch.zeros(1, 0, 4, 4), alt="no channel at all"), r"at least one channel.*\(0, 4, 4\)"),
    (lambda: plot.feature_maps(torch.zeros(256, 9, 9), titles=["a"] * 256, alt="many maps with titles"),
     "at most 36 maps, got 256; leave titles out"),
    (lambda: plot.panels([PHOTO] * 37, ["a"] * 37, alt="far too many photographs"), "at most 36.*got 37; show a part"),
    (lambda: plot.kernels(torch.zeros(64, 3, 3), alt="far too many kernels"), "at most 36.*got 64; show a part"),
    (lambda: plot.photo(PHOTO.transpose(2, 0, 1), alt="the channels first"), "come last.*torch.from_numpy"),
    (lambda: plot.photo(torch.full((3, 4, 4), torch.nan), alt="no numbers here"), "0..1, got nan to nan"),
    (lambda: plot.photo(PHOTO, crop=(0.8, 0, 0.3, 1), alt="beyond the edge"), r"crop must be .*got \(0.8"),
    (lambda: plot.numbers([torch.zeros(3)], ["row"], alt="not a matrix"), "two-dimensional"),
    (lambda: plot.numbers([torch.zeros(3, 3)], ["row"], scale=-1, alt="a negative scale"), "scale must be a number"),
    (lambda: plot.kernels(torch.zeros(3, 3, dtype=torch.complex64), alt="a complex kernel"), "weights must be real"),
])
def test_refusals_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_save_writes_the_figure(tmp_path):
    plot.photo(PHOTO, alt="the photograph itself").save(tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").size[0] > 400


def test_arrows_point_where_the_picture_moves():
    fields = {"down": lambda x, y: (0, 1), "clockwise": lambda x, y: (-y, x)}
    picture = plot.arrows(PHOTO, fields, alt="two vector fields")
    down, clockwise = (axis.collections[-1] for axis in picture.figure.axes)
    assert (down.U == 0).all() and (down.V > 0).all()
    above = clockwise.Y < PHOTO.shape[0] / 2 - 20
    assert (clockwise.U[above] > 0).all()  # over the middle, clockwise is to the right
    assert picture.figure.axes[0].yaxis_inverted()  # rows grow downward, so a positive V points down


def test_runs_are_drawn_one_by_one_and_intervals_from_end_to_end():
    named = {"conv": {0: 70, 1: 72}.values(), "twist": [77]}
    axis, = plot.runs(named, x="accuracy", alt="three single runs").figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["conv", "twist"]
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines]
    assert drawn == [([70, 72], [0, 0]), ([71], [0]), ([77], [1]), ([77], [1])]
    runs = {"conv": [1.0, 2.0, 3.0], "twist": [77]}
    axis, = plot.runs(runs, x="accuracy", alt="three runs with their interval", level=0.95).figure.axes
    assert len(axis.lines) == 5 and list(axis.lines[0].get_xdata()) == pytest.approx([-0.484, 4.484], abs=1e-3)
    axis, = plot.intervals({"twist": (7, 6, 8)}, x="points", alt="one interval only").figure.axes
    assert list(axis.lines[1].get_xdata()) == [6, 8] and list(axis.lines[2].get_xdata()) == [7]
    assert axis.get_xlim()[0] <= 0  # zero is seen


def test_an_animation_has_all_frames_and_a_still_that_is_the_last_one():
    frames = [torch.full((1, 1, 20, 30), level) for level in (0.0, 0.5, 1.0)]
    moving = plot.animation(frames, alt='dark, then "bright" pictures', width=60)
    with Image.open(io.BytesIO(moving.moving)) as picture:
        assert (picture.n_frames, picture.size, picture.info["loop"]) == (3, (30, 20), 0)
    with Image.open(io.BytesIO(moving.still)) as picture:
        assert picture.convert("L").getextrema()[0] > 250
    page = moving._repr_html_()
    assert page.count('alt="dark, then &quot;bright&quot; pictures" width="60" height="40"') == 2
    assert "prefers-reduced-motion" in page and "print" in page
    with pytest.raises(ValueError, match="at least two pictures of one size"):
        plot.animation([torch.zeros(4, 4), torch.zeros(5, 4)], alt="two sizes, no animation")
    with pytest.raises(ValueError, match="alt must say"):
        plot.animation(frames, alt="")
