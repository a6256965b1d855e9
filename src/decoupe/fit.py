"""From a folder of photos to a finished run: survey, cache, train, choose, write."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from decoupe.data import prepare
from decoupe.engine import launch, selection
from decoupe.engine.keeper import RESTARTS, GaveUp
from decoupe.engine.launch import World
from decoupe.engine.loop import Loop
from decoupe.engine.progress import Reporter, Silent
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors, pack_tensors
from decoupe.errors import Collapsed, Fault, Interrupted, UsageFault
from decoupe.methods import ROOMS
from decoupe.methods.config import in_range, read_config
from decoupe.methods.room import Room
from decoupe.model import Model, build_room

Images = str | Path | Sequence[str | Path]


def fit(
    room: str,
    images: Images | None = None,
    *,
    split: str | None = None,
    run: str | Path | None = None,
    boxes: str | Path | None = None,
    backgrounds: str | Path | None = None,
    tags: str | Path | None = None,
    size: int | None = None,
    images_seen: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    preset: str | None = None,
    precision: str | None = None,
    devices: int = 1,
    max_pixels: int | None = None,
    restarts: int = RESTARTS,
    resume: bool = False,
    command: str | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> Model:
    """Fit `room` to `images` (folder, glob, file, CSV, list, or NAME:PATH) and return the selected model.

    `tags`: for rooms that learn from them, a CSV with the columns image,tags, or NAME:PATH of a layout that has tags.
    `split`: which images of NAME:PATH: "train" = all but the val and test splits, None = all, or a split by name.
    `options` are fields of the room's Config on top of its `preset`. Training stops at the first of `images_seen`
    and `minutes`; without either it sees the room's default number of images. `resume` goes on with the run at `run`
    with its recorded settings, bit for bit as if it had never stopped; a run that has not finished may be given a
    larger budget. After a collapse training is rolled back and goes on with a new seed, at most `restarts` times.
    Collapsed if that did not help (the run folder is complete and can be studied, but has no weights to use),
    Fault if the input cannot be used, Interrupted after Ctrl-C or SIGTERM (everything is saved).
    """
    started = time.monotonic()
    here = launch.world()
    settings = {
        "images": _portable(images), "split": split, "boxes": _portable(boxes), "backgrounds": _portable(backgrounds),
        "tags": _portable(tags),
        "size": size, "images_seen": images_seen, "minutes": minutes, "seed": seed, "preset": preset,
        "precision": precision, "max_pixels": max_pixels, "restarts": restarts,
        "options": options,
    }  # fmt: skip
    _check_budget(images_seen, minutes, precision, devices)
    in_range("restarts", restarts, 0, 1000)
    if devices > 1 and here.size == 1:
        return _fit_in_processes(devices, room, settings, run, resume, command, reporter is not None)
    reporter = reporter if reporter is not None and here.first else Silent()
    launch.join(here)
    resume = bool(launch.share_text("resume" if resume or _restarted(run) else "", here))
    if resume:
        opened = _reopen(run, room, settings)
    else:
        opened = _create(run, room, settings, command, here)
    if here.first:
        with opened.lock():
            return _fit(opened, reporter, here, started, resume)
    return _fit(opened, reporter, here, started, resume)


def _restarted(run: Any) -> bool:
    """Whether torchrun starts this once more after a process died: the run that was begun goes on then."""
    if run is None or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return False
    try:
        return "settings" in Run.open(run, verify=False).info
    except Fault:
        return False


def _portable(value: Any) -> Any:
    """Paths as text, so that settings can be written to run.json and sent to other processes."""
    if value is None or isinstance(value, str):
        return value
    return [str(v) for v in value] if isinstance(value, Sequence) else str(value)


def _check_budget(images_seen: int | None, minutes: float | None, precision: str | None, devices: int) -> None:
    in_range("images_seen", images_seen, 1, 1e12)
    in_range("minutes", minutes, 1e-3, 1e6)
    in_range("devices", devices, 1, 1024)
    if precision not in (None, "bf16", "fp32"):
        raise UsageFault("--precision bf16 or fp32", repr(precision), "choose one, or leave it out to have it measured")


def _fit_in_processes(
    devices: int, room: str, settings: dict[str, Any], run: Any, resume: bool, command: str | None, talk: bool
) -> Model:
    """Start `devices` processes of this machine, each of which comes back to `fit`."""
    if run is None:
        run = Run.create(None, room).path
        (run / "run.json").unlink()
    options = settings.pop("options")
    job = settings | options | {"room": room, "run": str(run), "resume": resume, "command": command}
    code = launch.spawn(devices, job, talk)
    if code == launch.COLLAPSED:
        raise _collapsed(Run.open(run))
    if code:
        counters = Run.open(run).info.get("checkpoint", "0-").split("/")[1].split("-")[0]
        raise Interrupted(int(counters), f"decoupe fit {room} --run {run} --resume --devices {devices}")
    return Model(Run.open(run))


def _config(room: str, settings: Mapping[str, Any]) -> Any:
    """The room's Config: preset, then options. UsageFault on an unknown preset."""
    if room not in ROOMS:
        raise UsageFault(f"a room ({', '.join(ROOMS)})", repr(room), "see `decoupe methods`")
    kind, presets = ROOMS[room].config(), ROOMS[room].presets()
    name = settings["preset"]
    if name is not None and name not in presets:
        raise UsageFault(
            f"a preset of {room} ({', '.join(presets) or 'it has none'})", repr(name), "choose one of these"
        )
    base = dataclasses.asdict(presets[name] if name is not None else kind())
    given = dict(settings["options"])
    if settings["size"] is not None:
        given["size"] = settings["size"]
    return ROOMS[room].complete(read_config(kind, base | given, f"the options of {room}"))


