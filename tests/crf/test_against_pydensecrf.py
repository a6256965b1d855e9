"""The authors' program, wrapped as pydensecrf2, on real photos: the same labels, and no larger errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from decoupe.crf import PRESETS, Settings, dense_crf
from tests.crf import reference
from tests.crf.scenes import crop, guess, photo, photo_paths

pytest.importorskip(
    "pydensecrf", reason="pydensecrf2 is not installed: pip install pydensecrf2 (it needs a C++ compiler)"
)


def theirs(probs: Tensor, image: Tensor, settings: Settings) -> Tensor:
    """What pydensecrf2 makes of the same unaries."""
    import pydensecrf.densecrf as module

    library: Any = module
    k, height, width = probs.shape
    crf = library.DenseCRF2D(width, height, k)
    energy = -probs.clamp(min=settings.floor).log().reshape(k, -1)
    crf.setUnaryEnergy(np.ascontiguousarray(energy.numpy()))
    crf.addPairwiseGaussian(sxy=settings.smoothness_sxy, compat=settings.smoothness)
    crf.addPairwiseBilateral(
        sxy=settings.appearance_sxy, srgb=settings.srgb, rgbim=image.numpy().copy(), compat=settings.appearance
    )
    return torch.from_numpy(np.array(crf.inference(settings.iterations), np.float32).reshape(k, height, width))


@pytest.mark.parametrize("name", ["krahenbuhl", "sec-train", "cutler", "stego"])
def test_error_on_crops_is_no_larger(shared_data: Path, name: str) -> None:
    """Mean absolute difference to all pairs of pixels, over 48 x 48 crops of six photos, 2 and 21 labels."""
    ours_error, theirs_error = [], []
    for number, path in enumerate(photo_paths(shared_data, 6)):
        image, probs = crop(photo(path)), guess(21 if number % 2 else 2, 48, 48, seed=number)
        expected = reference.mean_field(probs, image, PRESETS[name])
        ours_error.append(float((dense_crf(probs, image, name) - expected).abs().mean()))
        theirs_error.append(float((theirs(probs, image, PRESETS[name]) - expected).abs().mean()))
    assert np.mean(ours_error) <= np.mean(theirs_error) * 1.001 + 1e-7, (ours_error, theirs_error)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["krahenbuhl", "stego"])
def test_labels_of_whole_photos_agree(shared_data: Path, name: str) -> None:
    """On 99 % of the pixels of 8 photos."""
    same = total = 0
    for number, path in enumerate(photo_paths(shared_data, 8)):
        image = photo(path)
        probs = guess(21, *image.shape[:2], seed=number)
        ours = dense_crf(probs, image, name).argmax(0)
        same += int((ours == theirs(probs, image, PRESETS[name]).argmax(0)).sum())
        total += ours.numel()
    assert same / total >= 0.99
