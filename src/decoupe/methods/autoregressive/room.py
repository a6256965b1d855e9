"""The room `autoregressive`: two orderings of the pixels give two views; clusters (AC) or features (ARL) must agree.

AC is one stage in which an over-clustering and the clustering take turns. ARL is two: features, then their centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from decoupe.losses.information import symmetric_joints
from decoupe.merging import merge, propose
from decoupe.methods.autoregressive import losses
from decoupe.methods.autoregressive.config import Config
from decoupe.methods.autoregressive.networks import Autoregressive, Model, build_stem
from decoupe.methods.clusters import MOST, ClusterRoom, Head, Objective, TwoViewPhase, Views, pixels
from decoupe.methods.room import Batch, DataSpec, Draw, Phase, Stage, TrainingData
from decoupe.nn.masked_conv import RASTER, ZIGZAG, Ordering
from decoupe.paired import Transform


def pool(config: Config) -> tuple[Ordering, ...]:
    """O: the orderings that views are drawn from."""
    raster, zigzag = RASTER[: config.ordering_count], ZIGZAG[: config.ordering_count]
    return {"raster": raster, "zigzag": zigzag, "both": raster + zigzag}[config.orderings]


def draw_pair(orderings: Sequence[Ordering], sampling: str, draw: Draw) -> tuple[Ordering, Ordering]:
    """(o_i, o_j): the same pair in every process. `sampling` as in `Config.sampling`."""
    count = len(orderings)
    first, other = int(draw.shared(count)), int(draw.shared(count))
    if sampling == "hard":
        return orderings[first], orderings[first].reflected()
    if sampling == "norepeat":
        other = (first + 1 + other % (count - 1)) % count
    return orderings[first], orderings[other]


class OrderedViews(Views):
    """Steps 1 to 3 of training: F(x; o_i), and F(t(x); o_j) for a random transform t."""

    def __init__(self, config: Config, trunk: Model) -> None:
        super().__init__()
        self.config, self.trunk = config, trunk
        self._pool = pool(config)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Transform]:
        """(B, D, h, w), (B, D, h, w) in the frame of t(x), t."""
        config, draw = self.config, batch.draw
        one, two = draw_pair(self._pool, config.sampling, draw)
        transform = Transform(draw, config.jitter, config.flip, config.rotation)
        dropping = draw if config.dropout else None
        return (
            self.trunk(batch.images, one, dropping),
            self.trunk(transform.apply(batch.images), two, dropping),
            transform,
        )


class ContrastPhase(TwoViewPhase):
    """ARL: the features of a pixel in both views agree, those of other pixels do not."""

    name = "contrast"
    config: Config

    def __init__(self, config: Config, views: OrderedViews, projection: nn.Module) -> None:
        super().__init__(config, views)
        self.projection = projection

    def trained(self) -> Sequence[nn.Module]:
        """Trunk and projection."""
        return [*self.views.trunk.learning(), self.projection]

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """- the contrastive bound over some pixels of each image."""
        one, two, transform = self.views(batch)
        first = self.projection(one).float()
        second, valid = transform.undo(self.projection(two))
        pixels = batch.draw.integers(first.shape[2] * first.shape[3], self.config.samples)
        chosen = [_at(maps, pixels) for maps in (first, second)]
        counts = None if valid is None else _at(valid, pixels)[:, 0]
        loss = losses.representation(chosen[0], chosen[1], self.config.temperature, counts)
        return loss, {"contrast": loss.detach()}


def _at(maps: Tensor, pixels: Tensor) -> Tensor:
    """(B, D, h, w) at flat positions (B, n) -> (B * n, D)."""
    flat = maps.flatten(2)
    return flat.gather(2, pixels[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2).flatten(0, 1)


class CentresPhase(Phase):
    """ARL: spherical k-means by gradient: every feature pulls its nearest centre."""

    name = "centres"

    def __init__(self, config: Config, trunk: Model, projection: nn.Module, head: Head, k: int) -> None:
        super().__init__()
        self.config, self.trunk, self.projection, self.head, self.k = config, trunk, projection, head, k

    def trained(self) -> Sequence[nn.Module]:
        """The centres."""
        return [self.head]

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.head.parameters(), self.config.lr, weight_decay=0)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """1 - mean cosine to the nearest centre."""
        with torch.no_grad():
            features = self.projection(self.trunk(batch.images))
        cosines = self.head(features)[:, : self.k] * (self.head.temperature or 1.0)
        loss = 1 - cosines.amax(1).mean()
        return loss, {"centres": loss.detach()}


class AutoregressiveRoom(ClusterRoom):
    """See the module's docstring."""

    NAME: ClassVar[str] = "autoregressive"
    config: Config
    trunk: Model

    def __init__(self, config: Config, spec: DataSpec) -> None:
        channels = spec.channels + 2 * config.sobel
        shape = (config.width, config.stride, config.norm, config.dropout)
        stem, inputs = build_stem(config.stem, channels, *shape)
        if config.features:
            stem, inputs = nn.Identity(), config.components
        width = config.width if config.blocks else inputs
        chain = Autoregressive(
            inputs, width, config.blocks, config.attention, config.attention_heads, config.norm, config.dropout
        )
        arl = config.objective == "arl"
        trunk = Model(stem, chain, width, spec.channels, config)
        features = config.projection if arl else trunk.features
        super().__init__(config, spec, trunk, features, config.temperature if arl else None)
        self.projection: nn.Module = nn.Conv2d(trunk.features, features, 1) if arl else nn.Identity()

    def views(self) -> OrderedViews:
        """Two orderings, and a transform of the second view."""
        return OrderedViews(self.config, self.trunk)

    def objective(self) -> Objective:
        """AC."""
        return losses.clustering

    def stages(self) -> Sequence[Stage]:
        """AC: as in `ClusterRoom`. ARL: features (no regions yet, so none are judged), then centres."""
        if self.config.objective == "ac":
            return super().stages()
        config = self.config
        averaged = ("trunk", "projection") if config.average else ()
        contrast = ContrastPhase(config, self.views(), self.projection)
        k = int(self.used) or MOST
        centres = CentresPhase(config, self.trunk, self.projection, self.head("main"), k)
        return (
            Stage(
                "represent", (contrast,), config.train_images, averaged, config.average, False, checks=4, watched_from=2
            ),
            Stage("centres", (centres,), max(1, config.train_images // 8), checks=2),
        )

    def enter(self, stage: int, data: TrainingData, fresh: bool) -> None:
        """ARL: start the centres by k-means of the features of some training images, K from `--k` or proposed."""
        if self.config.objective == "ac":
            return super().enter(stage, data, fresh)
        if stage == 1 and fresh:
            self.eval()
            with torch.no_grad():
                self._start_centres(data)

    def _start_centres(self, data: TrainingData) -> None:
        maps = torch.cat([self.features(images).float().cpu() for images in self.some(data)])
        maps = nn.functional.normalize(maps, dim=1)
        few = pixels([maps])
        if self.config.k == "auto":
            head = self.head("over")
            head.conv.weight.copy_(self.centres(few, self.config.over_k)[:, :, None, None])
            joint = torch.zeros(self.config.over_k, self.config.over_k, dtype=torch.float64)
            for part in torch.split(maps, 16):
                probs = head(part.to(self.used.device)).softmax(1)
                joint += symmetric_joints(probs, probs, self.config.reach).double().mean(0).cpu()
            found = merge(joint)
            self.curve.copy_(torch.tensor(found.information))
            self.used.fill_(propose(found.information, most=MOST))
        k = int(self.used)
        self.head("main").conv.weight[:k].copy_(self.centres(few, k)[:, :, None, None])

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w): the plain network, without masks or shifts (ARL: its projection)."""
        found: Tensor = self.projection(self.trunk(images))
        return found
