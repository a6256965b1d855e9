"""Train on a folder of photos, then segment new ones: python examples/01_fit_and_segment.py PHOTOS NEW_PHOTOS

The folder holds photos of one kind of object; no masks are needed. The result is a run folder with a report, and a
folder of masks, overlays and measures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import decoupe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="photos to learn from")
    parser.add_argument("new", type=Path, help="photos to segment")
    parser.add_argument("--run", type=Path, default=Path("runs/example-1"))
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()

    model = decoupe.fit("independence", images=given.photos, run=given.run, minutes=given.minutes)
    print(model.run.info["health"]["sentence"])

    written = decoupe.segment(model, given.new, given.run / "masks", formats=("png", "overlay", "csv"))
    print(f"{written['written']} masks in {written['out']}")
    for problem in written["problems"]:
        print(f"left out: {problem['path']} ({problem['reason']})")


if __name__ == "__main__":
    main()
