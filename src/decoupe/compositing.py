"""Layers over layers: alpha blending and the warps shared by a layer's colour and its mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


# Eq. 5 of the independence prior: x_i = I_i * m_i + x_{i-1} * (1 - m_i)
def alpha_over(image: Tensor, mask: Tensor, below: Tensor) -> Tensor:
    """Paste `image` (B, C, H, W) through `mask` (B, 1, H, W) in [0, 1] on `below` (B, C, H, W)."""
    return image * mask + below * (1 - mask)


def composite(layers: Sequence[tuple[Tensor, Tensor]], start: Tensor) -> Tensor:
    """Eq. 5 applied recursively: (image, mask) pairs back to front over `start` (x_0)."""
    result = start
    for image, mask in layers:
        result = alpha_over(image, mask, result)
    return result


# Eq. 4 of the independence prior: the same warp ST(., r) for colour and mask
def warp(layer: Tensor, scale: Tensor, shift: Tensor, flip: Tensor, padding: str) -> Tensor:
    """Move (B, C, H, W) layers about their centre: enlarge by `scale` (B,), then shift by `shift` (B, 2).

    Shifts are (x, y) in half image sides (1 = from the centre to the border); `flip` (B,) bool mirrors left and right
    first. `padding`: "zeros" (nothing beyond the border), "reflection" or "border". Bilinear; a scale of 1, a shift of
    0 and no flip give the input back.
    """
    sign = torch.where(flip, -1.0, 1.0) / scale
    theta = torch.zeros(len(layer), 2, 3, device=layer.device)
    theta[:, 0, 0], theta[:, 1, 1] = sign, 1 / scale
    theta[:, 0, 2], theta[:, 1, 2] = -shift[:, 0] * sign, -shift[:, 1] / scale
    grid = F.affine_grid(theta, list(layer.shape), align_corners=False)
    return F.grid_sample(layer, grid, mode="bilinear", padding_mode=padding, align_corners=False)
