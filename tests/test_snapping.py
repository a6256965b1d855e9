"""Snapping against loops over floats, for two regions and for more."""

from __future__ import annotations

import math

import pytest
import torch

from decoupe.snapping import reduce_to, snap


def _slow_snap(image: torch.Tensor, probs: torch.Tensor, iterations: int) -> list[list[float]]:
    """The documented update, pixel by pixel; as many anchors as pixels. (C, h, w), (K, h, w) -> K lists."""
    regions, height, width = probs.shape
    places = [((y + 0.5) / height, (x + 0.5) / width) for y in range(height) for x in range(width)]
    colours = [[(float(v) + 1) / 2 for v in image[:, y, x]] for y in range(height) for x in range(width)]
    given = probs.flatten(1).tolist()
    bands, q = len(image), [list(row) for row in given]
    for _ in range(iterations):
        new = [list(row) for row in q]
        for i, (place, colour) in enumerate(zip(places, colours, strict=True)):
            total, weighted = 0.0, [0.0] * regions
            for j, (other, hue) in enumerate(zip(places, colours, strict=True)):
                c = sum((a - b) ** 2 for a, b in zip(colour, hue, strict=True)) * 3 / bands / 0.1**2
                p = sum((a - b) ** 2 for a, b in zip(place, other, strict=True)) / 0.2**2
                k = math.exp(-c / 2 - p / 2)
                total, weighted = total + k, [w + k * q[n][j] for n, w in enumerate(weighted)]
            raw = [math.exp(3 * weighted[n] / total) * (given[n][i] + 0.02) for n in range(regions)]
            for n in range(regions):
                new[n][i] = raw[n] / sum(raw)
        q = new
    return q


def _two_regions(image: torch.Tensor, mask: torch.Tensor, iterations: int) -> list[float]:
    """The update of a single mask: q = sigmoid(6 (s - 1/2) + log((m + .02) / (1.02 - m)))."""
    height, width = mask.shape
    places = [((y + 0.5) / height, (x + 0.5) / width) for y in range(height) for x in range(width)]
    colours = [[(float(v) + 1) / 2 for v in image[:, y, x]] for y in range(height) for x in range(width)]
    given = mask.flatten().tolist()
    q = list(given)
    for _ in range(iterations):
        new = []
        for i, (place, colour) in enumerate(zip(places, colours, strict=True)):
            total = weighted = 0.0
            for j, (other, hue) in enumerate(zip(places, colours, strict=True)):
                c = sum((a - b) ** 2 for a, b in zip(colour, hue, strict=True)) / 0.1**2
                p = sum((a - b) ** 2 for a, b in zip(place, other, strict=True)) / 0.2**2
                k = math.exp(-c / 2 - p / 2)
                total, weighted = total + k, weighted + k * q[j]
            m = given[i]
            new.append(1 / (1 + math.exp(-(6 * (weighted / total - 0.5) + math.log((m + 0.02) / (1.02 - m))))))
        q = new
    return q


def _photo(channels: int, regions: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(channels)
    image = torch.rand(1, channels, 7, 6, generator=generator) * 2 - 1
    return image, torch.rand(1, regions, 7, 6, generator=generator).softmax(1)


@pytest.mark.parametrize(("channels", "regions"), [(3, 2), (3, 3), (1, 5), (5, 4)])
def test_snap_is_the_documented_update(channels: int, regions: int) -> None:
    image, probs = _photo(channels, regions)
    fast, slow = snap(image, probs, iterations=4)[0].flatten(1).tolist(), _slow_snap(image[0], probs[0], 4)
    for one, other in zip(fast, slow, strict=True):
        assert one == pytest.approx(other, abs=2e-5)


def test_two_regions_are_a_single_masks_update() -> None:
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.rand(1, 3, 7, 6, generator=generator) * 2 - 1, torch.rand(1, 1, 7, 6, generator=generator)
    fast = snap(image, torch.cat([1 - mask, mask], 1), iterations=4)
    assert fast[0, 1].flatten().tolist() == pytest.approx(_two_regions(image[0], mask[0, 0], 4), abs=2e-5)


def test_snap_moves_blurred_regions_to_the_edges() -> None:
    truth = torch.zeros(1, 3, 64, 64)
    truth[:, 1, 16:48, 8:28] = 1
    truth[:, 2, 16:48, 36:56] = 1
    truth[:, 0] = 1 - truth[:, 1:].sum(1)
    colours = torch.tensor([[-0.6, -0.6, -0.6], [0.6, -0.2, 0.0], [-0.2, 0.6, 0.4]])
    image = torch.einsum("bkhw,kc->bchw", truth, colours) + 0.02 * torch.randn(1, 3, 64, 64)
    blurred = torch.nn.functional.avg_pool2d(truth, 21, 1, 10, count_include_pad=False)
    snapped = snap(image, blurred)

    def wrong(probs: torch.Tensor) -> float:
        return float((probs.argmax(1) != truth.argmax(1)).float().mean())

    assert wrong(blurred) > 0.02 and wrong(snapped) < 0.3 * wrong(blurred)
    assert torch.allclose(snapped.sum(1), torch.ones(1, 64, 64), atol=1e-5)


def test_reduction_is_the_mean_of_blocks() -> None:
    images = torch.rand(1, 2, 8, 8)
    assert float(reduce_to(images, 4)[0, 1, 0, 0]) == pytest.approx(float(images[0, 1, :2, :2].mean()))
    assert reduce_to(images, 8) is images


@pytest.mark.parametrize(("side", "size"), [(96, 32), (128, 64), (96, 64), (50, 32)])
def test_reduction_keeps_means_and_shares_at_any_size(side: int, size: int) -> None:
    """Sides that divide: the mean of blocks. Others: weights that are not negative and sum to 1."""
    probs = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0)).softmax(1)
    small = reduce_to(probs, size)
    assert small.shape == (2, 3, size, size)
    assert torch.allclose(small.sum(1), torch.ones(2, size, size), atol=1e-5)
    assert bool((small >= 0).all()) and torch.allclose(small.mean((2, 3)), probs.mean((2, 3)), atol=2e-3)
    if side % size == 0:
        assert torch.allclose(small, torch.nn.functional.adaptive_avg_pool2d(probs, size), atol=1e-6)
