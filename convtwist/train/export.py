"""Weights as safetensors: numbers and names, nothing that a reader would have to run.

Book: chapter 11.
"""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import convtwist
from convtwist.train import networks

__all__ = ["load_network", "load_weights", "save_weights"]


def save_weights(network: nn.Module, path: str | os.PathLike[str], /, **description: object) -> None:
    """Write a network's parameters and buffers, and a description, to a safetensors file, all of it or nothing."""
    from safetensors.torch import save_file

    whole = Path(path)
    whole.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    partial = whole.with_name(f".{whole.name}.partial-{os.getpid()}")
    try:
        save_file(tensors, partial, {name: json.dumps(value) for name, value in description.items()})
        partial.replace(whole)
    finally:
        partial.unlink(missing_ok=True)


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load what :func:`save_weights` wrote into a network of the same build; return the description.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no safetensors file, or holds the weights of another network.
    """
    tensors, description = _safetensors(_file(path))
    _fill(network, tensors, description, path)
    return description


def load_network(path: str | os.PathLike[str]) -> tuple[nn.Sequential, dict[str, Any]]:
    """Build the network that a run trained, with its weights, in evaluation mode.

    Args:
        path: ``weights.safetensors``, a checkpoint (``best.ckpt``), or the folder of a run, whose best checkpoint is
            taken.

    Returns:
        the network, from ``(batch, channels, size, size)`` to ``(batch, classes)``, and what is known of it:
        ``"classes"``, their names in the order of the outputs; ``"input"``, the ``"size"`` in pixels and the ``"mean"``
        and ``"std"`` of each channel (white is 1) that pictures are normalised by; ``"network"``, what it was built
        from; ``"epochs"``, how many it was trained.

    Raises:
        FileNotFoundError: there is no such file or checkpoint.
        ValueError: the file is damaged, or none of those that ``convtwist.train`` writes.
    """
    file = _file(Path(path, "checkpoints", "best.ckpt") if os.path.isdir(path) else path)
    tensors, description = (_checkpoint if file.suffix == ".ckpt" else _safetensors)(file)
    if not {"network", "classes", "input"} <= description.keys():
        raise ValueError(f"{file} doesn't say which network its weights belong to; name the weights.safetensors or a "
                         "checkpoint of a run of convtwist.train")
    recipe = dict(description["network"])
    swapped = recipe.pop("convert", None)
    with torch.random.fork_rng(devices=[]):  # the numbers drawn here are replaced
        network = networks.build(**recipe)
        if swapped is not None:
            network = convtwist.convert(network, inplace=True, **swapped)
    _fill(network, tensors, description, file)
    return network.eval(), description


def _file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {file}, seen from {Path.cwd()}")
    return file


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file ({error})") from error


def _checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {name.removeprefix("network."): tensor for name, tensor in checkpoint["state_dict"].items()}
        return tensors, {**checkpoint.get("convtwist", {}), "epochs": checkpoint["epoch"] + 1}
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged or no checkpoint of a run ({error})") from error


def _fill(network: nn.Module, tensors: dict[str, Tensor], description: dict[str, Any],
          path: str | os.PathLike[str]) -> None:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        built = description.get("network", "which it doesn't say")
        raise ValueError(f"{path} holds the weights of another network ({built}): {error}") from error
