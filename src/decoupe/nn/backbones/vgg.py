"""VGG-16 (configuration D without batch normalisation), torchvision's parameter names."""

from __future__ import annotations

from torch import Tensor, nn

from decoupe.nn.backbones.base import Body
from decoupe.nn.dropout import Dropout

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the 3x3 convolutions of each block; every block ends in a 2x2 maximum."""


class VGG16(Body):
    """Thirteen 3x3 convolutions and three linear layers. The last map has 512 channels at stride 16 (14x14 at 224)."""

    FIRST, LAST, FINAL = "features.0", "features.29", "classifier.6"
    STAGES = {f"stage{i + 1}": f"features.{at}" for i, at in enumerate((3, 8, 15, 22, 29))}

    def __init__(self, channels: int = 3, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        now = channels
        for block in WIDTHS:
            for width in block:
                layers += [nn.Conv2d(now, width, 3, padding=1), nn.ReLU()]
                now = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), Dropout(0.5),
            nn.Linear(4096, 4096), nn.ReLU(), Dropout(0.5),
            nn.Linear(4096, classes),
        )  # fmt: skip
        self.initialise()

    def trunk(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 512, H // 16, W // 16): the last convolution and its ReLU, before the last maximum."""
        for layer in list(self.features)[:-1]:
            x = layer(x)
        return x

    def head(self, maps: Tensor) -> Tensor:
        """(B, 512, h, w) -> logits (B, classes): maximum, mean to 7x7, three linear layers."""
        logits: Tensor = self.classifier(self.avgpool(self.features[-1](maps)).flatten(1))
        return logits
