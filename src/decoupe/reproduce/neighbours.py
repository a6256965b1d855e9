"""Rows that ask the nearest of a few labelled images: in spaces of embeddings, of pixels, or by chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import conform, read_image, resize
from decoupe.data.layouts.base import Sample
from decoupe.data.layouts.flowers import categories
from decoupe.data.pool import ordered
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.evaluate import knn
from decoupe.methods.room import DataSpec
from decoupe.model import Model
from decoupe.reproduce.claims import student
from decoupe.reproduce.scores import collapsed
from decoupe.reproduce.table import Rows

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

DRAWS = 20
"""How often the labelled images are drawn anew."""
BATCH = 64
PIXELS, EMBEDDED = ("raw", "downscaled"), {"mask network": "mask", "discriminator": "discriminator"}
"""Short names of rows -> what they look at."""


def measure(context: Context) -> Rows:
    """One result row: accuracy in [0, 1] of the nearest labelled neighbour, mean and deviation over draws."""
    labels = _labels(context)
    labelled = context.labelled
    if labelled >= len(labels):
        got = f"{len(labels):,} images in {context.dataset.name}"
        raise Fault(f"more than {labelled:,} images, of which {labelled:,} get a label", got, "give a lower --labelled")
    context.shared["about"] = (
        f"{labelled} of all {len(labels):,} images of {context.dataset.name} labelled at random, the rest classified; "
        f"{DRAWS} draws, the same for every row; {len(np.unique(labels))} classes"
    )
    kind = context.row.short
    if kind == "random":
        figures = [knn.random_prediction(labels, labelled, DRAWS, 0)]
        return [_row(context, labels, labelled, figures, [])]
    if kind == "constant":
        return [_row(context, labels, labelled, [(knn.constant_prediction(labels), 0.0)], [])]
    runs = context.fit()
    if kind in PIXELS:
        squares = _squares(context, runs[0])
        vectors = getattr(knn, kind)(squares)
        return [_row(context, labels, labelled, [knn.knn(vectors, labels, labelled, DRAWS, 0)], [])]
    alive = [run for run in runs if run.info["status"] == "done"]
    spaces = [_embeddings(context, run)[EMBEDDED[kind]] for run in alive]
    return [_row(context, labels, labelled, [knn.knn(v, labels, labelled, DRAWS, 0) for v in spaces], runs)]


def _labels(context: Context) -> NDArray[np.int64]:
    if "labels" not in context.shared:
        context.shared["labels"] = categories(context.dataset)
    found: NDArray[np.int64] = context.shared["labels"]
    return found


def _squares(context: Context, run: Run) -> NDArray[np.uint8]:
    """(N, C, S, S) uint8: every image of the layout as the network sees it."""
    if "squares" not in context.shared:
        spec = DataSpec(**run.info["spec"])

        def square(sample: Sample) -> NDArray[np.uint8]:
            return resize(conform(read_image(sample.image), spec.channels), spec.size, spec.size).transpose(2, 0, 1)

        context.shared["squares"] = np.stack(list(ordered(square, context.dataset.samples)))
    found: NDArray[np.uint8] = context.shared["squares"]
    return found


def _embeddings(context: Context, run: Run) -> Mapping[str, NDArray[np.float32]]:
    """Name -> (N, D), from the run's final networks: the discriminator is kept only as it was at the end."""
    key = f"embeddings of {run.path.name}"
    if key not in context.shared:
        model, squares = Model(run, "last"), _squares(context, run)
        parts = [model.embed_squares(squares[i : i + BATCH]) for i in range(0, len(squares), BATCH)]
        context.shared[key] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found: Mapping[str, NDArray[np.float32]] = context.shared[key]
    return found


def _row(
    context: Context,
    labels: NDArray[np.int64],
    labelled: int,
    found: Sequence[tuple[float, float]],
    runs: Sequence[Run],
) -> dict[str, Any]:
    """`found`: (mean, deviation over draws) of each run that did not collapse, or of what needs no run."""
    lost = {"collapsed": collapsed(runs)} if runs else {}
    accuracy = statistics.fmean(mean for mean, _ in found) if found else None
    deviation = statistics.fmean(deviation for _, deviation in found) if found else None
    doubt = None if deviation is None else student(DRAWS) * deviation / math.sqrt(DRAWS)
    if doubt is not None and len(found) > 1:
        over_seeds = statistics.stdev(mean for mean, _ in found)
        doubt = math.hypot(doubt, student(len(found)) * over_seeds / math.sqrt(len(found)))
    classes = len(np.unique(labels))
    return lost | {
        "row": context.row.name,
        "selection": "last",
        "matching": "1-NN",
        "observed": ["image", f"labels of {labelled} images"],
        "uses_labels": True,
        "status": "done" if found else "collapsed",
        "n_images": len(labels) - labelled,
        "n_labelled": labelled,
        "n_draws": DRAWS,
        "n_classes": classes,
        "metrics": {"accuracy": _rounded(accuracy), "deviation": _rounded(deviation)},
        "uncertainty": {"accuracy": _rounded(doubt)},
        "n_runs": len(found) if runs else None,
        "text": dict(context.row.text),
        "note": "",
        "seeds": [_seed(run) for run in runs],
    }  # fmt: skip


def _seed(run: Run) -> dict[str, Any]:
    keys = ("seed", "status", "images_seen", "seconds")
    return {"run": f"runs/{run.path.name}"} | {key: run.info.get(key) for key in keys}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
