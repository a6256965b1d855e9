"""What the rooms that divide images into K clusters by mutual information share: heads, phases, the proposal of K.

A subclass has a trunk, a way to make two views, and an objective; everything from features to regions is here. The
settings that this file reads are those of `cluster_config.py`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.clustering import kmeans, nearest
from decoupe.export.palette import colours
from decoupe.losses.information import pointwise_information, symmetric_joints
from decoupe.merging import merge, propose
from decoupe.methods.cluster_config import ClusterConfig
from decoupe.methods.room import Batch, DataSpec, Phase, Room, Stage, TrainingData, to_unit
from decoupe.methods.trunks import TINY, Trunk
from decoupe.nn.masked_conv import SparingAdam
from decoupe.paired import Transform

MOST = 12
"""Largest K that `--k auto` proposes."""
LOOKED_AT = 256
"""Training images from which K is proposed and centres are started."""


PIXELS = 20_000
"""Features to which centres are fitted, at most."""
TRIES = 4
"""Starts of k-means of which the best is taken: a single one may give a cluster to a few odd cells."""
SETTLING = 32
"""Parts of training images on which batch normalisation settles before features are clustered."""

Objective = Callable[[Tensor, Tensor, int, float, Tensor | None], Tensor]
"""(y, y', T, marginal weight, valid) -> the loss of a room's losses.py."""


class Views(nn.Module):
    """Makes two views of a batch: `forward(batch)` -> features of both, and the transform that made the second."""

    trunk: Trunk

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Transform]:
        """(B, D, h, w), (B, D, h, w) in the frame of the changed images, the transform."""
        raise NotImplementedError


class Head(nn.Module):
    """d: features (B, D, h, w) -> logits (B, K, h, w): one 1x1 convolution.

    With a `temperature`, logits are cosines between features and K centres divided by it.
    """

    def __init__(self, features: int, k: int, temperature: float | None = None) -> None:
        super().__init__()
        self.temperature = temperature
        self.conv = nn.Conv2d(features, k, 1, bias=temperature is None)

    def forward(self, features: Tensor) -> Tensor:
        """float32 logits."""
        if self.temperature is None:
            logits: Tensor = self.conv(features)
            return logits.float()
        with torch.autocast(features.device.type, enabled=False):
            centres = F.normalize(self.conv.weight.float(), dim=1)
            return F.conv2d(F.normalize(features.float(), dim=1), centres) / self.temperature

    @torch.no_grad()
    def begin_at(self, centres: Tensor, spread: float) -> None:
        """Logits become - |f - centre|^2 / `spread` for centres (k, D) of the last D features f; others count 0."""
        k, wide = centres.shape
        self.conv.weight[:k] = 0
        self.conv.weight[:k, -wide:] = 2 * centres[:, :, None, None] / spread
        if self.conv.bias is not None:
            self.conv.bias[:k] = -centres.square().sum(1) / spread


def pixels(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, D, h, w) -> (n, D) of at most `PIXELS` cells, evenly spread."""
    rows = torch.cat([part.movedim(1, 3).flatten(0, 2) for part in maps])
    return rows[:: max(1, -(-len(rows) // PIXELS))]


def some(data: TrainingData, device: torch.device) -> list[Tensor]:
    """Up to `LOOKED_AT` training images (B, C, S, S) in [-1, 1], spread evenly, in parts of 16 or so."""
    count = len(data.images)
    chosen = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(np.int64))
    return [to_unit(data.images[part], device) for part in np.array_split(chosen, max(1, len(chosen) // 16))]


def cosine(progress: float) -> float:
    """From 1 at the start to a twentieth at the end."""
    return 0.05 + 0.475 * (1 + math.cos(math.pi * min(1.0, progress)))


class TwoViewPhase(Phase):
    """A phase that compares two views: which optimiser it has, and how the learning rate falls."""

    def __init__(self, config: ClusterConfig, views: Views) -> None:
        super().__init__()
        self.config, self.views = config, views

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW that spares masked weights."""
        parameters = [p for module in self.trained() for p in module.parameters()]
        return SparingAdam(parameters, self.config.lr, weight_decay=self.config.decay)

    def rate(self, progress: float) -> float:
        """Constant, or a cosine down to a twentieth."""
        return cosine(progress) if self.config.cosine else 1.0


class InformationPhase(TwoViewPhase):
    """Maximises the mutual information between the assignments of two views, over displacements."""

    def __init__(
        self, name: str, views: Views, head: Head, config: ClusterConfig, objective: Objective, weight: float, k: int
    ) -> None:
        super().__init__(config, views)
        self.name, self.head, self.objective, self.weight, self.k = name, head, objective, weight, k

    def trained(self) -> Sequence[nn.Module]:
        """Trunk and this head."""
        return [*self.views.trunk.learning(), self.head]

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective, and how evenly the clusters are used: 1 = all alike."""
        one, two, transform = self.views(batch)
        size = batch.images.shape[2:] if self.config.full else one.shape[2:]
        first, second = (self._assigned(features, list(size)) for features in (one, two))
        second, valid = transform.undo(second)
        loss = self.objective(first, second, self.config.reach, self.weight, valid)
        used = first.detach().mean((0, 2, 3))
        entropy = -(used * used.clamp_min(1e-9).log()).sum() / math.log(max(2, self.k))
        return loss, {self.name: loss.detach(), f"{self.name} use": entropy}

    def _assigned(self, features: Tensor, size: list[int]) -> Tensor:
        probs = self.head(features)[:, : self.k].softmax(1)
        return probs if list(probs.shape[2:]) == size else F.interpolate(probs, size, mode="bilinear")


class ClusterRoom(Room):
    """Trunk, a main head with K clusters, an over-clustering head; with `--k auto` a stage that proposes K first."""

    DOUBTFUL: ClassVar[tuple[float, str] | None] = None  # I / log K is low where regions are of unlike size
    config: ClusterConfig
    trunk: Trunk
    seed: Tensor
    used: Tensor
    curve: Tensor

    def __init__(
        self, config: ClusterConfig, spec: DataSpec, trunk: Trunk, features: int, temperature: float | None
    ) -> None:
        super().__init__(config, spec)
        self.trunk = trunk
        rows = MOST if config.k == "auto" else config.k
        self.heads = nn.ModuleDict({"main": Head(features, rows, temperature)})
        if config.over_k:
            self.heads["over"] = Head(features, config.over_k, temperature)
        self.register_buffer("seed", torch.randint(1 << 31, (1,)), persistent=False)  # of starts by k-means
        self.register_buffer("used", torch.tensor(0 if config.k == "auto" else rows))  # clusters of main; 0: over's
        self.register_buffer("curve", torch.zeros(config.over_k))  # information that k merged clusters keep

    def head(self, name: str) -> Head:
        """`main` or `over`."""
        head = self.heads[name]
        if not isinstance(head, Head):
            raise TypeError(type(head).__name__)
        return head

    @property
    def regions(self) -> tuple[str, ...]:
        """region 0 ... region K - 1."""
        return tuple(f"region {i}" for i in range(int(self.used) or int(self.config.over_k)))

    # ------------------------------------------------------------------ training

    @abstractmethod
    def views(self) -> Views:
        """What makes the two views of a batch."""

    @abstractmethod
    def objective(self) -> Objective:
        """The loss of two views' assignments."""

    def stages(self) -> Sequence[Stage]:
        """Both heads in turn in every step; with `--k auto` the over-clustering alone comes first."""
        config = self.config
        views, phases = self.views(), []
        if config.over_k:
            phases.append(self._phase("over", views, config.over_marginal_weight, config.over_k))
        main = self._phase("main", views, config.marginal_weight, int(self.used) or MOST)
        averaged = ("trunk", "heads") if config.average else ()
        images = config.train_images
        last = Stage("cluster", (*phases, main), images, averaged, config.average, checks=config.checks)
        if config.k != "auto":
            return (last,)
        first = Stage(
            "explore", tuple(phases), max(1, images // 2), averaged, config.average, candidate=False, checks=4
        )
        return (first, last)

    def _phase(self, name: str, views: Views, weight: float, k: int) -> InformationPhase:
        return InformationPhase(name, views, self.head(name), self.config, self.objective(), weight, k)

    def prepare(self, data: TrainingData) -> None:
        """Take what is configured from the training images: statistics of bands, components of frozen features."""
        for fitted in (self.trunk.whitening, self.trunk.frozen):
            if fitted is not None:
                fitted.fit(self.some(data))

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """Fix K when the stage that follows the over-clustering begins; start heads by k-means if configured."""
        if not fresh:
            return
        if self.config.k == "auto" and stage == 1:
            self.eval()
            self.propose(data)
        if self.config.start == "kmeans":
            over = ["over"] if stage == 0 and "over" in self.heads else []
            self.begin([*over, *(["main"] if int(self.used) else [])], data)

    @torch.no_grad()
    def begin(self, names: Sequence[str], data: TrainingData) -> None:
        """Put heads at k-means of frozen features and the cells' own bands, or of the network's features without those.

        Before that, the trunk's normalisation settles on the training images.
        """
        parts = self.some(data)
        self.train()
        for part in parts * max(1, SETTLING // len(parts)):
            self.trunk(part)
        self.eval()
        rows = pixels([self.features(part).float().cpu() for part in parts])
        rows = rows[:, self.trunk.found :] if self.trunk.features > self.trunk.found else rows
        for name in names:
            k = int(self.used) if name == "main" else int(self.config.over_k)
            centres = self.centres(rows, k)
            self.head(name).begin_at(centres, max(float(nearest(rows, centres)[1].mean()), TINY))

    def centres(self, rows: Tensor, k: int) -> Tensor:
        """(k, D) by k-means of rows (n, D): of `TRIES` starts drawn from the run's seed the one that fits best."""
        generator = torch.Generator().manual_seed(int(self.seed))
        tried = [kmeans(rows, k, generator)[0] for _ in range(TRIES)]
        return min(tried, key=lambda centres: float(nearest(rows, centres)[1].mean()))

    @torch.no_grad()
    def propose(self, data: TrainingData) -> None:
        """Set `used` and `curve`: merge the over-clustering of some training images (see merging.py)."""
        over = self.head("over")
        total = torch.zeros(self.config.over_k, self.config.over_k, dtype=torch.float64)
        for images in self.some(data):
            first = over(self.features(images)).softmax(1)
            second = over(self.features(images.flip(3))).softmax(1).flip(3)
            total += symmetric_joints(first, second, self.config.reach).double().mean(0).cpu()
        found = merge(total)
        self.curve.copy_(torch.tensor(found.information))
        self.used.fill_(propose(found.information, most=MOST))

    def some(self, data: TrainingData) -> list[Tensor]:
        """Up to `LOOKED_AT` training images; see `some`."""
        return some(data, self.used.device)

    # ------------------------------------------------------------------ using

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, D, h, w) of the plain trunk: what heads and probes are given."""
        found: Tensor = self.trunk(images)
        return found

    def logits(self, features: Tensor) -> Tensor:
        """(B, K, h, w) of the clusters that `segment` shows."""
        used = int(self.used)
        found: Tensor = self.head("main")(features)[:, :used] if used else self.head("over")(features)
        return found

    def segment(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, K, H, W), logits enlarged bilinearly."""
        unit = self.trunk.stride
        height, width = images.shape[2:]
        rest = (-width % unit, -height % unit)
        padded = F.pad(images, (0, rest[0], 0, rest[1]), mode="replicate") if any(rest) else images
        logits = self.logits(self.features(padded))
        if unit > 1:
            logits = F.interpolate(logits, scale_factor=unit, mode="bilinear", align_corners=False)
        probs: Tensor = logits[:, :, :height, :width].softmax(1)
        return probs

    def score(self, images: Tensor) -> Tensor:
        """(B,): mutual information, as a part of log K, between the regions of the images and of their mirror images.

        The mean over images is I / log K of all of them: high when regions are sure, stable, and of like size.
        """
        return pointwise_information(self.segment(images), self.segment(images.flip(3)).flip(3))

    def embed(self, images: Tensor) -> Mapping[str, Tensor]:
        """Mean features of each image, and the shares of its regions."""
        return {"features": self.features(images).float().mean((2, 3)), "regions": self.segment(images).mean((2, 3))}

    def samples(self, batch: Batch) -> Mapping[str, Tensor]:
        """Photos, and their regions in the colours of the report."""
        palette = torch.tensor(colours(self.regions), device=batch.images.device) / 127.5 - 1
        labels = self.segment(batch.images).argmax(1)
        return {"photo": batch.images, "regions": palette[labels].movedim(3, 1)}
