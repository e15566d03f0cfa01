"""``python -m convtwist.train``: says what there is, what is missing, or hands over to the command line."""

import sys
from importlib.util import find_spec

from convtwist.train import overview

# By the name of the import, what pip calls it.  Not the project's own name with an extra: that is nobody's on PyPI.
_TRAINING = {"lightning": "lightning==2.6.6", "jsonargparse": "jsonargparse[signatures]>=4.40,<5",
             "kornia": "kornia>=0.8,<0.10", "PIL": "pillow>=10.3", "safetensors": "safetensors>=0.5",
             "tensorboard": "tensorboard>=2.17"}
_DRAWING = {"matplotlib": "matplotlib>=3.8,<4"}


def main() -> None:
    """Print the overview, or run one command after looking whether all that it imports is installed."""
    try:
        _run()
    except KeyboardInterrupt:  # a run says more itself
        sys.exit(130)


def _run():
    command = sys.argv[1] if len(sys.argv) > 1 else None
    if command in (None, "-h", "--help"):
        print(overview.overview(), end="")
        sys.exit(2 if command is None else 0)
    if command == "plot":
        _ask_for(_DRAWING)
        from convtwist.train import curves

        sys.exit(curves.main(sys.argv[2:]))
    if command == "predict":
        _ask_for({name: _TRAINING[name] for name in ("PIL", "safetensors")} | _DRAWING)
        from convtwist.train import predict

        sys.exit(predict.main(sys.argv[2:]))
    _ask_for(_TRAINING)
    from convtwist.train.cli import run

    run()


def _ask_for(needed):
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        packages = " ".join(f'"{needed[name]}"' for name in missing)
        sys.exit(f"error: convtwist.train needs {', '.join(missing)}; type: pip install {packages}")


if __name__ == "__main__":
    main()
