"""Memory, start and throughput of `fit` on 10,000 to 1,000,000 images, in tar shards or in a folder.

    python benchmarks/large.py [--counts 10000,1000000] [--folder] [--work DIR] [--json FILE]

For each count: tiny photos (32 x 32, PPM) are made, then `fit redraw` (32 px, networks of 4 channels, so that what is
measured is everything around them) runs on them in processes of their own, with 2,000 images seen. The first run
decodes everything into the cache, the others find it there; they take turns between the counts; medians count.

cache_s       seconds from the call to the first step when nothing is in the cache
start_s       the same when the cache exists; the target is 60
resident_mb   resident memory after the last step
peak_mb       the largest resident memory in the process's life
images_per_s  after the first step
start_cpu_s, images_per_cpu_s: the same by the processor's time, which other programs on the machine do not lengthen

The targets: resident memory of 1e6 within 20 % of that of 1e4, throughput within 10 %.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

SIDE, PER_SHARD, SEEN = 32, 10_000, 2_000
SMALL: dict[str, Any] = {
    "size": SIDE, "checks": 2, "mask_width": 4, "generator_width": 4, "discriminator_width": 4,
    "attention_generator": False, "attention_discriminator": False, "mirrored": False, "snap": False,
}  # fmt: skip
HEADER = f"P6 {SIDE} {SIDE} 255\n".encode()


def make(folder: Path, count: int, loose: bool) -> None:
    """Photos of discs in colour, every one another: in shards, or in folders of as many."""
    for first in range(0, count, PER_SHARD):
        part = folder / f"{first // PER_SHARD:06d}"
        if loose:
            part.mkdir(parents=True)
            for name, data in photos(first, min(PER_SHARD, count - first)):
                (part / name).write_bytes(data)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(part.with_suffix(".tar"), "w") as archive:
            for name, data in photos(first, min(PER_SHARD, count - first)):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))


def photos(first: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Names and PPM bytes of `count` photos from number `first` on."""
    random = np.random.default_rng(first)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    cx, cy, radius = random.uniform(0.25, 0.75, (3, count, 1, 1)).astype(np.float32)
    inside = ((x - cx) ** 2 + (y - cy) ** 2 < radius**2 / 9)[..., None]
    colours = random.integers((0, 128), (128, 256), (count, 3, 2), np.uint8)
    pixels = np.where(inside, colours[:, None, None, :, 1], colours[:, None, None, :, 0])
    for number, pixel in enumerate(pixels, first):
        pixel[0, 0] = number >> 16 & 255, number >> 8 & 255, number & 255
        yield f"{number:07d}.ppm", HEADER + pixel.tobytes()


class Watch:
    """A reporter that notes when steps are made."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float, int]] = []

    def update(
        self, images: int, images_per_s: float, eta_s: float | None, scalars: Mapping[str, float],
        areas: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        """One step."""
        self.times.append((time.monotonic(), time.process_time(), images))

    def __getattr__(self, name: str) -> Any:
        return lambda *words, **named: None


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def worker(folder: str, run: str) -> None:
    """One fit; a line of JSON."""
    from decoupe import fit

    watch, started = Watch(), time.monotonic()
    fit("redraw", folder, run=run, images_seen=SEEN, precision="fp32", reporter=watch, **SMALL)
    (first, first_cpu, before), (last, last_cpu, after) = watch.times[0], watch.times[-1]
    print(json.dumps({
        "start_s": first - started, "start_cpu_s": first_cpu, "images_per_s": (after - before) / (last - first),
        "images_per_cpu_s": (after - before) / (last_cpu - first_cpu), "resident_mb": resident(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }))  # fmt: skip


def measure(folder: Path, work: Path, name: str) -> dict[str, float]:
    """`worker` in a process of its own."""
    shutil.rmtree(work / name, ignore_errors=True)
    command = [sys.executable, __file__, "--worker", str(folder), str(work / name)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {
        "DECOUPE_CACHE": str(work / "cache")
    })  # fmt: skip
    return dict(json.loads(told.stdout.splitlines()[-1]))


def main() -> None:
    """Measure all counts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10000,1000000")
    parser.add_argument("--folder", action="store_true", help="files in folders instead of shards")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--work", help="where photos and caches are written (default: a temporary folder)")
    parser.add_argument("--json")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(*given.worker)
        return
    work = Path(given.work or tempfile.mkdtemp(prefix="decoupe-large-"))
    counts = [int(count) for count in given.counts.split(",")]
    cold: dict[int, float] = {}
    warm: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    try:
        for count in counts:
            if not (work / str(count)).exists():
                make(work / str(count), count, given.folder)
            cold[count] = measure(work / str(count), work, f"run-{count}-cold")["start_s"]
        for turn in range(given.turns):
            for count in counts:
                warm[count].append(measure(work / str(count), work, f"run-{count}-{turn}"))
                print(count, warm[count][-1], flush=True)
    finally:
        if not given.work:
            shutil.rmtree(work, ignore_errors=True)
    rows = [
        {"images": count, "cache_s": round(cold[count], 1)}
        | {key: round(median(turn[key] for turn in turns), 1) for key in turns[0]}
        for count, turns in warm.items()
    ]
    for row in rows:
        print(row)
    if given.json:
        about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        about |= {"photos": "folder" if given.folder else "shards", "load_at_end": round(os.getloadavg()[0], 1)}
        content = {"command": " ".join(["python", *sys.argv]), "date": date.today().isoformat(), **about, "rows": rows}
        Path(given.json).write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
