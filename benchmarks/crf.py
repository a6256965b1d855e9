"""Seconds and memory of the dense CRF beside pydensecrf2 on the same photo and unaries, in turn, in one run.

    python benchmarks/crf.py [--image FILE] [--k 21] [--rounds 5] [--threads 1] [--batch 8] [--json FILE]
    python benchmarks/crf.py --photos FOLDER [--n 20] [--presets krahenbuhl,stego] [--json FILE]

Without `--image`, a made photo of 375 x 500 (discs on a noisy slope) is used. Each preset of `--presets` runs ten
updates; the best of `--rounds` counts, kernels built anew every time. `wall` is the clock, `cpu` processor time of the
process: on a machine that others use at the same time it is the figure to trust, though shared caches slow it too.
`peak_mb` is what one call adds to the memory of a process that has imported both and the photo. pydensecrf2 always
uses one thread. Without it (`pip install pydensecrf2` needs a C++ compiler) its columns are empty.

With `--photos`, quality is measured instead of speed, on `--n` photos spread evenly over the folder (all below it):
`error` is the mean absolute difference of probabilities from exact inference (all pairs of pixels) over the middle
48 x 48 pixels, with 2 and `--k` labels by turns; `labels_agree` the share of pixels of whole photos whose labels are
those of pydensecrf2. Unaries are coarse random blobs that hardly decide anything: the hardest case for both.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from decoupe.bench.notes import tell
from decoupe.bench.parts import peer
from decoupe.crf import PRESETS, Settings, dense_crf

CROP = 48
"""Side of the crops that exact inference is affordable on, in pixels."""


def made_photo(height: int = 375, width: int = 500) -> Tensor:
    """(H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([60 + 90 * x / width, 80 + 60 * y / height, 120 - 50 * x / width], -1)
    for _ in range(14):
        radius = rng.uniform(0.04, 0.18) * height
        inside = (y - rng.uniform(0, height)) ** 2 + (x - rng.uniform(0, width)) ** 2 < radius**2
        pixels[inside] = rng.uniform(20, 235, 3)
    grain = rng.normal(0, 5, pixels.shape)
    return torch.from_numpy((pixels + grain).clip(0, 255).astype(np.uint8))


def guess(k: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(K, H, W) probabilities of coarse blobs."""
    coarse = 2 * torch.randn(1, k, 12, 16, generator=torch.Generator().manual_seed(seed))
    return interpolate(coarse, size=(height, width), mode="bicubic")[0].softmax(0)


def timed(work: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Wall ms, processor ms, result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3, result


def largest() -> int:
    """Kilobytes of the largest memory that this process has had."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def added(program: str, probs: Tensor, image: Tensor, settings: Settings, answer: Any) -> None:
    """In a process of its own: MB that one call adds to the largest memory so far."""
    torch.set_num_threads(1)
    small = made_photo(16, 16), guess(len(probs), 16, 16)
    work = peer if program == "pydensecrf2" else dense_crf
    work(small[1], small[0], settings)
    before = largest()
    work(probs, image, settings)
    answer.put((largest() - before) / 1024)


def memory(program: str, *problem: Any) -> float:
    """Peak MB of one program."""
    context = get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=added, args=(program, *problem, answer))
    process.start()
    value = float(answer.get(timeout=300))
    process.join()
    return round(value, 1)


def measure(name: str, probs: Tensor, image: Tensor, rounds: int, batch: int) -> dict[str, Any]:
    """One preset: both programs in turn."""
    settings = PRESETS[name]
    programs: dict[str, Callable[[], Tensor]] = {"decoupe": lambda: dense_crf(probs, image, settings)}
    if find_spec("pydensecrf"):
        programs["pydensecrf2"] = lambda: peer(probs, image, settings)
    if batch:
        many = probs.expand(batch, -1, -1, -1), image.expand(batch, -1, -1, -1)
        programs["batch"] = lambda: dense_crf(*many, settings)
    best = {program: [np.inf, np.inf] for program in programs}
    labels = {}
    for _ in range(rounds):
        for program, work in programs.items():
            wall, cpu, result = timed(work)
            best[program] = [min(best[program][0], wall), min(best[program][1], cpu)]
            labels[program] = result.argmax(-3)
    together = best.pop("batch", None)
    row: dict[str, Any] = {
        program: {
            "wall_ms": round(wall, 1),
            "cpu_ms": round(cpu, 1),
            "peak_mb": memory(program, probs, image, settings),
        }
        for program, (wall, cpu) in best.items()
    }
    if together is not None:
        wall, cpu = (round(value / batch, 1) for value in together)
        row["batch"] = {"images": batch, "wall_ms_per_image": wall, "cpu_ms_per_image": cpu}
    if "pydensecrf2" in programs:
        row["faster_wall"] = round(best["pydensecrf2"][0] / best["decoupe"][0], 2)
        row["faster_cpu"] = round(best["pydensecrf2"][1] / best["decoupe"][1], 2)
        row["labels_agree"] = round(float((labels["decoupe"] == labels["pydensecrf2"]).double().mean()), 5)
    return row


def photo(path: Path) -> Tensor:
    """(H, W, 3) uint8."""
    from decoupe.data.decode import read_image

    return torch.from_numpy(np.array(read_image(path)[..., :3]))


def quality(name: str, paths: list[Path], k: int) -> dict[str, Any]:
    """One preset over some photos: errors on crops, labels of whole photos."""
    settings, both = PRESETS[name], find_spec("pydensecrf") is not None
    errors: dict[str, list[float]] = {"decoupe": [], "pydensecrf2": []}
    same = []
    for number, path in enumerate(paths):
        image = photo(path)
        top, left = (image.shape[0] - CROP) // 2, (image.shape[1] - CROP) // 2
        crop = image[top : top + CROP, left : left + CROP].contiguous()
        probs = guess(k if number % 2 else 2, CROP, CROP, number)
        exact = dense_crf(probs, crop, settings, exact=True)
        errors["decoupe"].append(float((dense_crf(probs, crop, settings) - exact).abs().mean()))
        if both:
            errors["pydensecrf2"].append(float((peer(probs, crop, settings) - exact).abs().mean()))
            whole = guess(k, *image.shape[:2], number)
            ours, theirs = dense_crf(whole, image, settings).argmax(0), peer(whole, image, settings).argmax(0)
            same.append(float((ours == theirs).double().mean()))
    row: dict[str, Any] = {"error": {key: round(float(np.mean(v)), 5) for key, v in errors.items() if v}}
    if same:
        row |= {"labels_agree": round(float(np.mean(same)), 5), "labels_agree_least": round(min(same), 5)}
    return row


def spread(folder: Path, n: int) -> list[Path]:
    """`n` JPEG files, evenly over all below the folder, of at least 48 x 48 pixels."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise SystemExit(f"expected JPEG photos below {folder}, got none; name another folder")
    return [path for path in paths[:: max(1, len(paths) // n)][:n] if min(photo(path).shape[:2]) >= CROP]


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--presets", default="krahenbuhl,stego")
    parser.add_argument("--k", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    presets = given.presets.split(",")
    result: dict[str, Any] = {"benchmark": "crf", "command": "python benchmarks/crf.py " + " ".join(sys.argv[1:])}
    if given.photos:
        result["command"] = result["command"].replace(str(given.photos), given.photos.name)
        paths = spread(given.photos, given.n)
        result |= {"photos": len(paths), "presets": {name: quality(name, paths, given.k) for name in presets}}
    else:
        image = photo(given.image) if given.image else made_photo()
        probs = guess(given.k, *image.shape[:2])
        result |= {
            "photo": f"{image.shape[0]}x{image.shape[1]}" + (" real" if given.image else " made"),
            "presets": {name: measure(name, probs, image, given.rounds, given.batch) for name in presets},
        }
    result |= {
        "date": date.today().isoformat(),
        "labels": given.k,
        "threads": given.threads,
        "torch": torch.__version__,
        "load_at_end": round(os.getloadavg()[0], 2),
    }
    tell(result, given.json)


if __name__ == "__main__":
    main()
