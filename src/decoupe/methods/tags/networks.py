"""The two networks of the room: what is in the photo, and where."""

from __future__ import annotations

import torch
from torch import Tensor

from decoupe.errors import Fault
from decoupe.methods.room import DataSpec
from decoupe.methods.tags.config import Config
from decoupe.nn.backbones import Backbone, backbone
from decoupe.nn.deeplab import LargeFov, dilate, trunk_parts
from decoupe.nn.norm import fold


def classifier(config: Config, spec: DataSpec, weights: str = "") -> Backbone:
    """A backbone with one score per tag: Figure 7's classification model, dilated so that maps have finer cells.

    Where it begins with weights, its batch normalisation keeps their statistics and is folded into the convolutions.
    Fault without tags, or on weights that do not fit.
    """
    if not spec.tags:
        raise Fault("tags of the photos", "none", "give --tags tags.csv (columns image,tags)")
    network = backbone(config.backbone, len(spec.tags), spec.channels, weights)
    dilate(trunk_parts(network.body), config.map_stride)
    if config.weights:
        fold(network)
    return network


def segmenter(config: Config, spec: DataSpec) -> LargeFov:
    """DeepLab-LargeFOV on the same backbone, one score per tag and one for the background."""
    folded = bool(config.weights)
    return LargeFov(config.backbone, spec.channels, len(spec.tags) + 1, config.stride, config.width, folded=folded)


def best_thresholds(probabilities: Tensor, tags: Tensor, otherwise: float) -> Tensor:
    """For each class the probability from which F1 is best: (N, C) in [0, 1], (N, C) 0 or 1 -> (C,).

    Halfway between two neighbouring probabilities; `otherwise` for a class that no photo has.
    """
    found = []
    for p, y in zip(probabilities.T, tags.T.bool(), strict=True):
        if not bool(y.any()):
            found.append(otherwise)
            continue
        order = p.argsort(descending=True)
        hits = y[order].cumsum(0).float()
        f1 = 2 * hits / (torch.arange(1, len(p) + 1, device=p.device) + y.sum())
        best = int(f1.argmax())
        following = float(p[order[best + 1]]) if best + 1 < len(p) else 0.0
        found.append((float(p[order[best]]) + following) / 2)
    return torch.tensor(found)
