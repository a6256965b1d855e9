"""Memory, start and throughput of `fit` on 10,000 to 1,000,000 images in tar shards.

    python benchmarks/large.py [--counts 10000,1000000] [--work DIR] [--json FILE]

For each count: shards of tiny photos (32 x 32, PPM) are made, then `fit redraw` (32 px) runs twice on them, each time
in a process of its own, with 4,000 images seen. The first run decodes everything into the cache, the second finds it
there.

cache_s       seconds from the call to the first step when nothing is in the cache
start_s       the same when the cache exists; the target is 60
resident_mb   resident memory after the last step
peak_mb       the largest resident memory in the process's life
images_per_s  of the second run, after its first step

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
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

SIDE, PER_SHARD, SEEN = 32, 10_000, 4_000
HEADER = f"P6 {SIDE} {SIDE} 255\n".encode()


def make(folder: Path, count: int) -> None:
    """Shards of blobs in colour: every photo differs from every other one."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    for first in range(0, count, PER_SHARD):
        random = np.random.default_rng(first)
        with tarfile.open(folder / f"{first // PER_SHARD:06d}.tar", "w") as archive:
            for number in range(first, min(first + PER_SHARD, count)):
                cx, cy, radius = random.uniform(0.25, 0.75, 3)
                inside = ((x - cx) ** 2 + (y - cy) ** 2 < radius**2 / 9)[..., None]
                pixels = np.where(inside, random.integers(128, 256, 3), random.integers(0, 128, 3)).astype(np.uint8)
                pixels[0, 0] = number >> 16 & 255, number >> 8 & 255, number & 255
                entry = tarfile.TarInfo(f"{number:07d}.ppm")
                entry.size = len(HEADER) + pixels.nbytes
                archive.addfile(entry, io.BytesIO(HEADER + pixels.tobytes()))


class Watch:
    """A reporter that notes when steps are made."""

    def __init__(self) -> None:
        self.times: list[tuple[float, int]] = []

    def update(
        self, images: int, images_per_s: float, eta_s: float | None, scalars: Mapping[str, float],
        areas: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        """One step."""
        self.times.append((time.monotonic(), images))

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
    fit("redraw", folder, run=run, size=SIDE, images_seen=SEEN, precision="fp32", reporter=watch, checks=2)
    (first, before), (last, after) = watch.times[0], watch.times[-1]
    print(json.dumps({
        "first_s": first - started, "images_per_s": (after - before) / (last - first), "resident_mb": resident(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }))  # fmt: skip


def measure(folder: Path, work: Path, name: str) -> dict[str, float]:
    """`worker` in a process of its own."""
    command = [sys.executable, __file__, "--worker", str(folder), str(work / name)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {
        "DECOUPE_CACHE": str(work / "cache")
    })  # fmt: skip
    return dict(json.loads(told.stdout.splitlines()[-1]))


def main() -> None:
    """Measure all counts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10000,1000000")
    parser.add_argument("--work", help="where shards and caches are written (default: a temporary folder)")
    parser.add_argument("--json")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(*given.worker)
        return
    work = Path(given.work or tempfile.mkdtemp(prefix="decoupe-large-"))
    rows = []
    try:
        for count in map(int, given.counts.split(",")):
            folder = work / str(count)
            if not folder.exists():
                make(folder, count)
            cold, warm = (measure(folder, work, f"run-{count}-{turn}") for turn in ("cold", "warm"))
            rows.append({"images": count, "cache_s": round(cold["first_s"], 1), "start_s": round(warm["first_s"], 1)}
                        | {key: round(warm[key], 1) for key in ("images_per_s", "resident_mb", "peak_mb")})  # fmt: skip
            print(rows[-1], flush=True)
    finally:
        if not given.work:
            shutil.rmtree(work, ignore_errors=True)
    if given.json:
        about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        content = {"command": " ".join(["python", *sys.argv]), "date": date.today().isoformat(), **about, "rows": rows}
        Path(given.json).write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
