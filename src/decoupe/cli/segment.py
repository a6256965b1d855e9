"""`decoupe segment RUN PATH`, `decoupe name RUN`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from decoupe import console
from decoupe.cli.parser import Parser, Verb, filled, unknown, whole
from decoupe.cli.photos import largest, left_out, size_flag
from decoupe.errors import UsageFault

FORMATS = (
    "png", "overlay", "npz", "csv", "coco", "coco-panoptic", "cvat", "cvat-polygons", "labelstudio",
    "labelstudio-polygons", "voc", "tiff", "rois", "layers", "ora",
)  # fmt: skip
CRFS = ("none", "krahenbuhl", "sec-train", "sec-test", "cutler", "stego", "irn")


def formats(text: str) -> tuple[str, ...]:
    """Reader of `--format png,csv`."""
    asked = [part.strip().lower() for part in text.split(",") if part.strip()]
    for name in asked:
        if name not in FORMATS:
            raise unknown(f"--format of {', '.join(FORMATS)}", name, FORMATS, "decoupe segment --help")
    if not asked:
        raise UsageFault(f"--format of {', '.join(FORMATS)}", "none", "write --format png")
    return tuple(dict.fromkeys(asked))


def crf(text: str) -> str:
    """Reader of `--crf PRESET` and `--crf FILE.json`."""
    if text.endswith(".json"):
        return text
    name = text.strip().lower()
    if name not in CRFS:
        raise unknown(f"--crf of {', '.join(CRFS)} or FILE.json", text, CRFS, "decoupe segment --help")
    return name


def segment_flags(parser: Parser) -> None:
    """Arguments of `segment`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder that `decoupe fit` made")
    add("path", metavar="PATH", type=filled("PATH"), help="images: folder, glob, file or CSV manifest")
    add("--out", metavar="DIR", type=filled("--out"), required=True, help="folder for the masks")
    add(
        "--format",
        metavar="LIST",
        type=formats,
        default=("png",),
        help=f"any of {','.join(FORMATS)}, separated by commas (default: png)",
    )
    add(
        "--crf",
        metavar="PRESET",
        type=crf,
        help=f"sharpen masks along the photo's edges by a dense CRF: {', '.join(CRFS)}, or a file of decoupe crf fit "
        "(default: none but for tags)",
    )
    add(
        "--tile",
        metavar="PX",
        type=whole("--tile", 32, 1 << 14),
        help="segment large images by overlapping squares of PX pixels, the size of the photos of the run",
    )
    add(
        "--overlap",
        metavar="PX",
        type=whole("--overlap", 0, 1 << 13),
        help="least overlap of the squares, blended smoothly (default: a quarter of --tile)",
    )
    add(
        "--tags",
        metavar="CSV",
        type=filled("--tags"),
        help="what is in each image (columns image,tags): masks from image and tags, for runs of scene_vae",
    )
    size_flag(parser)


def segment_run(given: argparse.Namespace) -> None:
    """Segment, then say what was written and what was left out."""
    from decoupe.segment import segment

    with console.counting("images") as progress:
        done = segment(
            given.run, given.path, given.out, given.format, tile=given.tile, overlap=given.overlap, crf=given.crf,
            progress=progress, max_pixels=largest(given), tags=given.tags,
        )  # fmt: skip
    left_out(done["problems"])
    written = ", ".join(v if isinstance(v, str) else f"{v:,} {name}" for name, v in done["files"].items())
    console.line(
        f"{done['written']:,} of {done['images']:,} images  {done['images_per_s']:.0f} images/s  "
        f"{done['out']}/ ({written})"
    )
    if done["note"]:
        console.line(f"  {done['note']}")


def name_flags(parser: Parser) -> None:
    """Arguments of `name`."""
    add = parser.add_argument
    add("run", metavar="RUN", type=filled("RUN"), help="run folder that `decoupe fit` made")
    add("--set", metavar="N=NAME", type=setting, action="append", default=[], help="name region N (again for more)")
    add(
        "--merge", metavar="N,N=NAME", type=merging, action="append", default=[], help="show regions as one, named NAME"
    )
    add(
        "--join",
        metavar="N",
        type=whole("--join", 2, 64),
        help="merge regions of like neighbourhoods, without labels, until N are left (N = all of them: undo merges)",
    )
    add(
        "--images",
        metavar="PATH",
        type=filled("--images"),
        help="photos on which --join counts neighbours (default: those that the run was trained on)",
    )
    add(
        "--from-masks",
        metavar="DIR",
        type=filled("--from-masks"),
        help="images/ and masks/, or a file of an annotation tool: each region gets the class it covers most",
    )


def setting(text: str) -> tuple[int, str]:
    """Reader of `0=sky`."""
    index, equals, name = text.partition("=")
    if not equals or not index.strip().isdecimal() or not name.strip():
        raise UsageFault("--set NUMBER=NAME", repr(text), "write --set 0=sky")
    return int(index), name.strip()


def merging(text: str) -> tuple[tuple[int, ...], str]:
    """Reader of `2,3=tree`."""
    indices, equals, name = text.partition("=")
    parts = [part.strip() for part in indices.split(",")]
    if not equals or len(parts) < 2 or not all(part.isdecimal() for part in parts) or not name.strip():
        raise UsageFault("--merge NUMBER,NUMBER=NAME", repr(text), "write --merge 2,3=tree")
    return tuple(int(part) for part in parts), name.strip()


def name_run(given: argparse.Namespace) -> None:
    """Write the names; without options, show them."""
    names = _once(given.set)
    from decoupe.engine.runfolder import Run

    if given.images and given.join is None:
        raise UsageFault("--join N with --images", "none", "say how many regions to leave, or leave out --images")
    if names or given.merge or given.from_masks or given.join is not None:
        from decoupe.naming import name

        done = name(given.run, names, list(given.merge), given.from_masks, given.join, given.images)
        for sentence in done["sentences"]:
            console.line(f"  {sentence}")
    run = Run.open(given.run)
    shown = {min(group): group for group in run.merges}
    hidden = {index for group in run.merges for index in group} - set(shown)
    rows = [
        (",".join(map(str, shown.get(index, [index]))), name)
        for index, name in enumerate(run.names)
        if index not in hidden
    ]
    console.table(rows)


def _once(pairs: Sequence[tuple[int, str]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, name in pairs:
        if index in names:
            raise UsageFault(f"one name for region {index}", f"{names[index]!r} and {name!r}", "keep one --set")
        names[index] = name
    return names


SEGMENT = Verb(
    "segment", "masks of new images", "RUN PATH --out DIR [--format LIST] [--crf PRESET] [--tile PX --overlap PX]",
    segment_flags, segment_run,
)  # fmt: skip
NAME = Verb(
    "name", "name, show or merge the regions of a run",
    "RUN [--set N=NAME] [--merge N,N=NAME] [--join N [--images PATH]] [--from-masks DIR]", name_flags, name_run,
)  # fmt: skip
