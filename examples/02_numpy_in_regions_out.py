"""Segment arrays of your own program: python examples/02_numpy_in_regions_out.py RUN PHOTO

`segment` takes a file, a Pillow image or an array (H, W, C) uint8, and gives `Regions` in the frame of that image:
`probs` (K, H, W) float32 that sum to 1 over K, `labels` (H, W), `names` (K).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import decoupe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run that `decoupe fit` made")
    parser.add_argument("photo", type=Path, help="one photo")
    parser.add_argument("--out", type=Path, default=Path("cut_out.png"))
    given = parser.parse_args()

    model = decoupe.load(given.run)
    photo = np.asarray(Image.open(given.photo).convert("RGB"))
    regions = model.segment(photo)

    for index, name in enumerate(regions.names):
        share = float((regions.labels == index).mean())
        sure = float(regions.probs[index][regions.labels == index].mean()) if share else 0.0
        print(f"{name}: {share:.0%} of the image, mean probability {sure:.2f}")

    alpha = np.uint8(255 * (1 - regions.probs[0]))  # everything that is not the background
    Image.fromarray(np.dstack([photo, alpha])).save(given.out)
    print(f"cut out: {given.out}")


if __name__ == "__main__":
    main()
