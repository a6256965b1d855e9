"""Rows of the tables on image tags: one chain of stages, looked at after each of them, with and without the CRF."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoupe.crf import PRESETS, Settings, sharpen
from decoupe.crf.picture import heat_map, png
from decoupe.data.decode import resize, resize_probs
from decoupe.data.prepare import items_of
from decoupe.engine.files import write_atomic
from decoupe.engine.runfolder import Run
from decoupe.evaluate import metrics
from decoupe.evaluate.matching import apply, by_name
from decoupe.evaluate.measure import load_pair
from decoupe.evaluate.metrics import Confusion, bootstrap
from decoupe.evaluate.run import number
from decoupe.methods.tags.config import TAUGHT_CRF, TEXT_CRF
from decoupe.model import Model
from decoupe.reproduce.claims import student
from decoupe.reproduce.runs import Fitting, Images
from decoupe.reproduce.scores import collapsed
from decoupe.reproduce.table import Rows, Variant
from decoupe.types import Image, Labels, Regions

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

GRID_SIDE, CPU_SIDE = 161, 256
"""Longer side of the photos that the CRF sees in the grid over widths, and at the scale cpu; widths are scaled too."""
METRICS = ("miou", "accuracy")
CHOSEN_ON_MASKS = ("self crf",)
"""Short names of the rows whose CRF was chosen on masks: of all presets, on a third of the training masks."""


def measure(context: Context) -> Rows:
    """One result row: dataset-level mean IoU, the mean over seeds, with the regions matched by their names.

    Runs that collapsed count as such and have no figures.
    """
    part, settings = _asked(context.row.short)
    longest = GRID_SIDE if part == "grid" else CPU_SIDE if context.fitting.scale == "cpu" else None
    part = "maps" if part == "grid" else part
    figures = []
    runs = [_run(context, variant, seed) for variant in context.row.variants for seed in range(context.seeds)]
    for run in runs:
        if run.info["status"] == "done":
            figures.append(_score(context, _maps(context, run, part), settings, longest))
    if longest == GRID_SIDE and figures:
        _picture(context, statistics.fmean(float(one["miou"]) for one in figures))
    return [_row(context, runs, figures)]


def _picture(context: Context, miou: float) -> None:
    """Write TABLE/grid.png when the last point of the grid is there."""
    from decoupe.reproduce.weak import FACTORS

    place, colour = (float(word) for word in context.row.short.split()[1:])
    values = context.shared.setdefault("grid", {})
    values[80 * place, 13 * colour] = miou
    if len(values) == len(FACTORS) ** 2:
        picture = heat_map(values, [80 * f for f in FACTORS], [13 * f for f in FACTORS])
        write_atomic(context.cache.parent / context.table.name / "grid.png", png(picture))


def _asked(short: str) -> tuple[str, Settings | None]:
    """Which masks, through which CRF, by the short name of a row."""
    part, _, rest = short.partition(" ")
    settings = PRESETS[TAUGHT_CRF if part == "self" else TEXT_CRF]
    if part == "grid":
        place, colour = (float(word) for word in rest.split())
        width, grey = settings.appearance_sxy * place, settings.srgb * colour
        return part, dataclasses.replace(settings, appearance_sxy=width, srgb=grey)
    kernels = {
        "": None,
        "crf": settings,
        "smooth": dataclasses.replace(settings, appearance=0.0),
        "appear": dataclasses.replace(settings, smoothness=0.0),
    }
    return part, kernels[rest]


# ------------------------------------------------------------------ runs


def _run(context: Context, variant: Variant, seed: int) -> Run:
    """The finished run of a variant, with the photos, tags and weights that the command names."""
    given = context.given
    fitting, settings, options = context.fitting, dict(variant.settings), dict(variant.options)
    settings["tags"] = given.get("tags") or context.task.data
    if given.get("photos"):
        fitting = dataclasses.replace(fitting, images=_photos(str(given["photos"])))
        context.shared["trained_on"] = fitting.images.words
    if given.get("weights"):
        options["weights"] = str(given["weights"])
    if context.task.protocol.classes != context.dataset.classes:
        options["classes"] = tuple(name for name in context.task.protocol.classes if name != "background")
    variant = dataclasses.replace(variant, options=options, settings=settings)
    return _fitted(context, fitting, variant, seed)


def _fitted(context: Context, fitting: Fitting, variant: Variant, seed: int) -> Run:
    fitting.reporter.note(f"{context.table.name} · {context.row.name} · seed {seed} ({seed + 1} of {context.seeds})")
    run = fitting.run(variant, seed)
    context.seen = int(run.info.get("images_seen", 0))
    return run


def _photos(source: str) -> Images:
    """Photos of another folder to train on."""
    items = items_of(source)
    rows = sorted((item.key, item.path.stat().st_size) for item in items)
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    return Images([str(item.path) for item in items], digest, f"trained on {len(items):,} photos with tags, no masks")


# ------------------------------------------------------------------ masks


def _model(run: Run, part: str) -> Model:
    """The run's networks as they were after a stage, without its CRF."""
    stage = "self-training" if part == "self" else "sec"  # itself, even where another stood in for it
    fits = [candidate for candidate in run.candidates() if candidate.stage.startswith(stage)]
    model = Model(run, fits[-1].images if fits else "last")
    model.crf = None
    if part == "maps":
        model.room.config = dataclasses.replace(model.room.config, masks="gradcam")
    return model


