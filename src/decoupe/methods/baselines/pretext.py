"""Older ways to learn features without labels: where a patch lies, whether two patches belong together, own clusters.

After Doersch et al. 2015 (context), Isola et al. 2016 (co-occurrence) and Caron et al. 2018 (DeepCluster), each with
the small encoder of `cells.py`: their ideas at the size of the other references here, not their networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.methods.baselines.cells import Cells
from decoupe.methods.baselines.config import Config
from decoupe.methods.clusters import cosine
from decoupe.methods.room import Batch, Draw, Phase
from decoupe.paired import Transform

PAIRS = 4
"""Pairs of patches from each image in a step."""
PLACES = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""The eight places around a patch, in patches: row, column."""


class PretextPhase(Phase):
    """What the three have in common."""

    def __init__(self, config: Config, cells: Cells, name: str) -> None:
        super().__init__()
        self.config, self.cells, self.name = config, cells, name

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW([p for module in self.trained() for p in module.parameters()], self.config.lr)

    def rate(self, progress: float) -> float:
        """A cosine down to a twentieth."""
        return cosine(progress)


def patches(images: Tensor, rows: Tensor, columns: Tensor, side: int) -> Tensor:
    """(B, C, H, W) at upper left corners (B, n) -> (B n, C, side, side), whole pixels."""
    window = torch.arange(side, device=images.device)
    y, x = (rows[..., None] + window)[..., :, None], (columns[..., None] + window)[..., None, :]
    batch = torch.arange(len(images), device=images.device)[:, None, None, None]
    return images.movedim(1, 3)[batch, y, x].flatten(0, 1).movedim(3, 1)


def corners(draw: Draw, size: int, side: int, apart: int) -> tuple[Tensor, Tensor]:
    """(B, n) int64 rows and columns of patches that have room for a neighbour `apart` pixels away on every side."""
    room = size - side - 2 * apart
    return apart + draw.integers(room + 1, PAIRS), apart + draw.integers(room + 1, PAIRS)


def shape(size: int) -> tuple[int, int, int]:
    """(side of a patch, pixels between two patches, largest jitter) for images of `size` pixels: 3 fit with room."""
    side = max(8, size // 5 // 4 * 4)
    gap = max(1, side // 4)
    return side, gap, max(1, side // 8)


def neighbours(batch: Batch, jittered: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(B n, C, side, side) patches, one neighbour of each, and (B n,) int64 which of `PLACES` that lies in.

    jittered: neighbours lie a few pixels off.
    """
    size, draw = batch.images.shape[2], batch.draw
    side, gap, jitter = shape(size)
    step = side + gap
    rows, columns = corners(draw, size, side, step + jitter)
    where = draw.integers(len(PLACES), PAIRS)
    moves = torch.tensor(PLACES, device=batch.images.device)[where] * step
    if jittered:
        moves = moves + draw.integers(2 * jitter + 1, PAIRS, 2) - jitter
    one = patches(batch.images, rows, columns, side)
    two = patches(batch.images, rows + moves[..., 0], columns + moves[..., 1], side)
    return one, two, where.flatten()


class JudgedPhase(PretextPhase):
    """A judge looks at the features of two patches; it and the encoder learn."""

    TITLE: ClassVar[str]

    def __init__(self, config: Config, cells: Cells, judge: nn.Module) -> None:
        super().__init__(config, cells, self.TITLE)
        self.judge = judge

    def trained(self) -> Sequence[nn.Module]:
        """Encoder and judge."""
        return [self.cells.encoder, self.judge]


class ContextPhase(JudgedPhase):
    """Doersch: in which of eight places does the second patch lie? A gap and jitter keep edges from telling."""

    TITLE: ClassVar[str] = "context"

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the place."""
        one, two, where = neighbours(batch, jittered=True)
        found = self.judge(torch.cat([pooled(self.cells, one), pooled(self.cells, two)], 1))
        loss = F.cross_entropy(found.float(), where)
        return loss, {"context": loss.detach(), "right": (found.argmax(1) == where).float().mean()}


class TogetherPhase(JudgedPhase):
    """Isola: do two patches come from places next to each other, or from two images?"""

    TITLE: ClassVar[str] = "together"

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy; every patch has one neighbour and one from the image before."""
        one, two = (pooled(self.cells, patch) for patch in neighbours(batch, jittered=False)[:2])
        other = two.roll(PAIRS, 0)
        found = self.judge(torch.cat([torch.cat([(one - x).abs(), one * x], 1) for x in (two, other)])).float()[:, 0]
        truth = torch.cat([torch.ones(len(one)), torch.zeros(len(one))]).to(found.device)
        loss = F.binary_cross_entropy_with_logits(found, truth)
        return loss, {"together": loss.detach(), "right": ((found > 0) == (truth > 0)).float().mean()}


class OwnClustersPhase(PretextPhase):
    """DeepCluster: predict which centre a cell was nearest to when the round began, from the image's transform."""

    def __init__(self, config: Config, cells: Cells, classifier: nn.Module, past: Cells) -> None:
        super().__init__(config, cells, "own clusters")
        self.classifier, self.past = classifier, past

    def trained(self) -> Sequence[nn.Module]:
        """Encoder and classifier."""
        return [self.cells.encoder, self.classifier]

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the centres, rare ones counting as much as frequent ones."""
        with torch.no_grad():
            labels = self.past.labels(self.past.eval()(batch.images))
        transform = Transform(batch.draw, 0.2, True, 0.0)
        found, _ = transform.undo(self.classifier(self.cells(transform.apply(batch.images))))
        counts = torch.bincount(labels.flatten(), minlength=found.shape[1]).clamp_min(1)
        weights = (labels.numel() / (counts * (counts > 1).sum())).to(found.dtype)
        loss = F.cross_entropy(found, labels, weight=weights)
        return loss, {"own clusters": loss.detach()}


class CentresPhase(PretextPhase):
    """k-means by gradient over all images: every feature pulls its nearest centre."""

    def __init__(self, config: Config, cells: Cells) -> None:
        super().__init__(config, cells, "centres")

    def trained(self) -> Sequence[nn.Module]:
        """The centres."""
        return [self.cells.centres]

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared distance to the nearest centre."""
        with torch.no_grad():
            features = self.cells.eval()(batch.images)
        loss = self.cells.centres(features).amin(1).mean()
        return loss, {"centres": loss.detach()}


def judge(kind: str, width: int, k: int) -> nn.Module:
    """What decides on a pretext: one hidden layer on two patches, or a linear classifier of cells."""
    if kind == "deepcluster":
        return nn.Conv2d(width, k, 1)
    outputs = len(PLACES) if kind == "doersch" else 1
    return nn.Sequential(nn.Linear(2 * width, 64), nn.ReLU(), nn.Linear(64, outputs))


def pooled(cells: Cells, images: Tensor) -> Tensor:
    """(n, C, s, s) -> (n, width): the mean over a patch's cells."""
    found: Tensor = cells.encoder(images).mean((2, 3))
    return found
