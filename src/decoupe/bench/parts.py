"""What is not a training step: dense CRF, class activation maps, reading photos, and `segment` from end to end."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn.functional import interpolate

from decoupe.bench.steps import peak
from decoupe.crf import PRESETS, Settings, dense_crf
from decoupe.data.synthetic import object_photos

Work = Mapping[str, Callable[[], object]]
PHOTOS = 96
AT_ONCE = 50
"""Photos made at a time."""


def medians(work: Work, rounds: int) -> dict[str, float]:
    """Median seconds of each, taken in turn; the first turn does not count."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, do in work.items():
            start = time.perf_counter()
            do()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                found[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def _row(what: str, seconds: Mapping[str, float], **more: Any) -> dict[str, Any]:
    """A row: ms of the first, ms of what it is compared with, and how much faster it is than each."""
    first, *others = seconds
    row: dict[str, Any] = {"what": what, "ms": round(1000 * seconds[first], 2)}
    for name in others:
        row[f"{name}_ms"] = round(1000 * seconds[name], 2)
        row[f"faster_than_{name}"] = round(seconds[name] / seconds[first], 2)
    return row | more | {"peak_mb": peak(torch.device("cuda" if torch.cuda.is_available() else "cpu"))}


def crf(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """375 x 500, 21 labels, ten updates; beside pydensecrf2 (one thread) where that is installed."""
    image = torch.from_numpy(object_photos(1, seed=0, size=500)[0][0][:375].copy())
    coarse = 2 * torch.randn(1, 21, 12, 16, generator=torch.Generator().manual_seed(0))
    probs = interpolate(coarse, size=(375, 500), mode="bicubic")[0].softmax(0)
    rows = []
    for name in ("krahenbuhl", "stego"):
        settings = PRESETS[name]
        work: dict[str, Callable[[], object]] = {"decoupe": lambda s=settings: dense_crf(probs, image, s)}  # type: ignore[misc]
        if find_spec("pydensecrf"):
            work["pydensecrf2"] = lambda s=settings: peer(probs, image, s)  # type: ignore[misc]
        rows.append(_row(f"crf {name}", medians(work, rounds), labels=21, photo="375x500"))
    return rows


def peer(probs: Tensor, image: Tensor, settings: Settings) -> Tensor:
    """pydensecrf2 on the same problem, from probabilities (K, H, W) to probabilities."""
    library: Any = import_module("pydensecrf.densecrf")
    k, height, width = probs.shape
    model = library.DenseCRF2D(width, height, k)
    model.setUnaryEnergy(np.ascontiguousarray(-probs.clamp(min=settings.floor).log().reshape(k, -1).numpy()))
    model.addPairwiseGaussian(sxy=settings.smoothness_sxy, compat=settings.smoothness)
    model.addPairwiseBilateral(
        sxy=settings.appearance_sxy, srgb=settings.srgb, rgbim=image.numpy(), compat=settings.appearance
    )
    return torch.from_numpy(np.array(model.inference(settings.iterations)).reshape(k, height, width))


def gradcam(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Maps of all 20 classes of VGG-16 at 224 px, beside one backward pass per class and beside the forward alone."""
    from decoupe.cam import explain
    from decoupe.nn.backbones import backbone

    torch.manual_seed(0)
    network = backbone("vgg16", classes=20).eval()
    images = torch.rand(1, 3, 224, 224) * 2 - 1

    def one_by_one() -> None:
        for c in range(20):
            explain(network, images, classes=[c])

    def forward() -> None:
        with torch.no_grad():
            network(images)

    seconds = medians({"decoupe": lambda: explain(network, images), "loop": one_by_one, "forward": forward}, rounds)
    return [_row("gradcam vgg16", seconds, classes=20, photo="224x224")]


def data(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Photos of 320 x 320 as JPEG: read with all checks, beside Pillow alone; and the cache of squares."""
    from decoupe.data.cache import survey_and_cache
    from decoupe.data.decode import read_image
    from decoupe.data.sources import find

    paths = photos(folder / "photos", PHOTOS)
    caches = iter(range(10**6))

    def plain() -> None:
        for path in paths:
            with Pillow.open(path) as file:
                np.asarray(file.convert("RGB"))

    reading = medians({"decoupe": lambda: [read_image(path) for path in paths], "pillow": plain}, rounds)
    making = medians(
        {"decoupe": lambda: survey_and_cache(find(folder / "photos"), 64, folder=folder / f"cache-{next(caches)}")},
        max(1, rounds // 2),
    )
    return [
        _row("data read", reading, images_per_s=round(PHOTOS / reading["decoupe"], 1)),
        _row("data cache", making, images_per_s=round(PHOTOS / making["decoupe"], 1)),
    ]


def segment(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """`segment` to PNG with the student's network at 64 px, beside the bare network and the bare decoder."""
    from decoupe.data.decode import read_image
    from decoupe.pipeline import BATCH
    from decoupe.segment import segment as whole

    paths, model = photos(folder / "photos", PHOTOS), untrained(folder / "run")
    squares = np.stack([model.square(read_image(path)) for path in paths[:BATCH]])
    outs = iter(range(10**6))

    def network() -> None:
        for _ in range(PHOTOS // len(squares)):
            model.predict(squares)

    seconds = medians(
        {
            "decoupe": lambda: whole(model, folder / "photos", folder / f"masks-{next(outs)}", "png"),
            "network": network,
            "decoder": lambda: [read_image(path) for path in paths],
        },
        rounds,
    )
    bound = max(seconds["network"], seconds["decoder"]) / seconds["decoupe"]
    return [
        _row(
            "segment", seconds, images_per_s=round(PHOTOS / seconds["decoupe"], 1), share_of_bound=round(bound, 3)
        )
    ]  # fmt: skip


def photos(folder: Path, n: int) -> list[Path]:
    """`n` built-in objects as JPEG of 320 x 320 in a new folder."""
    folder.mkdir()
    for first in range(0, n, AT_ONCE):
        images, _ = object_photos(min(AT_ONCE, n - first), seed=0, size=320, first=first)
        for number, image in enumerate(images, start=first):
            Pillow.fromarray(image).save(folder / f"photo_{number:05d}.jpg", quality=90)
    return sorted(folder.iterdir())


def untrained(folder: Path, size: int = 64) -> Any:
    """A run of the room `independence` with default networks for `size` pixels and random weights, loaded."""
    from decoupe.engine.runfolder import Run
    from decoupe.engine.tensors import pack_tensors
    from decoupe.methods import ROOMS
    from decoupe.model import build_room, load

    spec: dict[str, Any] = {"channels": 3, "size": size}
    config = dataclasses.asdict(ROOMS["independence"].config()(size=size))
    about: dict[str, Any] = {"room": "independence", "config": config, "spec": spec}
    room = build_room("independence", config, spec, "the benchmark")
    room.get_buffer("round").fill_(1)  # the student segments, as in a finished run
    run = Run.create(folder, "independence")
    run.commit(status="done", precision="bf16", **about)
    kept = {k: t for k, t in room.state_dict().items() if k.startswith(tuple(room.inference))}
    run.write_bytes("weights.safetensors", pack_tensors(kept, about))
    run.set_names(room.regions)
    return load(run)
