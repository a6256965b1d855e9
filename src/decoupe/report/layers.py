"""Photos built up layer by layer, as in Figure 5-1 of the text on layer disposal."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from decoupe.compositing import Stack
from decoupe.layers import decompose
from decoupe.model import Model
from decoupe.types import Image

GAP = 2
"""White pixels between the pictures of a strip."""


def strip(model: Model, image: Image) -> NDArray[np.uint8]:
    """(3 rows, K + 1 columns) of pictures at the network's size, RGB: the image so far, the layer, its mask.

    The first column is the background; each further one lays the next layer over what is there, back to front.
    """
    stack = decompose(model, model.square(image)[None])
    count = stack.masks.shape[1]
    sofar = [Stack(stack.background, stack.images[:, :k], stack.masks[:, :k]).flatten() for k in range(count + 1)]
    own = [stack.background, *stack.images.unbind(1)]
    masks = [torch.ones_like(stack.masks[:, 0]), *stack.masks.unbind(1)]
    rows = [_row(sofar), _row(own), _row([mask * 2 - 1 for mask in masks])]
    return np.concatenate(rows, 0)


def _row(pictures: list[torch.Tensor]) -> NDArray[np.uint8]:
    from decoupe.engine.grid import as_rgb

    shown = [as_rgb(picture)[0].permute(1, 2, 0).numpy() for picture in pictures]
    return np.concatenate([np.pad(one, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for one in shown], 1)
