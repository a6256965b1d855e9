"""Images per second of `decoupe segment` beside the bare network and the bare image decoder, in one run.

    python benchmarks/segment.py [--images FOLDER] [--n 1000] [--size 64] [--run RUN] [--json FILE]

Without `--images`, built-in objects are written as JPEG photos of 320 x 320; without `--run`, the room `independence`
with its default networks and random weights is used (speed does not depend on what they have learnt).

network          squares per second of `Model.predict` alone, batches of 32, all threads torch wants
decoder          photos per second of `read_image` alone, one after the other
decoder_threads  the same in one thread per core
segment          photos per second of `segment(..., "png")`: found, decoded, segmented, written, recorded
ratio            segment / the slower of network and decoder; the target is 0.8

Each is measured `--rounds` times, in turn; the best of each counts. Processor time per image is given beside: on a
machine that others use at the same time it is the figure to trust.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from decoupe.bench.notes import tell
from decoupe.bench.parts import photos, untrained
from decoupe.data.decode import read_image
from decoupe.data.sources import find
from decoupe.model import Model, load
from decoupe.pipeline import BATCH
from decoupe.segment import segment

TARGET = 0.8


def timed(count: int, work: Callable[[], object]) -> tuple[float, float]:
    """(things per second, milliseconds of processor time per thing, all threads together)."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return count / (time.perf_counter() - start), 1000 * (time.process_time() - cpu) / count


def measure(model: Model, folder: Path, scratch: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Rate and processor time of each of the four, each the best of `rounds`."""
    paths = [item.path for item in find(folder)]
    first = [read_image(path) for path in paths[:BATCH]]
    squares = np.stack([model.square(image) for image in first * -(-BATCH // len(first))][:BATCH])
    batches = -(-len(paths) // BATCH)
    cores = len(os.sched_getaffinity(0))
    segment(model, paths[0], scratch / "warm", "png")

    def network() -> None:
        for _ in range(batches):
            model.predict(squares)

    def decoder() -> None:
        for path in paths:
            read_image(path)

    def decoder_threads() -> None:
        with ThreadPoolExecutor(cores) as pool:
            for _ in pool.map(lambda path: read_image(path).shape, paths):
                pass

    def whole() -> None:
        segment(model, folder, scratch / "masks", "png")

    network()
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, count, work in (
            ("network", batches * BATCH, network),
            ("decoder", len(paths), decoder),
            ("decoder_threads", len(paths), decoder_threads),
            ("segment", len(paths), whole),
        ):
            found, before = timed(count, work), best.get(name, (0.0, 1e9))
            best[name] = max(found[0], before[0]), min(found[1], before[1])
        shutil.rmtree(scratch / "masks")
    return best


def main() -> int:
    """Measure, print, and end with 0 if the target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of photos (default: built-in ones)")
    parser.add_argument("--n", type=int, default=1000, help="number of built-in photos")
    parser.add_argument("--size", type=int, default=64, help="side of the network's squares in pixels")
    parser.add_argument("--run", type=Path, help="a run to load (default: untrained networks)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = given.images or scratch / "photos"
        if given.images is None:
            photos(folder, given.n)
        model = load(given.run) if given.run else untrained(scratch / "run", given.size)
        shape = read_image(find(folder)[0].path).shape
        best = measure(model, folder, scratch, given.rounds)
        count = len(find(folder))
    rates = {name: round(value[0], 1) for name, value in best.items()}
    ratio = round(rates["segment"] / min(rates["network"], rates["decoder"]), 3)
    content = {
        "benchmark": "segment",
        "images": count,
        "photo": f"{shape[1]}x{shape[0]}",
        "size": model.spec.size,
        "images_per_s": rates,
        "cpu_ms_per_image": {name: round(value[1], 3) for name, value in best.items()},
        "slower": "network" if rates["network"] <= rates["decoder"] else "decoder",
        "ratio": ratio,
        "target": TARGET,
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "load_at_end": round(os.getloadavg()[0], 2),
    }
    tell(content, given.json)
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
