"""Say whether the installed package works: a converted layer gives the same numbers, and a layer trains.

    cd /somewhere/else && python tools/smoke.py 0.1.0

Needs torch and numpy alone. The version, if given, must be the installed one.
"""

import sys
from importlib import metadata
from pathlib import Path

import torch

import convtwist


def main(version: str | None = None) -> None:
    """Exit with a sentence if the checkout was imported, or the version is another; any other fault is an error."""
    installed, folder = metadata.version("convtwist"), Path(convtwist.__file__).resolve()
    if folder.is_relative_to(Path(__file__).resolve().parents[1] / "convtwist"):
        sys.exit(f"{folder} is the checkout's package, not an installed one")
    if not installed == convtwist.__version__ == (version or installed):
        sys.exit(f"installed {installed}, convtwist.__version__ {convtwist.__version__}, expected {version}")
    torch.manual_seed(0)
    photo = torch.rand(2, 3, 16, 20)
    ours, conv = convtwist.ConvTwist2d(3, 4, 3, padding=1), torch.nn.Conv2d(3, 4, 3, padding=1)
    if not torch.equal(convtwist.convert(torch.nn.Sequential(conv))(photo), conv(photo)):
        sys.exit("a converted layer gives other numbers than the convolution that it replaces")
    before = ours(photo).square().mean()
    before.backward()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter -= 0.01 * parameter.grad
    if not ours(photo).square().mean() < before:
        sys.exit("a step against the gradient did not lower the loss")
    print(f"convtwist {installed} on torch {torch.__version__}, Python {sys.version.split()[0]}, {sys.platform}: works")


if __name__ == "__main__":
    main(*sys.argv[1:])
