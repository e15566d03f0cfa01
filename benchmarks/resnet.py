"""ResNet-50 as in arXiv 1512.03385, with the stride in the 3x3 layer; that layer is the caller's choice.

Book: chapter 12.  torchvision's version, without torchvision.
"""

from torch import Tensor, nn

__all__ = ["resnet50"]


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, and the shortcut."""

    def __init__(self, wide_in, narrow, stride, conv3x3):
        super().__init__()
        wide = 4 * narrow
        self.body = nn.Sequential(
            nn.Conv2d(wide_in, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True),
            conv3x3(narrow, narrow, stride), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True),
            nn.Conv2d(narrow, wide, 1, bias=False), nn.BatchNorm2d(wide),
        )
        self.shortcut = nn.Identity() if stride == 1 and wide_in == wide else nn.Sequential(
            nn.Conv2d(wide_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, u: Tensor) -> Tensor:
        return self.relu(self.body(u) + self.shortcut(u))


def resnet50(conv3x3, classes: int = 10) -> nn.Module:
    """Return the network for ``(batch, 3, height, width)``; ``conv3x3(in, out, stride)`` builds its sixteen 3x3s."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        narrow = 64 * 2**stage
        for block in range(depth):
            layers.append(Bottleneck(width, narrow, 2 if block == 0 and stage > 0 else 1, conv3x3))
            width = 4 * narrow
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
