"""Layers over layers: alpha blending and the warps shared by a layer's colour and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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
    return sampled(layer, places(layer, scale, shift, flip), padding)


def places(layer: Tensor, scale: Tensor, shift: Tensor, flip: Tensor) -> Tensor:
    """(B, H, W, 2): where each pixel of a `warp` comes from, (x, y) in half image sides from the centre."""
    sign = torch.where(flip, -1.0, 1.0) / scale
    across, down = ((torch.arange(n, device=layer.device) * 2 + 1) / n - 1 for n in (layer.shape[3], layer.shape[2]))
    x = across * sign[:, None] - (shift[:, 0] * sign)[:, None]
    y = down / scale[:, None] - (shift[:, 1] / scale)[:, None]
    grid = layer.new_empty(len(layer), len(down), len(across), 2, dtype=x.dtype)
    grid[..., 0], grid[..., 1] = x[:, None], y[:, :, None]
    return grid


def sampled(layer: Tensor, grid: Tensor, padding: str) -> Tensor:
    """(B, C, H, W) at `places`, bilinear."""
    return F.grid_sample(layer, grid, mode="bilinear", padding_mode=padding, align_corners=False)


# What is left of each layer behind those in front of it: v_k = m_k prod over j > k of (1 - m_j), v_0 the background's
def visible(masks: Tensor) -> Tensor:
    """(B, K, 1, H, W) opacities in [0, 1], back to front -> (B, K + 1, H, W), background first, summing to 1."""
    left, shown = torch.ones_like(masks[:, 0]), []
    for opacity in reversed(masks.unbind(1)):
        shown.append(opacity * left)
        left = left * (1 - opacity)
    return torch.cat([left, *reversed(shown)], 1)


@dataclass(frozen=True)
class Stack:
    """Images in layers: an opaque background, and K layers over it, back to front."""

    background: Tensor
    """(B, C, H, W) in [-1, 1]."""
    images: Tensor
    """(B, K, C, H, W) in [-1, 1], opaque."""
    masks: Tensor
    """(B, K, 1, H, W) opacities in [0, 1]."""

    def flatten(self, keep: Tensor | None = None) -> Tensor:
        """(B, C, H, W): the layers over one another; those whose `keep` (B, K) is 0 are left out. None keeps all."""
        masks = self.masks if keep is None else self.masks * keep[:, :, None, None, None]
        return composite(list(zip(self.images.unbind(1), masks.unbind(1), strict=True)), self.background)

    def moved(self, shift: Tensor) -> Stack:
        """Every layer moved by its own (B, K, 2), (x, y) in half sides; its border goes on beyond the image."""
        k, whole = self.masks.shape[1], torch.cat([self.images, self.masks], 2)
        flat = whole.flatten(0, 1)
        still = flat.new_zeros(len(flat), dtype=torch.bool)
        flat = warp(flat, torch.ones_like(still, dtype=shift.dtype), shift.flatten(0, 1), still, "border")
        layers = flat.view(-1, k, *flat.shape[1:])
        return Stack(self.background, layers[:, :, :-1], layers[:, :, -1:])

    def detach(self) -> Stack:
        """The same values without their graph."""
        return Stack(self.background.detach(), self.images.detach(), self.masks.detach())


@runtime_checkable
class Layered(Protocol):
    """A room that finds layers."""

    def decompose(self, images: Tensor) -> Stack:
        """(B, C, H, W) in [-1, 1], any H, W >= 32 -> its layers, all of them kept, at the same size."""
        ...
