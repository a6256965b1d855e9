"""Mean field as a whole: against all pairs of pixels, and what it promises about its input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from decoupe.crf import PRESETS, Settings, dense_crf
from decoupe.errors import Fault, UsageFault
from tests.crf import reference
from tests.crf.scenes import guess, scene


@pytest.mark.parametrize("name", ["krahenbuhl", "sec-train", "cutler", "stego"])
@pytest.mark.parametrize(("k", "channels"), [(2, 1), (21, 3), (3, 5)])
def test_exact_equals_the_reference(name: str, k: int, channels: int) -> None:
    """To 1e-5, after ten updates."""
    image, probs = scene(24, 28, channels), guess(k, 24, 28)
    expected = reference.mean_field(probs, image, PRESETS[name])
    assert (dense_crf(probs, image, name, exact=True) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["krahenbuhl", "sec-train", "cutler", "stego"])
@pytest.mark.parametrize(("k", "channels"), [(2, 1), (21, 3), (3, 5)])
def test_fast_is_near_the_reference(name: str, k: int, channels: int) -> None:
    """Labels of 97 % of the pixels, probabilities to 0.03 on average: the price of the lattice.

    `stego` on five noisy bands is left to 89 %: with srgb below the noise, hardly two pixels are alike.
    """
    image, probs = scene(40, 44, channels), guess(k, 40, 44)
    expected = reference.mean_field(probs, image, PRESETS[name])
    got = dense_crf(probs, image, name)
    assert got.shape == probs.shape and got.dtype == torch.float32
    assert torch.allclose(got.sum(0), torch.ones(40, 44), atol=1e-5) and got.min() >= 0
    hard = name == "stego" and channels == 5
    assert (got.argmax(0) == expected.argmax(0)).double().mean() >= (0.89 if hard else 0.97)
    assert (got - expected).abs().mean() < (0.08 if hard else 0.03)


@pytest.mark.parametrize("size", [(23, 31), (1, 40), (37, 1), (1, 1), (130, 20)])
def test_smoothness_alone_equals_the_reference(size: tuple[int, int]) -> None:
    """To 1e-5: this half of the model is exact at any shape."""
    settings = Settings(appearance=0, smoothness=3, smoothness_sxy=3)
    image, probs = scene(*size), guess(5, *size)
    assert (dense_crf(probs, image, settings) - reference.mean_field(probs, image, settings)).abs().max() < 1e-5


def test_edges_of_the_photo_are_followed() -> None:
    image = torch.full((40, 40, 3), 30, dtype=torch.uint8)
    image[:, 20:] = 200
    probs = torch.full((2, 40, 40), 0.5)
    probs[1, :, 23:], probs[0, :, :17] = 0.9, 0.9
    probs[0, :, 23:], probs[1, :, :17] = 0.1, 0.1
    labels = dense_crf(probs, image).argmax(0)
    assert bool((labels[:, :20] == 0).all()) and bool((labels[:, 20:] == 1).all())


@pytest.mark.parametrize("size", [(1, 33), (33, 1), (1, 1), (2, 2)])
def test_thin_images(size: tuple[int, int]) -> None:
    got = dense_crf(guess(3, *size), scene(*size))
    assert torch.isfinite(got).all() and torch.allclose(got.sum(0), torch.ones(size), atol=1e-5)


def test_a_constant_image_smooths_as_the_reference_does() -> None:
    image, probs = torch.full((30, 30, 3), 128, dtype=torch.uint8), guess(3, 30, 30)
    expected = reference.mean_field(probs, image, PRESETS["krahenbuhl"])
    got = dense_crf(probs, image)
    assert (got.argmax(0) == expected.argmax(0)).double().mean() >= 0.97


def test_one_label_is_certain_and_no_kernel_or_update_changes_nothing() -> None:
    image, probs = scene(20, 20), guess(4, 20, 20)
    assert torch.equal(dense_crf(torch.ones(1, 20, 20), image), torch.ones(1, 20, 20))
    for settings, iterations in ((Settings(appearance=0, smoothness=0), 10), (Settings(), 0)):
        assert torch.allclose(dense_crf(probs, image, settings, iterations), probs, atol=1e-4)


def test_a_batch_is_its_images_one_by_one_and_repeats_bit_for_bit() -> None:
    images = torch.stack([scene(30, 25, seed=s) for s in range(3)])
    probs = torch.stack([guess(4, 30, 25, seed=s) for s in range(3)])
    batch = dense_crf(probs, images)
    assert torch.equal(batch, torch.stack([dense_crf(p, i) for p, i in zip(probs, images, strict=True)]))
    assert torch.equal(batch, dense_crf(probs, images))


def test_bytes_and_floats_of_the_same_values_agree_and_nothing_is_overwritten() -> None:
    image, probs = scene(25, 30), guess(3, 25, 30)
    before = image.clone(), probs.clone()
    got = dense_crf(probs, image)
    assert torch.equal(got, dense_crf(probs.double(), image.double()))
    strided = probs.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(got, dense_crf(strided, image.permute(1, 0, 2).contiguous().permute(1, 0, 2)))
    assert torch.equal(image, before[0]) and torch.equal(probs, before[1])
    assert not dense_crf(probs.clone().requires_grad_(), image).requires_grad


def test_weights_whose_messages_would_overflow() -> None:
    image, probs = scene(20, 20), guess(3, 20, 20)
    settings = Settings(appearance=400, smoothness=300)
    expected = reference.mean_field(probs, image, settings)
    got = dense_crf(probs, image, settings)
    assert torch.isfinite(got).all() and (got.argmax(0) == expected.argmax(0)).double().mean() > 0.9


def test_zero_probabilities_count_as_the_floor() -> None:
    probs = guess(3, 20, 20)
    probs[2] = 0
    probs /= probs.sum(0)
    assert torch.isfinite(dense_crf(probs, scene(20, 20))).all()


def test_irn_hears_only_the_labels() -> None:
    image, probs = scene(24, 24), guess(3, 24, 24)
    hard = torch.zeros_like(probs).scatter_(0, probs.argmax(0, keepdim=True), 1.0)
    assert torch.equal(dense_crf(probs, image, "irn"), dense_crf(hard, image, "irn"))
    alone = dense_crf(probs, image, "irn", iterations=0)
    assert torch.allclose(alone.max(0).values, torch.full((24, 24), 0.7)) and alone.min() == pytest.approx(0.15)


def test_presets_are_those_of_the_published_systems() -> None:
    rows = {
        name: (s.appearance, round(s.appearance_sxy, 2), s.srgb, s.smoothness, s.smoothness_sxy, s.gt_prob)
        for name, s in PRESETS.items()
    }
    assert rows == {
        "krahenbuhl": (10, 80, 13, 3, 3, None),
        "sec-train": (10, 6.67, 13, 3, 0.25, None),
        "sec-test": (10, 80, 13, 3, 3, None),
        "cutler": (10, 50, 5, 7, 3, None),
        "stego": (4, 67, 3, 3, 1, None),
        "irn": (10, 50, 5, 3, 3, 0.7),
    }
    assert {s.iterations for s in PRESETS.values()} == {10}
    image, probs = scene(20, 20), guess(2, 20, 20)
    three = replace(PRESETS["stego"], iterations=3)
    assert torch.equal(dense_crf(probs, image, three, None), dense_crf(probs, image, "stego", 3))


@pytest.mark.parametrize(
    ("probs", "image", "words"),
    [
        (torch.full((2, 8, 8), float("nan")), scene(8, 8), "sum to 1"),
        (torch.full((2, 8, 8), 0.7), scene(8, 8), "sums off by 0.4"),
        (torch.randn(2, 8, 8), scene(8, 8), "sum to 1"),
        (torch.ones(2, 8, 8, dtype=torch.uint8), scene(8, 8), "floating-point"),
        (guess(2, 8, 9), scene(8, 8), "one frame"),
        (guess(2, 8, 8), scene(8, 8)[..., 0], "(K, H, W)"),
        (guess(2, 8, 8)[None], scene(8, 8), "(K, H, W)"),
        (guess(2, 8, 8)[None], scene(8, 8)[None].repeat(2, 1, 1, 1), "one frame"),
        (torch.ones(0, 8, 8), scene(8, 8), "(K, H, W)"),
        (guess(2, 8, 8), torch.full((8, 8, 3), float("inf")), "finite"),
    ],
)
def test_bad_input_is_one_line(probs: torch.Tensor, image: torch.Tensor, words: str) -> None:
    with pytest.raises(Fault) as caught:
        dense_crf(probs, image)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_bad_settings_are_one_line() -> None:
    for wrong in ({"srgb": 0}, {"appearance": -1}, {"smoothness_sxy": float("nan")}, {"gt_prob": 1}, {"floor": 1}):
        with pytest.raises(Fault, match=next(iter(wrong))):
            Settings(**wrong)
    with pytest.raises(Fault, match="iterations"):
        dense_crf(guess(2, 8, 8), scene(8, 8), iterations=-1)
    with pytest.raises(UsageFault, match="krahenbuhl"):
        dense_crf(guess(2, 8, 8), scene(8, 8), "photoshop")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_a_processor_gives() -> None:
    image, probs = scene(60, 70), guess(5, 60, 70)
    got = dense_crf(probs.cuda(), image)
    assert got.is_cuda and (got.cpu() - dense_crf(probs, image)).abs().max() < 1e-4
