"""Rows of the figures on one latent for image, tags and mask: what is observed decides what a figure means."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from decoupe.data.catalogue import Sample
from decoupe.data.decode import read_image, resize_probs
from decoupe.data.layouts.base import thirds
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.evaluate.metrics import Confusion, bootstrap, miou
from decoupe.evaluate.run import interval_scores, number
from decoupe.methods.room import to_unit
from decoupe.model import Model
from decoupe.reproduce.claims import student
from decoupe.reproduce.runs import Images
from decoupe.reproduce.scene_vae import SUBSETS
from decoupe.reproduce.scores import collapsed
from decoupe.reproduce.table import Rows

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

SHARES, PARTS = (75, 25), ("train", "test")
"""How a layout without splits is divided, by the hashes of its names."""
BATCH = 16


def divided(context: Context) -> tuple[list[Sample], list[Sample]]:
    """(labelled samples to train on, labelled samples to score): the layout's splits, else three quarters by hash."""
    labelled = [s for s in context.dataset.samples if s.truth is not None]
    train = [s for s in labelled if s.split == "train"]
    if train:
        return train, list(context.task.samples)
    by_name = thirds([s.key for s in labelled], SHARES, PARTS)
    parts = [[s for s in labelled if by_name[s.key] == part] for part in PARTS]
    if not all(parts):
        raise Fault("eight labelled images or more", str(len(labelled)), "make more: decoupe data synth")
    return parts[0], parts[1]


def measure(context: Context, draws: int = 0, text: str = "image") -> Rows:
    """Fit the row's variant once per seed, with masks; one result row for each observed subset."""
    train, test = divided(context)
    count = min(context.labelled, len(train))
    digest = hashlib.sha256("".join(f"{s.key}:{s.image.stat().st_size};" for s in train).encode()).hexdigest()
    words = (
        f"trained on {len(train):,} images of {context.dataset.name}, {count:,} of them with masks; the {len(test):,}"
    )
    words += " scored ones never seen"
    context.shared["trained_on"] = words
    context.shared["about"] = f"scored on {len(test):,} images with masks; every row says what was observed"
    fitting = replace(context.fitting, images=Images([str(s.image) for s in train], digest, words))
    options = {"masks": context.task.data, "protocol": _protocol(context), "labelled": count}
    variants = [replace(v, options=dict(v.options) | options) for v in context.row.variants]
    runs = []
    for seed in range(context.seeds):
        context.fitting.reporter.note(f"{context.table.name} · {context.row.name} · seed {seed}")
        runs += [fitting.run(variant, seed) for variant in variants]
    done = [run for run in runs if run.info["status"] == "done"]
    kind = str(dict(context.row.variants[0].options)["model"])
    subsets = SUBSETS.get(kind, SUBSETS["joint"])
    scored = [score(run, test, context, subsets, draws) for run in done]
    return [_row(context, runs, subset, [one[subset] for one in scored], draws, text) for subset in subsets]


def _protocol(context: Context) -> str | None:
    return None if context.task.protocol.classes == context.dataset.classes else context.task.protocol.name


@torch.inference_mode()
def score(
    run: Run, test: Sequence[Sample], context: Context, subsets: Sequence[tuple[str, ...]], draws: int
) -> dict[tuple[str, ...], Confusion]:
    """Counts of the chosen weights on every sample, for each observed subset, in the frame of the truth."""
    from decoupe.methods.scene_vae.pool import presence
    from decoupe.methods.scene_vae.room import SceneVae
    from decoupe.methods.scene_vae.scene import Seen

    model = Model(run)
    room = model.room
    if not isinstance(room, SceneVae):
        raise TypeError(type(room).__name__)
    classes = len(room.regions)
    counts = {subset: Confusion(classes, classes) for subset in subsets}
    with context.counting("score") as progress:
        for start in range(0, len(test), BATCH):
            part = test[start : start + BATCH]
            truths = [context.task.protocol.translate(sample.mask()) for sample in part]
            images = to_unit(np.stack([model.square(read_image(sample.image)) for sample in part]))
            labels = torch.from_numpy(np.stack([_small(truth, model.spec.size) for truth in truths]))
            every = {"image": images, "tags": presence(labels, classes), "mask": room.scene.shares(labels)}
            for subset in subsets:
                seen = Seen(**{name: every[name] for name in subset})
                found = room.masks_of(seen, draws).numpy()
                for probs, truth in zip(found, truths, strict=True):
                    counts[subset].add(resize_probs(probs, *truth.shape).argmax(0), truth)
            progress(min(start + BATCH, len(test)), len(test))
    return counts


def _small(labels: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    rows, columns = (((np.arange(size) + 0.5) * side / size).astype(np.int64) for side in labels.shape)
    return np.asarray(labels[rows[:, None], columns[None]])


def _row(
    context: Context, runs: Sequence[Run], subset: tuple[str, ...], scored: Sequence[Confusion], draws: int, text: str
) -> dict[str, Any]:
    names = interval_scores(context.task.protocol)
    totals = [one.images.sum(0) for one in scored]
    each = {name: [float(metric(_with_none(total))) for total in totals] for name, metric in names.items()}
    lost = collapsed(runs)
    interval = {}
    if len(scored) == 1:
        images = np.stack([_with_none(image) for image in scored[0].images])
        interval = {"miou": [number(end) for end in bootstrap(images, miou)]}
    return {
        "row": context.row.name,
        "selection": "selected",
        "matching": "named",
        "observed": list(subset),
        "latent": "mean" if draws == 0 else f"{draws} draw" + "s" * (draws > 1),
        "uses_labels": True,
        "status": "done" if scored else "collapsed",
        "n_images": 0 if not scored else len(scored[0].images),
        "n_runs": len(scored),
        "metrics": {name: number(statistics.fmean(values)) if values else None for name, values in each.items()},
        "spread": {name: _deviation(values) for name, values in each.items()},
        "uncertainty": {name: _doubt(values) for name, values in each.items()},
        "interval": interval,
        "collapsed": lost,
        "text": dict(context.row.text) if "+".join(subset) == text else {},
        "note": context.row.note,
        "seeds": [
            {"seed": run.info["seed"], "run": f"runs/{run.path.name}"}
            | {key: run.info.get(key) for key in ("status", "images_seen", "seconds")}
            for run in runs
        ],
    }


def _with_none(counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(K, K) -> (K + 1, K): regions are the classes, and no pixel is left without one."""
    return np.concatenate([counts, np.zeros((1, counts.shape[1]), counts.dtype)])


def _deviation(values: Sequence[float]) -> float | None:
    return number(statistics.stdev(values)) if len(values) > 1 else None


def _doubt(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    return number(student(len(values)) * statistics.stdev(values) / math.sqrt(len(values)))
