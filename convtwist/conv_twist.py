"""ConvTwist2d, a 3x3 convolution that knows where each pixel sits.

Book: chapter 9.  Source: the announcement notebook of ConvTwist (version 1) and the forum thread (version 2).
"""

import math
import warnings
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.types import Device

from convtwist import channels
from convtwist._arguments import (
    NO_SCRIPT,
    PADDING_MODES,
    Coords,
    OneOrTwo,
    PaddingMode,
    as_factory,
    as_flag,
    as_padding,
    as_pair,
    check_channels,
    check_choice,
    check_steps,
)
from convtwist._foreign_folds import check_registered, no_fold
from convtwist._parts import part_of
from convtwist.functional import conv_twist2d
from convtwist.operators import OPERATORS, Operators

__all__ = ["ConvTwist2d"]

# A symbolic trace keeps the call as one node instead of looking for shapes inside.
torch.fx.wrap("conv_twist2d")


class ConvTwist2d(nn.Module):
    """Takes the place of a 3x3 ``nn.Conv2d``, with its arguments, their order and their defaults.

    Args:
        in_channels, out_channels: channels read and made.
        kernel_size: 3; nothing else can be had.
        stride, padding, dilation, groups, bias, padding_mode, device, dtype: as for ``nn.Conv2d``.
        operators: how much twist.  ``"similarity"`` has 2 more weights for each pair of channels (zoom and
            rotation), ``"affine"`` 4 and ``"first_order"`` 8; see ``convtwist.operators.OPERATORS``.
        twist_init: ``"normal"`` starts as the thread's version 2, with the same variance for every choice of
            operators; ``"zeros"`` starts as plain ``nn.Conv2d``.
        centers: learn for every output channel the point where its twist vanishes, as version 1 did.  ``weight``
            can express the same; training moves differently.  They start uniform in (-1.5, 1.5), as posted.
        coords: ``"centered"``, or ``"legacy"`` to reproduce the posts.
        steps: take so many small steps of the layer as a flow; needs equal channels and an output of the
            input's size.
        permute: reorder the input channels in front of the groups: ``"cycle"``, ``"4-cycle"``, ``"shuffle"``, or
            each channel's number once.

    Attributes:
        weight: ``(out, in / groups, 3, 3)``, as in ``nn.Conv2d``, under the same key.
        bias: ``(out,)`` or ``None``, likewise.
        twist: ``(fields, out, in / groups)``, per half of the map's longer side and per pixel of slope.
        center: ``(2, out)``, x then y, or ``None``.

    Shape:
        ``(batch, in, height, width)`` or ``(in, height, width)`` to the shape that ``nn.Conv2d`` gives.

    Raises:
        ValueError: an argument is out of range; nothing is altered silently.
        RuntimeError: torch has no memory for the weights.

    >>> layer = ConvTwist2d(16, 33, 3, stride=2, padding=1)
    >>> layer
    ConvTwist2d(16, 33, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> layer(torch.rand(20, 16, 50, 100)).shape
    torch.Size([20, 33, 25, 50])
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: str | tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    padding_mode: PaddingMode
    operators: Operators
    twist_init: Literal["normal", "zeros"]
    coords: Coords
    steps: int
    permute: channels.Kind | tuple[int, ...] | None
    weight: nn.Parameter
    twist: nn.Parameter
    bias: nn.Parameter | None
    center: nn.Parameter | None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: OneOrTwo = 3, stride: OneOrTwo = 1,
                 padding: str | OneOrTwo = 0, dilation: OneOrTwo = 1, groups: int = 1, bias: bool = True,
                 padding_mode: PaddingMode = "zeros", device: Device = None, dtype: torch.dtype | None = None, *,
                 operators: Operators = "similarity", twist_init: Literal["normal", "zeros"] = "normal",
                 centers: bool = False, coords: Coords = "centered", steps: int = 1,
                 permute: channels.Order | None = None) -> None:
        super().__init__()
        in_channels, out_channels, groups = check_channels(in_channels, out_channels, groups)
        if as_pair(kernel_size, "kernel_size") != (3, 3):
            raise ValueError(f"kernel_size must be 3, got {kernel_size!r}; "
                             "a twist is defined on 3x3 kernels, use nn.Conv2d for other sizes")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = (3, 3)
        self.stride = as_pair(stride, "stride")
        self.dilation = as_pair(dilation, "dilation")
        self.padding = padding if isinstance(padding, str) else as_pair(padding, "padding", 0)
        numeric_padding = as_padding(padding, self.stride, self.dilation)
        self.groups = groups
        self.padding_mode = check_choice(padding_mode, "padding_mode", PADDING_MODES)
        self.operators = check_choice(operators, "operators", OPERATORS)
        self.twist_init = check_choice(twist_init, "twist_init", ("normal", "zeros"))
        self.coords = check_choice(coords, "coords", ("centered", "legacy"))
        self.steps = check_steps(steps, in_channels, out_channels, self.stride, numeric_padding, self.dilation)
        if permute is not None:
            with torch.device("cpu"):  # numbers are checked, even where the weights are on the meta device
                order = channels.permutation(permute, in_channels, groups)
            permute = permute if isinstance(permute, str) else tuple(order.tolist())
        self.permute = permute

        options = as_factory(device, dtype)
        pairs = (out_channels, in_channels // groups)
        self.weight = nn.Parameter(torch.empty(*pairs, 3, 3, **options))
        self.twist = nn.Parameter(torch.empty(len(OPERATORS[operators]), *pairs, **options))
        for name, shape in (("bias", (out_channels,) if as_flag(bias, "bias") else None),
                            ("center", (2, out_channels) if as_flag(centers, "centers") else None)):
            self.register_parameter(name, None if shape is None else nn.Parameter(torch.empty(shape, **options)))
        self.reset_parameters()

    if TYPE_CHECKING:  # nn.Module declares that a call returns anything

        def __call__(self, input: Tensor) -> Tensor: ...

    def reset_parameters(self) -> None:
        """Draw new parameters; ``weight`` and ``bias`` come first, as ``nn.Conv2d`` would draw them."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = self.weight[0].numel()
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
        if self.twist_init == "zeros":
            nn.init.zeros_(self.twist)
        else:
            # Version 2 draws the factors of Sobel without its 1/8 with the standard deviation of the weights.
            # The larger banks share the same variance of the twist among their fields.
            deviation = 8 / math.sqrt(3 * fan_in)
            for k, field in enumerate(OPERATORS[self.operators]):
                third_order = len(field) > len("X dx") and self.operators == "first_order"
                shrink = {"similarity": 1, "affine": 1, "first_order": math.sqrt(2)}[self.operators]
                nn.init.normal_(self.twist[k], std=deviation / shrink / (4 if third_order else 1))
        if self.center is not None:
            nn.init.uniform_(self.center, -1.5, 1.5)

    def __prepare_scriptable__(self) -> nn.Module:  # torch.jit.script asks for what it should compile
        raise NotImplementedError(NO_SCRIPT.format("ConvTwist2d"))

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter, but refuse a batch normalisation that other programs fold in without the twist.

        Raises:
            RuntimeError: ``bias`` is added, or replaced after ``weight`` was replaced by a multiple of itself, channel
                by channel; and the twist is neither zero nor was replaced before.
        """
        check_registered(self, name, param)
        super().register_parameter(name, param)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, local_metadata: dict[str, object],
                              strict: bool, missing_keys: list[str], unexpected_keys: list[str],
                              error_msgs: list[str]) -> None:
        with no_fold(self):
            super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                                          error_msgs)
        parts = {part_of(key[len(prefix):]) for key in state_dict if key.startswith(prefix)}
        if "weight" not in parts or "twist" in parts:
            return
        # Whether torch raises for what is missing, it doesn't tell here.
        one_by_one = not prefix and len(state_dict) == 1  # as some libraries fill a layer; the twist may come next
        if self.twist.is_meta and not one_by_one:
            warnings.warn(
                f"the checkpoint has {prefix}weight but no {prefix}twist, so the twist stays on the meta device, "
                "without numbers; load the plain network and convert it then", stacklevel=2)
        elif not self.twist.is_meta and bool(self.twist.detach().ne(0).any()):
            warnings.warn(
                f"the checkpoint has {prefix}weight but no {prefix}twist, so the layer keeps the twist it had, which "
                "is not zero; load the plain network and convert it then, or build the layer with "
                'twist_init="zeros"', stacklevel=2)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer; see :func:`convtwist.functional.conv_twist2d`."""
        return conv_twist2d(input, self.weight, self.twist, self.bias, self.stride, self.padding, self.dilation,
                            self.groups, padding_mode=self.padding_mode, center=self.center, coords=self.coords,
                            steps=self.steps, permute=self.permute)

    def extra_repr(self) -> str:
        """Name what ``nn.Conv2d`` names, and of the rest what differs from the default."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.bias is None:
            parts.append("bias=False")
        if self.center is not None:
            parts.append("centers=True")
        defaults = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros",
                    "operators": "similarity", "coords": "centered", "steps": 1, "permute": None}
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default:
                value = "(...)" if name == "permute" and not isinstance(value, str) else repr(value)
                parts.append(f"{name}={value}")
        return ", ".join(parts)
