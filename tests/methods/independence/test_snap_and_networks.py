"""Snapping against a double loop, the networks' shapes, augmentation and composites for any size and bands."""

from __future__ import annotations

import math

import pytest
import torch

from decoupe.methods.independence.augment import colour_jitter, translate, view
from decoupe.methods.independence.networks import PatchDiscriminator, PooledDiscriminator, UNet
from decoupe.methods.independence.providers import Instance, lay_out, reduce_to
from decoupe.methods.independence.snap import snap
from decoupe.methods.room import Draw


def _slow_snap(image: torch.Tensor, mask: torch.Tensor, iterations: int) -> list[float]:
    """The documented update, pixel by pixel in float64; as many anchors as pixels."""
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


def test_snap_is_the_documented_update() -> None:
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.rand(1, 3, 7, 6, generator=generator) * 2 - 1, torch.rand(1, 1, 7, 6, generator=generator)
    fast = snap(image, mask, iterations=4).flatten().tolist()
    assert fast == pytest.approx(_slow_snap(image[0], mask[0, 0], 4), abs=2e-5)


def test_snap_moves_a_blurred_mask_to_the_edge() -> None:
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., 16:48, 20:44] = 1
    image = (truth * 1.2 - 0.6).expand(1, 3, 64, 64) + 0.02 * torch.randn(1, 3, 64, 64)
    blurred = torch.nn.functional.avg_pool2d(truth, 21, 1, 10)
    snapped = snap(image, blurred)

    def wrong(mask: torch.Tensor) -> float:
        return float(((mask > 0.5).float() - truth).abs().mean())

    assert wrong(snapped) < 0.3 * wrong(blurred)


@pytest.mark.parametrize("deconvolution", [False, True])
@pytest.mark.parametrize(("size", "depth"), [((32, 32), 4), ((64, 96), 5), ((50, 37), 3), ((128, 128), 6)])
def test_unet_keeps_any_size(deconvolution: bool, size: tuple[int, int], depth: int) -> None:
    network = UNet(4, 4, depth, "group", deconvolution)
    assert network(torch.randn(2, 4, *size)).shape == (2, 1, *size)


def test_the_papers_networks_have_the_papers_shapes() -> None:
    discriminator = PatchDiscriminator(3, 128)
    assert discriminator(torch.randn(1, 3, 128, 128)).shape == (1, 1, 8, 8)
    widths = [m.weight.shape[0] for m in discriminator.body if hasattr(m, "weight")]
    assert widths == [64, 128, 256, 256, 256, 1]
    unet = UNet(3, 64, 6, "batch", deconvolution=True)
    assert [block[0].weight.shape[0] for block in unet.down] == [64, 128, 256, 512, 512, 512]  # type: ignore[index]
    assert unet.down[5][0].kernel_size == (2, 2)  # type: ignore[index]


def test_coarse_masks_cannot_be_speckled() -> None:
    logits = UNet(3, 8, 3, "group", coarse=4)(torch.randn(1, 3, 32, 32))
    jump = (logits[..., 1:] - logits[..., :-1]).abs().max()
    fine = UNet(3, 8, 3, "group", coarse=1)(torch.randn(1, 3, 32, 32))
    assert jump < 0.5 * (fine[..., 1:] - fine[..., :-1]).abs().max()


def test_the_spectral_norm_of_every_layer_goes_to_one() -> None:
    torch.manual_seed(0)
    discriminator = PooledDiscriminator(3, 32, (1, 2), 8)
    for _ in range(200):
        discriminator(torch.randn(2, 3, 32, 32))
    for layer in discriminator.modules():
        if hasattr(layer, "normalised"):
            norm = torch.linalg.matrix_norm(layer.normalised().detach().flatten(1), 2)
            assert float(norm) == pytest.approx(1, abs=0.02)


def test_augmentations_keep_shape_and_whole_pixels() -> None:
    draw, images = Draw(1, 4), torch.rand(4, 5, 33, 33) * 2 - 1
    assert view(images, draw, 1.3).shape == images.shape
    assert torch.allclose(colour_jitter(images, Draw(1, 4), 0.0), images, atol=1e-6)
    moved = translate(images, draw)
    assert set(moved.flatten().tolist()) <= set(images.flatten().tolist())


def test_layout_moves_colour_and_mask_together_and_brings_nothing_in() -> None:
    mask = torch.zeros(8, 1, 32, 32)
    mask[..., 10:20, 10:20] = 1
    moved = lay_out(Instance(mask * 2 - 1, mask), Draw(3, 8), 0.5)
    assert torch.allclose((moved.image + 1) / 2, moved.mask, atol=1e-5)
    full = lay_out(Instance(torch.ones(8, 1, 32, 32), torch.ones(8, 1, 32, 32)), Draw(4, 8), 0.5)
    assert float(full.mask.mean()) < 0.95
    assert lay_out(Instance(mask, mask), Draw(3, 8), 0).mask is mask


def test_reduction_is_the_mean_of_blocks() -> None:
    images = torch.rand(1, 2, 8, 8)
    assert float(reduce_to(images, 4)[0, 1, 0, 0]) == pytest.approx(float(images[0, 1, :2, :2].mean()))
    assert reduce_to(images, 8) is images
