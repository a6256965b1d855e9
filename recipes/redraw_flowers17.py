"""Oxford flowers (17 categories): divide photos into two regions by redrawing, distil, score on the test trimaps.

command    python recipes/redraw_flowers17.py FOLDER [--seed S] [--size PX]
hardware   2-core x86-64 CPU, no GPU
time       18 minutes and 12 minutes (one thread on a busy machine)
score      object IoU of `selected`, test split, see src/decoupe/methods/redraw/README.md
date       2026-11-21
"""

from __future__ import annotations

import argparse

import decoupe
from decoupe.distill import distill
from decoupe.evaluate.run import evaluate


def main() -> None:
    """Fit with the default settings of the room, evaluate, distil, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="holds jpg/, trimaps/, datasplits.mat")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=64)
    given = parser.parse_args()
    run = f"runs/redraw-flowers17-{given.size}-{given.seed}"
    decoupe.fit("redraw", f"flowers17:{given.folder}", run=run, seed=given.seed, size=given.size)
    distill(run, run=f"{run}-student")
    for folder in (run, f"{run}-student"):
        for row in evaluate(folder, f"flowers17:{given.folder}")["results"]:
            print(folder, row["selection"], row["metrics"]["iou"], row["interval"]["iou"])


if __name__ == "__main__":
    main()
