"""The twelve photos of a report: best, typical and worst, by IoU where labels were scored, else without labels."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from decoupe.compositing import Layered
from decoupe.data.decode import decode, read_image
from decoupe.data.memory import give_back
from decoupe.data.sources import find
from decoupe.engine.pictures import read_labels
from decoupe.errors import Fault
from decoupe.export.base import AnyLabels
from decoupe.export.overlay import TINT, as_rgb, paint
from decoupe.export.palette import Colour, chosen, colours, is_background
from decoupe.export.upsample import Upsampled
from decoupe.methods.room import to_unit
from decoupe.types import VOID, Image

if TYPE_CHECKING:
    from decoupe.model import Model

POOL = 128
"""Photos looked at to find the best and the worst where there are no labels."""
SIDE = 320
"""Longer side of a thumbnail in pixels."""
EACH = 4
"""Photos in each of the three groups."""


@dataclass(frozen=True)
class Pane:
    """One picture of a card."""

    title: str
    data: str
    """data: URI of a JPEG."""
    alt: str
    size: tuple[int, int]
    """Width and height in pixels."""


@dataclass(frozen=True)
class Card:
    """One photo with what was found on it."""

    name: str
    caption: str
    panes: list[Pane]
    full: bool = False
    """As wide as the page."""


@dataclass(frozen=True)
class Gallery:
    """What the photo section shows."""

    groups: list[tuple[str, list[Card]]] = field(default_factory=list)
    by: str = ""
    """What the order means, a sentence."""
    worst: float | None = None
    shares: tuple[float, ...] = ()
    """Mean share of each region over the photos looked at."""
    problem: str = ""
    """Why there are no photos."""


@dataclass(frozen=True)
class _Pick:
    path: Path
    name: str
    value: float
    frame: int = 0
    truth: Any = None
    key: str = ""
    """As in training; "" where the photo may be another one."""


def _three(picks: Sequence[_Pick]) -> list[tuple[str, list[_Pick]]]:
    """Best, typical, worst of `picks`; fewer where there are few, none twice."""
    ordered = sorted(picks, key=lambda pick: (-pick.value, pick.name))
    each = min(EACH, max(1, len(ordered) // 3))
    if len(ordered) < 3:
        return [("All photos", ordered)]
    middle = len(ordered) // 2 - each // 2
    middle = min(max(middle, each), len(ordered) - 2 * each)
    return [
        ("Best", ordered[:each]),
        ("Typical", ordered[middle : middle + each]),
        ("Worst", ordered[-each:]),
    ]


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = SIDE / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(Pillow.fromarray(np.ascontiguousarray(as_rgb(image))).resize(size, Pillow.Resampling.LANCZOS))


def _uri(image: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def pane(title: str, image: NDArray[np.uint8], alt: str) -> Pane:
    """One picture of a card, (H, W, 3) uint8, with its title and its words for those who do not see it."""
    return Pane(title, _uri(image), alt, (image.shape[1], image.shape[0]))


def _cut(
    image: NDArray[np.uint8], labels: AnyLabels, names: Sequence[str], palette: Sequence[Colour]
) -> NDArray[np.uint8]:
    """`image` with its background grey and dark, a single object in its own colours, several regions tinted."""
    behind = np.asarray([is_background(name) for name in names])[labels]
    grey = np.asarray(Pillow.fromarray(image).convert("L"), np.float32)[..., None] * 0.5 + 20
    shown = np.where(behind[..., None], grey, image).astype(np.uint8)
    return paint(shown, labels, names, palette, TINT if len(names) > 2 else 0.0)


def _card(model: Model, pick: _Pick, label: str) -> Card:
    image = read_image(pick.path, frame=pick.frame)
    small = _thumbnail(image)
    square = model.predict(model.square(image)[None])[0]
    if model.crf is None:
        labels = Upsampled(square, (small.shape[0], small.shape[1]), model.names, exact=False).labels
    else:
        labels = model.segment_arrays([small])[0].argmax(0)
    shares = np.bincount(labels.ravel(), minlength=len(model.names)) / labels.size
    told = ", ".join(f"{name} {share:.0%}" for name, share in zip(model.names, shares, strict=True) if share >= 0.005)
    panes = [
        pane("photo", small, f"{pick.name}: the photo"),
        *_steps(model, image, small, pick),
        pane(
            "found",
            _cut(small, labels, model.names, chosen(model.names, model.colours)),
            f"{pick.name}: regions found: {told}",
        ),
    ]
    if isinstance(model.room, Layered):
        from decoupe.report.layers import strip

        panes.append(pane("layer by layer", strip(model, image), f"{pick.name}: built up, each layer, each mask"))
    if pick.truth is not None:
        panes.append(_truth(pick, small, image))
    return Card(pick.name, f"{label} {pick.value:.2f}", panes)


def _steps(model: Model, image: Image, small: NDArray[np.uint8], pick: _Pick) -> list[Pane]:
    """What the method has to show on the way to its masks."""
    regions, run, name = model.room.regions, model.run, pick.name
    kept = read_labels(run.path, run.info.get("taught"), pick.key, len(regions)) if pick.key else {}
    taught = {folder: torch.from_numpy(labels)[None] for folder, labels in kept.items()}
    with torch.inference_mode():
        found = model.room.steps(to_unit(model.square(image)[None], model.device), taught)
    palette = chosen(regions, model.picked)
    panes = []
    for title, labels in found.items():
        cells = labels[0].cpu().numpy()
        rows, columns = (
            ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(small.shape, cells.shape, strict=False)
        )
        there = cells[rows][:, columns]
        painted = _cut(small, np.where(there == VOID, 0, there), regions, palette)
        painted[there == VOID] = (painted[there == VOID] * 0.35 + 0.65 * 128).astype(np.uint8)
        panes.append(pane(title, painted, f"{name}: {title}"))
    return panes


def _truth(pick: _Pick, small: NDArray[np.uint8], image: Image) -> Pane:
    mask = np.asarray(pick.truth.mask())
    rows = np.minimum((np.arange(small.shape[0]) + 0.5) * mask.shape[0] / small.shape[0], mask.shape[0] - 1).astype(int)
    columns = np.minimum((np.arange(small.shape[1]) + 0.5) * mask.shape[1] / small.shape[1], mask.shape[1] - 1)
    truth = mask[rows][:, columns.astype(int)]
    void = truth == VOID
    classes = int(truth[~void].max(initial=1)) + 1
    names = ("background", *(f"class {i}" for i in range(1, classes)))
    truth = np.where(void, 0, truth)
    painted = _cut(small, truth, names, colours(names))
    painted[void] = (painted[void] * 0.35 + 0.65 * 128).astype(np.uint8)
    return pane("labels", painted, f"{pick.name}: the labels it is scored against")


def _labelled(content: dict[str, Any], source: Any) -> list[_Pick]:
    """Every scored image with its IoU, from a stored result whose data set is still there.

    `source`: where the training photos are; their keys mean nothing in another place.
    """
    from decoupe.data.catalogue import open_dataset

    row = next((r for r in content["results"] if r.get("selection") == "selected"), None)
    if row is None or "confusions" not in row or not content.get("images"):
        return []
    samples = {sample.key: sample for sample in open_dataset(content["data"]).samples}
    counts = np.asarray(row["confusions"], np.float64)
    classes = len(row["classes"])
    hit = np.stack([counts[:, i, i] for i in range(classes)], 1)
    union = counts[:, :classes, :].sum(2) + counts[:, :, :classes].sum(1) - hit
    each = np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)
    index = list(row["classes"]).index(row["object"]) if row.get("object") in row["classes"] else None
    with np.errstate(invalid="ignore"):
        values = each[:, index] if index is not None else np.nanmean(each, 1)
    picks = []
    for key, value in zip(content["images"], values, strict=True):
        sample = samples.get(key)
        if sample is not None and np.isfinite(value) and sample.image.is_file():
            own = key if content["data"] == source else ""
            picks.append(_Pick(sample.image, sample.image.name, float(value), truth=sample, key=own))
    return picks


def _spread(source: Any) -> list[tuple[Path, int, str]]:
    """(path, frame, key) of at most POOL photos, evenly spread; the names of the others are not kept."""
    if isinstance(source, str) and ":" in source and not Path(source).exists():
        from decoupe.data.catalogue import open_dataset

        places = [(s.image, 0, s.key) for s in open_dataset(source).samples]
        return [places[i] for i in _even(len(places))]
    items = find(source)
    count, picked = len(items), [items[i] for i in _even(len(items))]
    del items
    give_back(count)
    return [(item.path, item.frame, item.key) for item in picked]


def _even(count: int) -> list[int]:
    places: list[int] = np.unique(np.linspace(0, count - 1, min(POOL, count)).astype(np.int64)).tolist()
    return places


def _unlabelled(model: Model, source: Any) -> tuple[list[_Pick], tuple[float, ...]]:
    """A spread of the training photos with the agreement of each photo's regions with its mirror image's."""
    chosen = _spread(source)
    picks: list[_Pick] = []
    shares = np.zeros(len(model.names))
    for start in range(0, len(chosen), 16):
        squares, kept = [], []
        for path, frame, key in chosen[start : start + 16]:
            try:
                squares.append(model.square(decode(path, frame=frame, hint=2 * model.spec.size).pixels))
                kept.append((path, frame, key))
            except Fault:
                continue
        if not squares:
            continue
        batch = np.stack(squares)
        probs, mirrored = model.predict(batch), model.predict(batch[..., ::-1])[..., ::-1]
        both = np.minimum(probs, mirrored).sum((2, 3)) / np.maximum(np.maximum(probs, mirrored).sum((2, 3)), 1e-6)
        agreement = both.mean(1)
        shares += np.stack([(probs.argmax(1) == k).mean((1, 2)) for k in range(len(shares))], 1).sum(0)
        picks += [_Pick(p, p.name, float(v), f, key=k) for (p, f, k), v in zip(kept, agreement, strict=True)]
    return picks, tuple((shares / max(len(picks), 1)).tolist())


def gallery(model: Model, source: Any, results: Sequence[tuple[str, dict[str, Any]]]) -> Gallery:
    """Choose, segment and draw the photos of a report."""
    picks: list[_Pick] = []
    for _, content in results:
        try:
            picks = _labelled(content, source)
        except (Fault, KeyError, ValueError, IndexError, TypeError):
            continue
        if picks:
            by = f"Ordered by IoU with the labels of {content['data'].partition(':')[0]}."
            return _gallery(model, picks, by, "IoU", ())
    try:
        picks, shares = _unlabelled(model, source)
    except Fault as fault:
        return Gallery(problem=f"The training photos are not where they were ({fault.got}), so none are shown.")
    by = (
        "Ordered without labels, by how well the regions of a photo agree with those of its mirror image "
        "(1 = the same). A low value points at doubtful masks; a high one does not prove them right."
    )
    return _gallery(model, picks, by, "agreement", shares)


def _gallery(model: Model, picks: list[_Pick], by: str, label: str, shares: tuple[float, ...]) -> Gallery:
    groups = []
    for title, three in _three(picks):
        cards = []
        for pick in three:
            try:
                cards.append(_card(model, pick, label))
            except Fault:
                continue
        if cards:
            groups.append((title, cards))
    worst = min((pick.value for pick in picks), default=None)
    return Gallery(groups, by, worst, shares, "" if groups else "No photo could be read.")
