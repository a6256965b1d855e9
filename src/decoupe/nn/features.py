"""Frozen features: a network that was trained elsewhere, seen through the principal components of a few of its layers.

`mobilenet_v2:weights.pth` or the path of a file whose name begins with that of a network (`mobilenet_v2_x.pth`). Only
fitting a run reads the file: afterwards the network's weights are among the run's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.errors import UsageFault
from decoupe.nn.backbones import BACKBONES, Backbone, backbone

SMALLEST = 1e-3
"""Channels that vary less than this are not blown up."""
ROWS = 40_000
"""Cells to which components are fitted, at most."""


def parse(source: str) -> tuple[str, str]:
    """(network of `BACKBONES`, file or URL of its weights) from NAME:PATH, NAME:URL, or a path that begins with NAME.

    UsageFault if no network is named.
    """
    name, _, rest = source.partition(":")
    if name in BACKBONES and rest:
        return name, rest
    stem = Path(re.split(r"[?#]", source)[0]).name
    found = [known for known in BACKBONES if stem.lower().startswith(known)]
    if not found or name in BACKBONES:
        raise UsageFault(
            f"--features NAME:FILE with NAME one of {', '.join(BACKBONES)}, or a file named after one of them",
            repr(source), "write e.g. --features mobilenet_v2:weights.pth",
        )  # fmt: skip
    return max(found, key=len), source


class FrozenFeatures(nn.Module):
    """(B, C, H, W) in [-1, 1] -> (B, components, H / stride, W / stride) of a frozen network.

    The layers are brought to one size, their channels standardised, and projected on the principal components over
    the training images, scaled so that all components together have the variance of as many whitened bands as the
    images have: neither drowns the other when both are clustered. Untrained until `fit`.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, source: str, channels: int, layers: Sequence[str], stride: int, components: int) -> None:
        super().__init__()
        self.name, self.weights = parse(source)
        self.network: Backbone = backbone(self.name, channels=channels)
        self.layers, self.stride, self.components = tuple(layers), stride, components
        with torch.no_grad():
            wide = sum(
                maps.shape[1] for maps in self.network.eval().layers(torch.zeros(1, channels, 64, 64), layers).values()
            )
        if components > wide:
            raise UsageFault(f"at most {wide} components of {', '.join(layers)}", str(components), "ask for fewer")
        self.register_buffer("mean", torch.zeros(wide))
        self.register_buffer("axes", torch.eye(components, wide))

    def train(self, mode: bool = True) -> FrozenFeatures:
        """Always in evaluation mode: its statistics are not to change."""
        return super().train(False)

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """(B, wide, H / stride, W / stride) float32: the layers side by side."""
        side = [-(-length // self.stride) for length in images.shape[2:]]
        found = self.network.layers(images, self.layers)
        return torch.cat([_sized(found[name].float(), side) for name in self.layers], 1)

    @torch.no_grad()
    def fit(self, parts: Sequence[Tensor]) -> None:
        """Read the weights, and take components from parts (B, C, H, W) in [-1, 1] of the training images."""
        given = backbone(self.name, channels=self.network.channels, weights=self.weights, frozen=True)
        self.network.load_state_dict(given.state_dict())
        self.eval()
        rows = torch.cat([self.maps(part).cpu().movedim(1, 3).flatten(0, 2) for part in parts])
        rows = rows[:: max(1, -(-len(rows) // ROWS))].double()
        mean, scale = rows.mean(0), rows.std(0).clamp_min(SMALLEST)
        standard = (rows - mean) / scale
        values, axes = torch.linalg.eigh(standard.T @ standard / len(rows))
        values, axes = values[-self.components :].flip(0), axes[:, -self.components :].flip(1)
        wanted = (self.network.channels / values.sum().clamp_min(SMALLEST)).sqrt()
        self.mean.copy_(mean)
        self.axes.copy_((axes / scale[:, None]).T * wanted)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, components, H / stride, W / stride) float32, without a gradient."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=torch.is_autocast_enabled(images.device.type)):
            maps = self.maps(images)
        with torch.autocast(images.device.type, enabled=False):
            return F.conv2d(maps - self.mean[:, None, None], self.axes[:, :, None, None])


def _sized(maps: Tensor, side: Sequence[int]) -> Tensor:
    """Maps at another size: averaged where they shrink, bilinear where they grow."""
    if list(maps.shape[2:]) == list(side):
        return maps
    if maps.shape[2] >= side[0] and maps.shape[3] >= side[1]:
        return F.adaptive_avg_pool2d(maps, (side[0], side[1]))
    return F.interpolate(maps, list(side), mode="bilinear", align_corners=False)
