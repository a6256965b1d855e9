"""`decoupe refine`: a run learns from a few masks of a person and keeps the rest of what it found."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoupe.data import prepare
from decoupe.data.decode import read_image
from decoupe.distill import photos_of
from decoupe.drawn import Given, given_masks
from decoupe.engine.launch import World
from decoupe.engine.loop import Loop
from decoupe.engine.progress import Reporter, Silent
from decoupe.engine.runfolder import Run
from decoupe.errors import Collapsed, Fault, Interrupted, UsageFault
from decoupe.fit import about_machine, budget, carry_out, going_on
from decoupe.methods import ROOMS
from decoupe.methods.config import in_range, read_config
from decoupe.methods.room import DataSpec, Room
from decoupe.model import Model, load
from decoupe.naming import shown
from decoupe.supervision import LabelledPhotos, Lesson, Recipe, learns, refined
from decoupe.types import VOID

SPREAD = 0.5
"""Weight of pixels that a scribble reached through the photo's colours, where 1 is that of a pixel drawn by hand."""
SURE = 0.95
"""Probability of the region that a scribble names, for the dense CRF that spreads it."""


def refine(
    source: str | Path,
    masks: str | Path | None = None,
    *,
    scribbles: str | Path | None = None,
    run: str | Path | None = None,
    images: Any = None,
    images_seen: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    lr: float = Recipe.lr,
    keep: float = Recipe.keep,
    resume: bool = False,
    command: str | None = None,
    reporter: Reporter | None = None,
) -> Model:
    """Teach the run `source` a few masks and return the model of the new run; `source` stays as it is.

    masks: a file or folder of masks of an annotation tool or of `segment`, named like the photos; a folder with images/
    and masks/; NAME:PATH of a layout; or "accepted", those of `decoupe review`. scribbles: the same, where only a few
    pixels are drawn and all others are unknown; they are spread along the photo's colours. Classes are matched to the
    run's regions by name, those without names by number. images: the photos to keep the run's own masks on, without
    labels; None = those it was trained on. lr, keep: see `supervision.Recipe`. Methods that cannot learn by gradients
    are first distilled into the room `student`.

    Fault if the run has no masks, if a class is no region of the run, or if photos are gone; Interrupted after Ctrl-C.
    """
    started = time.monotonic()
    if (masks is None) == (scribbles is None):
        raise UsageFault("--masks or --scribbles", "neither" if masks is None else "both", "give one of them")
    in_range("images_seen", images_seen, 1, 1e12)
    in_range("minutes", minutes, 1e-3, 1e6)
    in_range("lr", lr, 1e-7, 1)
    in_range("keep", keep, 0, 100)
    origin = Run.open(source)
    if origin.info.get("status") == "collapsed":
        raise Fault(f"a run with masks at {origin.path}", "one that collapsed", "choose another run")
    model = load(origin, device="cpu")
    photos = {"images": _text(images)} if images is not None else photos_of(origin)
    drawn = masks if masks is not None else scribbles
    taught = list(given_masks(model, drawn, photos["images"], scribbles is not None))
    plan = _plan(model, source)
    lesson = _lesson(model, plan, taught, Recipe(lr, keep), scribbles is not None)
    settings = {
        "images": None, "boxes": None, "backgrounds": None, "max_pixels": None, "split": None, **photos,
        "images_seen": images_seen, "minutes": minutes, "seed": seed, "precision": "fp32", "preset": None, "size": None,
        "options": {}, "refine": {"lr": lr, "keep": keep, "lesson": _digest(model, taught), "labelled": len(taught)},
    }  # fmt: skip
    opened = _reopen(run, settings) if resume else _create(run, model, plan, settings, command)
    with opened.lock():
        try:
            return _train(opened, lesson, reporter or Silent(), started, resume)
        except Interrupted as stop:
            words = "--masks" if scribbles is None else "--scribbles"
            again = ["decoupe", "refine", str(source), words, str(drawn), "--run", str(opened.path), "--resume"]
            raise Interrupted(stop.images, shlex.join(again)) from None


def _text(images: Any) -> Any:
    return str(images) if isinstance(images, str | Path) else [str(one) for one in images]


# ---------------------------------------------------------------------- the lesson


@dataclass(frozen=True)
class Plan:
    """What is trained."""

    room: str
    config: Any
    spec: DataSpec
    groups: list[list[int]]
    keeps: bool
    """Whether it begins with the weights of the run that is refined."""


def _plan(model: Model, source: str | Path) -> Plan:
    """The run's own room where it learns by gradients, else a student of it."""
    room, spec = model.room, model.spec
    if learns(room):
        return Plan(room.NAME, room.config, spec, shown(len(room.regions), model.run.merges), True)
    kind = ROOMS["student"]
    given = {"teacher": str(source), "size": spec.size, "rounds": 1}
    config = kind.complete(read_config(kind.config(), given, "refine"))
    return Plan("student", config, spec, [[index] for index in range(len(config.names))], False)


