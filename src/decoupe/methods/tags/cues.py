"""From maps to cues: which cells are surely a class, which surely none; and the targets of self-training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe import cam
from decoupe.crf import PRESETS, dense_crf
from decoupe.methods.tags.losses import NONE

WHOLE = 321
"""Side in pixels of the photos for which the CRF's widths are stated."""


def as_probabilities(maps: Tensor, present: Tensor) -> Tensor:
    """Maps (B, C, h, w) in [0, 1], present (B, C) -> (B, C + 1, h, w) summing to 1.

    Background = 1 - sum of the present classes' maps, at least 0 (section 5.2). Where all are 0 it is background.
    """
    shown = maps * present[:, :, None, None]
    both = torch.cat([cam.background(maps, present), shown], 1)
    return both / both.sum(1, keepdim=True).clamp_min(1e-12)


def foreground(maps: Tensor, present: Tensor, above: float) -> Tensor:
    """Maps (B, C, h, w) in [0, 1] -> bool (B, C, h, w): cells of present classes above this share of the maximum."""
    return (maps > above) & (present[:, :, None, None] > 0)


def quiet(maps: Tensor, present: Tensor, below: float) -> Tensor:
    """Maps (B, C, h, w) in [0, 1] -> bool (B, 1, h, w): cells where the present classes' maps sum to less."""
    return (maps * present[:, :, None, None]).sum(1, keepdim=True) < below


def cues(ground: Tensor, things: Tensor) -> Tensor:
    """bool (B, 1, h, w), (B, C, h, w) -> uint8 (B, h, w): 0 background, 1 ... C, 255 no cue.

    A cell that several classes claim goes to the one with the smaller area in its image.
    """
    claims = torch.cat([ground, things], 1)
    areas = claims.sum((2, 3), keepdim=True).expand_as(claims).float()
    cost = torch.where(claims, areas, torch.inf)
    least, chosen = cost.min(1)
    return torch.where(least.isfinite(), chosen, NONE).to(torch.uint8)


def small_photo(images: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) in [-1, 1] -> (B, height, width, C) float32 in [0, 255], antialiased."""
    scaled = F.interpolate(images.float(), (height, width), mode="bilinear", antialias=True)
    return ((scaled.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1)


def edges(f: Tensor, images: Tensor) -> Tensor:
    """Q of the constrain-to-boundary loss: f (B, K, h, w) through the CRF of SEC's training at this size.

    Its widths are for 41 x 41 cells, and are scaled to others. No gradient.
    """
    height, width = f.shape[2:]
    settings = PRESETS["sec-train"].scaled(max(height, width) / 41)
    with torch.autocast(f.device.type, enabled=False):
        return dense_crf(f.detach().float(), small_photo(images, height, width), settings, None)


def own_targets(f: Tensor, present: Tensor, images: Tensor, cells: tuple[int, int], sure: float) -> Tensor:
    """Targets of self-training: f (B, K, h, w) of training photos -> uint8 (B, *cells), 255 where nothing is sure.

    Classes that are not tagged are taken out, the CRF of the inference is applied at h x w, and cells take its mean.
    """
    known = F.pad(present.float(), (1, 0), value=1.0)
    p = f.float() * known[:, :, None, None]
    p = p / p.sum(1, keepdim=True)
    settings = PRESETS["sec-test"].scaled(max(f.shape[2:]) / WHOLE)
    photos = small_photo(images, *f.shape[2:])
    targets = []
    with torch.autocast(f.device.type, enabled=False):
        for one, photo, here in zip(p, photos, known > 0, strict=True):
            sharp = torch.zeros_like(one)
            sharp[here] = dense_crf(one[here].contiguous(), photo, settings, None)
            mean = F.interpolate(sharp[None], cells, mode="bilinear", antialias=True)[0]
            value, label = mean.max(0)
            targets.append(torch.where(value >= sure, label, NONE).to(torch.uint8))
    return torch.stack(targets)
