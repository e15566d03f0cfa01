"""Weights as safetensors: numbers and names, nothing that a reader would have to run.

Book: chapter 11.
"""

import json
import os
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch import nn

__all__ = ["ExportWeights", "load_weights", "save_weights"]


def save_weights(network: nn.Module, path, /, **description) -> None:
    """Write a network's parameters and buffers, and a description, to a safetensors file, all of it or nothing."""
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        save_file(tensors, partial, {name: json.dumps(value) for name, value in description.items()})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_weights(network: nn.Module, path) -> dict:
    """Load what :func:`save_weights` wrote into a network of the same build; return the description.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no safetensors file, or holds the weights of another network.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}, seen from {Path.cwd()}")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            description = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file ({error})") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        built = description.get("network", "which it doesn't say")
        raise ValueError(f"{path} holds the weights of another network ({built}): {error}") from error
    return description


class ExportWeights(Callback):
    """Writes ``weights.safetensors`` when training ends, with what the network was built from and its classes.

    These are the weights after the last epoch, or their moving average if a ``WeightAveraging`` runs; the
    checkpoints hold those of the best epoch, too.

    Args:
        path: of the file; by default ``weights.safetensors`` in the run's folder.
    """

    def __init__(self, path: str | None = None):
        self.path = path

    def on_fit_end(self, trainer, pl_module) -> None:
        """Write the file from the first process."""
        if trainer.is_global_zero and not trainer.fast_dev_run:
            path = self.path or os.path.join(trainer.default_root_dir, "weights.safetensors")
            with torch.no_grad():
                save_weights(pl_module.network, path, network=pl_module.description, classes=trainer.datamodule.classes,
                             epochs=trainer.current_epoch)
