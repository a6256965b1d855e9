"""Training scenes: images with masks drawn for each step, the same whatever the number of processes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.data.tags import UNKNOWN
from decoupe.export.palette import is_background
from decoupe.methods.room import Draw, TrainingData, to_unit
from decoupe.methods.scene_vae.config import Config
from decoupe.methods.scene_vae.labels import Masks
from decoupe.types import VOID
from decoupe.views import colour_jitter


class Scenes(NamedTuple):
    """A batch of labelled scenes."""

    images: Tensor
    """(B, C, S, S) float32 in [-1, 1]."""
    labels: Tensor
    """(B, S, S) int64, 255 = void."""
    tags: Tensor
    """(B, K) of 0 and 1: which classes are present."""
    weights: Tensor
    """(B,) of the masks."""


def presence(labels: Tensor, classes: int) -> Tensor:
    """(B, S, S) class numbers -> (B, K) float32: 1 for each class with a pixel."""
    flat = torch.where(labels == VOID, classes, labels).flatten(1)
    counted = torch.zeros(len(labels), classes + 1, device=labels.device).scatter_(1, flat, 1.0)
    return counted[:, :classes]


def given_presence(data: TrainingData, classes: tuple[str, ...]) -> Tensor | None:
    """(N, K) of 0, 1 or NaN from the tags that `fit --tags` gave; None without any. The background is always there."""
    if data.tags is None:
        return None
    column = {name.casefold(): number for number, name in enumerate(data.spec.tags)}
    table = torch.from_numpy(data.tags.astype(np.float32))
    found = torch.zeros(len(table), len(classes))
    for number, name in enumerate(classes):
        if is_background(name):
            found[:, number] = 1
        elif name.casefold() in column:
            found[:, number] = table[:, column[name.casefold()]]
    found[(table == UNKNOWN).any(1)] = torch.nan
    return found


class Pool:
    """The scenes that have a mask, and what is known of the tags of all images."""

    def __init__(self, data: TrainingData, masks: Masks, config: Config, device: torch.device) -> None:
        self.images, self.masks, self.config, self.device = data.images, masks, config, device
        self.labels = torch.from_numpy(masks.labels.astype(np.int64))
        self.tags = presence(self.labels, len(config.names))
        self.weights = torch.from_numpy(masks.weights)
        self.complete = len(masks.rows) == len(data.images)
        self._given = given_presence(data, config.names)

    def tags_of(self, indices: Tensor) -> Tensor:
        """(B, K) of images at positions (B,) of the training images: 0 or 1 where tags were given, else NaN."""
        if self._given is None:
            return torch.full((len(indices), len(self.config.names)), torch.nan, device=self.device)
        return self._given[indices.cpu()].to(self.device)

    def scenes(self, chosen: Tensor) -> Scenes:
        """The labelled scenes at positions (B,) of the pool."""
        at = chosen.cpu()
        images = to_unit(self.images[self.masks.rows[at.numpy()]], self.device)
        parts = (self.labels[at], self.tags[at], self.weights[at])
        return Scenes(images, *(part.to(self.device) for part in parts))

    def draw(self, draw: Draw) -> Scenes:
        """A batch drawn at random, cut, mirrored and jittered as configured."""
        scenes = self.scenes(draw.integers(len(self.masks.rows)))
        images, labels = shown(scenes.images, scenes.labels, draw, self.config)
        return scenes._replace(images=images, labels=labels)

    def fixed(self, count: int) -> Scenes:
        """Up to `count` scenes spread evenly over the pool, as they are."""
        n = len(self.masks.rows)
        return self.scenes(torch.from_numpy(np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))))


def shown(images: Tensor, labels: Tensor, draw: Draw, config: Config) -> tuple[Tensor, Tensor]:
    """A random crop of 1/zoom to all of each image, mirrored half of the time, colours jittered; its mask alike."""
    scale = draw.uniform(low=1.0, high=config.zoom)
    shift = draw.uniform(2, low=-1.0, high=1.0) * (1 - 1 / scale)[:, None]
    flip = (draw.uniform() < 0.5) & config.mirror
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = torch.where(flip, -1.0, 1.0) / scale, 1 / scale
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    cut = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    if config.jitter:
        cut = colour_jitter(cut, draw, config.jitter).clamp(-1, 1)
    return cut.to(memory_format=torch.channels_last), moved[:, 0].long()
