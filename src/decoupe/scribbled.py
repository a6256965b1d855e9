"""`decoupe fit ROOM --scribbles DIR`: any method, then a few strokes as weak labels.

The room is fitted without labels as always. Its regions are then given the classes of the strokes that lie in them, and
`refine` teaches the run the strokes, spread along the photos' colours, while its own masks are kept elsewhere. So the
strokes say what the regions are called and correct them; what is a region at all is found without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from decoupe.data.decode import read_image
from decoupe.distill import photos_of
from decoupe.drawn import Drawn, drawn, nothing_drawn, numbered, plain
from decoupe.engine import launch
from decoupe.engine.progress import Reporter, Silent
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, Interrupted, UsageFault
from decoupe.fit import Images, fit
from decoupe.methods import ROOMS
from decoupe.model import Model, load
from decoupe.naming import name, shown
from decoupe.refine import refine, taught_by
from decoupe.supervision import Recipe, learns
from decoupe.types import VOID, Labels


def fit_scribbled(
    room: str,
    images: Images | None,
    *,
    scribbles: str | Path,
    run: str | Path,
    seed: int = 0,
    resume: bool = False,
    command: str | None = None,
    reporter: Reporter | None = None,
    **arguments: Any,
) -> Model:
    """Fit `room` to `images` into `run`-unlabelled, name its regions by the strokes, and refine it into `run`.

    scribbles: as for `refine`: photos with few pixels drawn, all others unknown. A method without networks that learn
    goes on as its student. `images` and `arguments` are for `fit`; images_seen and minutes among these limit each of
    both parts, and the strokes are learned for `supervision.Recipe.images` at most. `resume` goes on where it stopped.

    Fault if there are more classes than regions, if nothing is drawn, if strokes and photos differ in size, or if
    photos are gone, or the run without labels that is to be refined further; UsageFault if a run of that name is there
    already, or on `resume` if it is one of another room;
    Interrupted after Ctrl-C or SIGTERM (everything is saved).
    """
    if launch.world().size > 1:
        raise UsageFault("one process with --scribbles", f"{launch.world().size}", "start it without torchrun")
    before, after = Path(f"{run}-unlabelled"), Path(run)
    if not resume and (after / "run.json").exists():
        raise UsageFault("a --run that is new", str(run), "choose another name, or go on with it by --resume")
    if _begun(before):
        _check_begun(before, room, resume)
    elif resume and _begun(after):
        return _without_first(before, after, room)
    if not resume and images is not None:
        _check_drawn(drawn(scribbles, images), _regions(room, arguments))  # said before anything is trained
    shared: dict[str, Any] = {"seed": seed, "command": command, "reporter": reporter}
    try:
        if not _done(before):
            fit(room, images, run=before, resume=resume and _begun(before), **shared, **arguments)
        model = load(before, device="cpu")
        called(model, drawn(scribbles, photos_of(model.run)["images"]), reporter or Silent())
        shared |= {"images_seen": _images(model, arguments.get("images_seen")), "minutes": arguments.get("minutes")}
        return refine(before, scribbles=scribbles, run=after, resume=resume and _begun(after), **shared)
    except Interrupted as stop:
        again = command or f"decoupe.scribbled.fit_scribbled({room!r}, ..., run={str(run)!r}, resume=True)"
        more = "" if command is None or "--resume" in command else " --resume"
        raise Interrupted(stop.images, again + more) from None


def _begun(folder: Path) -> bool:
    return (folder / "run.json").exists()


def _done(folder: Path) -> bool:
    return _begun(folder) and Run.open(folder, verify=False).info.get("status") == "done"


def _without_first(before: Path, after: Path, room: str) -> Model:
    """What there is to go on with where the run without labels is gone: the refined one if it is done, or nothing.

    UsageFault where the run that is there was not refined by strokes, or is of another room.
    """
    had = Run.open(after, verify=False)
    taught_by(had)
    if had.info["room"] not in (room, "student"):
        raise UsageFault(f"a {room} run at {after}", f"one of {had.info['room']}", "choose another --run")
    if _done(after):
        return load(after)
    raise Fault(f"the run {before} that {after} goes on from", "none", "restore it, or begin anew with another --run")


def _images(model: Model, limit: int | None) -> int | None:
    """How long the strokes are learned: None = as long as `refine` does by itself."""
    return min(limit, Recipe.images) if limit is not None and learns(model.room) else limit


# ---------------------------------------------------------------------- before anything is trained


def _check_begun(before: Path, room: str, resume: bool) -> None:
    """UsageFault unless the run without labels that is there is the one to go on with."""
    if not resume:
        raise UsageFault("a --run that is new", str(before), "choose another --run, or go on with it by --resume")
    had = Run.open(before, verify=False).info["room"]
    if had != room:
        raise UsageFault(f"a {room} run at {before}", f"one of {had}", f"use `fit {had}`, or choose another --run")


def _check_drawn(found: Drawn, regions: int | None) -> None:
    """Fault on strokes that cannot be used, as far as that is known before there are regions."""
    classes: set[int] = set()
    for _, labels, known in _stroked(found):
        classes |= {*np.unique(labels[known]).tolist()}
    if not classes:
        raise nothing_drawn()
    if regions is not None and len(classes) > regions:
        raise _too_many(_told(found, sorted(classes)), regions)


def _regions(room: str, arguments: dict[str, Any]) -> int | None:
    """How many regions the settings ask for; None where only training tells."""
    if room not in ROOMS:
        return None
    entry = ROOMS[room]
    preset = entry.presets().get(arguments.get("preset") or "")
    k = arguments.get("k", getattr(preset or entry.config()(), "k", None))
    if not isinstance(k, int):
        return None
    return k + 1 if room == "layer_disposal" else k  # its layers lie over a background


def _stroked(found: Drawn) -> Iterator[tuple[NDArray[Any], Labels, NDArray[np.bool_]]]:
    """Photos with a stroke, what is drawn on them and where. Fault if a photo has another size than its strokes."""
    for one in found.photos:
        labels = one.labels()
        known = (labels >= int(found.ground)) & (labels < VOID)
        if not known.any():
            continue
        image = read_image(one.path, frame=one.frame)
        if image.shape[:2] != labels.shape:
            sizes = f"{labels.shape[1]}x{labels.shape[0]} for {image.shape[1]}x{image.shape[0]}"
            raise Fault("scribbles the size of their photos", f"{sizes} ({one.path.name:.60})", "resize or remove them")
        yield image, labels, known


def _told(found: Drawn, classes: Sequence[int]) -> dict[int, str]:
    return {c: found.names[c] if c < len(found.names) else numbered(c) for c in classes}


def _too_many(told: dict[int, str], regions: int) -> Fault:
    what = f"{len(told)} ({', '.join(told.values()):.60})"
    remedy = "fit more regions (--k) into a new --run, or draw fewer classes"
    return Fault(f"no more classes than regions ({regions})", what, remedy)


# ---------------------------------------------------------------------- which region is which class


def called(model: Model, found: Drawn, reporter: Reporter) -> None:
    """Give the regions of a run the classes drawn on them, and merge those of one class.

    Regions that have learned their names from tags keep them if all classes are among these. Fault if nothing is drawn,
    or if there are more classes than regions.
    """
    names = [plain(one) for one in model.names]
    counts = pixels(model, found)
    classes = [c for c in range(counts.shape[1]) if counts[:, c].any()]
    if not classes:
        raise nothing_drawn()
    told = _told(found, classes)
    if ROOMS[model.room.NAME].wants_tags and all(plain(one) in names for one in told.values()):
        return
    if len(classes) > len(names):
        raise _too_many(told, len(names))
    groups, taken = shown(len(model.run.names), model.run.merges), assigned(counts[:, classes])
    set_: dict[int, str] = {}
    merge: list[tuple[list[int], str]] = []
    for place, regions in taken.items():
        own = [index for region in regions for index in groups[region]]
        if len(own) > 1:
            merge.append((own, told[classes[place]]))
        else:
            set_[own[0]] = told[classes[place]]
    left = {*range(len(groups))} - {region for regions in taken.values() for region in regions}
    set_ |= {groups[k][0]: f"region {groups[k][0]}" for k in left if names[k] in {*map(plain, told.values())}}
    name(model.run, set_, merge)
    reporter.note("; ".join(f"{told[classes[c]]}: {_listed(regions)}" for c, regions in taken.items()))


def _listed(regions: Sequence[int]) -> str:
    return f"region{'s' if len(regions) > 1 else ''} {', '.join(map(str, regions))}"


def pixels(model: Model, found: Drawn) -> NDArray[np.int64]:
    """(K, C) drawn pixels of class c in the region k as shown."""
    counts = np.zeros((len(model.names), VOID), np.int64)
    for image, classes, known in _stroked(found):
        labels = model.segment_arrays([image])[0].argmax(0)
        np.add.at(counts, (labels[known], classes[known]), 1)
    last = int(np.flatnonzero(counts.any(0)).max(initial=-1)) + 1
    return counts[:, :last]


def assigned(counts: NDArray[np.int64]) -> dict[int, list[int]]:
    """Class -> its regions, for (K, C) pixels with C <= K, none of the columns empty.

    Each class first gets a region of its own, so that the shares of their pixels that classes have there are largest
    in sum (the Hungarian method); every other region with strokes goes to the class with the largest share in it.
    """
    shares = counts / counts.sum(0)
    regions, classes = linear_sum_assignment(-shares)
    found = {int(c): [int(k)] for k, c in zip(regions, classes, strict=True)}
    for k in sorted({*range(len(counts))} - {*regions.tolist()}):
        if counts[k].any():
            found[int(shares[k].argmax())].append(k)
    return {c: sorted(found[c]) for c in sorted(found)}
