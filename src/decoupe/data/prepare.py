"""What `fit` needs of a folder: survey it, cache it, find backgrounds; and say what was done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.backgrounds import background_cache
from decoupe.data.boxes import read_boxes
from decoupe.data.cache import Cache, survey_and_cache
from decoupe.data.catalogue import LAYOUTS, open_dataset
from decoupe.data.decode import MAX_PIXELS
from decoupe.data.memory import give_back
from decoupe.data.paths import default_cache_folder
from decoupe.data.sources import Item, find
from decoupe.data.tags import CueFolder, Tagged, read_tags
from decoupe.engine.progress import Reporter
from decoupe.errors import Fault, UsageFault
from decoupe.methods.room import DataSpec, Source, TrainingData


@dataclass(frozen=True)
class Prepared:
    """Training data and what run.json keeps about it."""

    training: TrainingData
    about: dict[str, Any]


def items_of(source: Any, split: str | None = None) -> Sequence[Item]:
    """Items of a folder, glob, file, CSV, list, or of a named layout NAME:PATH (its images; labels are not read).

    `split`: which part of a layout (`Dataset.to_fit`); None = all of it. UsageFault where there are no splits.
    """
    name, colon, _ = str(source).partition(":")
    if isinstance(source, str) and colon and name in LAYOUTS:
        stream = LAYOUTS[name].stream
        dataset = open_dataset(source)
        if stream is not None and (found := stream(dataset.root, split or "all")) is not None:
            return found
        samples = dataset.to_fit(split or "all")
        return [Item(path=s.image, key=s.key, box=s.box) for s in samples]
    if split is not None:
        known = "--images NAME:PATH of a known layout with --split"
        raise UsageFault(known, repr(str(source)), "leave out --split: folders, globs and lists have no splits")
    return find(source)


class Both:
    """Two sources drawn from alike: position 2i is in the first, 2i + 1 in the second, each repeated as needed."""

    def __init__(self, first: Cache, second: Cache) -> None:
        self._parts = (first, second)

    def __len__(self) -> int:
        return 2 * max(len(part) for part in self._parts)

    def __getitem__(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (B, C, S, S) at an index array (B,)."""
        index = np.asarray(index)
        halves = [part[(index // 2) % len(part)] for part in self._parts]
        return np.where((index % 2 == 0)[:, None, None, None], *halves)


def _backgrounds(cut: Callable[..., tuple[Cache, str]], source: str | None) -> tuple[Source, str, str]:
    """Patches, the sentence about them, and their fingerprint: own ones, joined by those of `source` if given."""
    try:
        own, sentence = cut()
    except Fault:  # boxes that fill their photos leave no room
        if source is None:
            raise
        given, sentence = cut(source)
        return given, f"{sentence} (the boxes leave no room in the photos)", given.fingerprint
    if source is None:
        return own, sentence, own.fingerprint
    given, other = cut(source)
    return (
        Both(own, given),
        f"{sentence}; half of the time {other.removeprefix('backgrounds: ')}",
        f"{own.fingerprint}+{given.fingerprint}",
    )


def _tagged(settings: Mapping[str, Any], config: Any, items: Sequence[Item], wanted: bool | None) -> Tagged | None:
    """The tags of the photos, where the room wants them. UsageFault if it does not, or there are none.

    `wanted` None: where they are given.
    """
    source, images = settings.get("tags"), settings["images"]
    if not wanted and (wanted is False or source is None):
        if source is not None:
            raise UsageFault("a room that learns from tags", "another, with --tags", "use `fit tags`, or leave it out")
        return None
    if source is None and str(images).partition(":")[0] in LAYOUTS:
        source = images
    if source is None:
        raise UsageFault("--tags FILE", "none", "give a CSV with the columns image,tags")
    return read_tags(source, items, getattr(config, "classes", ()))


def _with_tags(data: TrainingData, tagged: Tagged, config: Any, items: Sequence[Item]) -> tuple[TrainingData, str]:
    """The data with tags and cues, and a digest of both."""
    table = tagged.table(items)
    spec = replace(data.spec, tags=tagged.names)
    folder = getattr(config, "cues", "")
    cues = CueFolder(Path(folder), items, len(tagged.names), data.spec.size) if folder else None
    mark = hashlib.sha256(repr(tagged.names).encode() + table.tobytes())
    if cues is not None:
        mark.update(repr([path and (path.name, path.stat().st_size) for path in cues.files]).encode())
    keys = [item.key for item in items]
    return replace(data, spec=spec, tags=table, cues=cues, keys=keys), mark.hexdigest()


def training_data(
    settings: Mapping[str, Any],
    config: Any,
    reporter: Reporter,
    wants_backgrounds: bool,
    wants_tags: bool | None = False,
) -> Prepared:
    """Survey and cache the images of `settings`, and find backgrounds if the room wants them.

    Backgrounds are patches of the photos themselves (outside the boxes, or corners); a `--backgrounds` folder joins
    them, half and half: own patches share the photos' camera and light, those of the folder hold no object at all.
    """
    items = items_of(settings["images"], settings.get("split"))
    if settings["boxes"] is not None:
        items = read_boxes(Path(settings["boxes"]), items)
    tagged = _tagged(settings, config, items, wants_tags)
    if tagged is not None:
        items = tagged.items if wants_tags else items
        reporter.note(tagged.sentence())
    folder = default_cache_folder()
    limit = settings["max_pixels"] or MAX_PIXELS
    survey, images = survey_and_cache(items, config.size, folder=folder, max_pixels=limit)
    reporter.note(survey.sentence())
    for problem in survey.problems:
        reporter.note(f"{problem.path}: {problem.reason} ({'kept' if problem.kept else 'skipped'})")
    spec = DataSpec(survey.channels, config.size)
    about: dict[str, Any] = {
        "source": Path(str(settings["images"])).name,
        "split": settings.get("split"),
        "n": len(images),
        "fingerprint": images.fingerprint,
        "skipped": sum(not p.kept for p in survey.problems),
        "survey": survey.sentence(),
    }
    backgrounds: Source = images
    if wants_backgrounds:
        cut = partial(
            background_cache, survey.items, config.size, spec.channels, folder, seed=settings["seed"], max_pixels=limit
        )
        backgrounds, about["backgrounds"], about["backgrounds_fingerprint"] = _backgrounds(cut, settings["backgrounds"])
        reporter.note(about["backgrounds"])
    training = TrainingData(images, backgrounds, spec)
    if tagged is not None:
        training, mark = _with_tags(training, tagged, config, survey.items)
        about |= {"tags": tagged.sentence(), "fingerprint": f"{images.fingerprint}+{mark}"}
        if isinstance(training.cues, CueFolder):
            reporter.note(training.cues.sentence())
    give_back(len(images))  # what names and keys were made from
    return Prepared(training, about)
