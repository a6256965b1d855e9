"""What `fit` needs of a folder: survey it, cache it, find backgrounds; and say what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoupe.data.backgrounds import background_cache
from decoupe.data.boxes import read_boxes
from decoupe.data.cache import default_cache_folder, survey_and_cache
from decoupe.data.catalogue import LAYOUTS, open_dataset
from decoupe.data.decode import MAX_PIXELS
from decoupe.data.sources import Item, find
from decoupe.engine.progress import Reporter
from decoupe.methods.room import DataSpec, TrainingData


@dataclass(frozen=True)
class Prepared:
    """Training data and what run.json keeps about it."""

    training: TrainingData
    about: dict[str, Any]


def items_of(source: Any) -> list[Item]:
    """Items of a folder, glob, file, CSV, list, or of a named layout NAME:PATH (its images; labels are not read)."""
    name, colon, _ = str(source).partition(":")
    if isinstance(source, str) and colon and name in LAYOUTS:
        samples = open_dataset(source).samples
        return [Item(path=s.image, key=s.key, box=s.box) for s in samples]
    return find(source)


def training_data(
    settings: Mapping[str, Any], config: Any, room: str, reporter: Reporter, tune: bool
) -> Prepared:
    """Survey and cache the images of `settings`, and the backgrounds if the room wants them (`tune`)."""
    items = items_of(settings["images"])
    if settings["boxes"] is not None:
        items = read_boxes(Path(settings["boxes"]), items)
    folder = default_cache_folder()
    limit = settings["max_pixels"] or MAX_PIXELS
    survey, images = survey_and_cache(items, config.size, folder=folder, max_pixels=limit)
    reporter.note(survey.sentence())
    for problem in survey.problems:
        reporter.note(f"{problem.path}: {problem.reason} ({'kept' if problem.kept else 'skipped'})")
    spec = DataSpec(survey.channels, config.size)
    about: dict[str, Any] = {
        "source": Path(str(settings["images"])).name, "n": len(images), "fingerprint": images.fingerprint,
        "skipped": sum(not p.kept for p in survey.problems), "survey": survey.sentence(),
    }  # fmt: skip
    backgrounds = images
    if tune:
        given = Path(settings["backgrounds"]) if settings["backgrounds"] is not None else None
        backgrounds, about["backgrounds"] = background_cache(
            survey.items, size=config.size, channels=spec.channels, folder=folder, source=given, seed=settings["seed"]
        )
        reporter.note(about["backgrounds"])
    return Prepared(TrainingData(images, backgrounds, spec), about)
