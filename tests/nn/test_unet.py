"""The U-Net: any size, the papers' shapes, coarse logits, several outputs."""

from __future__ import annotations

import pytest
import torch

from decoupe.nn.unet import UNet


@pytest.mark.parametrize("deconvolution", [False, True])
@pytest.mark.parametrize(("size", "depth"), [((32, 32), 4), ((64, 96), 5), ((50, 37), 3), ((128, 128), 6)])
def test_unet_keeps_any_size(deconvolution: bool, size: tuple[int, int], depth: int) -> None:
    network = UNet(4, 4, depth, "group", deconvolution)
    assert network(torch.randn(2, 4, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("deconvolution", [False, True])
def test_several_outputs_share_all_but_the_last_layer(deconvolution: bool) -> None:
    one, five = (UNet(3, 8, 3, "batch", deconvolution, outputs=n) for n in (1, 5))
    assert five(torch.randn(2, 3, 32, 48)).shape == (2, 5, 32, 48)
    shapes = [{k: tuple(t.shape) for k, t in net.state_dict().items() if "last" not in k} for net in (one, five)]
    assert shapes[0] == shapes[1] and len(shapes[0]) > 20


def test_encode_halves_at_every_level_and_ends_at_the_bottleneck() -> None:
    levels = UNet(3, 4, 5, "batch").encode(torch.randn(2, 3, 64, 64))
    assert [tuple(x.shape[1:]) for x in levels] == [
        (3, 64, 64), (4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4), (32, 2, 2),
    ]  # fmt: skip


def test_the_papers_unet_has_the_papers_shapes() -> None:
    unet = UNet(3, 64, 6, "batch", deconvolution=True)
    assert [block[0].weight.shape[0] for block in unet.down] == [64, 128, 256, 512, 512, 512]  # type: ignore[index]
    assert unet.down[5][0].kernel_size == (2, 2)  # type: ignore[index]


def test_coarse_masks_cannot_be_speckled() -> None:
    logits = UNet(3, 8, 3, "group", coarse=4)(torch.randn(1, 3, 32, 32))
    jump = (logits[..., 1:] - logits[..., :-1]).abs().max()
    fine = UNet(3, 8, 3, "group", coarse=1)(torch.randn(1, 3, 32, 32))
    assert jump < 0.5 * (fine[..., 1:] - fine[..., :-1]).abs().max()
