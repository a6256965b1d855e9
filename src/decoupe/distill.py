"""From a run with masks to a small fast network with sharper ones: the room `student`, taught by that run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decoupe.engine.progress import Reporter
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, UsageFault
from decoupe.fit import Images, fit
from decoupe.methods.student.teacher import Teacher
from decoupe.model import Model

SOURCES = ("images", "split", "boxes", "backgrounds", "max_pixels")
"""Settings of a teacher that say what its photos were."""


def distill(
    teacher: str | Path,
    *,
    run: str | Path | None = None,
    images: Images | None = None,
    size: int | None = None,
    images_seen: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    resume: bool = False,
    command: str | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> Model:
    """Distil the run `teacher` into a new run and return its model; afterwards the teacher is not needed.

    images: photos to learn on, without labels; None = those the teacher was trained on, with its boxes and backgrounds.
    size: side of the student's images; None = the teacher's. options: fields of the Config of the room `student`
    (`rounds`, `width`, `recomposed`, ...) and of `fit` (`precision`, `devices`). Regions, names and merges are the
    teacher's. `resume` goes on with the run at `run`, bit for bit, if `teacher` is what taught it so far.
    Fault if the teacher has no masks, if its photos are gone, or if it has changed since; Interrupted after Ctrl-C.
    """
    given: dict[str, Any] = {"run": run, "images_seen": images_seen, "minutes": minutes, "reporter": reporter}
    if resume:
        _same_teacher(teacher, run)
        return fit("student", resume=True, **given)
    source = {"images": images} if images is not None else photos_of(Run.open(teacher))
    size = size or int(Run.open(teacher).info["spec"]["size"])
    return fit(
        "student", **source, **given, **options, size=size, seed=seed, command=command, teacher=str(teacher)
    )  # fmt: skip


def photos_of(teacher: Run) -> dict[str, Any]:
    """The settings that name the teacher's photos. Fault if one of them is gone."""
    settings = teacher.info.get("settings") or {}
    found = {key: settings.get(key) for key in SOURCES}
    for key in ("images", "boxes", "backgrounds"):
        value = found[key]
        for path in value if isinstance(value, list) else [value]:
            if path is not None and not _is_there(str(path)):
                raise Fault(
                    f"the {key} that {teacher.path} was trained on",
                    f"none at {path}",
                    "go to the folder the teacher was trained in, or name photos with --images PATH",
                )
    return found


def _is_there(path: str) -> bool:
    """Whether a folder, file, glob, or NAME:PATH leads to anything."""
    import glob

    if Path(path).exists() or glob.glob(path, recursive=True):
        return True
    name, colon, rest = path.partition(":")
    return bool(colon) and name.isidentifier() and Path(rest).exists()


def _same_teacher(teacher: str | Path, path: str | Path | None) -> None:
    """Fault unless the run at `path` was taught by `teacher` as it is now."""
    if path is None:
        raise UsageFault("--run DIR with --resume", "none", "name the run to go on with")
    run = Run.open(path, verify=False)
    config = run.info.get("config") or {}
    if run.info["room"] != "student":
        raise UsageFault(f"a student at {path}", f"a run of {run.info['room']}", f"use `fit {run.info['room']}`")
    if Teacher.open(str(teacher)).digest != config.get("digest"):
        raise Fault(
            f"{teacher} to be the teacher of {path} as it was when that began",
            "another run, or other merges",
            f"restore it, or start a new --run (it was {config.get('teacher')})",
        )
