"""Grid search over weights and widths."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from decoupe.crf import Settings, dense_crf, fit_parameters
from decoupe.errors import Fault, UsageFault
from tests.crf.scenes import scene


def labelled(seed: int, size: int = 36) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities that are wrong at single pixels and soft at the edge, image, mask with some void."""
    image = scene(size, size, seed=seed)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    mask = ((y - size * 0.45) ** 2 + (x - size * 0.55) ** 2 < (0.3 * size) ** 2).long()
    noise = torch.rand(size, size, generator=torch.Generator().manual_seed(seed))
    one = torch.where(noise < 0.25, 1 - mask, mask).float() * 0.4 + 0.3
    mask[0] = 255
    return torch.stack([1 - one, one]), image, mask


def iou(labels: Tensor, mask: Tensor) -> float:
    """Mean over two classes, by counting."""
    known = mask != 255
    scores = []
    for c in range(2):
        a, b = (labels == c) & known, (mask == c) & known
        scores.append(float((a & b).sum() / (a | b).sum()))
    return sum(scores) / 2


def test_the_best_of_the_grid_is_found_and_its_score_is_that_of_dense_crf() -> None:
    probs, images, masks = ([item] for item in labelled(1))
    seen: list[tuple[int, int]] = []
    grid = {"appearance": [0, 10], "srgb": [1.0, 13.0], "smoothness": [0, 3]}
    found = fit_parameters(probs, images, masks, grid, progress=lambda done, total: seen.append((done, total)))
    assert len(found.table) == 8 and seen == [(1, 2), (2, 2)]
    for settings, score in found.table:
        labels = dense_crf(probs[0], images[0], settings, None).argmax(0)
        assert score == pytest.approx(iou(labels, masks[0]), abs=1e-3)
    assert found.iou == max(score for _, score in found.table) and (found.settings, found.iou) in found.table
    assert found.before == pytest.approx(iou(probs[0].argmax(0), masks[0]), abs=1e-6)
    assert found.iou > found.before + 0.1 and found.settings.appearance == 10


def test_default_grid_starts_from_a_preset_and_several_images_share_one_confusion_matrix() -> None:
    triples = [labelled(seed, 24) for seed in (1, 2)]
    probs, images, masks = (list(items) for items in zip(*triples, strict=True))
    found = fit_parameters(probs, images, masks, start="sec-train", iterations=3)
    assert len(found.table) == 27 and found.table[0][0].srgb == 13 and found.settings.iterations == 3
    assert found.iou >= found.table[0][1]
    again = fit_parameters(probs, images, masks, start="sec-train", iterations=3)
    assert again == found


def test_bad_input_is_one_line() -> None:
    probs, images, masks = ([item] for item in labelled(1, 20))
    with pytest.raises(UsageFault, match="grid over"):
        fit_parameters(probs, images, masks, {"floor": [1e-3]})
    with pytest.raises(Fault, match="at least one"):
        fit_parameters(probs, images, masks, {"srgb": []})
    with pytest.raises(Fault, match="equal length"):
        fit_parameters(probs, images, [])
    with pytest.raises(Fault, match="labels 0 to 1"):
        fit_parameters(probs, images, [masks[0] + 3 * (masks[0] == 1)])
    with pytest.raises(Fault, match="one frame"):
        fit_parameters(probs, images, [masks[0][:5]])
    with pytest.raises(Fault, match="only void"):
        fit_parameters(probs, images, [torch.full_like(masks[0], 255)])
    with pytest.raises(Fault, match="srgb"):
        fit_parameters(probs, images, masks, {"srgb": [0.0]})
    assert isinstance(fit_parameters(probs, images, masks, {}, Settings(iterations=1)).iou, float)
