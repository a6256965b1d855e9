"""One pass of one model over labelled images: everything that scores need, and memory that does not grow with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from decoupe.data.catalogue import Sample, open_dataset
from decoupe.data.decode import read_image
from decoupe.data.pool import ordered
from decoupe.errors import Fault
from decoupe.evaluate.instances import Overlap, overlap
from decoupe.evaluate.metrics import Confusion, Ranking
from decoupe.evaluate.protocols import Protocol, protocol_of
from decoupe.instances import instances
from decoupe.model import Model
from decoupe.types import VOID, Image, Labels, Regions

BATCH = 16
"""Images segmented at once."""


@dataclass(frozen=True)
class Task:
    """Labelled images and how they are scored."""

    data: str
    """NAME:PATH as it was given."""
    split: str
    samples: Sequence[Sample]
    protocol: Protocol
    about: str
    """One sentence of the data set about its labels and splits."""


@dataclass(frozen=True)
class Pass:
    """What one model did on a task."""

    regions: tuple[str, ...]
    confusion: Confusion
    ranking: Ranking
    """Empty where it was not asked for."""
    uses_labels: bool
    """Whether the model itself was fitted with masks."""
    things: Sequence[Sequence[Overlap]] = ()
    """For each region its things against the true ones, image by image; empty where the protocol does not ask."""


def open_task(data: str, protocol: str | None, split: str | None, prefer: str | None = None) -> Task:
    """The labelled split of NAME:PATH (`prefer` if it has labels, else the data set's default), under a protocol."""
    dataset = open_dataset(data)
    rule = protocol_of(protocol or dataset.name, dataset.classes)
    if split is None and any(s.split == prefer and s.truth is not None for s in dataset.samples):
        split = prefer
    chosen, samples = dataset.split(split)
    if rule.crop and any(sample.box is None for sample in samples):
        raise Fault(f"a box for every image of {data}", "some without", f"choose another protocol than {rule.name}")
    return Task(data, chosen, samples, rule, dataset.protocol)


def measure(model: Model, task: Task, tick: Callable[[], None], ranked: bool = True) -> Pass:
    """Segment every sample; compare in the ground truth's frame. `tick` is called once per image.

    `ranked`: also count what average precision needs, which takes longer than all the rest where regions are many.
    """
    regions, classes = len(model.names), len(task.protocol.classes)
    confusion, ranking = Confusion(regions, classes), Ranking(regions, classes)
    read = ordered(lambda sample: load_pair(sample, task.protocol), task.samples)
    things: list[list[Overlap]] = [[] for _ in range(regions if task.protocol.instances else 0)]
    samples = iter(task.samples)
    for pairs in _batches(read):
        for found, (_, truth) in zip(_regions(model, [image for image, _ in pairs]), pairs, strict=True):
            probs = found.probs
            labels, sample = probs.argmax(0), next(samples)
            confusion.add(labels, truth)
            if ranked:
                ranking.add(probs, truth)
            if things:
                real = sample.instances()
                for region, kept in enumerate(things):
                    own = [one for one in found.instances if one.region == region]
                    split = own or instances(labels == region, probs=probs[region], region=region)
                    kept.append(overlap(split, real, truth == VOID))
            tick()
    return Pass(model.names, confusion, ranking, bool(getattr(model.room, "uses_labels", False)), things)


def _regions(model: Model, images: list[Image]) -> list[Regions]:
    """The regions of each image, with the things that a room found by itself."""
    if model.room.WHOLE:
        return [model.look(image) for image in images]
    return [Regions(probs, model.names) for probs in model.segment_arrays(images)]


def load_pair(sample: Sample, protocol: Protocol) -> tuple[Image, Labels]:
    """(H, W, C) uint8 image and (H, W) class ids of the protocol, both cut to the box if the protocol says so."""
    if not protocol.crop or sample.box is None:
        return read_image(sample.image), protocol.translate(sample.mask())
    x0, y0, x1, y1 = sample.box
    window = slice(max(0, math.floor(y0)), math.ceil(y1)), slice(max(0, math.floor(x0)), math.ceil(x1))
    image = _kept(sample.image, sample.image.stat().st_mtime_ns)
    return image[window], protocol.translate(sample.mask()[window])


@lru_cache(maxsize=2)
def _kept(path: Path, changed: int) -> Image:
    """The last images that boxes were cut from: the 225 crops of a large tile decode it once."""
    return read_image(path)


def _batches(pairs: Iterator[tuple[Image, Labels]]) -> Iterator[list[tuple[Image, Labels]]]:
    found: list[tuple[Image, Labels]] = []
    for pair in pairs:
        found.append(pair)
        if len(found) == BATCH:
            yield found
            found = []
    if found:
        yield found
