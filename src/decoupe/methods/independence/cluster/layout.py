"""Layout and composition of many layers: where each instance goes, and how they cover one another (Eq. 4 and 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.compositing import composite
from decoupe.methods.room import Draw


# Eq. 4: one warp ST(., r) for all channels of a layer
def pose(layers: Tensor, scale: Tensor, angle: Tensor, shift: Tensor) -> Tensor:
    """Enlarge, turn, then shift (B, C + 1, H, W) RGBA layers about their centre; nothing (0) comes from beyond them.

    `scale` (B,), `angle` (B,) in radians, clockwise on screen, `shift` (B, 2) = (x, y) in half sides. Bilinear, and
    differentiable in the layers and in all three parameters. H must equal W, so that turning keeps shapes.
    """
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    x, y = shift[:, 0], shift[:, 1]
    rows = torch.stack([cos, sin, -(cos * x + sin * y)], 1), torch.stack([-sin, cos, sin * x - cos * y], 1)
    grid = F.affine_grid(torch.stack(rows, 1), list(layers.shape), align_corners=False)
    return F.grid_sample(layers, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


# Layout of the second application: pad, then crop at a random place; the same crop for colour and mask
def pad_and_crop(layers: Tensor, pad: int, places: Tensor) -> Tensor:
    """(B, C + 1, S, S) -> the same shape: padded by `pad` pixels of nothing, cropped at `places` (B, 2) in [0, 2 pad].

    A place of (pad, pad) gives the layer back; (row, column) counts from the corner of the padded layer.
    """
    side = layers.shape[2]
    wide = F.pad(layers, (pad, pad, pad, pad))
    down = places[:, :1] + torch.arange(side, device=layers.device)
    across = places[:, 1:] + torch.arange(side, device=layers.device)
    batch = torch.arange(len(layers), device=layers.device)[:, None, None]
    return wide.permute(0, 2, 3, 1)[batch, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)


# Eq. 5 for N layers of each composite: x_i = I_i m_i + x_{i-1} (1 - m_i)
def stack(layers: Tensor, start: Tensor) -> Tensor:
    """(B, N, C + 1, H, W) RGBA layers, back to front, over `start` (B, C, H, W)."""
    return composite([(layer[:, :-1], layer[:, -1:]) for layer in layers.unbind(1)], start)


# "placing a black disk with radius of roughly 20 pixels in the center of real images"
def with_disk(patches: Tensor, radius: int, black: float = 0.0) -> Tensor:
    """(B, C, S, S) with a black disk in the middle; radius 0: all black (the text's other background)."""
    if radius == 0:
        return torch.full_like(patches, black)
    side = patches.shape[2]
    place = torch.arange(side, device=patches.device) - (side - 1) / 2
    disk = place[:, None] ** 2 + place**2 <= radius**2
    return torch.where(disk, black, patches)


def random_places(draw: Draw, layers: int, pad: int) -> Tensor:
    """(batch, layers, 2) whole numbers, uniform in [0, 2 pad]."""
    return draw.integers(2 * pad + 1, layers, 2)
