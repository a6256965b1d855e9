"""`decoupe crf fit`: the CRF's parameters for the masks of a run, by grid search on a few labelled photos."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from decoupe.crf.learning import Fitted, fit_parameters, grid_points
from decoupe.crf.picture import grid_picture
from decoupe.crf.settings import Settings, choose
from decoupe.data.decode import resize, resize_probs
from decoupe.engine.files import dump_json, parse_json, write_atomic
from decoupe.errors import Fault, UsageFault
from decoupe.evaluate.matching import Classes, assign, by_name
from decoupe.evaluate.measure import Task, load_pair, open_task
from decoupe.evaluate.metrics import Confusion
from decoupe.model import Model, loaded

SIDE = 512
"""Longer side of the photos that the search sees, in pixels."""
MOST = 50
"""Photos that it sees."""
T = TypeVar("T")
Pair = Callable[[int], tuple[Any, Any]]
"""Number of a photo -> (photo, truth); the last pair is kept, since all that is asked of it is asked in turn."""


class Each(Sequence[T], Generic[T]):
    """A sequence whose items are made when they are asked for."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """Item `index`."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._make(index)


def fit_crf(
    run: Any,
    data: str,
    out: str | Path,
    *,
    grid: Mapping[str, Sequence[float]] | None = None,
    start: str | Settings = "krahenbuhl",
    split: str | None = None,
    protocol: str | None = None,
    images: int = MOST,
    side: int = SIDE,
    command: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Search the CRF that sharpens a run's masks best, write it to `out` (JSON) and the grid beside it (PNG).

    data: NAME:PATH of labelled photos: of its splits train, else val, else what `evaluate` takes (`split`: another); at
    most `images` of them, evenly spread. grid, start: as `fit_parameters`. Photos with a longer side than `side` are
    made smaller and widths with them: what is found is for photos as they are. Regions stand for the classes of their
    names, or, where no name but the background's fits, for the class they cover most. progress: called with (done,
    total).

    Returns what is written: {"settings", "miou", "before", "images", "data", "split", "matching", "uses_labels",
    "grid": [{..., "miou"}], "command", "date"}. Fault, before any photo is segmented, on values out of range, data
    without labels, a folder that cannot be written, or a PNG of something else where the picture goes.
    """
    path = Path(out)
    if path.suffix != ".json":
        raise UsageFault("--out FILE.json", repr(str(path))[-80:], "name a JSON file")
    points = grid_points(grid, choose(start))
    _check_target(path)
    model, task = loaded(run), _task(data, protocol, split)
    chosen = np.unique(np.linspace(0, len(task.samples) - 1, min(images, len(task.samples))).astype(int))
    task = dataclasses.replace(task, samples=[task.samples[i] for i in chosen])
    if not task.samples:
        raise Fault(f"labelled photos in {data}", "none", "name a split that has some")
    count = len(task.samples)
    pair = lru_cache(maxsize=1)(lambda index: load_pair(task.samples[index], task.protocol))
    scales = [min(1.0, side / max(pair(i)[0].shape[:2])) for i in range(count)]
    for point in points:
        point.scaled(min(scales))
    classes, matching = _classes(model, task, pair, scales)
    found = fit_parameters(
        Each(count, lambda i: _probs(model, pair(i)[0], scales[i])),
        Each(count, lambda i: torch.from_numpy(_small(pair(i)[0], scales[i]))),
        Each(count, lambda i: _mask(*pair(i), scales[i])),
        grid, start, progress=progress, classes=classes.tolist(), scales=scales,
    )  # fmt: skip
    content = _content(found, choose(start)) | {
        "images": count, "data": data, "split": task.split, "protocol": task.protocol.name, "matching": matching,
        "uses_labels": True, "command": command, "date": date.today().isoformat(),
    }  # fmt: skip
    write_atomic(path, dump_json(content))
    write_atomic(path.with_suffix(".png"), grid_picture(found))
    return content


def _check_target(path: Path) -> None:
    """Fault if the folder cannot be written, or where the picture would replace what `crf fit` did not write."""
    picture = path.with_suffix(".png")
    if picture.exists() and not (picture.is_file() and _own(path)):
        raise Fault(f"no {picture}, or one of crf fit", "another file", "move it, or choose another --out")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise Fault(f"to write {path}", error.strerror or str(error), "choose another --out") from error


def _own(path: Path) -> bool:
    """Whether this is a JSON of `crf fit`."""
    try:
        content = parse_json(path.read_bytes(), path.name)
    except (OSError, Fault):
        return False
    return {"settings", "miou", "before", "grid", "uses_labels"} <= set(content)


def _task(data: str, protocol: str | None, split: str | None) -> Task:
    """The split asked for; else train, else val, and the test photos only where no others have labels."""
    task = open_task(data, protocol, split, prefer="train")
    if split is None and task.split == "test":
        with contextlib.suppress(Fault):
            return open_task(data, protocol, "val")
    return task


def _content(found: Fitted, start: Settings) -> dict[str, Any]:
    varied = [f.name for f in dataclasses.fields(Settings) if len({getattr(p, f.name) for p, _ in found.table}) > 1]
    rows = [{name: getattr(p, name) for name in varied} | {"miou": round(s, 6)} for p, s in found.table]
    return {
        "settings": dataclasses.asdict(found.settings),
        "start": dataclasses.asdict(start),
        "miou": round(found.iou, 6),
        "before": round(found.before, 6),
        "grid": rows,
    }


def _classes(model: Model, task: Task, pair: Pair, scales: Sequence[float]) -> tuple[Classes, str]:
    """The class of each region, and how it was found, on photos as the search sees them."""
    names = task.protocol.classes
    things = [name for name in model.names if name.casefold() != "background"]
    if {name.casefold() for name in things} & {name.casefold() for name in names}:
        return by_name(model.names, names), "named"
    confusion = Confusion(len(model.names), len(names))
    for i, scale in enumerate(scales):
        image, truth = pair(i)
        confusion.add(_probs(model, image, scale).argmax(0).numpy(), _mask(image, truth, scale).numpy())
    found = assign("majority", confusion.images.sum(0), model.names, names)
    if found is None:
        raise TypeError("majority gives each region a class")
    return found, "majority"


def _size(image: Any, scale: float) -> tuple[int, int]:
    """Height and width of an image at the size of the search."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return height, width


def _small(image: Any, scale: float) -> Any:
    return np.array(image if scale == 1 else resize(image, *_size(image, scale)))


def _probs(model: Model, image: Any, scale: float) -> Tensor:
    """(K, h, w) of the photo, at the size of the search."""
    if model.room.WHOLE:
        square = model.look(image).probs
    else:
        square = model.predict(model.square(image)[None])[0]
    p = resize_probs(square, *_size(image, scale))
    return torch.from_numpy(p / p.sum(0, keepdims=True))


def _mask(image: Any, truth: Any, scale: float) -> Tensor:
    """(h, w) int64, the pixels in the middle of the small ones; the truth may have another size than its image."""
    size = _size(image, scale)
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, truth.shape, strict=True))
    return torch.from_numpy(np.asarray(truth[rows][:, columns], np.int64))
