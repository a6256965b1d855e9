"""Parameters of the dense CRF from a few masks, by grid search."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from decoupe.crf.inference import check, log_unary, mean_field, prepare
from decoupe.crf.kernels import Fast
from decoupe.crf.settings import Settings, choose
from decoupe.errors import Fault, UsageFault
from decoupe.types import VOID

WEIGHTS = ("appearance", "smoothness")
WIDTHS = ("appearance_sxy", "srgb", "smoothness_sxy")


@dataclass(frozen=True)
class Fitted:
    """What the search found."""

    settings: Settings
    """The best of the grid; the first of equals."""
    iou: float
    """Its mean IoU over classes."""
    before: float
    """Mean IoU of the probabilities' own labels."""
    table: tuple[tuple[Settings, float], ...]
    """Every point of the grid and its mean IoU, in the order of the grid."""


def default_grid(start: Settings) -> dict[str, tuple[float, ...]]:
    """Half, once and twice the appearance kernel's weight and widths: 27 points."""
    return {
        name: tuple(getattr(start, name) * factor for factor in (1.0, 0.5, 2.0))
        for name in ("appearance", "appearance_sxy", "srgb")
    }


def grid_points(grid: Mapping[str, Sequence[float]] | None, start: Settings) -> list[Settings]:
    """Every point of a grid as for `fit_parameters`, in its order. Fault on a value out of range."""
    values = dict(default_grid(start) if grid is None else grid)
    _check_grid(values)
    return [_with(start, dict(zip(values, point, strict=True))) for point in itertools.product(*values.values())]


@torch.no_grad()
def fit_parameters(
    probs: Sequence[Tensor],
    images: Sequence[Tensor],
    masks: Sequence[Tensor],
    grid: Mapping[str, Sequence[float]] | None = None,
    start: str | Settings = "krahenbuhl",
    iterations: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    classes: Sequence[int] | None = None,
    scales: Sequence[float] | None = None,
) -> Fitted:
    """Try every point of `grid` on labelled images; the best by mean IoU from one confusion matrix over all of them.

    probs: (K, H, W) each, as for `dense_crf`. images: (H, W, C). masks: (H, W) integers in [0, K), 255 = void, left
    out. grid: field of `Settings` (weights and widths) -> values; None: `default_grid`. start: what the grid does not
    name. progress: called with (done, total), counting images times widths: kernels are built once for each of these.
    classes: the class of the masks that each of the K labels stands for, -1 for none; None: the labels are the classes.
    scales: factor of each image's size to that of the photo for which widths in pixels are meant; None: 1.

    Fault on lists of unequal length, wrong shapes or labels; UsageFault on a field that is no weight or width.
    """
    settings = choose(start, iterations)
    points = grid_points(grid, settings)
    stands_for = torch.arange(len(probs[0])) if classes is None and len(probs) else torch.tensor(classes or [])
    count = _check_images(probs, images, masks, stands_for, classes is not None)
    factors = [1.0] * len(probs) if scales is None else list(scales)
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, point in enumerate(points):
        groups.setdefault(tuple(getattr(point, name) for name in WIDTHS), []).append(index)
    confusion = torch.zeros(len(points) + 1, count, count, dtype=torch.int64)
    done, total = 0, len(probs) * len(groups)
    for index, (given, photo, mask, factor) in enumerate(zip(probs, images, masks, factors, strict=True)):
        _check_frame(given, mask, len(stands_for), index)
        p, image = check(given, photo)
        unary = log_unary(p, settings)
        confusion[-1] += _confusion(p.flatten(1).argmax(0), mask, stands_for, count)
        for group in groups.values():
            some = [points[i] if factor == 1 else points[i].scaled(factor) for i in group]
            _try(unary, image, mask, stands_for, some, group, confusion)
            done += 1
            if progress is not None:
                progress(done, total)
    scores = [_mean_iou(matrix) for matrix in confusion]
    best = max(range(len(points)), key=lambda index: scores[index])
    return Fitted(points[best], scores[best], scores[-1], tuple(zip(points, scores[:-1], strict=True)))


