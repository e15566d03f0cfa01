"""ResNets whose 3x3 layers are the caller's choice: ResNet-18, ResNet-50 and the forum thread's bottleneck network.

Book: chapters 11 and 13.  Source: arXiv 1512.03385 with the stride in the 3x3 layer, torchvision's version without
torchvision; the thread's network follows model_constructor's xresnet (arXiv 1812.01187): a stem of three 3x3 layers,
shortcuts that average, blocks that start as nothing, Mish, and 3x3 layers in groups of 8 or 4 channels.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from convtwist._arguments import check_choice, check_whole
from convtwist.train.layers import builder

__all__ = ["NETWORKS", "Block", "Bottleneck", "build", "resnet", "resnet50"]


class Block(nn.Module):
    """Two 3x3 layers and the shortcut."""

    widening: ClassVar[int] = 1

    body: nn.Sequential
    shortcut: nn.Module
    act: nn.Module

    def __init__(self, wide_in: int, narrow: int, stride: int, conv3x3: Callable[..., nn.Module],
                 shortcut: Callable[[int, int, int], nn.Module], act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3x3(wide_in, narrow, stride), nn.BatchNorm2d(narrow), act(),
            conv3x3(narrow, narrow), nn.BatchNorm2d(narrow),
        )
        self.shortcut = shortcut(wide_in, narrow, stride)
        self.act = act()

    def forward(self, u: Tensor) -> Tensor:
        return self.act(self.body(u) + self.shortcut(u))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, and the shortcut."""

    widening: ClassVar[int] = 4

    body: nn.Sequential
    shortcut: nn.Module
    act: nn.Module

    def __init__(self, wide_in: int, narrow: int, stride: int, conv3x3: Callable[..., nn.Module],
                 shortcut: Callable[[int, int, int], nn.Module], act: Callable[[], nn.Module]) -> None:
        super().__init__()
        wide = self.widening * narrow
        self.body = nn.Sequential(
            nn.Conv2d(wide_in, narrow, 1, bias=False), nn.BatchNorm2d(narrow), act(),
            conv3x3(narrow, narrow, stride), nn.BatchNorm2d(narrow), act(),
            nn.Conv2d(narrow, wide, 1, bias=False), nn.BatchNorm2d(wide),
        )
        self.shortcut = shortcut(wide_in, wide, stride)
        self.act = act()

    def forward(self, u: Tensor) -> Tensor:
        return self.act(self.body(u) + self.shortcut(u))


def _strided(wide_in: int, wide: int, stride: int) -> nn.Module:
    if stride == 1 and wide_in == wide:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(wide_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))


def _averaged(round_up: bool) -> Callable[[int, int, int], nn.Module]:
    """Average, then 1x1; sides rounded as by the layer beside it, up for a stride and down for IsoTwist2d."""
    def shortcut(wide_in: int, wide: int, stride: int) -> nn.Module:
        layers: list[nn.Module] = []
        if stride != 1:
            layers += [nn.AvgPool2d(stride, stride, ceil_mode=round_up, count_include_pad=False)]
        if wide_in != wide:
            layers += [nn.Conv2d(wide_in, wide, 1, bias=False), nn.BatchNorm2d(wide)]
        return nn.Sequential(*layers)
    return shortcut


def _stem(kind: str, channels: int, conv3x3: Callable[..., nn.Module],
          act: Callable[[], nn.Module]) -> list[nn.Module]:
    """Return the layers in front of the first block, 64 channels wide at their end."""
    if kind == "imagenet":
        return [nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), act(), nn.MaxPool2d(3, 2, 1)]
    if kind == "small":
        return [conv3x3(channels, 64), nn.BatchNorm2d(64), act()]
    return [conv3x3(channels, 32, 2), nn.BatchNorm2d(32), act(), conv3x3(32, 64), nn.BatchNorm2d(64), act(),
            conv3x3(64, 64), nn.BatchNorm2d(64), act(), nn.MaxPool2d(3, 2, 1)]


