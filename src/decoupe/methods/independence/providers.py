"""Instance providers and the layout (Figure 4): who supplies a layer's colour and mask, and where it is put."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decoupe.compositing import alpha_over, warp
from decoupe.methods.room import Draw
from decoupe.nn.unet import UNet
from decoupe.views import view


@dataclass(frozen=True)
class Instance:
    """One layer before the layout: colour (B, C, S, S) in [-1, 1] and soft mask (B, 1, S, S) in [0, 1]."""

    image: Tensor
    mask: Tensor


# first case of Figure 4: a photo and the mask that the segmentation network gives it
def foreground(network: UNet, photos: Tensor) -> Instance:
    """The object of each photo, carved out by `network`."""
    return Instance(photos, torch.sigmoid(network(photos).float()))


# third case of Figure 4: natural patches, their masks cover all of them
def patches(backgrounds: Tensor, draw: Draw, zoom: float) -> Tensor:
    """Opaque background layers: random views of patches that hold no object."""
    return view(backgrounds, draw, zoom)


# Eq. 4 with a shift drawn from U(-reach, reach); reach 0 is the paper's identity layout for this task
def lay_out(instance: Instance, draw: Draw, reach: float) -> Instance:
    """Shift colour and mask together; nothing enters from beyond the border (mask 0 there)."""
    if reach == 0:
        return instance
    count = len(instance.image)
    scale = torch.ones(count, device=instance.image.device)
    shift, flip = draw.uniform(2, low=-reach, high=reach), scale < 0
    return Instance(
        warp(instance.image, scale, shift, flip, "border"), warp(instance.mask, scale, shift, flip, "zeros")
    )


def paste(instance: Instance, below: Tensor) -> Tensor:
    """Eq. 5 for one layer."""
    return alpha_over(instance.image, instance.mask, below)
