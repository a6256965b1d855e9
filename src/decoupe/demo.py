"""`decoupe demo`: the whole way on built-in images, from fit to report, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from decoupe import console
from decoupe.errors import UsageFault

TRAIN, GROUNDS, UNSEEN, SIZE = 2_000, 500, 200, 64
"""Images to learn from, empty grounds to paste on, images to score on, their side in px."""
BASELINES = ("kmeans-lab", "kmeans-1x1", "otsu", "grabcut", "ellipse")
"""Label-free references that are scored beside the room."""


def demo(out: str | Path | None = None, minutes: float = 5.0) -> Path:
    """Make images, fit, segment and score unseen ones, write the report; returns the run folder.

    `minutes` bounds the training; everything else takes about half a minute. UsageFault if `out` has content.
    """
    folder = _new_folder(out)
    photos, held_out = folder / "photos", folder / "unseen"
    _make_images(photos, held_out)
    run = _fit(photos, folder / "run", minutes)
    written = _segment(run, held_out / "images", folder / "masks")
    rows = _score(run, photos, held_out, folder / "baselines")
    from decoupe.report import report

    page = report(run)
    _close(rows, page, folder, written)
    return run


def _new_folder(out: str | Path | None) -> Path:
    if out is None:
        return next(path for n in range(1, 1_000_000) if not (path := Path("runs") / f"demo-{n}").exists())
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageFault("--out to be a new or empty folder", f"{folder} with content", "choose another name")
    return folder


def _make_images(photos: Path, held_out: Path) -> None:
    """Training images without their truth; unseen ones, from another seed, with it."""
    from PIL import Image

    from decoupe.data.synthetic import background_photos, write

    write(photos, "objects", TRAIN, SIZE, seed=0, truth=False)
    (photos / "grounds").mkdir()
    for number, ground in enumerate(background_photos(GROUNDS, seed=2, size=SIZE)):
        Image.fromarray(ground).save(photos / "grounds" / f"{number:06d}.png")
    write(held_out, "objects", UNSEEN, SIZE, seed=1)
    console.line(f"built-in objects: {TRAIN:,} images, {SIZE} px, no labels used      {photos}/images")


def _fit(photos: Path, run: Path, minutes: float) -> Path:
    from decoupe.fit import fit

    reporter = console.reporter()
    rounds = 5  # longer and more rounds were measured to be worse: .83 after 13 minutes and 10 rounds, .86 after 5
    given = f"--images {photos / 'images'} --backgrounds {photos / 'grounds'} --members 1 --rounds {rounds}"
    command = f"decoupe fit independence {given} --run {run} --minutes {minutes:g} --preset cpu"
    try:
        fit(
            "independence",
            photos / "images",
            backgrounds=photos / "grounds",
            run=run,
            minutes=minutes,
            preset="cpu",
            members=1,
            rounds=rounds,
            command=command,
            reporter=reporter,
        )
    finally:
        if isinstance(reporter, console.Bars):
            reporter.close()
    return run


def _segment(run: Path, images: Path, out: Path) -> Mapping[str, Any]:
    from decoupe.segment import segment

    with console.counting("segment") as progress:
        return segment(run, images, out, ("png", "overlay", "csv", "coco"), progress=progress)


def _score(run: Path, photos: Path, held_out: Path, folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """(title, row) of the room's three selections and of each baseline, all on the same unseen images."""
    from decoupe.evaluate.run import evaluate
    from decoupe.fit import fit

    data = f"synth:{held_out}"
    rows = [(f"independence ({row['selection']})", row) for row in evaluate(run, data)["results"]]
    for kind in BASELINES:
        with console.counting(kind):
            fit("baselines", photos / "images", run=folder / kind, kind=kind, size=SIZE)
            found = evaluate(folder / kind, data)["results"]
        rows += [(kind, row) for row in found if row["selection"] == "selected"]
    return rows


def _close(rows: Sequence[tuple[str, Mapping[str, Any]]], page: Path, folder: Path, written: Mapping[str, Any]) -> None:
    """The closing block: scores, where to look, what to do next."""
    console.line()
    console.table(
        console.score_table([row for _, row in rows], [title for title, _ in rows], f"{UNSEEN} unseen images")
    )
    console.line()
    console.line(f"  look   {page}")
    console.line(f"         {written['out']}/  masks, overlays, measures.csv, coco.json")
    console.line("  next   decoupe fit independence --images YOUR_FOLDER")
    console.line(f"         everything above is in {folder}/ and may be deleted")