def resnet(conv3x3: Callable[..., nn.Module], depths: Sequence[int], *,
           block: type[Block] | type[Bottleneck] = Bottleneck, classes: int = 10, channels: int = 3,
           stem: str = "imagenet", group_width: int | None = None, shortcut: str = "stride", zero_last: bool = False,
           act: Callable[[], nn.Module] = lambda: nn.ReLU(inplace=True)) -> nn.Sequential:
    """Return a network from ``(batch, channels, height, width)`` to ``(batch, classes)``.

    Args:
        conv3x3: builds a 3x3 layer, called as ``(in, out, stride)`` and, with ``group_width``, ``groups=``.
        depths: blocks in each stage; the width doubles from stage to stage, from 64 on.
        block: :class:`Block` or :class:`Bottleneck`.
        classes: numbers in an output.
        channels: of the pictures.
        stem: ``"imagenet"`` (7x7 with stride 2, pooling), ``"deep"`` (three of ``conv3x3``, stride 2, pooling), or
            ``"small"`` (one of ``conv3x3``; for pictures of about 32 pixels).
        group_width: channels in a group of the blocks' 3x3 layers; by default there is one group.
        shortcut: ``"stride"``, ``"average"``, or ``"average_down"``, which rounds odd sides down as IsoTwist2d does.
        zero_last: start every block as its shortcut alone, the scale of its last normalisation being 0.
        act: builds the nonlinearity.

    Raises:
        ValueError: an argument is out of range.
    """
    check_choice(stem, "stem", ("imagenet", "deep", "small"))
    joins = {"stride": _strided, "average": _averaged(True), "average_down": _averaged(False)}
    join = joins[check_choice(shortcut, "shortcut", joins)]
    grouped = conv3x3
    if group_width is not None:
        if 64 % check_whole(group_width, "group_width"):
            raise ValueError(f"group_width must divide 64, the width of the first stage, got {group_width}")

        def grouped(width_in: int, width_out: int, stride: int = 1) -> nn.Module:
            # The first layer of a Block widens: its groups are those of its narrower side.
            return conv3x3(width_in, width_out, stride, groups=min(width_in, width_out) // group_width)

    layers = _stem(stem, channels, conv3x3, act)
    width = 64
    for stage, depth in enumerate(depths):
        narrow = 64 * 2**stage
        for index in range(depth):
            added = block(width, narrow, 2 if index == 0 and stage > 0 else 1, grouped, join, act)
            layers.append(added)
            if zero_last:
                nn.init.zeros_(added.body[-1].get_parameter("weight"))
            width = block.widening * narrow
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def resnet50(conv3x3: Callable[..., nn.Module], classes: int = 10) -> nn.Sequential:
    """Return ResNet-50 as published; ``conv3x3(in, out, stride)`` builds its sixteen 3x3 layers."""
    return resnet(conv3x3, (3, 4, 6, 3), classes=classes)


NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {"depths": (2, 2, 2, 2), "block": Block},
    "resnet50": {"depths": (3, 4, 6, 3)},
    "bottleneck": {"depths": (4, 6, 8, 10), "stem": "deep", "group_width": 8, "shortcut": "average",
                   "zero_last": True, "act": nn.Mish},
}


def build(network: str = "resnet50", layer: str = "conv2d", *, classes: int = 10, channels: int = 3,
          layer_options: dict[str, Any] | None = None, **options: Any) -> nn.Sequential:
    """Return a network by its name, with a layer of :func:`convtwist.train.layers.builder` by its name.

    ``"bottleneck"`` is the thread's: depths 4, 6, 8, 10, groups of 8 channels (``group_width=4`` for the other);
    joined by ``layer_options={"permute": "4-cycle"}``.  With ``"iso_twist"`` shortcuts average instead of striding,
    unless ``shortcut`` says otherwise; the 7x7 and the pooling of the stem ``"imagenet"`` are not equivariant.

    Raises:
        ValueError: a name or an option is unknown or out of range.
        TypeError: ``options`` has a name that :func:`resnet` doesn't take.
    """
    chosen = dict(NETWORKS[check_choice(network, "network", NETWORKS)])
    if layer == "iso_twist":
        chosen["shortcut"] = "average_down"
    return resnet(builder(layer, **(layer_options or {})), classes=classes, channels=channels, **(chosen | options))
