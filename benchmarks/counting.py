"""How well things are found and counted in single images, each fitted alone without labels, beside Otsu's threshold.

    python benchmarks/counting.py [--dsb2018 FOLDER] [--photos FOLDER] [--builtin N] [--only NAME,...] [--seed S]
                                  [--work DIR] [--json FILE] [--options JSON]

builtin   N images of `decoupe data synth cluster`, 384 px, each of a seed of its own (`BUILTIN` on), exact masks
dsb2018   nuclei, with masks: those of `JUDGED`, which played no part in making the method
photos    photos without masks, counted by hand: `BY_HAND`

Every image is one run of `decoupe fit independence --task cluster` with default settings, then `count` and `segment`.
With --work the runs stay there, and images that have one are not fitted again; give it to go on after a stop.

f1, ap50      F1 and average precision at IoU 0.5, where there are masks
touching      share of the true things that touch another; images of `TOUCH` or more are compared by themselves too
error         |counted - true| / true
uncertainty   standard deviation that `count` states; `within` says whether the truth lies within two of them
otsu_*        the same for `baselines --kind otsu-components`: Otsu's threshold, things split at necks
cpu_s         processor time of the fit, all threads
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

import decoupe
from decoupe.bench.notes import tell, where_and_when
from decoupe.data.decode import read_image
from decoupe.engine.progress import Silent
from decoupe.evaluate.instances import ap, f1_of, overlap
from decoupe.instances import to_map
from decoupe.methods.baselines.things import otsu_components
from decoupe.types import Image, InstanceMap

BUILTIN, SIDE = 100, 384
"""Seed of the first built-in image, and their side in pixels. Images of seed 5 were used to make the method."""
LOOKED_AT = (
    "0bf4b1", "102350", "140042", "1ec74a", "20c37b", "20e209", "224687", "347702", "353ab0", "449f41",
    "4ee585", "61dc24", "7773ac", "79fe41", "8cdbdd", "9ebcfa", "a31dea", "b76ff3", "d7d12a", "e216ec",
    "f73e37",
)  # fmt: skip
"""First characters of images of dsb2018 on which the method was made, or which were looked at before a change of it."""
JUDGED = (
    "1f0008", "2c61fd", "337b6e", "4a424e", "60cb71", "718751", "7798ca", "7b5987", "930f24", "9fb32a",
    "a815a9", "df53d0", "f01a97",
)  # fmt: skip
"""Of the others with 20 nuclei or more: all stained ones, and every second of the rest, in order of their names."""
TOUCH = 0.25
"""Share of things that touch from which on an image counts as one with touching things."""
BY_HAND: dict[str, tuple[int, tuple[int, int, int, int] | None]] = {
    "coins.jpg": (24, None),
    "candies_mm.jpg": (54, None),
    "rice_grains_dark_bg.jpg": (110, None),
    "wheat_grains.jpg": (189, None),
    "diatom_pores.jpg": (130, (193, 385, 256, 512)),
    "microarray_spots.jpg": (165, (0, 272, 545, 817)),
}
"""Things counted by one of the authors from the pictures on 2026-11-21, 16:26 UTC, before anything was run on them, and
the part counted (top, bottom, left, right; None: all). Every grain of wheat of which a recognisable part shows, about
30 of them mostly hidden, so 189 +- 15; spots of the microarray that can be seen, about 20 of them barely."""


@dataclass(frozen=True)
class Case:
    """One image and its truth: a label map, or a number."""

    of: str
    name: str
    image: Image
    truth: InstanceMap | int


def builtin(count: int) -> Iterator[Case]:
    """Built-in images of seeds `BUILTIN`, `BUILTIN` + 1, ..."""
    from decoupe.data.synthetic import render

    for seed in range(BUILTIN, BUILTIN + count):
        scene = render("cluster", seed, 0, SIDE)
        yield Case("builtin", f"seed{seed}", scene.image, _instances(scene))


def _instances(scene: Any) -> NDArray[np.int32]:
    return np.asarray(scene.instances, np.int32)


def nuclei(root: Path) -> Iterator[Case]:
    """The images of `JUDGED`."""
    from decoupe.data.catalogue import open_dataset

    for sample in open_dataset(f"dsb2018:{root}").samples:
        name = sample.key.split("/")[-1][:6]
        if name in JUDGED:
            yield Case("dsb2018", name, read_image(sample.image), np.asarray(sample.instances(), np.int32))


def photos(root: Path) -> Iterator[Case]:
    """The photos of `BY_HAND` that lie in `root`."""
    for name, (count, part) in BY_HAND.items():
        if (root / name).is_file():
            image = read_image(root / name)
            top, bottom, left, right = part or (0, image.shape[0], 0, image.shape[1])
            yield Case("photos", Path(name).stem, image[top:bottom, left:right], count)


def touching(truth: InstanceMap) -> float:
    """Share of the true things of which a pixel lies beside one of another thing."""
    meet: set[int] = set()
    for axis in (0, 1):
        a, b = np.delete(truth, -1, axis), np.delete(truth, 0, axis)
        there = (a != b) & (a > 0) & (b > 0)
        meet |= set(a[there].tolist()) | set(b[there].tolist())
    return len(meet) / max(1, len(np.unique(truth[truth > 0])))


def measure(case: Case, work: Path, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Fit one image alone, then count and compare."""
    place, run = work / f"{case.of}-{case.name}.png", work / f"{case.of}-{case.name}-s{seed}"
    pixels = case.image[..., 0] if case.image.shape[2] == 1 else case.image[..., :3]
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(place)
    spent = None
    if not (run / "weights.safetensors").is_file():
        begun, again = time.process_time(), (run / "run.json").is_file()
        fresh = {"images": str(place), "task": "cluster", "seed": seed, **options}
        decoupe.fit("independence", run=run, reporter=Silent(), **({"resume": True} if again else fresh))
        spent = None if again else round(time.process_time() - begun, 1)
    model = decoupe.load(run)
    counted = model.count(case.image)
    true = case.truth if isinstance(case.truth, int) else len(np.unique(case.truth[case.truth > 0]))
    otsu = otsu_components(case.image)
    row: dict[str, Any] = {
        "set": case.of, "image": case.name, "true": true, "counted": counted.count,
        "uncertainty": round(counted.spread, 2), "error": round(abs(counted.count - true) / true, 4),
        "within": abs(counted.count - true) <= 2 * counted.spread, "otsu_counted": len(otsu),
        "otsu_error": round(abs(len(otsu) - true) / true, 4), "cpu_s": spent,
    }  # fmt: skip
    if not isinstance(case.truth, int):
        found = overlap(model.look(case.image), case.truth)
        theirs = overlap(to_map(otsu, case.image.shape[:2]), case.truth)
        row |= {"touching": round(touching(case.truth), 3), "f1": round(f1_of(found), 4)}
        row |= {"ap50": round(ap([found], 0.5), 4), "otsu_f1": round(f1_of(theirs), 4)}
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and means over the images of each set."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(row["set"] for row in rows):
        mine = [row for row in rows if row["set"] == name]
        one: dict[str, Any] = {
            "images": len(mine), "median_error": round(median(r["error"] for r in mine), 4),
            "error_at_most_10_percent": sum(r["error"] <= 0.1 for r in mine),
            "truth_within_two_uncertainties": sum(r["within"] for r in mine),
            "otsu_median_error": round(median(r["otsu_error"] for r in mine), 4),
        }  # fmt: skip
        if "f1" in mine[0]:
            one |= {
                "median_f1": round(median(r["f1"] for r in mine), 4),
                "mean_ap50": round(float(np.mean([r["ap50"] for r in mine])), 4),
                "ap50_80_and_error_5_percent": sum(r["ap50"] >= 0.8 and r["error"] <= 0.05 for r in mine),
                "otsu_median_f1": round(median(r["otsu_f1"] for r in mine), 4),
                "better_f1_than_otsu": sum(r["f1"] > r["otsu_f1"] for r in mine),
            }
            close = [r for r in mine if r["touching"] >= TOUCH]
            if close:
                one["touching"] = {
                    "images": len(close), "median_f1": round(median(r["f1"] for r in close), 4),
                    "otsu_median_f1": round(median(r["otsu_f1"] for r in close), 4),
                    "better_f1_than_otsu": sum(r["f1"] > r["otsu_f1"] for r in close),
                }  # fmt: skip
        out[name] = one
    return out


def main() -> int:
    """Measure and print, one line per image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builtin", type=int, default=10, help="number of built-in images (0: none)")
    parser.add_argument("--dsb2018", type=Path, help="folder that holds stage1_train/")
    parser.add_argument("--photos", type=Path, help="folder that holds the photos of BY_HAND")
    parser.add_argument("--only", help="names of images, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", type=json.loads, default={}, help="settings of the room, as JSON")
    parser.add_argument("--work", type=Path, help="folder in which the runs are kept (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    cases = [builtin(given.builtin)]
    cases += [nuclei(given.dsb2018)] if given.dsb2018 else []
    cases += [photos(given.photos)] if given.photos else []
    wanted = set(given.only.split(",")) if given.only else None
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        work = given.work or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        for case in (case for some in cases for case in some):
            if wanted is None or case.name in wanted:
                rows.append(measure(case, work, given.seed, given.options))
                sys.stdout.write(json.dumps(rows[-1]) + "\n")
                sys.stdout.flush()
    about = {"benchmark": "counting", **where_and_when(), "seed": given.seed, "options": given.options}
    tell({**about, "summary": summary(rows), "rows": rows}, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
