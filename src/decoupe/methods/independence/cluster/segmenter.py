"""The segmenter: which pixels belong to things, and where the centre of each one's thing is.

    L = BCE(p, m) + w mean over things of smooth L1(o - (c - x) / THING)

with m the mask, c the centroid of the whole thing to which pixel x belongs. Pixels of which nothing is known do not
count.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from decoupe.nn.unet import UNet

OUTPUTS = 3
DEPTH = 4
TILE, LAP = 512, 64
OFFSETS = 2.0
"""Weight of the offsets."""


def segmenter(channels: int, width: int) -> UNet:
    """(B, C, H, W) in [-1, 1] -> (B, 3, H, W): logit of "thing", offsets (row, column) in units of THING."""
    return UNet(channels, width, DEPTH, "batch", outputs=OUTPUTS)


def loss(output: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """(mask term, offset term): `output`, `target` (B, 3, H, W), `known` (B, H, W) in {0, 1}."""
    output = output.float()
    mask = F.binary_cross_entropy_with_logits(output[:, 0], target[:, 0], reduction="none")
    things = target[:, 0] * known
    apart = F.smooth_l1_loss(output[:, 1:], target[:, 1:], beta=0.1, reduction="none").sum(1)
    return (mask * known).sum() / known.sum().clamp_min(1), (apart * things).sum() / things.sum().clamp_min(1)


def view(images: Tensor, number: int) -> Tensor:
    """One of the eight turned and mirrored views: quarter turns `number` % 4, mirrored first from 4 on."""
    return torch.rot90(images.flip(3) if number >= 4 else images, number % 4, (2, 3))


def unview(maps: Tensor, number: int) -> Tensor:
    """The maps (B, 3, h, w) of `view(images, number)` in the frame of `images`: offsets turn with the pixels."""
    for _ in range(number % 4):
        maps = torch.rot90(maps, -1, (2, 3))
        maps = torch.stack([maps[:, 0], maps[:, 2], -maps[:, 1]], 1)
    if number >= 4:
        maps = maps.flip(3)
        maps = torch.stack([maps[:, 0], maps[:, 1], -maps[:, 2]], 1)
    return maps


def maps_of(network: UNet, image: Tensor) -> Tensor:
    """(1, C, H, W) of any size -> (1, 3, H, W) probability and offsets, by overlapping tiles that are blended.

    Every pixel's maps are the mean over the tiles that see it, weighted by the distance to the tile's edge; things are
    found in the blended maps, so that no seam can cut one.
    """
    height, width = image.shape[2:]
    unit = 2**DEPTH
    fitting = [max(2 * unit, -(-side // unit) * unit) for side in (height, width)]
    wide = F.pad(image, (0, fitting[1] - width, 0, fitting[0] - height), mode="replicate")
    total = torch.zeros(1, OUTPUTS + 1, *fitting, device=image.device)
    for y in _starts(fitting[0]):
        for x in _starts(fitting[1]):
            part = wide[:, :, y : y + TILE, x : x + TILE]
            found = network(part).float()
            found = torch.cat([found[:, :1].sigmoid(), found[:, 1:]], 1)
            weight = _ramp(part.shape[2])[:, None] * _ramp(part.shape[3])
            here = total[:, :, y : y + TILE, x : x + TILE]
            here[:, :OUTPUTS] += found * weight
            here[:, OUTPUTS:] += weight
    return (total[:, :OUTPUTS] / total[:, OUTPUTS:])[:, :, :height, :width]


def _starts(side: int) -> list[int]:
    """First pixels of tiles that cover `side`, multiples of the network's unit, neighbours sharing LAP or more."""
    if side <= TILE:
        return [0]
    count = -(-(side - LAP) // (TILE - LAP))
    unit = 2**DEPTH
    return sorted({min(round(i * (side - TILE) / (count - 1) / unit) * unit, side - TILE) for i in range(count)})


def _ramp(side: int) -> Tensor:
    """(side,) weights that fall towards both ends."""
    place = torch.arange(side) + 0.5
    return ((torch.minimum(place, side - place) - LAP / 4) / (LAP / 2)).clamp(1e-4, 1)


def known_targets(
    labels: NDArray[np.int32],
    quality: NDArray[np.float64],
    foreground: NDArray[np.float32],
    targets: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(4, H, W): the targets of an image of which only some things are known, and where they hold.

    Known are the pixels of things of some quality, and those whose colour is not that of things.
    """
    sure = np.append(False, quality > 0.3)[labels]
    return np.concatenate([targets, (sure | ((labels == 0) & (foreground < 0.2)))[None]]).astype(np.float32)