def _create(path: Any, room: str, settings: dict[str, Any], command: str | None, here: World) -> Run:
    config = _config(room, settings)
    if settings["images"] is None:
        raise UsageFault("--images PATH", "none", "name a folder of photos, a glob, a CSV manifest or NAME:PATH")
    where = ""
    if here.first:
        run = Run.create(path, room)
        run.commit(
            config=dataclasses.asdict(config),
            settings=settings,
            seed=settings["seed"],
            command=command or _call(room, settings),
            precision=settings["precision"],
            devices=here.size,
            **about_machine(),
        )
        where = str(run.path.resolve())
    return Run.open(launch.share_text(where, here), verify=False) if here.size > 1 else run


def _reopen(path: Any, room: str, settings: dict[str, Any]) -> Run:
    if path is None:
        raise UsageFault("--run DIR with --resume", "none", "name the run to go on with")
    run = Run.open(path, verify=False)
    if run.info["room"] != room:
        raise UsageFault(f"a {room} run at {path}", f"one of {run.info['room']}", f"use `fit {run.info['room']}`")
    if "refined" in run.info:
        raise UsageFault(f"a run of decoupe fit at {path}", "one that was refined", "use `refine ... --resume`")
    if "settings" not in run.info:
        raise Fault(
            f"a run that had begun at {path}", "one stopped before it wrote anything", "delete it and start anew"
        )
    return going_on(run, settings)


def going_on(run: Run, settings: Mapping[str, Any]) -> Run:
    """The run with the settings it began with, but the budget of `settings` where that has one."""
    budget = {name: settings[name] for name in ("images_seen", "minutes") if settings[name] is not None}
    run.info["settings"] = run.info["settings"] | budget
    return run


def _call(room: str, settings: Mapping[str, Any]) -> str:
    given = {k: v for k, v in (settings | settings["options"]).items() if v is not None and k != "options"}
    return f"decoupe.fit({', '.join([repr(room), *(f'{k}={v!r}' for k, v in given.items())])})"


def _versions() -> dict[str, str]:
    packages = ("decoupe", "torch", "lightning-fabric", "numpy", "scipy", "pillow", "safetensors")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def about_machine() -> dict[str, Any]:
    """What run.json keeps of the machine: versions of packages, and the hardware in words."""
    return {"versions": _versions(), "hardware": _hardware()}


def _hardware() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"CPU, {torch.get_num_threads()} threads"


def _fit(run: Run, reporter: Reporter, here: World, started: float, resume: bool) -> Model:
    """The work itself, with the run's recorded settings."""
    settings, config = (
        run.info["settings"],
        read_config(ROOMS[run.info["room"]].config(), run.info["config"], "run.json"),
    )
    device = torch.device("cuda", here.local_rank) if torch.cuda.is_available() else torch.device("cpu")
    reporter.header(f"decoupe {_versions()['decoupe']} · {_hardware()} · torch {torch.__version__}", str(run.path))
    with launch.first_goes_first(here):
        entry = ROOMS[run.info["room"]]
        own = entry.training(config)
        if own is None:
            data = prepare.training_data(settings, config, reporter, entry.wants_backgrounds, entry.wants_tags)
        else:
            data = own(settings, config, reporter)
    _record_data(run, data, here, resume)
    torch.manual_seed(settings["seed"])
    room = build_room(run.info["room"], run.info["config"], run.info["spec"], "run.json")
    loop = Loop(
        room, data.training, run, reporter, here,
        batch=_batch(config, here), seed=settings["seed"], budget=budget(settings),
        started=started, device=device, restarts=settings.get("restarts", RESTARTS),
    )  # fmt: skip
    trouble = carry_out(loop, resume)
    if trouble is not None:
        raise _collapsed(run, trouble)
    return Model(Run.open(run.path), device=str(device))


