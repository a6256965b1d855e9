"""Patches against slicing by hand, assignment against distances of every patch."""

from __future__ import annotations

import numpy as np
import torch

from decoupe.methods.baselines.patches import assign, draw_patches, fit_centres


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_patches_are_windows_of_the_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 10, 10), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (0, 0), (3, 3), (3, 3)), mode="edge") / 127.5 - 1
    windows = {padded[i, :, y : y + 7, x : x + 7].astype(np.float32).tobytes()
               for i in range(3) for y in range(10) for x in range(10)}  # fmt: skip
    rows = draw_patches(images, 200, 7, generator())
    assert rows.shape == (200, 98) and len(np.unique(rows.numpy(), axis=0)) > 100
    known = np.array([np.frombuffer(w, np.float32) for w in windows])
    assert all(np.abs(known - row.numpy()).max(1).min() < 1e-6 for row in rows)


def test_every_image_can_be_drawn_from_and_many_are() -> None:
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 32, 32), np.uint8)
    found = ((draw_patches(images, 2000, 1, generator()) + 1) * 127.5).round().unique()
    assert found.tolist() == list(range(40))


def test_assign_is_the_nearest_centre_of_each_patch() -> None:
    images = torch.rand(2, 3, 8, 9, generator=generator()) * 2 - 1
    centres = torch.rand(4, 3, 7, 7, generator=generator(1)) * 2 - 1
    padded = torch.nn.functional.pad(images, (3, 3, 3, 3), mode="replicate")
    for b, y, x in [(0, 0, 0), (1, 7, 8), (0, 3, 4), (1, 2, 6), (1, 7, 0)]:
        distance = ((padded[b, :, y : y + 7, x : x + 7] - centres) ** 2).sum((1, 2, 3))
        assert assign(images, centres)[b, y, x] == distance.argmin()


def test_two_textures_of_one_colour_need_patches() -> None:
    flat = np.full((1, 40, 40), 128, np.uint8)
    stripes = np.where(np.arange(40) % 2, 228, 28).astype(np.uint8)[None, None].repeat(40, 1)
    images = np.stack([flat, stripes] * 10)
    both = torch.from_numpy(np.concatenate([flat, stripes], 2)).float()[None] / 127.5 - 1
    centres = fit_centres(images, 3, 7, 4000, generator())
    labels = assign(both, centres)[0]
    assert labels[5:35, 5:35].unique().numel() == 1 and labels[10, 10] not in labels[5:35, 45:75]
