"""The Lightning module: a network, a loss, an optimizer with groups, a schedule.

Book: chapter 11.
"""

import json
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

import convtwist
from convtwist._arguments import check_choice
from convtwist.train import networks, schedules
from convtwist.train.data import Pictures
from convtwist.train.export import load_weights
from convtwist.train.layers import LAYERS
from convtwist.train.mixing import mixup, soft_cross_entropy
from convtwist.train.pictures import Batch
from convtwist.train.sampling import NOT_COUNTED, key_of, seeded

__all__ = ["Classifier"]


class Classifier(LightningModule):
    """Trains a network of :func:`convtwist.train.networks.build` on the classes of the data module.

    Args:
        network: ``resnet18``, ``resnet50`` or ``bottleneck``, which is the forum thread's.
        layer: what stands in the place of a 3x3 convolution: ``conv2d``, ``coord_conv``, ``similarity``, ``affine``,
            ``first_order`` or ``iso_twist``.
        layer_options: for the layer, such as ``{twist_init: zeros, permute: 4-cycle}``.
        network_options: for the network, such as ``{stem: deep, depths: [4, 6, 8, 10], group_width: 4}``.
        convert: build with ``layer``, then swap what ``convtwist.convert`` can swap; a twist starts from zero.
        convert_options: for ``convtwist.convert``, such as ``{operators: affine}``.
        weights: a safetensors file to start from, or to evaluate.
        lr: highest learning rate.
        weight_decay: of the weights; biases, normalisation and twists are not decayed.
        twist_lr_scale: learning rate of the twists, as a factor of ``lr``.
        optimizer: any of torch's.
        schedule: ``one_cycle``, ``flat_and_anneal`` or ``constant``.
        mixup: alpha of mixup, 0 for none.
        smoothing: of the labels in training and in ``val_loss``, 0 for none.
        channels_last: lay out pictures and weights so that GPUs with half precision are faster.
    """

    network: nn.Module | None
    description: dict[str, Any]
    convert: bool
    convert_options: dict[str, Any]
    weights: str | None
    lr: float
    weight_decay: float
    twist_lr_scale: float
    optimizer: OptimizerCallable
    schedule: str
    mixup: float
    smoothing: float
    channels_last: bool
    totals: Tensor

    def __init__(self, network: str = "resnet18", layer: str = "similarity",
                 layer_options: dict[str, Any] | None = None, network_options: dict[str, Any] | None = None,
                 convert: bool = False, convert_options: dict[str, Any] | None = None,
                 weights: str | None = None, lr: float = 1e-3, weight_decay: float = 0.01,
                 twist_lr_scale: float = 1.0, optimizer: OptimizerCallable = torch.optim.AdamW,
                 schedule: str = "one_cycle", mixup: float = 0.0, smoothing: float = 0.1,
                 channels_last: bool = False) -> None:
        super().__init__()
        check_choice(network, "network", networks.NETWORKS)
        check_choice(layer, "layer", LAYERS)
        check_choice(schedule, "schedule", schedules.SCHEDULES)
        if mixup < 0:
            raise ValueError(f"mixup must be 0 (off) or a positive alpha, got {mixup!r}")
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must lie from 0 to below 1, got {smoothing!r}")
        if convert_options and not convert:
            raise ValueError("convert_options are given, but convert is off; pass --model.convert true")
        self.description = {"network": network, "layer": layer, "layer_options": dict(layer_options or {}),
                            **dict(network_options or {})}
        self.convert, self.convert_options = convert, dict(convert_options or {})
        self.weights, self.mixup, self.smoothing = weights, mixup, smoothing
        self.lr, self.weight_decay, self.twist_lr_scale = lr, weight_decay, twist_lr_scale
        self.optimizer, self.schedule, self.channels_last = optimizer, schedule, channels_last
        self.network = None

    def configure_model(self) -> None:
        """Build the network for the classes and channels of the data; called again, it does nothing."""
        if self.network is not None:
            return
        data = _data(self.trainer)
        self.description |= {"classes": len(data.classes), "channels": data.channels}
        with seeded(key_of(data.seed, 3)):  # whatever was drawn before
            network = networks.build(**self.description)
            if self.convert:
                network = convtwist.convert(network, inplace=True, **self.convert_options)
                self.description["convert"] = self.convert_options
        if self.weights is not None:
            load_weights(network, self.weights)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch lacks the overload
        self.network = network

    def built(self) -> nn.Module:
        """Return the network.

        Raises:
            RuntimeError: there is none yet.
        """
        if self.network is None:
            raise RuntimeError("there is no network yet; Lightning's Trainer builds it with configure_model()")
        return self.network

    def forward(self, pictures: Tensor) -> Tensor:
        """Take normalised pictures ``(batch, channels, size, size)`` to ``(batch, classes)``."""
        pictures = pictures.to(self.dtype)  # half, where the whole network is
        if self.channels_last:
            pictures = pictures.contiguous(memory_format=torch.channels_last)
        return self.built()(pictures)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss on a batch, mixed by the key of its first picture."""
        pictures, labels, keys = batch
        with seeded(key_of(int(keys[0]), 4)):
            pictures, shares = mixup(pictures, labels, self.description["classes"], self.mixup)
        outputs = self(pictures)
        loss = soft_cross_entropy(outputs, shares, self.smoothing)
        right = (outputs.detach().argmax(1) == labels).float().mean()  # a blend counts as what it holds most of
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, sync_dist=True,
                 batch_size=len(labels))
        self.log("train_accuracy", right, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labels))
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], on_step=True, on_epoch=True, sync_dist=True,
                 batch_size=len(labels))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Set the totals to 0."""
        self.totals = torch.zeros(4, dtype=torch.float64)

    def on_test_epoch_start(self) -> None:
        """Set the totals to 0."""
        self.on_validation_epoch_start()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the totals: loss, right at first, right among five, pictures."""
        pictures, labels, keys = batch
        outputs, counted = self(pictures).float(), keys != NOT_COUNTED
        loss = F.cross_entropy(outputs, labels, label_smoothing=self.smoothing, reduction="none")
        best = outputs.topk(min(5, outputs.shape[1])).indices == labels[:, None]
        numbers = torch.stack([loss, best[:, 0], best.any(1), torch.ones_like(loss)])
        self.totals += numbers[:, counted].sum(1).cpu().double()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the totals, as in validation."""
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the means over all pictures of all processes."""
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over all pictures of all processes."""
        self._log_means("test")

    def _log_means(self, name: str) -> None:
        # Lightning would take the mean over batches, of which the last may be smaller, or not counted at all.
        totals = self.trainer.strategy.reduce(self.totals.float().to(self.device), reduce_op="sum")
        if not totals[3]:
            raise ValueError("there was not one picture to evaluate; see the warnings above")
        means = (totals[:3] / totals[3]).tolist()
        for key, value in zip(("loss", "accuracy", "top5"), means, strict=True):
            self.log(f"{name}_{key}", value, prog_bar=key != "top5", rank_zero_only=False)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer of ``convtwist.param_groups``, and the schedule, step by step."""
        groups = convtwist.param_groups(self.built(), lr=self.lr, weight_decay=self.weight_decay,
                                        twist_lr_scale=self.twist_lr_scale)
        optimizer = self.optimizer(groups)
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ValueError("a schedule needs to know where it ends; pass --trainer.max_epochs or --trainer.max_steps")
        scheduler = LambdaLR(optimizer, lambda step: schedules.factor(self.schedule, step, int(steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def about(self) -> dict[str, Any]:
        """Return what it takes to build the network and feed it: ``"network"``, ``"classes"`` and ``"input"``."""
        data = _data(self.trainer)
        return json.loads(json.dumps({"network": self.description, "classes": data.classes, "input": data.input}))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what :meth:`about` returns, under ``"convtwist"``."""
        checkpoint["convtwist"] = self.about()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of another network or of other classes before any of its numbers is taken.

        Raises:
            ValueError: says in what it differs.
        """
        path, there, here = self.trainer.ckpt_path, checkpoint.get("convtwist", {}), self.about()
        if there.get("classes", here["classes"]) != here["classes"]:
            raise ValueError(f"the checkpoint {path} knows the classes {', '.join(there['classes'])}, the data has "
                             f"{', '.join(here['classes'])}; check --data.path")
        ours, theirs = here["network"], there.get("network", here["network"])
        differing = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        if differing:
            was, now = (", ".join(f"{name} {one.get(name, 'left out')!r}" for name in differing)
                        for one in (theirs, ours))
            raise ValueError(f"the checkpoint {path} was trained with {was}, but this command has {now}; give it the "
                             "same --model settings, or start a run of its own in another --trainer.default_root_dir")
        kept = checkpoint["state_dict"]
        for name, tensor in self.state_dict().items():
            if name not in kept or kept[name].shape != tensor.shape:
                raise ValueError(f"the checkpoint {path} holds the weights of another network: {name} is "
                                 f"{tuple(kept[name].shape) if name in kept else 'missing'}, not {tuple(tensor.shape)}")


def _data(trainer: Trainer) -> Pictures:
    return trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]  # set, but not declared
