"""Which engine serves a layer on this machine, and why not a quicker one.

Book: chapter 13.  Source: new here.
"""

from typing import Literal, overload

import torch

from convtwist._engine import cpp, gpu

__all__ = ["show_config"]


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...


@overload
def show_config(mode: Literal["dicts"]) -> dict[str, str]: ...


def show_config(mode: str = "stdout") -> dict[str, str] | None:
    """Print what computes ``ConvTwist2d`` and ``IsoTwist2d`` here: eagerly, compiled, and on a GPU.

    The first call may take some seconds, since it tries the C++ compiler.

    Args:
        mode: ``"stdout"`` prints a line for each entry; ``"dicts"`` returns them, as ``numpy.show_config`` does.

    Raises:
        ValueError: ``mode`` is neither.

    >>> sorted(show_config("dicts"))
    ['compiled', 'compiler', 'convtwist', 'device', 'eager', 'gpu', 'python', 'torch', 'triton']
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', got {mode!r}")
    entries = _entries()
    if mode == "dicts":
        return entries
    width = max(map(len, entries))
    print("\n".join(f"{name:<{width}}  {text}" for name, text in entries.items()))
    return None


def _entries() -> dict[str, str]:
    import platform

    import convtwist

    return {
        "convtwist": convtwist.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "device": _device(),
        "compiler": _compiler(),
        "triton": _triton(),
        "eager": _eager(),
        "compiled": _compiled(),
        "gpu": _gpu(),
    }


def _device() -> str:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        return f"CPU, {torch.get_num_threads()} threads; {', '.join(names)}"
    return f"CPU, {torch.get_num_threads()} threads; no CUDA device"


def _compiler() -> str:
    return cpp.why_not() or "compiles this package's C++"


def _triton() -> str:
    import importlib.metadata
    import importlib.util

    if importlib.util.find_spec("triton") is None:
        return "not installed"
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return "installed, of unknown version"


def _eager() -> str:
    if not torch.backends.mkldnn.is_available():
        return "plain PyTorch operations: this torch was built without oneDNN"
    return ("fields in blocks that stay in the cache, for float32 on a CPU; plain PyTorch operations for other types "
            "and devices, under autocast and in a trace")


def _compiled() -> str:
    if not torch.backends.mkldnn.is_available():
        return "plain PyTorch operations: this torch was built without oneDNN"
    fields = "fields in C++" if cpp.why_not() is None else f"fields in blocks, no C++: {cpp.why_not()}"
    return f"one operator a layer, {fields}, for float32 on a CPU; plain PyTorch operations otherwise"


def _gpu() -> str:
    reason = gpu.why_not()
    if reason is not None:
        return ("three convolutions for float16, bfloat16 and autocast, plain PyTorch operations for other types; not "
                f"the GPU kernels: {reason}")
    return ("GPU kernels in Triton, eager and compiled, for float32, float16, bfloat16 and autocast; plain PyTorch "
            "operations for other types")
