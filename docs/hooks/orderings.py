"""The picture of the orderings, from the networks themselves: python docs/hooks/orderings.py [--out FILE]

One column for each ordering. Top: the ranks, dark first. Below, for the pixel marked white: what two masked blocks see
by convolutions alone, and what they see with attention. A pixel is seen if the gradient of the output reaches it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from decoupe.methods.autoregressive.networks import Autoregressive
from decoupe.nn.masked_conv import RASTER, ZIGZAG, Ordering

SIDE, CELL, GAP = 15, 6, 6
"""Pixels of the map, and sizes in the picture."""


def seen(ordering: Ordering, attention: int) -> NDArray[np.bool_]:
    """(SIDE, SIDE): what the middle pixel sees after two masked blocks."""
    torch.manual_seed(0)
    network = Autoregressive(1, 8, 2, attention, 2, "pixel", 0.0)
    x = torch.randn(1, 1, SIDE, SIDE, requires_grad=True)
    network(x, ordering)[0, :, SIDE // 2, SIDE // 2].sum().backward()
    return np.asarray((x.grad[0, 0] != 0).numpy())


def tile(values: NDArray[np.float64], colour: tuple[int, int, int]) -> Image.Image:
    """(SIDE, SIDE) in [0, 1] -> a picture, the middle pixel white."""
    shade = 24 + values[..., None] * (np.array(colour) - 24)
    shade[SIDE // 2, SIDE // 2] = 255
    return Image.fromarray(shade.round().astype(np.uint8)).resize((SIDE * CELL,) * 2, Image.Resampling.NEAREST)


def main() -> None:
    """Read the arguments, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/orderings.png"))
    given = parser.parse_args()
    step = SIDE * CELL + GAP
    sheet = Image.new("RGB", (8 * step - GAP, 6 * step + GAP), "white")
    for row, orderings in enumerate((RASTER, ZIGZAG)):
        for column, ordering in enumerate(orderings):
            rank = ordering.rank(SIDE, SIDE).numpy() / (SIDE**2 - 1)
            tiles = [tile(rank, (230, 230, 230)), tile(seen(ordering, 0) * 0.9, (86, 180, 233))]
            tiles.append(tile(seen(ordering, 1) * 0.9, (230, 159, 0)))
            for index, picture in enumerate(tiles):
                sheet.paste(picture, (column * step, (3 * row + index) * step + row * 2 * GAP))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(given.out, optimize=True)


if __name__ == "__main__":
    main()