def _with(settings: Settings, values: Mapping[str, Any]) -> Settings:
    return replace(settings, **values)


def _try(
    unary: Tensor, image: Tensor, mask: Tensor, stands_for: Tensor, points: Sequence[Settings],
    indices: Sequence[int], confusion: Tensor,
) -> None:  # fmt: skip
    """Add one image to the confusion matrices of points that share their widths."""
    on = {name: float(any(getattr(point, name) for point in points)) for name in WEIGHTS}
    kernels = prepare(image, _with(points[0], on))
    for index, point in zip(indices, points, strict=True):
        weighted = copy.copy(kernels)
        if isinstance(weighted, Fast):
            weighted.settings = point
        q = mean_field(unary, weighted, point.iterations)
        confusion[index] += _confusion(q.argmax(1), mask, stands_for, confusion.shape[1])


def _confusion(labels: Tensor, mask: Tensor, stands_for: Tensor, count: int) -> Tensor:
    """(count, count) pixels by truth and prediction; what stands for no class is predicted as the last."""
    truth = mask.reshape(-1).to(labels.device, torch.int64)
    known = truth != VOID
    found = stands_for.to(labels.device)[labels[known]]
    pairs = truth[known] * count + torch.where(found < 0, count - 1, found)
    return torch.bincount(pairs, minlength=count * count).view(count, count).cpu()


def _mean_iou(confusion: Tensor) -> float:
    """Over the classes that occur in truth or prediction; the last row and column stand for none of them."""
    both = confusion.diagonal()[:-1].double()
    either = (confusion.sum(0) + confusion.sum(1) - confusion.diagonal())[:-1]
    return float((both / either)[either > 0].mean())


def _check_grid(grid: Mapping[str, Sequence[float]]) -> None:
    known = [field.name for field in fields(Settings) if field.name in WEIGHTS + WIDTHS]
    for name, values in grid.items():
        if name not in known:
            raise UsageFault(f"a grid over {', '.join(known)}", repr(name)[:60], "leave it out")
        if len(values) == 0:
            raise Fault(f"values of {name}", "none", "give at least one")


def _check_images(
    probs: Sequence[Tensor], images: Sequence[Tensor], masks: Sequence[Tensor], stands_for: Tensor, given: bool
) -> int:
    """Number of classes and one more, for labels that stand for none. Fault on what does not fit together.

    Reads every mask, but the probs of the first image only: those may be made when they are asked for.
    """
    if not len(probs) == len(images) == len(masks) or not probs:
        got = f"{len(probs)}, {len(images)} and {len(masks)}"
        raise Fault("one image and one mask for each of at least one probs", got, "give three lists of equal length")
    labels = len(probs[0])
    classes = int(stands_for.max()) + 1 if len(stands_for) == labels else 0
    if not classes:
        raise Fault(f"a class of each of {labels} labels, -1 for none", f"{stands_for.tolist()}"[:80], "give one each")
    used = False
    for mask in masks:
        known = mask[mask != VOID]
        used = used or known.numel() > 0
        classes = max(classes, int(known.max()) + 1) if given and known.numel() else classes
        if known.numel() and not 0 <= int(known.min()) <= int(known.max()) < classes:
            raise Fault(
                f"labels 0 to {classes - 1} or 255", f"{int(known.min())} to {int(known.max())}", "correct the mask"
            )
    if not used:
        raise Fault("a mask with labelled pixels", "only void ones", "label some pixels")
    return classes + 1


def _check_frame(p: Tensor, mask: Tensor, labels: int, index: int) -> None:
    if p.ndim != 3 or len(p) != labels or mask.shape != p.shape[1:] or mask.is_floating_point():
        got = f"{tuple(p.shape)} and {mask.dtype} {tuple(mask.shape)} at {index}"
        raise Fault(f"probs ({labels}, H, W) and an integer mask (H, W)", got, "give them one frame")
