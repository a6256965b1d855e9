"""Is the training worth it? Score a run beside simple baselines.

python examples/03_compare_with_baselines.py RUN PHOTOS masks:LABELLED

LABELLED holds images/ and masks/ of equal stems. Labels are used to measure, never to train or to choose.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import decoupe
from decoupe.evaluate.run import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run that `decoupe fit` made")
    parser.add_argument("photos", type=Path, help="the photos it was trained on")
    parser.add_argument("data", help="labelled images, NAME:PATH")
    parser.add_argument("--kinds", nargs="*", default=["kmeans-lab", "otsu", "ellipse"])
    parser.add_argument("--out", type=Path, default=Path("runs/references"))
    given = parser.parse_args()

    runs = {"run": given.run}
    for kind in given.kinds:
        runs[kind] = given.out / kind
        decoupe.fit("baselines", images=given.photos, run=runs[kind], kind=kind)

    for name, run in runs.items():
        for row in evaluate(run, given.data)["results"]:
            if row["selection"] == "selected":
                print(f"{name:12} IoU {row['metrics']['iou']:.3f}  accuracy {row['metrics']['accuracy']:.3f}")


if __name__ == "__main__":
    main()
