"""From a whole photo to its things: maps of several views, one set of things, one count per view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from decoupe.instances import separate
from decoupe.methods.independence.cluster import votes
from decoupe.methods.independence.cluster.segmenter import maps_of, unview, view
from decoupe.methods.independence.cluster.shape import of_its_kind, roundness
from decoupe.methods.room import to_unit
from decoupe.nn.unet import UNet
from decoupe.types import Image, InstanceMap

SAME = 0.65
"""Things on which the views agree less are none: a band or a shadow is cut elsewhere in every view.

Chosen on six images of nuclei (right things .68 to 1, wrong ones .39 to .99) after the four pieces that were taken for
coins on the bright border of a photo had been seen to have .21 to .63, its coins .98.
"""


@dataclass(frozen=True)
class Found:
    """The things of one photo at the working scale."""

    labels: InstanceMap
    """(H, W) int32."""
    chance: NDArray[np.float32]
    """(H, W): probability that a pixel belongs to a thing."""
    agreement: NDArray[np.float64]
    """(N,) mean over the views of the IoU with what each of them makes of the thing."""
    counts: tuple[int, ...]
    """Number of things that each view alone finds."""


@torch.no_grad()
def find(network: UNet, image: Image, views: int) -> Found:
    """The things of (H, W, C) uint8 at the working scale, from the mean of the maps of `views` views."""
    device = next(network.parameters()).device
    unit = to_unit(image.transpose(2, 0, 1)[None], device)
    mean: NDArray[np.float32] = np.zeros((1, 1, 1), np.float32)
    alone = []
    for v in range(views):  # one view's maps at a time: they are what fills the memory
        maps: NDArray[np.float32] = unview(maps_of(network, view(unit, v)), v)[0].cpu().numpy()
        alone.append(votes.count(maps)[0])
        mean = np.add(mean, maps / np.float32(views))
    labels, _ = votes.count(mean)
    agreement = np.mean([best_iou(labels, other) for other in alone], 0)
    same = np.flatnonzero(agreement >= SAME)
    values, first = np.unique(labels, return_index=True)
    same = same[np.argsort(first[np.searchsorted(values, same + 1)])]  # in reading order of their first pixels
    numbers = np.zeros(len(agreement) + 1, np.int32)
    numbers[same + 1] = np.arange(1, len(same) + 1)
    kept = numbers[labels]
    chance = np.where((labels > 0) & (kept == 0), 0, mean[0]).astype(np.float32)
    return Found(kept, chance, agreement[same], tuple(int(one.max()) for one in alone))


def best_iou(labels: InstanceMap, other: InstanceMap) -> NDArray[np.float64]:
    """(N,) the IoU of each thing of `labels` with the thing of `other` that fits it best; 0 where none meets it."""
    first, second = int(labels.max()) + 1, int(other.max()) + 1
    both = np.bincount(labels.ravel() * second + other.ravel(), minlength=first * second).reshape(first, second)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    return np.asarray((both / np.maximum(union, 1))[1:, 1:].max(1, initial=0.0))


def trusted(found: Found) -> NDArray[np.float64]:
    """(N,) in [0, 1]: how safely each thing stands for one whole thing: views agree, it has no neck, it is round."""
    quality = np.clip((found.agreement - 0.5) / 0.5, 0, 1)
    for i, box in enumerate(ndimage.find_objects(found.labels)):
        mask = found.labels[box] == i + 1
        size = int(mask.sum())
        if size < 12:
            quality[i] = 0
            continue
        quality[i] *= np.clip((roundness(mask) - 0.85) / 0.13, 0, 1)
        if separate(np.pad(mask, 1), smallest=size // 5).max() > 1:
            quality[i] *= 0.1
    return quality * of_its_kind(found.labels, quality)


def uncertainty(found: Found) -> float:
    """Standard deviation of the count, all sources taken as independent.

    sqrt(Var_v(n_v) + sum_i a_i (1 - a_i) + sum_i u_i (1 - u_i)): the counts n_v of the single views; a thing on which
    the views agree by a_i is one with that chance; one that is as large and has as deep a pocket as u_i (`usual`) is
    not two with that chance. What no view finds is not in it.
    """
    one = of_its_kind(found.labels, np.ones(len(found.agreement)))
    doubt = (found.agreement * (1 - found.agreement)).sum() + (one * (1 - one)).sum()
    return float(np.sqrt(np.var(found.counts) + doubt))


def enlarge(found: Found, height: int, width: int) -> tuple[InstanceMap, NDArray[np.float32]]:
    """(labels, chance) at another size: each thing's soft mask is enlarged, the strongest holds a pixel."""
    chance = _zoom(found.chance, height, width)
    if found.labels.shape == (height, width):
        return found.labels, chance
    rows, columns = height / found.labels.shape[0], width / found.labels.shape[1]
    labels, best = np.zeros((height, width), np.int32), np.full((height, width), 0.5, np.float32)
    for number, box in enumerate(ndimage.find_objects(found.labels), start=1):
        if box is None:
            continue
        y0, x0 = max(box[0].start - 2, 0), max(box[1].start - 2, 0)
        small = (slice(y0, box[0].stop + 2), slice(x0, box[1].stop + 2))
        soft = ((found.labels[small] == number) * np.maximum(found.chance[small], 0.5)).astype(np.float32)
        top, left = int(np.floor(y0 * rows)), int(np.floor(x0 * columns))
        bottom = min(height, int(np.ceil((y0 + soft.shape[0]) * rows)))
        right = min(width, int(np.ceil((x0 + soft.shape[1]) * columns)))
        y = (np.arange(top, bottom) + 0.5) / rows - 0.5 - y0
        x = (np.arange(left, right) + 0.5) / columns - 0.5 - x0
        # the soft mask is 1/2 on its outline, where it falls from its value to 0
        large = ndimage.map_coordinates(soft, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
        large = large / max(float(soft.max()), 1e-6)
        here = (slice(top, bottom), slice(left, right))
        wins = large > best[here]
        labels[here][wins], best[here][wins] = number, large[wins]
    return labels, chance


def resampled(labels: InstanceMap, height: int, width: int) -> InstanceMap:
    """A label map at another size: the nearest pixel's."""
    y = np.minimum((np.arange(height) + 0.5) * labels.shape[0] / height, labels.shape[0] - 1).astype(np.int64)
    x = np.minimum((np.arange(width) + 0.5) * labels.shape[1] / width, labels.shape[1] - 1).astype(np.int64)
    return np.asarray(labels[y[:, None], x])


def _zoom(plane: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    tensor = torch.from_numpy(np.ascontiguousarray(plane, np.float32))[None, None]
    return np.asarray(
        torch.nn.functional.interpolate(tensor, (height, width), mode="bilinear", align_corners=False)[0, 0].numpy()
    )
