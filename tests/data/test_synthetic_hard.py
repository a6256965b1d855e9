"""`objects` cannot be cut out by colour, brightness or place; the rules tried here do work where colour tells."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from decoupe.data.synthetic import background_photos, object_photos

Masks = NDArray[np.bool_]
Images = NDArray[np.uint8]


def kmeans(points: NDArray[np.float64], k: int, tries: int = 2) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    best: tuple[float, NDArray[np.float64], NDArray[np.intp]] | None = None
    for seed in range(tries):
        centres = points[np.random.default_rng(seed).choice(len(points), k, replace=False)]
        for _ in range(15):
            distance = ((points[:, None] - centres) ** 2).sum(-1)
            owner = distance.argmin(1)
            centres = np.stack([points[owner == j].mean(0) if (owner == j).any() else centres[j] for j in range(k)])
        if best is None or distance.min(1).sum() < best[0]:
            best = (float(distance.min(1).sum()), centres, owner)
    assert best is not None
    return best[1], best[2]


def lab(image: Images) -> NDArray[np.float64]:
    value = image / 255.0
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def off_border(labels: Masks) -> Masks:
    """The one of two labels that the border has less of."""
    rim = np.ones(labels.shape, bool)
    rim[3:-3, 3:-3] = False
    return np.asarray(labels != (labels[rim].mean() > 0.5))


def lab_kmeans(images: Images) -> Masks:
    return np.stack([off_border(kmeans(lab(x).reshape(-1, 3), 2)[1].reshape(x.shape[:2]) == 1) for x in images])


def otsu(images: Images) -> Masks:
    out = []
    for image in images:
        grey = (image @ [0.299, 0.587, 0.114]).astype(int)
        share = np.bincount(grey.ravel(), minlength=256) / grey.size
        weight, mean = share.cumsum(), (share * np.arange(256)).cumsum()
        between = (mean[-1] * weight - mean) ** 2 / (weight * (1 - weight) + 1e-9)
        out.append(off_border(grey > between.argmax()))
    return np.stack(out)


def iou(found: Masks, truth: Masks) -> float:
    return float((found & truth).sum() / (found | truth).sum())


@pytest.fixture(scope="module")
def photos() -> tuple[Images, Masks]:
    images, masks = object_photos(60, seed=21)
    return images, masks > 0


@pytest.fixture(scope="module")
def easy(photos: tuple[Images, Masks]) -> tuple[Images, Masks]:
    """The same shapes in plain white on quiet dark grounds."""
    grounds = background_photos(60, seed=21) // 4
    return np.where(photos[1][..., None], np.uint8(230), grounds), photos[1]


def test_colour_rules_work_where_colour_tells(easy: tuple[Images, Masks]) -> None:
    assert iou(lab_kmeans(easy[0]), easy[1]) > 0.9
    assert iou(otsu(easy[0]), easy[1]) > 0.9


def test_colour_and_brightness_do_not_find_the_object(photos: tuple[Images, Masks]) -> None:
    images, truth = photos
    assert iou(lab_kmeans(images), truth) < 0.5
    assert iou(otsu(images), truth) < 0.45
    centres, _ = kmeans(images.reshape(-1, 3)[::41].astype(float), 2)
    nearest = ((images.reshape(-1, 1, 3) - centres) ** 2).sum(-1).argmin(1).reshape(truth.shape)
    assert max(iou(nearest == k, truth) for k in range(2)) < 0.45


def test_place_does_not_find_the_object(photos: tuple[Images, Masks]) -> None:
    truth = photos[1]
    ys, xs = np.mgrid[:64, :64] - 31.5
    radius = np.hypot(ys, xs)
    assert max(iou(np.broadcast_to(radius < r, truth.shape), truth) for r in range(12, 31)) < 0.55
    average = object_photos(60, seed=22)[1].mean(0)
    assert max(iou(np.broadcast_to(average > t, truth.shape), truth) for t in np.arange(0.2, 0.7, 0.05)) < 0.55


@pytest.mark.slow
def test_the_best_colour_table_fitted_with_labels_fails_on_new_images(photos: tuple[Images, Masks]) -> None:
    def codes(images: Images) -> NDArray[np.intp]:
        levels = (images // 32).astype(np.intp)
        return np.asarray(levels[..., 0] * 64 + levels[..., 1] * 8 + levels[..., 2])

    images, masks = object_photos(300, seed=23)
    inside = np.bincount(codes(images)[masks > 0], minlength=512)
    total = np.bincount(codes(images).ravel(), minlength=512)
    chance = (inside + 0.25) / (total + 1)
    scores = [iou(chance[codes(photos[0])] > t, photos[1]) for t in np.arange(0.1, 0.9, 0.05)]
    assert 0.25 < max(scores) < 0.5
