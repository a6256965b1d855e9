"""How the rows of the tables on layer disposal are measured: average precision of a score for each class.

One half of the labelled images chooses layers, centres and average masks, or is trained on; the other half is scored.
All of it at the network's size, void left out, every pixel of the half in one ranking.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from decoupe.data.catalogue import Sample
from decoupe.data.layouts.base import thirds
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.evaluate.run import number
from decoupe.methods.room import to_unit
from decoupe.model import Model
from decoupe.picking import Floats, Half, ap, half, masks, pick
from decoupe.reproduce.claims import student
from decoupe.reproduce.scores import collapsed
from decoupe.reproduce.table import Rows

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

EPOCHS = {"cpu": 20, "paper": 150}
RATE = {"cpu": 2e-4, "paper": 2e-5}
"""Fine-tuning: the text's settings, and shorter ones at a higher rate for the small scale."""
MOST = {"cpu": 200, "paper": 10**9}
"""Labelled images that fine-tuning sees; every class has a network of its own."""
K, PATCHES = 5, 100_000
"""k-means: as many centres as the text's model has layers; patches they are fitted to."""
CLASSES = ("bed", "window", "appliance", "counter", "wardrobe", "rug", "picture", "lamp", "plant", "floor", "ceiling")
"""Classes that are scored, of those that a data set has: the text's four, and those of the built-in scenes."""
Found = Mapping[str, float]
"""Class -> average precision."""


@dataclass(frozen=True)
class Halves:
    """Both halves as one network sees them."""

    fit: Half
    score: Half
    classes: Mapping[str, int]
    """Name -> id of the classes that occur in both."""


def divided(context: Context) -> tuple[list[Sample], list[Sample]]:
    """(samples to choose on, samples to score): the layout's training and scored splits, else halves by name."""
    labelled = [sample for sample in context.dataset.samples if sample.truth is not None]
    train = [sample for sample in labelled if sample.split == "train"]
    if train:
        return train, list(context.task.samples)
    side = thirds([sample.key for sample in labelled], (1, 1), ("fit", "score"))
    parts = [[sample for sample in labelled if side[sample.key] == part] for part in ("fit", "score")]
    if not all(parts):
        raise Fault("four labelled images or more", str(len(labelled)), "make more: decoupe data synth --kind scenes")
    return parts[0], parts[1]


def halves(context: Context, model: Model) -> Halves:
    """Both halves at the size of `model`; kept for all rows of the table."""
    key = f"halves at {model.spec}"
    if key not in context.shared:
        fit, score = (half(model, samples) for samples in divided(context))
        names = context.dataset.classes
        present = {
            name: names.index(name)
            for name in CLASSES
            if name in names and all((part.truths == names.index(name)).any() for part in (fit, score))
        }
        if not present:
            raise Fault(f"labels of {', '.join(CLASSES[:4])} or another of {len(CLASSES)} classes", ", ".join(names),
                        "choose another data set")  # fmt: skip
        context.shared[key] = Halves(fit, score, present)
        context.shared["about"] = (
            f"{len(fit.squares):,} labelled images to choose on, {len(score.squares):,} to score; average precision of "
            f"pixels at {model.spec.size} px"
        )
    found: Halves = context.shared[key]
    return found


def measured(context: Context, score: Callable[[Context, Run, Halves], Found], labels: bool) -> Rows:
    """One result row: `score` for every run of the row's variant, the mean over those that did not collapse."""
    runs = context.fit()
    found = []
    for run in runs:
        if run.info["status"] == "done":
            model = Model(run, "last")
            found.append(score(context, run, halves(context, model)))
    names = list(found[0]) if found else []
    columns = {name: [one[name] for one in found] for name in names}
    lost = collapsed(runs)
    return [
        {
            "row": context.row.name,
            "selection": "last",
            "matching": "picked-on-train",
            "observed": ["image"],
            "uses_labels": labels,
            "status": "collapsed" if lost["n"] == lost["of"] else "partly collapsed" if lost["n"] else "done",
            "collapsed": lost,
            "n_runs": len(found),
            "metrics": {name: number(statistics.fmean(values)) for name, values in columns.items()},
            "spread": {name: number(statistics.stdev(v)) for name, v in columns.items() if len(v) > 1},
            "uncertainty": {
                name: number(student(len(v)) * statistics.stdev(v) / math.sqrt(len(v))) if len(v) > 1 else None
                for name, v in columns.items()
            },
            "text": dict(context.row.text),
            "note": context.row.note,
            "seeds": [
                {k: run.info.get(k) for k in ("seed", "status", "images_seen", "seconds")} | {"run": run.path.name}
                for run in runs
            ],
        }
    ]


