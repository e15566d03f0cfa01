"""One run of the evidence: train a network, test it, and say what it took.

Book: chapter 12.  A plain loop of its own: it counts the CPU seconds of training alone, on one thread, with no engine
around it, and is read in a minute.
"""

import base64
import functools
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.evidence.networks import build, deployed, find, parameters
from benchmarks.evidence.pictures import CHUNK, Poses, asked, batches, posed, sample
from benchmarks.evidence.plan import BATCH, TRAINING, VALIDATION, WEIGHT_DECAY, Run
from convtwist import ConvTwist2d, param_groups
from convtwist.train import fashion

__all__ = ["correct", "data", "trained", "twist_rows"]


@functools.cache
def data(folder=None) -> dict[str, tuple[Tensor, Tensor]]:
    """Return pictures and labels of ``training``, ``validation`` and ``test``."""
    pictures, labels = fashion.load("train", folder)
    return {"training": (pictures[:TRAINING], labels[:TRAINING]),
            "validation": (pictures[-VALIDATION:], labels[-VALIDATION:]), "test": fashion.load("test", folder)}


@functools.cache
def _test_set(name, folder, count):
    """Return the pictures of a test as every network sees them, and their labels."""
    pictures, labels = data(folder)["validation" if name == "validation" else "test"]
    condition, poses = asked(name, len(pictures[:count]))
    pictures, labels = pictures[:len(poses.angle)], labels[:len(poses.angle)]
    parts = [posed(pictures[part], Poses(*(numbers[part] for numbers in poses)), condition)
             for part in (slice(k, k + CHUNK) for k in range(0, len(pictures), CHUNK))]
    return torch.cat(parts), labels


def correct(model: nn.Module, pictures: Tensor, labels: Tensor) -> Tensor:
    """Return for each picture whether a network names it rightly; the network is in evaluation mode."""
    with torch.no_grad():
        return torch.cat([model(images).argmax(1) == classes
                          for images, classes in zip(pictures.split(250), labels.split(250), strict=True)])


def trained(run: Run, folder=None, test_images: int | None = None,
            weights: dict[str, Tensor] | None = None) -> tuple[list[dict], list[dict]]:
    """Train and test; return a row for each test, and the sizes of the twist at start and end.

    In a row ``named`` has a bit for each picture, set where it was named rightly, as ``numpy.packbits`` in base64.
    ``weights``, if given, receives what the network has learned.
    """
    pictures, labels = data(folder)["training"]
    chosen = sample(len(pictures), run.images, run.seed)
    model = build(run.variant, run.seed)
    if find(run.variant).layer != "e2cnn":
        model = model.to(memory_format=torch.channels_last)  # faster for all that can have it
    twists = twist_rows(model, run, "start")
    optimizer = torch.optim.AdamW(param_groups(model, lr=run.rate, weight_decay=WEIGHT_DECAY), lr=run.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.rate, total_steps=run.steps + 1)
    model.train()
    began, seconds, losses = time.perf_counter(), 0.0, []
    for images, classes in batches(pictures[chosen], labels[chosen], condition=run.train, seed=run.seed,
                                   steps=run.steps, batch=BATCH):
        start = time.process_time()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), classes)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        seconds += time.process_time() - start
    wall = time.perf_counter() - began
    twists += twist_rows(model, run, "end")
    count = parameters(model)
    if weights is not None:
        weights.update(model.state_dict())
    model = deployed(model).to(memory_format=torch.channels_last)
    last = losses[-max(1, len(losses) // 10):]
    rows = []
    for test in run.tests:
        shown, wanted = _test_set(test, folder, test_images)
        named = correct(model, shown, wanted)
        right = int(named.sum())
        rows.append({
            "stage": run.stage, "variant": run.variant, "width": find(run.variant).width, "parameters": count,
            "seed": run.seed, "train": run.train, "images": run.images, "steps": run.steps, "batch": BATCH,
            "epochs": round(run.steps / (run.images // BATCH), 3), "rate": run.rate, "test": test,
            "test_images": len(wanted), "correct": right, "accuracy": right / len(wanted),
            "train_loss": round(sum(last) / len(last), 5), "cpu_seconds": round(seconds, 3),
            "wall_seconds": round(wall, 2), "named": base64.b64encode(np.packbits(named.numpy())).decode()})
    return rows, twists


def twist_rows(model: nn.Module, run: Run, moment: str) -> list[dict]:
    """Return the mean square of each layer's kernel, zoom and rotation; none but for ``"similarity"`` twists."""
    layers = [module for module in model.modules() if isinstance(module, ConvTwist2d)]
    return [{"stage": run.stage, "variant": run.variant, "seed": run.seed, "train": run.train, "layer": number,
             "in_channels": layer.in_channels, "out_channels": layer.out_channels, "moment": moment,
             "kernel": float(layer.weight.detach().square().mean()),
             "zoom": float(layer.twist[0].detach().square().mean()),
             "rotation": float(layer.twist[1].detach().square().mean())}
            for number, layer in enumerate(layers, 1) if layer.operators == "similarity"]
