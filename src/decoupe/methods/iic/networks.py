"""The trunk: six 3x3 convolutions as in a VGG-11, the last two dilated; the heads are `clusters.py:Head`."""

from __future__ import annotations

from torch import Tensor, nn

from decoupe.methods.iic.config import Config
from decoupe.methods.trunks import Trunk
from decoupe.nn.norm import BatchNorm2d
from decoupe.nn.padding import ReplicatedConv2d

WIDTHS = (1, 2, 4, 4, 8, 8)
"""Channels in units of the width: 64, 128, 256, 256, 512, 512."""
DILATIONS = (1, 1, 1, 1, 2, 2)


class Vgg(Trunk):
    """Images to features: convolution, batch norm, ReLU, six times; max-pooling after the first `halvings` pairs.

    Frozen features take the place of all of it.
    """

    def __init__(self, channels: int, config: Config) -> None:
        width, halvings = config.width, config.halvings
        super().__init__(channels, config, 0 if config.features else width * WIDTHS[-1])
        layers: list[nn.Module] = []
        now = channels + 2 * config.sobel
        convolutions = () if config.features else zip(WIDTHS, DILATIONS, strict=True)
        for index, (factor, dilation) in enumerate(convolutions):
            wide = width * factor
            if config.padding == "replicate":
                conv: nn.Conv2d = ReplicatedConv2d(now, wide, 3, 1, dilation, dilation)
            else:
                conv = nn.Conv2d(now, wide, 3, 1, dilation, dilation, bias=False)
            layers += [conv, BatchNorm2d(wide), nn.ReLU()]
            if index % 2 and index // 2 < halvings:
                layers.append(nn.MaxPool2d(2, 2))
            now = wide
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1], sides divisible by `stride` -> (B, features, H / stride, W / stride)."""
        x = self.prepared(images)
        if self.frozen is not None:
            frozen = self.frozen(images)
            return self.beside(frozen[:, :0], x, frozen)
        return self.beside(self.layers(x), x, None)
