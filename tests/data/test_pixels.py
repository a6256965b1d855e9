"""Bands, sizes, probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoupe.data.decode import conform, resize, resize_probs
from decoupe.data.pixels import conforms, to_uint8
from decoupe.errors import Fault
from tests.data.files import noise, smooth


@pytest.mark.parametrize(("bands", "channels"), [(b, c) for b in range(1, 7) for c in range(1, 7)])
def test_conform_gives_the_asked_bands_or_says_no(bands: int, channels: int) -> None:
    image = noise(bands=bands)
    if not conforms(bands, channels):
        with pytest.raises(Fault, match=f"{channels} bands, got {bands}"):
            conform(image, channels)
        return
    out = conform(image, channels)
    assert out.dtype == np.uint8 and out.shape == (*image.shape[:2], channels)
    if bands == 1:
        assert (out == image).all()
    if bands == 4 and channels == 3:
        assert np.array_equal(out, image[..., :3])


def test_luma_weighs_green_most() -> None:
    image = np.zeros((1, 3, 3), np.uint8)
    image[0, 0, 0], image[0, 1, 1], image[0, 2, 2] = 255, 255, 255
    assert conform(image, 1)[0, :, 0].tolist() == [76, 150, 29]


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_resize_averages_when_it_shrinks(bands: int) -> None:
    stripes = np.zeros((64, 64, bands), np.uint8)
    stripes[::2] = 200
    small = resize(stripes, 8, 16)
    assert small.shape == (8, 16, bands) and np.abs(small[1:-1].astype(int) - 100).max() <= 2
    image = noise(bands=bands)
    assert resize(image, *image.shape[:2]) is image
    flipped = resize(np.ascontiguousarray(image[:, ::-1]), 10, 11)[:, ::-1]
    assert np.abs(flipped.astype(int) - resize(image, 10, 11)).max() <= 1


def test_probabilities_resize_as_torch_does_and_sum_to_one() -> None:
    random = np.random.default_rng(0)
    probs = random.dirichlet(np.ones(4), (9, 13)).transpose(2, 0, 1).astype(np.float32)
    out = resize_probs(probs, 30, 41)
    expected = torch.nn.functional.interpolate(torch.from_numpy(probs)[None], (30, 41), mode="bilinear")[0].numpy()
    assert out.dtype == np.float32 and np.abs(out - expected).max() < 1e-5
    assert np.abs(out.sum(0) - 1).max() < 1e-6
    assert np.abs(resize_probs(probs, 3, 4).sum(0) - 1).max() < 1e-6


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint32, np.float16, np.float64])
def test_every_depth_keeps_the_order_of_values(dtype: type) -> None:
    values = np.linspace(-100, 100, 50).astype(dtype) if np.dtype(dtype).kind != "u" else np.arange(50) * 10**6
    out = to_uint8(values.astype(dtype).reshape(5, 10, 1)).ravel().astype(int)
    assert out[0] == 0 and out[-1] == 255 and (np.diff(out) >= 0).all()


def test_constant_images_stay_finite() -> None:
    for value in (np.nan, -5.0, 1e30):
        assert np.isin(to_uint8(np.full((3, 3, 1), value)), (0, 255)).all()
    assert np.array_equal(to_uint8(smooth()), smooth())
