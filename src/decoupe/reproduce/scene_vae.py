"""The figures of section 6 of "Exploring Weak-Supervision and Generative Models for Semantic Segmentation" (cVAE ...).

The text gives one mIoU for each model and does not say what was observed. Here every row says it.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from decoupe.reproduce.claims import NO_SPREAD, below, figures, student
from decoupe.reproduce.runs import Images
from decoupe.reproduce.scores import collapsed
from decoupe.reproduce.table import Claim, Row, Rows, Spread, Table, Variant, Verdict

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

TEXT = "Exploring Weak-Supervision and Generative Models for Semantic Segmentation"
PRESETS = {"cpu": None, "paper": "text"}
SHARES, PARTS = (75, 25), ("train", "test")
"""How a layout without splits is divided, by the hashes of its names."""
BATCH = 16
SUBSETS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "unet": (("image",),),
    "cvae": (("image",), ("image", "mask")),
    "joint": (("image",), ("image", "tags"), ("tags",), ("mask",), ("image", "tags", "mask")),
}
"""What is observed, of each kind of model; the mask among it is the one that is scored: reconstruction."""
WHOLE = ("image", "tags", "mask")


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


def observing_helps(name: str) -> Any:
    """The mask among what is observed raises the mIoU of row `name`: then a figure says nothing without what it saw."""

    def check(rows: Mapping[str, Rows], spread: Spread = NO_SPREAD, /) -> Verdict:
        by_subset = {tuple(row["observed"]): row["metrics"].get("miou") for row in rows.get(name, ())}
        without, within = by_subset.get(("image",)), by_subset.get(WHOLE)
        if without is None or within is None:
            return Verdict(None, "not measured")
        runs = (figures(rows, name) or {}).get("n_runs") or 0
        why = f"mask observed {within:.3f}, not observed {without:.3f} ({runs} {'run' if runs == 1 else 'runs'})"
        return Verdict(within > without, why)

    return check


def _model(model: str, **options: Any) -> tuple[Variant, ...]:
    return (Variant("scene_vae", PRESETS, {"model": model} | options),)


STANDARD = _model("cvae", prior="standard")
SHARED = _model("telbo", decoder_gradient="shared")
DRAWN, GIVEN_ALL = partial(measure, draws=1), partial(measure, text="+".join(WHOLE))

TABLE = Table(
    "scene-vae-table",
    "masks from a latent: one for the mask given the image, one for image, tags and mask",
    f"{TEXT}, section 6",
    (
        Row("cVAE", "cVAE", {"miou": 0.3775}, STANDARD, measure=DRAWN, note="z drawn from N(0, I); spurious classes"),
        Row("cVAE, mean of z", "cVAE mean", {}, STANDARD, measure=measure),
        Row("cVAE, learned prior", "cVAE p(z|i)", {}, _model("cvae", prior="conditional"), measure=DRAWN),
        Row(
            "j-VAE", "j-VAE", {"miou": 0.6225}, _model("jvae", ignored="tags"), measure=GIVEN_ALL,
            note="does not say whether the mask was observed; its posterior has it as an input",
        ),
        Row("TELBO, shared decoders", "TELBO shared", {"miou": 0.4723}, SHARED, measure=measure),
        Row("TELBO, stopped", "TELBO stopped", {}, _model("telbo", decoder_gradient="stopped"), measure=measure),
        Row(
            "TELBO, cross term", "TELBO cross", {}, _model("telbo", decoder_gradient="stopped", cross=1.0),
            measure=measure,
        ),
        Row("JMVAE", "JMVAE", {}, _model("jmvae"), measure=measure),
        Row("no latent", "no latent", {}, _model("unet"), measure=measure),
        Row(
            "TELBO, shared, 5 samples", "5 samples", {}, _model("telbo", decoder_gradient="shared", retrofit_samples=5),
            measure=measure,
        ),
    ),
    (
        Claim(
            "with z from N(0, I), the cVAE is worse than with a learned prior",
            below("cVAE", "cVAE, learned prior", "miou"),
        ),
        Claim("j-VAE's figure rests on the mask that it observes", observing_helps("j-VAE")),
        Claim("stopped decoder gradients beat shared ones", below("TELBO, shared decoders", "TELBO, stopped", "miou")),
        Claim(
            "several samples in the retrofitted ELBOs help (the text's guess)",
            below("TELBO, shared decoders", "TELBO, shared, 5 samples", "miou"),
        ),
        Claim("the cross term beats shared decoders", below("TELBO, shared decoders", "TELBO, cross term", "miou")),
    ),
    columns=("miou", "accuracy"),
    length="not stated",
    labelled=300,
)  # fmt: skip

TABLES = (TABLE,)