def _maps(context: Context, run: Run, part: str) -> list[NDArray[np.float16]]:
    """(K, S, S) of each scored photo, kept for the other rows."""
    key = f"{run.path.name} {part}"
    if key not in context.shared:
        model = _model(run, part)
        found: list[NDArray[np.float16]] = []
        with context.counting("masks") as progress:
            for index, pair in enumerate(_pairs(context)):
                found.append(model.predict(model.square(pair[0])[None])[0].astype(np.float16))
                progress(index + 1, len(context.task.samples))
        context.shared[key] = found
        context.shared["names"] = model.names
    result: list[NDArray[np.float16]] = context.shared[key]
    return result


def _pairs(context: Context) -> Any:
    return (load_pair(sample, context.task.protocol) for sample in context.task.samples)


def _score(
    context: Context, maps: list[NDArray[np.float16]], settings: Settings | None, longest: int | None
) -> Mapping[str, Any]:
    """Counts of all photos with this CRF: mean IoU, accuracy, IoU of each class, interval over photos."""
    protocol, names = context.task.protocol, context.shared["names"]
    confusion = Confusion(len(names), len(protocol.classes))
    with context.counting("score") as progress:
        for index, (probs, (image, truth)) in enumerate(zip(maps, _pairs(context), strict=True)):
            confusion.add(_labels(probs, image, names, settings, longest), truth)
            progress(index + 1, len(maps))
    matched = apply(by_name(names, protocol.classes), confusion.images)
    total = matched.sum(0)
    low, high = bootstrap(matched, metrics.miou)
    return {
        "miou": number(metrics.miou(total)),
        "accuracy": number(metrics.accuracy(total)),
        "per_class": {c: number(v) for c, v in zip(protocol.classes, metrics.iou(total), strict=True)},
        "interval": [number(low), number(high)],
    }


def _labels(
    probs: NDArray[np.float16], image: Image, names: tuple[str, ...], settings: Settings | None, longest: int | None
) -> Labels:
    """Labels in the photo's frame; the CRF runs on the photo, or on one of at most `longest` pixels, widths and all."""
    height, width = image.shape[:2]
    scale = 1.0 if longest is None else min(1.0, longest / max(height, width))
    if settings is None:
        return np.asarray(resize_probs(probs.astype(np.float32), height, width).argmax(0), np.int64)
    if scale < 1:
        image = resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
        settings = settings.scaled(scale)
    p = resize_probs(probs.astype(np.float32), *image.shape[:2])
    with torch.inference_mode():
        sharp = sharpen(Regions(p / p.sum(0, keepdims=True), names), image, settings).probs
    return np.asarray(resize_probs(sharp, height, width).argmax(0), np.int64)


def _row(context: Context, runs: list[Run], figures: list[Mapping[str, Any]]) -> dict[str, Any]:
    values = [float(one["miou"]) for one in figures]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    doubt = None if deviation is None else student(len(values)) * deviation / math.sqrt(len(values))
    means = {key: number(statistics.fmean(float(one[key]) for one in figures)) for key in METRICS} if figures else {}
    scores = iter({"miou": one["miou"], "per_class": one["per_class"]} for one in figures)
    lost = collapsed(runs)
    keys = ("seed", "status", "images_seen", "seconds")
    return {
        "row": context.row.name,
        "selection": "last",
        "matching": "named",
        "observed": ["image"],
        "uses_labels": context.row.short in CHOSEN_ON_MASKS,
        "status": "done" if not lost["n"] else "partly collapsed" if figures else "collapsed",
        "n_images": len(context.task.samples),
        "metrics": means,
        "spread": {} if deviation is None else {"miou": number(deviation)},
        "uncertainty": {"miou": None if doubt is None else number(doubt)} if figures else {},
        "interval": {"miou": figures[0]["interval"]} if figures else {},
        "per_class": figures[0]["per_class"] if figures else {},
        "n_runs": len(figures),
        "collapsed": lost,
        "text": dict(context.row.text),
        "note": context.row.note,
        "seeds": [
            {"run": f"runs/{run.path.name}"} | {key: run.info.get(key) for key in keys}
            | (next(scores) if run.info["status"] == "done" else {})
            for run in runs
        ],
    }  # fmt: skip
