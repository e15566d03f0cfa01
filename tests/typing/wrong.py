"""What a user must not write: both checkers must complain on every marked line, and on no other.

After ``# E:`` stands the rule of pyright, then that of mypy.
"""

import torch
from torch import Tensor, nn

import convtwist
from convtwist import ConvTwist2d, IsoTwist2d, convert, images, param_groups, revert
from convtwist.flow import flow
from convtwist.functional import conv_twist2d

u = torch.rand(1, 3, 8, 8)

ConvTwist2d("3", 8)  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, (3, 3, 3))  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, stride="2")  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, padding=0.5)  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, padding_mode="mirror")  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, operators="rotation")  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, twist_init="ones")  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, coords="pixels")  # E: reportArgumentType arg-type
ConvTwist2d(4, 4, groups=2, permute="shuffled")  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, dtype="float32")  # E: reportArgumentType arg-type
ConvTwist2d(3, 8, 3, 1, 0, 1, 1, True, "zeros", None, None, "affine")  # E: reportCallIssue call-arg
ConvTwist2d(3, 8, order=1)  # E: reportCallIssue call-arg
IsoTwist2d(3)  # E: reportCallIssue call-arg
IsoTwist2d(3, 8, reduce=(2, 2))  # E: reportArgumentType arg-type

layer = ConvTwist2d(3, 8)
layer("photo.jpg")  # E: reportArgumentType arg-type
length: int = layer(u)  # E: reportAssignmentType assignment
layer.bias.zero_()  # E: reportOptionalMemberAccess union-attr
layer.center.zero_()  # E: reportOptionalMemberAccess union-attr
layer.operators = "none"  # E: reportAttributeAccessIssue assignment

convert("resnet18")  # E: reportCallIssue,reportArgumentType call-overload
convert(nn.ReLU(), include=3)  # E: reportCallIssue,reportArgumentType call-overload
convert(nn.ReLU(), steps=2)  # E: reportCallIssue call-overload
convert(nn.ReLU(), filter_fn=lambda conv: True)  # E: reportCallIssue,reportArgumentType misc,arg-type
twisted: ConvTwist2d = convert(nn.Conv2d(3, 8, 1))  # E: reportAssignmentType assignment
twisted = revert(layer)  # E: reportAssignmentType assignment
param_groups(layer, lr="fast")  # E: reportArgumentType arg-type

conv_twist2d(u, None, None)  # E: reportArgumentType arg-type
conv_twist2d(u, u, u, operators="affine")  # E: reportCallIssue call-arg
flow(u, "spin", 0.1, 10)  # E: reportArgumentType arg-type
flow(u, "rotate", 0.1, 10, method="heun")  # E: reportArgumentType arg-type
flow(u, "rotate", 0.1, 2.5)  # E: reportArgumentType arg-type

pair: Tensor = convtwist.operators.coordinate_grid(4, 4)  # E: reportAssignmentType assignment
convtwist.kernels.laplacian("round")  # E: reportArgumentType arg-type
convtwist.operators.fields(u, "third_order")  # E: reportArgumentType arg-type
convtwist.channels.permutation("ring", 8, 2)  # E: reportArgumentType arg-type
print(convtwist.blocks)  # E: reportAttributeAccessIssue attr-defined
convtwist.show_config("json")  # E: reportCallIssue,reportArgumentType call-overload
engine: str = convtwist.show_config()  # E: reportAssignmentType assignment

images.load(3)  # E: reportArgumentType arg-type
images.load(open("photo.jpg"))  # E: reportArgumentType arg-type
images.to_tensor(images.sample(), grey="yes")  # E: reportArgumentType arg-type
