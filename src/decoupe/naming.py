"""Give regions names, join regions, or take both names and how sure they are from a few labelled masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.types import VOID

LONGEST = 80
"""Characters of a name."""


def name(
    run: str | Path | Run,
    set: Mapping[int, str] | None = None,
    merge: Sequence[tuple[Sequence[int], str]] = (),
    from_masks: str | Path | None = None,
    join: int | None = None,
    images: Any = None,
    split: str | None = None,
) -> dict[str, Any]:
    """Store names and merges in the run's names.json; everything made afterwards uses them.

    set: region index -> name. merge: groups of region indices shown as one region of that name; a group that touches
    an earlier one joins it. from_masks: folder with images/ and masks/, or a file of another tool (or NAME:PATH): each
    region gets the name of the class that most of its pixels lie in (layers: see `picking.picked`, which also merges);
    `set` and `merge` come on top. Indices are those
    of the method's own regions, before merging. join: how many regions to leave, those of like neighbourhoods merged
    without labels in place of all earlier merges; `images` and `split` say on which photos neighbours are counted
    (None: those that the run was trained on).

    Returns {"names": K names, "merge": groups, "overlap": [{"region", "name", "share", "iou"}], "sentences"}.
    UsageFault on an unknown region or an unusable name, Fault on unusable masks or a run in use.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    with opened.lock():
        opened = Run.open(opened.path)
        names = list(opened.names)
        if not names:
            raise Fault(f"a finished run at {opened.path}", "one without regions", "let its training finish first")
        groups = opened.merges
        if join is not None:
            from decoupe.joining import joined

            groups = joined(opened, join, images, split)
            opened.set_names(names, groups, opened.colours)
        overlap: list[dict[str, Any]] = []
        if from_masks is not None:
            joined_layers, overlap = _overlap(opened, from_masks)
            for layers in joined_layers:
                groups = _join(groups, layers)
            for row in overlap:
                names[row["region"]] = row["name"]
        for indices, label in merge:
            groups = _join(groups, sorted({_index(i, names) for i in indices}))
            group = next(g for g in groups if indices[0] in g)
            names[group[0]] = _name(label)
        for index, label in (set or {}).items():
            names[_index(index, names)] = _name(label)
        _distinct(names, groups, {row["region"] for row in overlap})
        opened.set_names(names, groups, opened.colours)
    if isinstance(run, Run):
        run.info = opened.info
    return {"names": names, "merge": groups, "overlap": overlap, "sentences": [_told(row) for row in overlap]}


def _index(index: int, names: Sequence[str]) -> int:
    if not 0 <= index < len(names):
        raise UsageFault(f"a region from 0 to {len(names) - 1}", str(index), "see them with decoupe name RUN")
    return index


def _name(label: str) -> str:
    label = label.strip()
    if not label or len(label) > LONGEST or not label.isprintable():
        raise UsageFault(f"a name of 1 to {LONGEST} printable characters", repr(label[:20]), "choose another name")
    return label


def _join(groups: Sequence[Sequence[int]], new: Sequence[int]) -> list[list[int]]:
    """`groups` with `new`, which swallows those it touches."""
    if len(new) < 2:
        raise UsageFault("two regions or more to merge", str(len(new)), "write --merge 2,3=tree")
    touching = [group for group in groups if any(index in new for index in group)]
    joined = sorted({*new, *(index for group in touching for index in group)})
    return sorted([*(list(group) for group in groups if group not in touching), joined])


def shown(regions: int, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Original region indices of each region that is shown, in the order a loaded model returns them."""
    alone = {*range(regions)} - {index for group in groups for index in group}
    return sorted([*(sorted(group) for group in groups), *([index] for index in alone)])


def _distinct(names: list[str], groups: Sequence[Sequence[int]], guessed: set[int]) -> None:
    """Number names that masks gave twice; UsageFault where a person gave the same name twice."""
    used: dict[str, int] = {}
    for first, *_ in shown(len(names), groups):
        label, count = names[first], 2
        if label in used and first not in guessed and used[label] not in guessed:
            do = f"join them: --merge {used[label]},{first}={label}"
            raise UsageFault("a name of its own for each region", f"{label!r} twice", do)
        while names[first] in used:
            names[first] = f"{label} {count}"
            count += 1
        used[names[first]] = first


def _told(row: Mapping[str, Any]) -> str:
    if "ap" in row:
        which = " and ".join(str(region) for region in row["regions"])
        return f"layer {which} is {row['name']}: average precision {row['ap']:.2f}, IoU {row['iou']:.2f}"
    return f"region {row['region']} is {row['name']}: {row['share']:.0%} of its pixels, IoU {row['iou']:.2f}"


def _overlap(run: Run, masks: str | Path) -> tuple[list[list[int]], list[dict[str, Any]]]:
    """Regions to merge, and for each region shown the class most of its pixels lie in, that share, and their IoU."""
    from decoupe.compositing import Layered
    from decoupe.model import load

    model = load(run)
    if isinstance(model.room, Layered):
        from decoupe.picking import picked

        dataset = _labelled(str(masks))
        return picked(model, dataset.split("all")[1], dataset.classes)
    counts, classes = _confusion(model, str(masks))
    rows = []
    for index, group in enumerate(shown(len(run.names), run.merges)):
        own = counts[index]
        if not own.sum():
            continue
        best = int(own.argmax())
        iou = own[best] / (own.sum() + counts[:, best].sum() - own[best])
        row = {"region": group[0], "name": classes[best], "share": float(own[best] / own.sum()), "iou": float(iou)}
        rows.append(row)
    if not rows:
        raise Fault("masks with labelled pixels", "only void", "label some pixels of each class")
    return [], rows


def labelled_spec(masks: str) -> str:
    """NAME:PATH of labelled photos given as such, or as a folder: with masks/, or with a file of another tool."""
    if ":" in masks and not Path(masks).exists():
        return masks
    return f"masks:{masks}" if (Path(masks) / "masks").is_dir() or not Path(masks).is_dir() else f"annotated:{masks}"


def _labelled(masks: str) -> Any:
    from decoupe.data.catalogue import open_dataset

    return open_dataset(labelled_spec(masks))


def _confusion(model: Any, masks: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(K, C) pixels of region k and class c over every labelled image, and the class names."""
    from decoupe.data.decode import read_image

    dataset = _labelled(masks)
    _, samples = dataset.split("all")
    classes = dataset.classes
    counts = np.zeros((len(model.names), VOID + 1), np.int64)
    for sample in samples:
        truth = sample.mask()
        labels = model.segment_arrays([read_image(sample.image)])[0].argmax(0)
        valid = (truth >= 0) & (truth < VOID)
        pairs = labels[valid] * (VOID + 1) + truth[valid]
        counts += np.bincount(pairs, minlength=counts.size).reshape(counts.shape)
    last = max(int(np.flatnonzero(counts.any(0)).max(initial=0)) + 1, len(classes))
    known = [classes[c] if c < len(classes) else f"class {c}" for c in range(last)]
    return counts[:, :last], tuple(known)
