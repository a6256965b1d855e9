"""Two views of an image whose pixels still belong together: what was moved is moved back before it is compared."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from decoupe.methods.room import Draw
from decoupe.views import colour_jitter


class Transform:
    """Colour jitter, mirroring and rotation about the centre, drawn for each image of a step.

    `jitter`: strength of brightness, contrast and saturation (0 = none); `flip`: mirror half of the images; `rotation`:
    largest angle in degrees, either way (0 = none, 180 = any).
    """

    def __init__(self, draw: Draw, jitter: float, flip: bool, rotation: float) -> None:
        self._draw, self._jitter = draw, jitter
        self._flip = draw.uniform() < 0.5 if flip else None
        self._angle = draw.uniform(low=-rotation, high=rotation) * (math.pi / 180) if rotation else None

    def apply(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> the changed images; what turns in from outside is mirrored content."""
        if self._jitter:
            images = colour_jitter(images, self._draw, self._jitter).clamp(-1, 1)
        if self._flip is not None:
            images = torch.where(self._flip[:, None, None, None], images.flip(3), images)
        return images if self._angle is None else _turn(images, self._angle, "reflection")

    def undo(self, maps: Tensor) -> tuple[Tensor, Tensor | None]:
        """Maps (B, K, h, w) of the changed images, at any size -> in the frame of the images, float32 or wider.

        Also (B, 1, h, w) bool, which pixels the changed image held: False where rotation moved them outside (None: it
        held all). Others than those are 0.
        """
        maps = maps if maps.dtype == torch.float64 else maps.float()
        valid = None
        if self._angle is not None:
            inside = _turn(torch.ones_like(maps[:, :1]), -self._angle, "zeros") > 1 - 1e-4
            maps, valid = _turn(maps, -self._angle, "zeros") * inside, inside
        if self._flip is not None:
            chosen = self._flip[:, None, None, None]
            maps = torch.where(chosen, maps.flip(3), maps)
            valid = None if valid is None else torch.where(chosen, valid.flip(3), valid)
        return maps, valid


def _turn(maps: Tensor, angle: Tensor, padding: str) -> Tensor:
    """Rotate (B, C, H, W) maps by `angle` (B,) in radians, anticlockwise as seen; bilinear."""
    height, width = maps.shape[2:]
    cosine, sine = angle.cos().to(maps.dtype), angle.sin().to(maps.dtype)
    theta = torch.zeros(len(maps), 2, 3, device=maps.device, dtype=maps.dtype)
    theta[:, 0, 0], theta[:, 0, 1] = cosine, -sine * height / width
    theta[:, 1, 0], theta[:, 1, 1] = sine * width / height, cosine
    with torch.autocast(maps.device.type, enabled=False):
        grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
        return F.grid_sample(maps, grid, mode="bilinear", padding_mode=padding, align_corners=False)
