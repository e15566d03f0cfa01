"""``python -m convtwist.train``: says what is missing, or hands over to the command line."""

import sys
from importlib.util import find_spec

_NEEDED = ("lightning", "jsonargparse", "kornia", "PIL", "safetensors", "tensorboard")


def main() -> None:
    """Run the command line, or name what has to be installed first."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(f'convtwist.train needs {", ".join(missing)}: pip install "convtwist[train]"')
    from convtwist.train.cli import run

    run()


if __name__ == "__main__":
    main()
