"""Probes: how much of the classes a small supervised classifier finds in the frozen features of a run.

`linear`: one layer on the features of each cell; `nonlinear`: one hidden layer in between. The classifier is trained on
labels, so its scores belong beside supervised ones: they tell what the features hold, not what `segment` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoupe.data.catalogue import Sample
from decoupe.data.decode import resize_probs
from decoupe.data.pool import ordered
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.evaluate import metrics
from decoupe.evaluate.measure import load_pair, open_task
from decoupe.evaluate.metrics import Confusion, bootstrap
from decoupe.evaluate.protocols import Protocol
from decoupe.model import Model, load
from decoupe.types import VOID, Image, Labels

KINDS = ("linear", "nonlinear")
CELLS = 512
"""Cells of each training image that the classifier learns from, at most."""
HIDDEN = 128
"""Width of the hidden layer."""
BATCH = 4096


@dataclass(frozen=True)
class Probe:
    """A classifier of single cells, on standardised features."""

    mean: Tensor
    scale: Tensor
    network: nn.Module

    @torch.inference_mode()
    def __call__(self, features: Tensor) -> NDArray[np.float32]:
        """(D, h, w) -> (C, h, w) float32 probabilities."""
        rows = (features.movedim(0, 2) - self.mean) / self.scale
        logits: Tensor = self.network(rows)
        probs: Tensor = logits.softmax(2).movedim(2, 0)
        return np.asarray(probs.numpy())


@torch.inference_mode()
def features_of(model: Model, image: Image) -> Tensor:
    """(D, h, w) float32 features of one (H, W, C) uint8 image. Fault if the room has none."""
    give = getattr(model.room, "features", None)
    if give is None:
        raise Fault("a room with a map of features", model.room.NAME, "probe a run of autoregressive or iic")
    images = torch.from_numpy(model.square(image)[None]).to(model.device).float().div(127.5).sub(1)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.run.info.get("precision") == "bf16"):
        found: Tensor = give(images)[0].float().cpu()
    return found


def cell_labels(truth: Labels, height: int, width: int) -> Labels:
    """(h, w): the class at the centre of each cell of an (H, W) map."""
    rows = ((np.arange(height) + 0.5) / height * truth.shape[0]).astype(np.int64)
    columns = ((np.arange(width) + 0.5) / width * truth.shape[1]).astype(np.int64)
    return np.asarray(truth[rows[:, None], columns])


def collect(model: Model, samples: Sequence[Sample], protocol: Protocol, seed: int) -> tuple[Tensor, Tensor]:
    """Features (N, D) and classes (N,) of some labelled cells of every sample. Fault if there is none."""
    rng = np.random.default_rng(seed)
    rows, classes = [], []
    for image, truth in ordered(lambda sample: load_pair(sample, protocol), samples):
        features = features_of(model, image)
        labels = cell_labels(truth, *features.shape[1:]).ravel()
        known = np.flatnonzero(labels != VOID)
        chosen = np.sort(rng.permutation(known)[:CELLS])
        rows.append(features.flatten(1).T[torch.from_numpy(chosen)])
        classes.append(torch.from_numpy(labels[chosen]))
    if not any(len(part) for part in classes):
        raise Fault("labelled pixels to fit a probe on", "none", "choose another split with --fit-on")
    return torch.cat(rows), torch.cat(classes)


def fit_probe(rows: Tensor, classes: Tensor, count: int, kind: str, seed: int = 0, epochs: int = 20) -> Probe:
    """A classifier of (N, D) rows into `count` classes: cross-entropy, AdamW, the rate falls along a cosine."""
    if kind not in KINDS:
        raise UsageFault(f"a probe of {', '.join(KINDS)}", repr(kind), "choose one of these")
    generator = torch.Generator().manual_seed(seed)
    mean, scale = rows.mean(0), rows.std(0).clamp_min(1e-6)
    rows = (rows - mean) / scale
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wide = rows.shape[1]
        layers = [nn.Linear(wide, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, count)]
        network = nn.Sequential(*layers) if kind == "nonlinear" else nn.Sequential(nn.Linear(wide, count))
    steps = epochs * -(-len(rows) // BATCH)
    steps = max(steps, 200)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randint(len(rows), (min(BATCH, len(rows)),), generator=generator)
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(rows[chosen]), classes[chosen]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return Probe(mean, scale, network.eval())


def probe(
    run: str | Run,
    data: str,
    kind: str = "linear",
    protocol: str | None = None,
    split: str | None = None,
    fit_on: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit a probe on the training part of `fit_on` (None: of `data`), score it on `data`.

    Returns:
        One row as `evaluate` gives them: row, room, selection, fit_on, observed, uses_labels, classes, n_images,
        metrics {accuracy, miou}, interval, per_class (IoU). All from one confusion matrix, in the ground truth's frame.

    Raises:
        Fault: no run, no labels, a room without features. UsageFault: an unknown name.
    """
    model = load(run)
    task = open_task(data, protocol, split)
    fitting = open_task(fit_on or data, task.protocol.name, None if fit_on else "train", prefer="train")
    count = len(task.protocol.classes)
    rows, classes = collect(model, fitting.samples, task.protocol, seed)
    trained = fit_probe(rows, classes, count, kind, seed)
    confusion = Confusion(count, count)
    for image, truth in ordered(lambda sample: load_pair(sample, task.protocol), task.samples):
        probs = resize_probs(trained(features_of(model, image)), *truth.shape)
        confusion.add(probs.argmax(0), truth)
    matched = metrics.match(confusion.images, np.arange(count))
    total = matched.sum(0)
    return {
        "row": f"{kind} probe",
        "room": model.room.NAME,
        "selection": "selected",
        "matching": "trained on labels",
        "fit_on": f"{fitting.data} ({fitting.split})",
        "observed": ["image"],
        "uses_labels": True,
        "classes": list(task.protocol.classes),
        "n_images": len(matched),
        "metrics": {"miou": float(metrics.miou(total)), "accuracy": float(metrics.accuracy(total))},
        "interval": {
            "miou": list(bootstrap(matched, metrics.miou)),
            "accuracy": list(bootstrap(matched, metrics.accuracy)),
        },
        "per_class": dict(zip(task.protocol.classes, metrics.iou(total).tolist(), strict=True)),
    }
