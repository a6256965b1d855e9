"""2 and 4 gloo processes beside one, for every room, at its smallest size.

    python -m tests.engine.ranks [ROOM ...] [--ranks 2,4] [--json FILE]

Printed for each room: the distance between the weights after training in one process and in several, and the distance
that training itself moved them (both Euclidean, over all weights). Batches are divided, batch statistics synchronised;
sums are taken in another order, and Adam turns a gradient whose sign is rounding into a whole step: one is judged
beside the other.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors
from tests.tiny import TINY, masked, photos, teacher

LESS: dict[str, dict[str, Any]] = {
    "independence": {"members": 1, "member_images": 48, "rounds": 1, "student_images": 48, "norm": "batch"},
    "layer_disposal": {"train_images": 64}, "redraw": {"train_images": 64, "regulariser_images": 32},
    "autoregressive": {"train_images": 48, "k": 3}, "iic": {"train_images": 48},
    "student": {"round_images": 48}, "tags": {}, "scene_vae": {"train_images": 48},
}  # fmt: skip
"""Rooms that train by steps, and how much shorter than in other tests."""
TOLERANCE = 0.05
"""Largest distance, as a share of the way that training went."""
WORKER = "import json, sys; from decoupe.fit import fit; fit(**json.loads(sys.argv[1]))"


def job(name: str, folder: Path) -> dict[str, Any]:
    """Arguments of `fit`."""
    options = {**TINY[name], **LESS[name]}
    if name == "student":
        options["teacher"] = teacher()
    if name == "scene_vae":
        return {"room": name, "images": f"{masked()}/images", **options, "masks": f"{masked()}/masks"}
    more = {"tags": str(folder / "tags.csv")} if name == "tags" else {}
    return {"room": name, "images": str(folder / "photos"), **more, **options}


def trained(about: dict[str, Any], run: Path, ranks: int) -> dict[str, torch.Tensor]:
    """Weights at the end of a run of that many processes."""
    words = json.dumps(about | {"run": str(run), "devices": ranks, "precision": "fp32", "restarts": 0})
    environment = os.environ | {"DECOUPE_CACHE": str(run.parent / "cache"), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", WORKER, words], check=True, env=environment)
    found = Run.open(run)
    names = sorted(n for n in found.info["files"] if n.startswith("checkpoints/"))
    return load_tensors(found.verify(names[-1] if names else "weights.safetensors"))[0]


def compare(name: str, folder: Path, counts: list[int]) -> dict[str, Any]:
    """One room: differences by number of processes, and what training changed."""
    about = job(name, folder)
    home = folder / name
    home.mkdir()
    one = trained(about, home / "1", 1)
    start = trained(about | {"images_seen": 1}, home / "0", 1)
    both = [key for key, tensor in one.items() if tensor.is_floating_point() and key in start]

    def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
        return sum(float((a[key] - b[key]).double().square().sum()) for key in both) ** 0.5

    moved = distance(one, start)
    apart = {}
    for count in counts:
        several = trained(about, home / str(count), count)
        apart[str(count)] = distance(one, several)
    return {"room": name, "moved": moved, "apart": apart, "equal": max(apart.values()) <= TOLERANCE * moved}


def main() -> None:
    """Compare, print, and end with 1 if a room differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", default=list(LESS))
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="decoupe-ranks-") as place:
        folder = Path(place)
        (folder / "photos").mkdir()
        for number, image in enumerate(photos(24, size=40)):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / "photos" / f"{number:02d}.png")
        with (folder / "tags.csv").open("w", newline="") as file:
            table = [(f"{n:02d}.png", "bright" if n % 2 else "round") for n in range(24)]
            csv.writer(file).writerows([("image", "tags"), *table])
        for name in given.rooms:
            rows.append(compare(name, folder, [int(count) for count in given.ranks.split(",")]))
            print(json.dumps(rows[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"date": date.today().isoformat(), "rows": rows}, indent=1) + "\n")
    if not all(row["equal"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
