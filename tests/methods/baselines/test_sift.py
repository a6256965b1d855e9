"""Dense SIFT against a loop over cells, bins and pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from decoupe.methods.baselines.sift import dense_sift


def _slow(grey: np.ndarray, cell: int) -> np.ndarray:
    """(H, W) -> (H / cell, W / cell, 4, 4, 8): every pixel asks every bin of every cell how near it is."""
    height, width = grey.shape
    padded = np.pad(grey, 1, mode="edge")
    found = np.zeros((height // cell, width // cell, 4, 4, 8))
    for y in range(height):
        for x in range(width):
            dx, dy = (padded[y + 1, x + 2] - padded[y + 1, x]) / 2, (padded[y + 2, x + 1] - padded[y, x + 1]) / 2
            size, place = math.hypot(dx, dy), (math.atan2(dy, dx) / (2 * math.pi)) % 1 * 8
            low = int(place) % 8
            shares = {low: 1 - (place - int(place)), (low + 1) % 8: place - int(place)}
            for i in range(found.shape[0]):
                for j in range(found.shape[1]):
                    for a in range(4):
                        for b in range(4):
                            far = (abs(y - ((i + a - 1) * cell - 0.5)), abs(x - ((j + b - 1) * cell - 0.5)))
                            near = max(0, 1 - far[0] / cell) * max(0, 1 - far[1] / cell)
                            for d, share in shares.items():
                                found[i, j, a, b, d] += near * share * size
    flat = found.reshape(*found.shape[:2], -1)
    for _ in range(2):
        flat = flat / np.maximum(np.linalg.norm(flat, axis=2, keepdims=True), 1e-3)
        flat = np.minimum(flat, 0.2) if _ == 0 else flat
    return flat


@pytest.mark.parametrize("cell", [2, 3, 4])
def test_equals_the_loop(cell: int) -> None:
    grey = np.random.default_rng(cell).uniform(-1, 1, (4 * cell, 3 * cell))
    found = dense_sift(torch.from_numpy(grey)[None, None].float(), cell)[0].movedim(0, 2).numpy()
    assert found.shape == (4, 3, 128)
    assert np.abs(found - _slow(grey, cell)).max() < 1e-5


def test_brightness_and_contrast_do_not_matter_but_direction_does() -> None:
    ramp = torch.linspace(-0.5, 0.5, 32).expand(1, 3, 32, 32)
    one, other = dense_sift(ramp), dense_sift(0.5 * ramp + 0.2)
    assert torch.allclose(one, other, atol=1e-4)
    turned = dense_sift(ramp.transpose(2, 3))
    middle = (one[0, :, 4, 4], turned[0, :, 4, 4])
    assert float(middle[0] @ middle[1]) < 1e-4 and float(middle[0].norm()) == pytest.approx(1, abs=1e-4)
    assert float(dense_sift(torch.zeros(1, 3, 16, 16)).abs().max()) == 0
