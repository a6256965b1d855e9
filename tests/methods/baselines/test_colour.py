"""Colour conversions against published values, Otsu against every threshold, the border rule by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoupe.methods.baselines.colour import border_rule, lab, luma, otsu, split_by_brightness, split_by_colour


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [((255, 255, 255), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((255, 0, 0), (53.24, 80.09, 67.20)),
     ((0, 255, 0), (87.73, -86.18, 83.18)), ((0, 0, 255), (32.30, 79.19, -107.86)), ((18, 18, 18), (5.46, 0, 0))],
)  # fmt: skip
def test_lab_of_known_colours(rgb: tuple[int, ...], expected: tuple[float, ...]) -> None:
    image = torch.tensor(rgb).float().view(1, 3, 1, 1) / 127.5 - 1
    np.testing.assert_allclose(lab(image).flatten(), expected, atol=0.05)


def test_luma() -> None:
    assert luma(torch.ones(1, 3, 2, 2)).flatten().tolist() == pytest.approx([255] * 4)
    assert luma(torch.tensor([-1.0, 0, 0.5, 0.5]).view(1, 4, 1, 1)).item() == pytest.approx(127.5)


@pytest.mark.parametrize("seed", range(4))
def test_otsu_is_the_best_of_all_thresholds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, 20, 20)
    mixed = np.where(rng.random(shape) < 0.3, rng.normal(180, 20, shape), rng.normal(90, 30, shape))
    grey = np.clip(mixed, 0, 255).round()

    def within(g: np.ndarray, t: int) -> float:
        parts = [g[g <= t], g[g > t]]
        return sum(float(p.var() * len(p)) for p in parts if len(p))

    for g, t in zip(grey, otsu(torch.from_numpy(grey)).tolist(), strict=True):
        assert within(g, t) == pytest.approx(min(within(g, s) for s in range(256)))


def test_border_rule_counts_the_outermost_pixels_once() -> None:
    side = torch.zeros(3, 4, 4, dtype=torch.bool)
    side[0, 1:3, 1:3] = True
    side[1] = ~side[0]
    side[2, 0] = side[2, 1] = True  # 6 of 12 on the border: a tie leaves it as it is
    got = border_rule(side)
    assert torch.equal(got[0], got[1]) and got[0].sum() == 4
    assert torch.equal(got[2], side[2])


@pytest.mark.parametrize("split", [split_by_colour, split_by_brightness])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("dark", [False, True])
def test_the_inner_square_is_the_object_whatever_its_tone(split: object, bands: int, dark: bool) -> None:
    image = torch.full((2, bands, 32, 40), 0.6 if dark else -0.6)
    image[:, :, 8:20, 10:30] *= -1
    image += torch.randn(image.shape, generator=torch.Generator().manual_seed(0)) * 0.05
    expected = torch.zeros(2, 32, 40, dtype=torch.bool)
    expected[:, 8:20, 10:30] = True
    assert torch.equal(split(image), expected)  # type: ignore[operator]
    assert not split(torch.full((1, bands, 32, 32), 0.25)).any()  # type: ignore[operator]
