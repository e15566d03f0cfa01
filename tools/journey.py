"""Draw the picture of the front page: a photograph, its edges, a field of arrows, the photograph turned.

``python tools/journey.py`` writes ``book/_assets/journey.png``.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import conv2d

from convtwist import flow, images, plot

ASSETS = Path(__file__).parents[1] / "book" / "_assets"


def main():
    """Compute each panel with the package and write the figure."""
    photo = images.sample("chelsea")[:, 75:375]
    tensor = images.to_tensor(photo)
    edges = conv2d(images.to_tensor(photo, grey=True), torch.tensor([[1.0, -1.0]]).view(1, 1, 1, 2))
    turned = flow.flow(tensor, "rotate", np.pi / 6, steps=100, method="rk4").clamp(0, 1)
    titles = ["photograph", "its edges", "a twist", "100 twists"]
    picture = plot.panels([photo, edges, photo, turned], titles, columns=4, alt="The journey of this book")
    rows, columns = np.mgrid[18:300:33, 18:300:33]
    y, x = rows - 149.5, columns - 149.5
    picture.figure.axes[2].quiver(columns, rows, -y, x, angles="xy", scale_units="xy", scale=7, color="#ffd23f",
                                  width=0.009)
    for axis in picture.figure.axes:
        axis.title.set_fontsize(18)  # still legible where a phone shows the figure a third as large
    picture.figure.set_size_inches(9, 2.7)
    picture.save(ASSETS / "journey.png")


if __name__ == "__main__":
    main()
