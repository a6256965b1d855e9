"""MobileNetV2 (width 1.0), torchvision's parameter names."""

from __future__ import annotations

from torch import Tensor, nn

from decoupe.nn.backbones.base import Body
from decoupe.nn.dropout import Dropout
from decoupe.nn.norm import BatchNorm2d

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repetitions, stride of the first: Table 2 of the MobileNetV2 paper."""


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1 without a nonlinearity; plus the input where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_conv(inputs, hidden, 1)]
        layers += [
            _conv(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride), rounded up."""
        result: Tensor = self.conv(x)
        return x + result if self.residual else result


class MobileNetV2(Body):
    """Seventeen inverted residuals. The last map has 1280 channels at stride 32 (7x7 at 224)."""

    FIRST, LAST, FINAL = "features.0.0", "features.18", "classifier.1"
    STAGES = {f"stage{i + 1}": f"features.{at}" for i, at in enumerate((1, 3, 6, 13, 18))}

    def __init__(self, channels: int = 3, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(channels, 32, 3, 2)]
        now = 32
        for expansion, outputs, count, stride in BLOCKS:
            for i in range(count):
                layers.append(InvertedResidual(now, outputs, stride if i == 0 else 1, expansion))
                now = outputs
        self.features = nn.Sequential(*layers, _conv(now, 1280, 1))
        self.classifier = nn.Sequential(Dropout(0.2), nn.Linear(1280, classes))
        self.initialise()

    def trunk(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1280, H / 32, W / 32), rounded up."""
        maps: Tensor = self.features(x)
        return maps

    def head(self, maps: Tensor) -> Tensor:
        """(B, 1280, h, w) -> logits (B, classes): mean over the places, one linear layer."""
        logits: Tensor = self.classifier(maps.mean((2, 3)))
        return logits
