"""The words of a report: what was found, whether to trust it, how it was made, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from decoupe.engine.runfolder import Run
from decoupe.export.palette import is_background
from decoupe.methods import ROOMS
from decoupe.report.scores import Table
from decoupe.report.words import figure, listed, without_folders

GOOD, FAIR = 0.75, 0.5
"""IoU above which masks are called good, and usable with care."""


@dataclass(frozen=True)
class Verdict:
    """The first thing a reader sees."""

    kind: str
    """good, look or bad."""
    word: str
    found: str
    trust: str


def _found(run: Run, names: Sequence[str], shares: Sequence[float], labels: bool) -> str:
    photos = (run.info.get("data") or {}).get("n")
    where = f" in each of {photos:,} photos" if isinstance(photos, int) else ""
    where = " in one image" if _alone(run) else where
    things = [name for name in names if not is_background(name)]
    what = f"up to {len(names)} regions ({listed(list(names))})"
    if len(names) == 2 and len(things) == 1:
        what = f"one kind of {things[0]}"
    share = ""
    if len(shares) == len(names) == 2:
        covered = sum(s for s, name in zip(shares, names, strict=True) if not is_background(name))
        share = f", covering {covered:.0%} of the image on average"
    ending = "It was fitted with labels." if labels else "No pixel labels were used."
    return f"The method {run.info.get('room')} found {what}{where}{share}. {ending}"


def _alone(run: Run) -> bool:
    """Whether the run was made on one image of many things."""
    return (run.info.get("config") or {}).get("task") == "cluster"


def verdict(run: Run, names: Sequence[str], shares: Sequence[float], tables: Sequence[Table]) -> Verdict:
    """What was found and whether to trust it, from health, scores with labels if there are any, else without."""
    info = run.info
    health = info.get("health") or {}
    labels = bool((info.get("config") or {}).get("labels")) or any(t.own is not None and t.own.note for t in tables)
    found = _found(run, names, shares, labels)
    if info.get("status") == "collapsed" or health.get("healthy") is False:
        sentence = str(health.get("sentence", "training collapsed"))
        return Verdict("bad", "Do not use these masks", found, f"{sentence[:1].upper()}{sentence[1:]}.")
    if info.get("status") != "done":
        return Verdict("look", "Not finished", found, "Training has not finished: what follows may still change.")
    table = next((t for t in tables if t.own is not None and t.own.value is not None), None)
    if table is not None:
        return _scored(found, table)
    score = (info.get("selection") or {}).get("score")
    where = "the numbered image" if _alone(run) else "the worst photos"
    told = f"No labels were at hand, so nothing here is measured against the truth: look at {where} below."
    if health.get("fell_back"):
        sentence = str(health.get("sentence"))
        return Verdict("look", "An earlier stage stands in", found, f"{sentence[:1].upper()}{sentence[1:]}. {told}")
    trained = "Training recovered from a collapse" if health.get("restarts") else "Training stayed healthy"
    entry = ROOMS.get(str(info.get("room")))
    doubtful = None if entry is None else entry.room().DOUBTFUL
    if not isinstance(score, float) or doubtful is None:
        return Verdict("look", "Plausible, not measured", found, f"{trained}. {told}")
    least, why = doubtful
    if score < least:
        low = f"The label-free score is low ({figure(score)}): {why}. "
        return Verdict("bad", "Doubtful: look before use", found, low + told)
    high = f"{trained} and the label-free score is {figure(score)}. "
    return Verdict("look", "Plausible, not measured", found, high + told)


def _scored(found: str, table: Table) -> Verdict:
    own, rival = table.own, table.rival
    if own is None or own.value is None:
        raise ValueError("a table with a value of the run itself")
    interval = f" (95 % interval {figure(own.low)} to {figure(own.high)})" if own.low is not None else ""
    told = f"On {table.title}, the {table.metric} is {figure(own.value)}{interval}"
    behind = rival is not None and (rival.value or 0) >= own.value
    if rival is not None:
        gap = f"{abs(own.value - (rival.value or 0)):.2f}".lstrip("0")
        told += f", {gap} {'below' if behind else 'above'} the best label-free baseline ({rival.title})"
    if own.value >= GOOD and not behind:
        return Verdict("good", "Good masks", found, f"{told}. Trust them in general; glance at the worst below.")
    if own.value >= FAIR and not behind:
        return Verdict("look", "Usable with care", found, f"{told}. Expect visible mistakes; see the worst below.")
    why = f"{rival.title} does as well or better" if behind and rival is not None else "more is wrong than right"
    return Verdict("bad", "Do not rely on these masks", found, f"{told}: {why}.")


def made(run: Run) -> list[tuple[str, str]]:
    """How the run was made: (what, value)."""
    info = run.info
    data, spec = info.get("data") or {}, info.get("spec") or {}
    versions = info.get("versions") or {}
    seconds = info.get("seconds")
    took = (
        ""
        if not isinstance(seconds, int | float)
        else f"{seconds / 60:.1f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )
    seen = info.get("images_seen")
    rows = [
        ("Command", without_folders(str(info.get("command", "")))),
        ("Method", str(info.get("room", ""))),
        ("Seed", str(info.get("seed", ""))),
        ("Photos", " · ".join(str(part) for part in (data.get("source"), data.get("survey")) if part)),
        ("Left out", str(data["skipped"]) if data.get("skipped") else ""),
        ("Backgrounds", str(data.get("backgrounds") or "").removeprefix("backgrounds: ")),
        ("Network size", f"{spec.get('size')} px, {spec.get('channels')} bands" if spec else ""),
        (
            "Training",
            ", ".join(part for part in (f"{seen:,} images seen" if isinstance(seen, int) else "", took) if part),
        ),
        ("Hardware", ", ".join(str(part) for part in (info.get("hardware"), info.get("precision")) if part)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("Finished", str(info.get("finished") or info.get("status") or "")),
        ("Data fingerprint", str(data.get("fingerprint", ""))[:16]),
    ]
    return [(name, value) for name, value in rows if value]


def health(run: Run, rows: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """(sentence, one line per restart and per stage that stopped early)."""
    about = run.info.get("health") or {}
    told = [row for row in rows if row.get("event") in ("restart", "stopped") and row.get("message")]
    events = [f"{str(row['message'])[:1].upper()}{str(row['message'])[1:].rstrip('.')}." for row in told]
    restarts = about.get("restarts") or []
    if not any(row["event"] == "restart" for row in told):
        events += [f"At image {r.get('images', 0):,}: {r.get('trouble')}; new seed {r.get('seed')}." for r in restarts]
    sentence = str(about.get("sentence") or "not judged yet")
    return sentence[:1].upper() + sentence[1:] + ".", events


def onward(run: Run, verdict: Verdict, names: Sequence[str], measured: bool) -> list[tuple[str, str]]:
    """What to do next: (why, command)."""
    path = shlex.quote(run.path.name if run.path.is_absolute() else str(run.path))
    room = str(run.info.get("room"))
    steps: list[tuple[str, str]] = []
    if run.info.get("status") not in ("done", "collapsed"):
        steps.append(("Go on with the training", f"decoupe fit {room} --run {path} --resume"))
    if run.info.get("status") == "collapsed":
        return [("Try again with another seed and more images", f"decoupe fit {room} --images PHOTOS --seed 1")]
    formats = "png,csv,coco"
    steps.append(
        ("Masks, measures and COCO for new photos", f"decoupe segment {path} PHOTOS --out masks/ --format {formats}")
    )
    if len(names) > 2 or any(name.startswith("region") for name in names):
        steps.append(
            (
                "Give the regions names, join those that belong together",
                f"decoupe name {path} --set 0=soil --merge 1,2=crop",
            )
        )
    if not measured:
        steps.append(
            (
                "Measure it: label about 30 photos (images/ and masks/ of equal names)",
                f"decoupe evaluate {path} --data masks:LABELLED",
            )
        )
    if verdict.kind != "good" and room not in ("baselines", "student"):
        steps.append(
            ("Train longer, on more photos of the same kind", f"decoupe fit {room} --images PHOTOS --minutes 45")
        )
    if measured and room != "baselines":
        steps.append(("Put another run beside it", f"decoupe compare {path} OTHER_RUN"))
    return steps
