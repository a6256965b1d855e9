"""`otsu-components`: Otsu's threshold, then the things of that mask one by one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from decoupe.instances import NECK, components, fill_holes, instances
from decoupe.methods.baselines.colour import split_by_brightness
from decoupe.types import Image, Instance


def clean_by_brightness(images: Tensor) -> Tensor:
    """(B, C, H, W) in [-1, 1] -> (B, H, W) bool: Otsu's masks without small holes and specks."""
    masks = split_by_brightness(images).cpu().numpy()
    cleaned = [components(fill_holes(mask)) > 0 for mask in masks]
    return torch.from_numpy(np.stack(cleaned)).to(images.device)


def otsu_components(image: Image, *, neck: float = NECK, smallest: int | None = None) -> list[Instance]:
    """The things of one image, (H, W, C) uint8, at its own size; their number is the count.

    Otsu's threshold on brightness, the side on the border being background; then `decoupe.instances.instances`.
    """
    unit = torch.tensor(image).movedim(2, 0)[None].float() / 127.5 - 1
    return instances(split_by_brightness(unit)[0].numpy(), neck=neck, smallest=smallest)