def budget(settings: Mapping[str, Any]) -> tuple[int | None, float | None]:
    """(images, seconds) after which training ends; None: no such limit."""
    return settings["images_seen"], None if settings["minutes"] is None else settings["minutes"] * 60


def carry_out(loop: Loop, resume: bool) -> str | None:
    """Train, then `finish`; returns how training collapsed for good, or None if it did not."""
    trouble = None
    try:
        loop.train(resume)
    except GaveUp as gave_up:
        trouble = str(gave_up)
    if loop.here.first:
        trouble = finish(loop.run, loop, loop.reporter, trouble)
    return launch.share_text(trouble or "", loop.here) or None  # the others wait until everything is written


def _collapsed(run: Run, trouble: str | None = None) -> Collapsed:
    words = trouble or str(run.info["health"]["sentence"]).removeprefix("collapsed: ").partition(";")[0]
    remedy = f"see {run.path}/report.html; try another --preset, more images or a larger --size"
    return Collapsed("training to stay healthy", words, remedy)


def _batch(config: Any, here: World) -> int:
    """The share of the effective batch that falls to this process. Fault if it does not divide."""
    batch = int(getattr(config, "batch", 1))
    if batch % here.size:
        raise Fault(
            f"a batch divisible by {here.size} processes", str(batch), f"set --batch to a multiple of {here.size}"
        )
    return batch // here.size


def _record_data(run: Run, data: prepare.Prepared, here: World, resume: bool) -> None:
    about = data.about
    before = run.info.get("data")
    if resume and before and before["fingerprint"] != about["fingerprint"]:
        raise Fault(
            "the images this run was trained on",
            f"other content ({about['n']} images now, {before['n']} then)",
            "restore them, or start a new --run",
        )
    key = "backgrounds_fingerprint"
    if resume and before and before.get(key) != about.get(key):
        raise Fault("the backgrounds this run was trained on", "other content", "restore them, or start a new --run")
    if here.first:
        run.commit(data=about, spec=dataclasses.asdict(data.training.spec), status="training")
    run.info["spec"] = dataclasses.asdict(data.training.spec)


def finish(run: Run, loop: Loop, reporter: Reporter, trouble: str | None) -> str | None:
    """Choose without labels, write weights.safetensors and names.json, say what was found, write the report.

    `trouble`: how training collapsed for good; then nothing is chosen, unless an earlier stage stands in, and the run
    says so. Returns it if there are no masks to use.
    """
    from decoupe.report import report

    room: Room = loop.room
    candidates = run.candidates()
    chosen = selection.choose(candidates, room.REACH) if trouble is None else None
    spare = selection.stand_in(candidates, {s.name for s in room.stages() if s.spare}, chosen, trouble)
    if spare is not None:
        chosen, trouble = spare[0], None
    healthy = chosen is not None or (trouble is None and not candidates)
    if trouble is None and candidates and chosen is None:  # too short to judge: the last one, and say so
        chosen = candidates[-1]
    about = {"room": run.info["room"], "config": run.info["config"], "spec": run.info["spec"]}
    if trouble is None:
        source = chosen and run.verify(str(chosen.path.relative_to(run.path)))
        tensors = load_tensors(source)[0] if source else loop.weights()
        kept = {k: t for k, t in room.state_dict().items() if room.kept and k.startswith(room.kept)}
        run.write_bytes("weights.safetensors", pack_tensors(kept | tensors, about))
    restarts = loop.counters.restarts
    first = restarts[0]["images"] if restarts else None if trouble is None else loop.counters.images
    sentence = selection.sentence(trouble, len(restarts), chosen, healthy, spare and spare[1])
    run.commit(
        status="done" if trouble is None else "collapsed",
        finished=datetime.now().astimezone().isoformat(timespec="seconds"),
        seconds=round(loop.counters.seconds, 1),
        images_seen=loop.counters.images,
        selection=None if chosen is None else {"images": chosen.images, "score": chosen.score},
        health={
            "healthy": healthy,
            "restarts": restarts,
            "sentence": sentence,
            "collapsed_at": first,
            "fell_back": spare and spare[1],
        },
    )
    if not run.names:
        run.set_names(room.regions)
    report(run)
    reporter.done(sentence)
    return trouble


def shell_command() -> str:
    """The command line that started this process, quoted for a shell, without the path of the program."""
    return shlex.join(["decoupe", *sys.argv[1:]])