# ------------------------------------------------------------------ scores of one run


def _mean_ap(found: dict[str, float]) -> Found:
    return found | {"mean": statistics.fmean(found.values())}


def chance(context: Context, run: Run, both: Halves) -> Found:
    """A random guess: the share of the class."""
    truth = both.score.truths
    return _mean_ap({name: float((truth == c).sum() / (truth != 255).sum()) for name, c in both.classes.items()})


def disposal(context: Context, run: Run, both: Halves) -> Found:
    """The masks of the layers picked for each class."""
    return _mean_ap({name: ap(s, both.score.truths, both.classes[name]) for name, s in _picked(run, both).items()})


def with_prior(context: Context, run: Run, both: Halves) -> Found:
    """The mean of those masks and the average mask of the class (section 4.3)."""
    found = {}
    for name, score in _picked(run, both).items():
        prior = (both.fit.truths == both.classes[name]).mean(0, dtype=np.float32)
        found[name] = ap((score + prior) / 2, both.score.truths, both.classes[name])
    return _mean_ap(found)


def prior(context: Context, run: Run, both: Halves) -> Found:
    """The average mask of the class, the same for every image."""
    found = {}
    for name, c in both.classes.items():
        mask = (both.fit.truths == c).mean(0, dtype=np.float32)
        found[name] = ap(np.broadcast_to(mask, both.score.truths.shape), both.score.truths, c)
    return _mean_ap(found)


def _picked(run: Run, both: Halves) -> dict[str, Floats]:
    """Class -> (N, S, S) mean mask, on the half that is scored, of the layers picked on the other."""
    model = Model(run, "last")
    fit, score = masks(model, both.fit.squares), masks(model, both.score.squares)
    chosen = {name: pick(fit, both.fit.truths, c).layers for name, c in both.classes.items()}
    return {name: score[:, list(layers)].mean(1) for name, layers in chosen.items()}


def centres(p: int) -> Callable[[Context, Run, Halves], Found]:
    """k-means of p x p patches; the score is minus the distance to the centre that is best on the other half."""

    def score(context: Context, run: Run, both: Halves) -> Found:
        from decoupe.methods.baselines.patches import fit_centres

        generator = torch.Generator().manual_seed(int(run.info["seed"]))
        found = fit_centres(both.fit.squares, K, p, PATCHES, generator)
        near, far = (_nearness(part.squares, found) for part in (both.fit, both.score))
        out = {}
        for name, c in both.classes.items():
            best = max(range(K), key=lambda k: ap(near[:, k], both.fit.truths, c))
            out[name] = ap(far[:, best], both.score.truths, c)
        return _mean_ap(out)

    return score


def _nearness(squares: Any, centres: torch.Tensor) -> Floats:
    """(N, K, S, S): minus the distance of the patch around each pixel to each centre."""
    from decoupe.methods.baselines.patches import enlarge

    p, parts = centres.shape[-1], []
    ones = torch.ones(1, *centres.shape[1:])
    for first in range(0, len(squares), 64):
        images = enlarge(to_unit(squares[first : first + 64]), p)
        own = F.conv2d(images.square(), ones)
        squared = own - 2 * F.conv2d(images, centres) + centres.square().sum((1, 2, 3))[:, None, None]
        parts.append(-squared.clamp_min(0).sqrt().numpy())
    return np.concatenate(parts)


def tuned(fresh: bool, share: float = 1.0) -> Callable[[Context, Run, Halves], Found]:
    """The best layer of each class, trained on a share of the labelled half; `fresh`: from new random weights."""

    def score(context: Context, run: Run, both: Halves) -> Found:
        from decoupe.methods.layer_disposal.room import LayerDisposal
        from decoupe.methods.layer_disposal.tuning import MaskOfLayer, predict, tune

        room, scale = Model(run, "last").room, context.fitting.scale
        if not isinstance(room, LayerDisposal):
            raise Fault("a run of layer_disposal", room.NAME, "report this as a defect")
        count, out = max(2, round(share * min(len(both.fit.squares), MOST[scale]))), {}
        squares, truths = both.fit.squares[:count], both.fit.truths[:count]
        fit = masks(Model(run, "last"), squares)
        for name, c in both.classes.items():
            layer = max(range(fit.shape[1]), key=lambda k: ap(fit[:, k], truths, c))
            torch.manual_seed(int(run.info["seed"]))
            network = tune(
                MaskOfLayer(room, layer, fresh), squares, truths, c,
                EPOCHS[scale], RATE[scale], int(run.info["seed"]),
            )  # fmt: skip
            out[name] = ap(predict(network, both.score.squares), both.score.truths, c)
        return _mean_ap(out)

    return score
