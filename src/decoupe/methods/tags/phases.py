"""What is minimised: the classifier's cross-entropy, and the three losses of SEC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.methods.room import Batch, Phase
from decoupe.methods.tags import losses
from decoupe.methods.tags.config import Config
from decoupe.methods.tags.cues import edges
from decoupe.methods.tags.features import Features
from decoupe.nn.backbones import Backbone
from decoupe.nn.deeplab import LargeFov, Late, enlarge, later
from decoupe.views import view

ZOOM = 1.4
"""Largest enlargement of a photo that the classifier sees: more would cut the objects out."""
WARM_UP = 0.05


def cosine(progress: float) -> float:
    """Rises in a straight line over the first twentieth, then falls to zero along a cosine."""
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.02)
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def cells(images: Tensor) -> tuple[int, int]:
    """Rows and columns of the grid of 8 pixels on which cues, losses and targets live."""
    return (images.shape[2] - 1) // 8 + 1, (images.shape[3] - 1) // 8 + 1


def mirrored(x: Tensor, which: Tensor) -> Tensor:
    """(B, ..., W) with the chosen ones of the batch mirrored."""
    return torch.where(which.view(-1, *(1 for _ in x.shape[1:])), x.flip(-1), x)


class ClassifierPhase(Phase):
    """Multi-label classification of zoomed, mirrored photos."""

    name = "classifier"

    def __init__(
        self, config: Config, network: Backbone, tags: Tensor, counted: Tensor, fixed: int, features: Features | None
    ) -> None:
        """`tags`: (N, C) 0 or 1; `counted`: (N,) 0 for photos held out; `fixed`: parts of the trunk that stay."""
        super().__init__()
        self.config, self.network, self.fixed = config, network, fixed
        self._late, self._features = [Late(network, fixed)], features
        self._tags, self._counted = tags, counted
        self._weights = losses.imbalance(tags[counted > 0], config.balance)

    def trained(self) -> Sequence[nn.Module]:
        """The classifier, without the parts of its trunk that are fixed."""
        return later(self.network, self.fixed) if self.fixed else (self.network,)

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW, the new last layer ten times as fast."""
        last = {id(p) for p in self.network.final.parameters()}
        trained = [p for module in self.trained() for p in module.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trained if id(p) not in last], "lr": self.config.classifier_lr},
            {"params": list(self.network.final.parameters()), "lr": 10 * self.config.classifier_lr},
        ]
        return torch.optim.AdamW(groups, weight_decay=1e-4)

    def rate(self, progress: float) -> float:
        """Along a cosine."""
        return cosine(progress)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and the share of tags that are right."""
        where = batch.indices.to(self._tags.device)
        tags, counted, weights = (
            t.to(batch.images.device) for t in (self._tags[where], self._counted[where], self._weights)
        )
        logits = self._logits(batch)
        loss = losses.multi_label(logits, tags, weights, counted)
        right = ((logits.detach() > 0) == (tags > 0)).all(1).float().mean()
        return loss, {"tags": loss.detach(), "exact": right}

    def _logits(self, batch: Batch) -> Tensor:
        if self._features is not None:
            which = batch.draw.uniform() < 0.5
            logits: Tensor = self._late[0](self._features.of(batch.indices, which, batch.images.device))
            return logits
        size = self.config.classifier_size
        images = view(batch.images, batch.draw, ZOOM)
        if size != images.shape[2]:
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=size < images.shape[2])
        return torch.as_tensor(self.network(images))


class SecPhase(Phase):
    """Seed, expand, constrain; in rounds of self-training the cues are dense and stand alone."""

    def __init__(
        self, config: Config, network: LargeFov, cues: Tensor, tags: Tensor, own: bool, fixed: int,
        features: Features | None,
    ) -> None:  # fmt: skip
        """`cues`: uint8 (N, h, w); `tags`: (N, C) 0 or 1; `own`: whether the cues are the network's own masks."""
        super().__init__()
        self.name = "self" if own else "sec"
        self.config, self.network, self.own, self.fixed = config, network, own, fixed
        self._cues, self._tags, self._features = cues, tags, features

    def trained(self) -> Sequence[nn.Module]:
        """The head and the parts of the trunk that are not fixed."""
        if not self.fixed:
            return (self.network,)
        return [*self.network.trunk.parts[self.fixed :], self.network.fc6, self.network.fc7, self.network.score]

    def optimiser(self) -> torch.optim.Optimizer:
        """SGD as in SEC: momentum .9, decay 5e-4, the last layer 10 times as fast, its biases 20; or AdamW."""
        config, last = self.config, self.network.score
        own = {id(p) for p in last.parameters()}
        rest = [p for module in self.trained() for p in module.parameters() if id(p) not in own]
        if config.optimiser == "adamw":
            return torch.optim.AdamW([*rest, *last.parameters()], config.lr, weight_decay=1e-4)
        groups: list[dict[str, Any]] = [
            {"params": rest, "lr": config.lr},
            {"params": [last.weight], "lr": 10 * config.lr},
            {"params": [last.bias], "lr": 20 * config.lr, "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, config.lr, momentum=0.9, weight_decay=5e-4)

    def rate(self, progress: float) -> float:
        """A tenth after each quarter (SEC: every 2,000 of 8,000 steps), or along a cosine."""
        return 0.1 ** int(4 * progress) if self.config.optimiser == "sgd" else cosine(progress)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the three losses, and each of them."""
        where = batch.indices.to(self._cues.device)
        cues, tags = (t[where].to(batch.images.device) for t in (self._cues, self._tags))
        which = (batch.draw.uniform() < 0.5) & self.config.mirror
        images, cues = mirrored(batch.images, which), mirrored(cues, which)
        if self._features is not None:
            scores = self.network.rest(self._features.of(batch.indices, which, images.device), self.fixed)
        else:
            scores = self.network(images)
        f = losses.probabilities(enlarge(scores.float(), *cues.shape[1:]))
        parts = {"seed": (self.config.seed_weight, losses.seed(f, cues))}
        if not self.own:
            if self.config.expand_weight:
                parts["expand"] = (self.config.expand_weight, losses.expand(f, tags))
            if self.config.constrain_weight:
                parts["constrain"] = (self.config.constrain_weight, losses.constrain(f, edges(f, images)))
        total = torch.stack([weight * value for weight, value in parts.values()]).sum()
        return total, {name: value.detach() for name, (_, value) in parts.items()}
