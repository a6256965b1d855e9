"""Sample grids: rows of small pictures as one PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from PIL import Image
from torch import Tensor


def as_rgb(images: Tensor) -> Tensor:
    """(n, C, H, W) in [-1, 1] -> (n, 3, H, W) uint8: one band is shown grey, of more than three the first three."""
    bands = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return ((bands.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def png(rows: Mapping[str, Tensor], gap: int = 2) -> bytes:
    """One PNG; every value (n, C, H, W) is a row, n columns, white gaps of `gap` pixels."""
    lines = []
    for images in rows.values():
        padded = torch.nn.functional.pad(as_rgb(images), (0, gap, 0, gap), value=255)
        lines.append(torch.cat(list(padded), dim=2))
    picture = torch.cat(lines, dim=1).permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
