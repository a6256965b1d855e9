"""Time and peak memory of `segment --tile` on one large image of four bands, made here and streamed to disk.

    python benchmarks/tiles.py --side 20000 --tile 512 --overlap 64

The run is a room that was fitted for a moment: what is measured is everything around the network. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import tifffile

INNER = """
import json, resource, sys
from decoupe.segment import segment
run, image, out, tile, overlap = sys.argv[1:6]
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
done = segment(run, image, out, ("png", "tiff", "csv"), tile=int(tile), overlap=int(overlap))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": done["seconds"], "written": done["written"], "peak_mb": round(peak / 1024)}))
"""


def tiles(side: int, height: int) -> Iterator[np.ndarray]:
    """(512, 512, 4) tiles of an image of bright discs on noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:512, :512]
    for _ in range(-(-side // 512) * -(-height // 512)):
        cy, cx, r = rng.uniform(100, 400), rng.uniform(100, 400), rng.uniform(40, 120)
        near = (y - cy) ** 2 + (x - cx) ** 2 < r * r
        noise = rng.integers(0, 60, (512, 512, 1), np.uint8)
        yield np.repeat(noise + (150 * near[..., None]).astype(np.uint8), 4, 2)


def main() -> None:
    """Make the image, segment it in a process of its own, print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--height", type=int, help="default: --side")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=64)
    given = parser.parse_args()
    height = given.height or given.side
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = folder / "small"
        small.mkdir()
        for number, tile in zip(range(8), tiles(2048, 2048), strict=False):
            tifffile.imwrite(small / f"{number}.tif", tile, photometric="rgb", extrasamples=[0])
        fit = "import sys, decoupe as d; d.fit('baselines', sys.argv[1], run=sys.argv[2], kind='otsu', size=32)"
        subprocess.run([sys.executable, "-c", fit, str(small), str(folder / "run")], check=True)
        image = folder / "large.tif"
        tifffile.imwrite(
            image, tiles(given.side, height), shape=(height, given.side, 4), dtype=np.uint8, photometric="rgb",
            tile=(512, 512), extrasamples=[0], bigtiff=True,
        )  # fmt: skip
        started = time.perf_counter()
        words = [str(folder / "run"), str(image), str(folder / "out"), str(given.tile), str(given.overlap)]
        done = subprocess.run([sys.executable, "-c", INNER, *words], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        written = {p.name: p.stat().st_size for p in (folder / "out").iterdir() if p.is_file() and p.name[0] != "."}
    about = {"side": given.side, "height": height, "tile": given.tile, "overlap": given.overlap, "bytes": written}
    about |= {"wall_s": round(time.perf_counter() - started, 1), "date": date.today().isoformat()}
    children = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    sys.stdout.write(json.dumps(found | about | {"peak_of_children_mb": children, "cpu": platform.machine()}) + "\n")


if __name__ == "__main__":
    main()
