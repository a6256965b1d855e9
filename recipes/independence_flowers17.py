"""Oxford flowers (17 categories): cut out the flower from 1,114 photos without labels, score on the test trimaps.

command    python recipes/independence_flowers17.py FOLDER [--seed S] [--size PX]
hardware   2-core x86-64 CPU, no GPU
time       11, 13 and 21 minutes (three seeds; one thread each on a busy machine); 128 px: 30 minutes
score      object IoU of `selected`, test split, see src/decoupe/methods/independence/README.md
date       2026-11-22
"""

from __future__ import annotations

import argparse

import decoupe
from decoupe.evaluate.run import evaluate


def main() -> None:
    """Fit and evaluate with the default settings of the room."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="holds jpg/, trimaps/, datasplits.mat")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=64)
    given = parser.parse_args()
    run = f"runs/independence-flowers17-{given.size}-{given.seed}"
    decoupe.fit("independence", f"{given.folder}/jpg", run=run, seed=given.seed, size=given.size)
    for row in evaluate(run, f"flowers17:{given.folder}")["results"]:
        print(row["selection"], row["metrics"]["iou"], row["interval"]["iou"])


if __name__ == "__main__":
    main()
