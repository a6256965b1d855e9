"""The picture of the README, from a real run: python docs/hooks/hero.py RUN PHOTOS [--n 8] [--out docs/images/hero.png]

Photos on top, below them the same photos with what the run calls background faded out. Photos are taken evenly from
the sorted folder, never picked by hand.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import decoupe
from decoupe.data.decode import conform, read_image
from decoupe.data.sources import find

SIDE, GAP = 160, 6
"""Side of a tile and space between tiles, px."""


def tiles(model: decoupe.Model, path: Path) -> list[Image.Image]:
    """The photo, and the photo with its background (region 0) faded to white, cut to squares."""
    photo = conform(read_image(path), 3)
    kept = 1 - model.segment(photo).probs[0][..., None]
    cut = (photo * kept + 255 * (1 - kept)).round().astype(np.uint8)
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    box = (left, top, left + side, top + side)
    return [Image.fromarray(a).crop(box).resize((SIDE, SIDE), Image.Resampling.LANCZOS) for a in (photo, cut)]


def main() -> None:
    """Read the arguments, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("docs/images/hero.png"))
    given = parser.parse_args()

    model = decoupe.load(given.run)
    paths = [item.path for item in find(given.photos)]
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, given.n).astype(int)]
    step = SIDE + GAP
    sheet = Image.new("RGB", (step * len(chosen) - GAP, 2 * step - GAP), "white")
    for column, path in enumerate(chosen):
        for row, tile in enumerate(tiles(model, path)):
            sheet.paste(tile, (column * step, row * step))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(given.out, optimize=True)


if __name__ == "__main__":
    main()
