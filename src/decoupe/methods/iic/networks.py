"""The trunk: six 3x3 convolutions as in a VGG-11, the last two dilated; the heads are `clusters.py:Head`."""

from __future__ import annotations

from torch import Tensor, nn

from decoupe.methods.clusters import Trunk
from decoupe.methods.iic.config import Config
from decoupe.nn.norm import BatchNorm2d

WIDTHS = (1, 2, 4, 4, 8, 8)
"""Channels in units of the width: 64, 128, 256, 256, 512, 512."""
DILATIONS = (1, 1, 1, 1, 2, 2)


class Vgg(Trunk):
    """Images to features: convolution, batch norm, ReLU, six times; max-pooling after the first `halvings` pairs."""

    def __init__(self, channels: int, config: Config) -> None:
        width, halvings = config.width, config.halvings
        super().__init__(channels, config, width * WIDTHS[-1])
        layers: list[nn.Module] = []
        now = channels + 2 * config.sobel
        for index, (factor, dilation) in enumerate(zip(WIDTHS, DILATIONS, strict=True)):
            wide = width * factor
            conv = nn.Conv2d(now, wide, 3, 1, dilation, dilation, bias=False, padding_mode=config.padding)
            layers += [conv, BatchNorm2d(wide), nn.ReLU()]
            if index % 2 and index // 2 < halvings:
                layers.append(nn.MaxPool2d(2, 2))
            now = wide
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1], sides divisible by `stride` -> (B, 8 width, H / stride, W / stride)."""
        x = self.prepared(images)
        return self.beside(self.layers(x), x)
