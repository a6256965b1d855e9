"""`segment` killed (SIGKILL) at random moments and started again: the outputs must be those of a run left alone.

    python benchmarks/kills.py [--photos 20000] [--kills 10] [--size 24] [--json FILE]

Photos are built in, the network is a rule ("what is bright"): what is measured is everything around it. Printed:
how many outputs lay there at each kill, how many of those were written again later (at most what was in flight: a file
for each thread), and whether all files of both folders are equal byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
INNER = """
import sys
from decoupe.segment import segment
from tests.bright import Bright
done = segment(Bright(), sys.argv[1], sys.argv[2], ("png", "coco", "csv"))
print(done["written"], len(done["problems"]))
"""
PER_FOLDER = 1000


def photos(folder: Path, count: int, size: int) -> None:
    """Bright discs on noise, every one another."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for number in range(count):
        place = folder / f"{number // PER_FOLDER:03d}"
        place.mkdir(parents=True, exist_ok=True)
        cy, cx = draw.uniform(size / 4, 3 * size / 4, 2)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < size * size / 20
        pixels = draw.integers(0, 60, (size, size, 3)) + 150 * inside[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number:06d}.bmp")


def start(source: Path, out: Path) -> subprocess.Popen[str]:
    """One `segment` in a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", INNER, str(source), str(out)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


def written(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every mask that is there."""
    found = {}
    for folder, _, names in os.walk(out):
        for name in names:
            if name.endswith(".png") and not name.startswith("."):
                stat = os.stat(os.path.join(folder, name))
                found[os.path.join(folder, name)] = (stat.st_ino, stat.st_mtime_ns)
    return found


def digest(out: Path) -> dict[str, str]:
    """SHA-256 of every file that is not hidden."""
    paths = [p for p in out.rglob("*") if p.is_file() and not any(q.startswith(".") for q in p.relative_to(out).parts)]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def torture(work: Path, count: int, kills: int, size: int, seed: int = 0) -> dict[str, object]:
    """Segment once left alone and once killed `kills` times; what became of it."""
    photos(work / "photos", count, size)
    began = time.monotonic()
    alone = start(work / "photos", work / "alone")
    told = alone.communicate()[0].split()
    seconds = time.monotonic() - began
    if alone.returncode or told != [str(count), "0"]:
        raise RuntimeError(f"the run left alone ended with {alone.returncode}: {told}")
    out, seen, again = work / "killed", list[dict[str, tuple[int, int]]](), list[int]()
    draw = random.Random(seed)
    moments = sorted(draw.sample(range(1, count), kills))
    for moment in moments:
        process = start(work / "photos", out)
        while len(there := written(out)) < moment and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        seen.append(written(out) if process.returncode == -signal.SIGKILL else there)
    last = start(work / "photos", out)
    rest = last.communicate()[0].split()
    final = written(out)
    for before, after in zip(seen, [*seen[1:], final], strict=True):
        again.append(sum(after[name] != stamp for name, stamp in before.items()))
    return {
        "photos": count, "kills": kills, "size": size, "at": [len(one) for one in seen], "written_again": again,
        "left_for_the_last": int(rest[0]), "equal": digest(out) == digest(work / "alone"), "files": len(digest(out)),
        "seconds_alone": round(seconds, 1),
    }  # fmt: skip


def main() -> None:
    """Measure, print, and end with 1 if anything differs or was done twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--size", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="decoupe-kills-") as name:
        found = torture(Path(name), given.photos, given.kills, given.size, given.seed)
    found |= {"date": date.today().isoformat(), "threads": len(os.sched_getaffinity(0))}
    print(json.dumps(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    again = found["written_again"]
    if not found["equal"] or max(again) > 2 * len(os.sched_getaffinity(0)):  # type: ignore[call-overload]
        sys.exit(1)


if __name__ == "__main__":
    main()