def _lesson(model: Model, plan: Plan, taught: Sequence[Given], recipe: Recipe, sparse: bool) -> Lesson:
    labelled = LabelledPhotos(plan.spec, len(plan.groups))
    for one in taught:
        image, labels = read_image(one.path, frame=one.frame), one.labels()
        if image.shape[:2] != labels.shape:
            sizes = f"{labels.shape[1]}x{labels.shape[0]} for {image.shape[1]}x{image.shape[0]}"
            raise Fault("masks the size of their photos", f"{sizes} ({one.path.name:.60})", "resize or remove the mask")
        if (labels == VOID).all():
            raise Fault("masks with something labelled", f"nothing in that of {one.path.name:.60}", "remove the mask")
        labelled.add(model.square(image), labels)
    if sparse:
        labelled.spread(lambda square, known: _spread(model, square, known), SPREAD)
    needed = tuple(model.room.inference)
    state = {k: t for k, t in model.room.state_dict().items() if k.startswith(needed)}
    start = {k: t.detach().cpu().clone() for k, t in state.items()} if plan.keeps else {}
    return Lesson(recipe, labelled, plan.groups, start)


def _spread(model: Model, square: NDArray[np.uint8], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """(G, S, S): the run's regions with the scribbles on top, drawn along the photo's colours by the dense CRF."""
    from decoupe.crf import sharpen
    from decoupe.types import Regions

    own = model.predict(square[None])[0]
    if own.shape[0] != len(known):
        raise Fault(f"{len(known)} regions", str(own.shape[0]), "use the run's own names")
    drawn = known.sum(0) > 0.25
    sure = np.where(known == known.max(0), SURE, (1 - SURE) / max(1, len(known) - 1)).astype(np.float32)
    probs = np.where(drawn, sure / sure.sum(0), own)
    return sharpen(Regions(probs, model.names), square.transpose(1, 2, 0), "krahenbuhl").probs


def _digest(model: Model, taught: Sequence[Given]) -> str:
    """Of the weights that training starts from and the masks it learns."""
    sums = hashlib.sha256(str(model.run.info["files"]["weights.safetensors"]).encode())
    for one in taught:
        sums.update(one.path.name.encode(errors="surrogatepass"))
        sums.update(np.ascontiguousarray(one.labels()).astype(np.int16).tobytes())
    return sums.hexdigest()


# ---------------------------------------------------------------------- the run


def _create(path: Any, model: Model, plan: Plan, settings: dict[str, Any], command: str | None) -> Run:
    run = Run.create(path, plan.room if path is not None else f"{plan.room}-refined")
    config = dataclasses.asdict(plan.config)
    about = {"from": str(model.run.path), "labelled": settings["refine"]["labelled"]}
    run.commit(
        room=plan.room, config=config, spec=dataclasses.asdict(plan.spec), settings=settings, seed=settings["seed"],
        command=command, precision="fp32", devices=1, refined=about, **about_machine(),
    )  # fmt: skip
    if plan.keeps:
        run.set_names(model.run.names, model.run.merges, model.run.colours)
    else:
        run.set_names(plan.config.names)
    return run


def taught_by(run: Run) -> dict[str, Any]:
    """What a refined run says of its lesson. UsageFault where it is none."""
    before: dict[str, Any] | None = (run.info.get("settings") or {}).get("refine")
    if before is None:
        raise UsageFault(f"a refined run at {run.path}", "another", f"use `decoupe fit {run.info['room']} --resume`")
    return before


def _reopen(path: Any, settings: dict[str, Any]) -> Run:
    if path is None:
        raise UsageFault("--run DIR with --resume", "none", "name the run to go on with")
    run = Run.open(path, verify=False)
    before = taught_by(run)
    if before["lesson"] != settings["refine"]["lesson"]:
        raise Fault("the masks and the run that this began with", "others", "restore them, or start a new --run")
    return going_on(run, settings)


def _train(run: Run, lesson: Lesson, reporter: Reporter, started: float, resume: bool) -> Model:
    settings = run.info["settings"]
    entry = ROOMS[run.info["room"]]
    config = read_config(entry.config(), run.info["config"], "run.json")
    reporter.header(f"refine {run.info['refined']['from']} with {len(lesson.labelled)} labelled photos", str(run.path))
    data = prepare.training_data(settings, config, reporter, run.info["room"] == "student")
    if data.training.spec.channels != run.info["spec"]["channels"]:
        bands = f"{data.training.spec.channels} bands"
        raise Fault(f"photos of {run.info['spec']['channels']} bands", bands, "use photos like those of the run")
    run.commit(data=data.about, status="training")
    torch.manual_seed(settings["seed"])
    kind = refined(entry.room(), _as_recorded(lesson, settings))
    room: Room = kind(config, DataSpec(**run.info["spec"]))
    loop = Loop(
        room, data.training, run, reporter, World(), batch=_batch(config, len(data.training.images)),
        seed=settings["seed"], budget=budget(settings), started=started, device=torch.device("cpu"),
    )  # fmt: skip
    trouble = carry_out(loop, resume)
    if trouble is not None:
        raise Collapsed("training to stay healthy", trouble, "try a smaller --lr, or a larger --keep")
    return Model(Run.open(run.path))


def _as_recorded(lesson: Lesson, settings: Mapping[str, Any]) -> Lesson:
    """With the settings that the run began with."""
    given = settings["refine"]
    return dataclasses.replace(lesson, recipe=dataclasses.replace(lesson.recipe, lr=given["lr"], keep=given["keep"]))


def _batch(config: Any, count: int) -> int:
    """The room's batch, at least 8 and no more than there are photos."""
    return max(2, min(max(8, int(getattr(config, "batch", 16))), count))
