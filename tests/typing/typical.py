"""What a user writes: pyright (standard) and mypy --strict must find nothing here."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import convtwist
from convtwist import ConvTwist2d, IsoTwist2d, conversion_report, convert, images, param_groups, revert
from convtwist.flow import exact_warp, flow
from convtwist.functional import conv_twist2d, iso_twist2d

# A layer, called as nn.Conv2d is called.
layer = ConvTwist2d(3, 8, (3, 3), stride=(2, 1), padding="valid", dilation=(1, 1))
same = ConvTwist2d(8, 8, 3, 1, 1, 1, 2, False, "reflect", "cpu", torch.float64, operators="affine", coords="legacy",
                   twist_init="zeros", centers=True, steps=2, permute="cycle")
listed = ConvTwist2d(4, 4, padding=1, groups=2, permute=[3, 2, 1, 0], device=torch.device("cpu"))
iso = IsoTwist2d(3, 8, reduce=2)

# What a layer holds, and what it returns.
output: Tensor = layer(torch.rand(1, 3, 9, 9))
output = iso(output)
kernels: nn.Parameter = layer.weight
twist: nn.Parameter = layer.twist
if layer.bias is not None:
    offset: Tensor = layer.bias.detach()
if same.center is not None:
    nn.init.zeros_(same.center)
down, right = layer.stride
print(layer.in_channels * layer.out_channels // layer.groups, layer.padding_mode, layer.permute, iso.reduce, right)


class Net(nn.Module):
    """A network with a head that keeps its type when the network is converted."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvTwist2d(3, 8, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        features: Tensor = self.body(x)
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


net: Net = convert(Net(), include="body", exclude=["*.head"], filter_fn=lambda name, conv: conv.groups == 1,
                   operators="similarity", centers=False)
features: int = net.head.in_features
back: Net = revert(net, drop_twist=True)
single: nn.Module = convert(nn.Conv2d(3, 8, 3), twist_init="normal")
conv: nn.Conv2d = revert(layer, drop_twist=True)
model: nn.Module = convert(nn.Sequential(nn.Conv2d(3, 8, 3)), inplace=True)

report = conversion_report(model)
for record in report.skipped:
    print(record.kind, record.reason.upper(), sum(record.names != () for record in report.swapped))
print(report.to_dict()["swapped"])
optimizer = torch.optim.AdamW(param_groups(net, lr=1e-3, weight_decay=0.05, twist_lr_scale=0.5))
optimizer.step()

# Functions.
u = torch.rand(1, 3, 8, 8)
v: Tensor = conv_twist2d(u, torch.rand(5, 3, 3, 3), torch.rand(2, 5, 3), None, 1, "same", (1, 1), padding_mode="zeros")
v = iso_twist2d(u, torch.rand(5, 3, 4), groups=1)
moved: Tensor = flow(u, "rotate", 0.1, steps=10, method="rk4", padding_mode="circular")
moved = exact_warp(u, ((0, 1, 0), (-1, 0, 0)), 0.1)
moved = flow(u, torch.zeros(2, 3), t=1, steps=2)

# Modules, reached without an import of their own.
bank: Tensor = convtwist.operators.fields(u, "iso", stride=(2, 2), padding="same", coords="centered")
x, y = convtwist.operators.coordinate_grid(4, 4, dtype=torch.float64, device="cpu")
for name in convtwist.operators.OPERATORS:
    ConvTwist2d(3, 3, operators=name)
kernel: Tensor = convtwist.kernels.laplacian("isotropic") + convtwist.kernels.gaussian(3, 0.5, device="cpu")
order: Tensor = convtwist.channels.permutation("4-cycle", 16, 4)
depth = convtwist.channels.depth_to_reach_all(convtwist.channels.connections(16, 4, order))
print((depth or 0) + convtwist.arithmetic.receptive_field([(3, 1), (3, 2, 2)]))
matrix: Tensor = convtwist.matrix.convolution_matrix(kernel, (5, 5), stride=2)
loop: Tensor = convtwist.reference.corr2d(x * y, kernel, padding=(1, 1))
rows: list[int] = [row["seed"] for row in convtwist.results.rows("evidence")]
posted: ConvTwist2d = convtwist.posted.from_version2({}, groups=4)

# Which engine serves: printed, or as data.
convtwist.show_config()
engine: str = convtwist.show_config("dicts")["eager"]

# Pictures of every kind.
photo: np.ndarray = images.sample("chelsea")
photo = images.load("mine.jpg", max_side=512)
photo = images.load(Path("mine.jpg"))
photo = images.load(b"...")
photo = images.load(io.BytesIO(b"..."))
with open("mine.jpg", "rb") as file:
    photo = images.load(file)
photo = images.load(Image.new("RGB", (4, 4)))
photo = images.load(np.zeros((4, 4, 3), np.uint8))
tensor: Tensor = images.to_tensor(photo, grey=True)
shown: np.ndarray = images.to_image(tensor, clip=True)
