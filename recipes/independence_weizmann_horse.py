"""Weizmann horses: cut out the horse from 235 photos without labels, landscapes as backgrounds; score on all masks.

command    python recipes/independence_weizmann_horse.py FOLDER BACKGROUNDS [--seed S] [--size PX]
hardware   2-core x86-64 CPU, no GPU
time       11 to 13 minutes (three seeds; one thread each on a busy machine); 128 px: 32 minutes
score      object IoU of `selected`, see src/decoupe/methods/independence/README.md
date       2026-11-22
"""

from __future__ import annotations

import argparse

import decoupe
from decoupe.evaluate.run import evaluate


def main() -> None:
    """Fit and evaluate with the default settings of the room, the same as for flowers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="holds rgb/ and figure_ground/")
    parser.add_argument("backgrounds", help="photos of landscapes without horses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=64)
    given = parser.parse_args()
    run = f"runs/independence-weizmann-horse-{given.size}-{given.seed}"
    options = {"seed": given.seed, "size": given.size, "backgrounds": given.backgrounds}
    decoupe.fit("independence", f"{given.folder}/rgb", run=run, **options)
    for row in evaluate(run, f"weizmann_horse:{given.folder}")["results"]:
        print(row["selection"], row["metrics"]["iou"], row["interval"]["iou"])


if __name__ == "__main__":
    main()
