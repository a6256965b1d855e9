"""Embeddings of a folder: what a run has learned about each image, as numbers in one .npz file.

Memory does not grow with the number of images: rows are appended to a plain file per kind and packed at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import MAX_PIXELS, decode
from decoupe.data.sources import Item, find
from decoupe.engine.files import sync_folder
from decoupe.errors import Fault, UsageFault
from decoupe.export.jobs import names_of
from decoupe.pipeline import BATCH, REDUCED

if TYPE_CHECKING:
    from decoupe.model import Model

MARK = b"decoupe embeddings"
"""Comment of the archives written here: only such a file is ever replaced."""
FILES = "files"
"""Name of the array of file names."""
Square = NDArray[np.uint8]


def embed(
    run: Any,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    kind: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Write the embeddings of every image of `source` to the archive `out`.

    run: a loaded `Model`, a run, or its path. source: folder, glob, file, CSV manifest or list. kind: one kind of
    embedding, None = all that the room has. progress: called with (done, total). max_pixels: larger images are left
    out. The archive holds `files`, (N,) names as in the other exports, and per kind a float32 (N, D) array; it is
    there only when it is complete.

    Returns {"out", "images", "written", "problems": [{"path", "reason"}], "kinds": {name: D}, "seconds",
    "images_per_s"}. Fault if the room has no embeddings, if no image could be used, or if `out` is not ours to write.
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise UsageFault("--out FILE.npz", repr(str(out)), "give it the ending .npz")
    from decoupe.model import loaded

    model = loaded(run)
    kinds = _kinds(model, kind)
    items = find(source)
    _check_out(out, source, items)
    started = time.perf_counter()
    names = names_of(source, items)
    work = _Work(model, list(kinds), max_pixels)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            kept = work.run(items, Path(folder), progress)
            if not kept:
                first = work.problems[0]
                raise Fault(
                    "at least one image that can be read", f"{first['path']}: {first['reason']}",
                    "run decoupe data check",
                )  # fmt: skip
            _pack(Path(folder), out, [names[i] for i in kept], kinds)
    except OSError as error:
        raise Fault(f"to write {out}", error.strerror or str(error), "free space or choose another --out") from error
    seconds = time.perf_counter() - started
    return {
        "out": str(out),
        "images": len(items),
        "written": len(kept),
        "problems": work.problems,
        "kinds": kinds,
        "seconds": round(seconds, 3),
        "images_per_s": round(len(kept) / max(seconds, 1e-9), 2),
    }


def _check_out(out: Path, source: Any, items: Sequence[Item]) -> None:
    """Fault if `out` has no folder, is a file of another origin, or would be taken for a photo next time."""
    if not out.parent.is_dir():
        raise Fault(f"the folder of --out {out}", "none there", "create it first")
    place = out.resolve()
    folders = [Path(s) for s in ([source] if isinstance(source, str | Path) else source) if Path(s).is_dir()]
    if any(folder.resolve() in place.parents for folder in folders) or place in {i.path.resolve() for i in items}:
        raise Fault("--out apart from the photos", f"{out}, which lies among them", "choose another folder")
    if out.exists() and not _ours(out):
        raise Fault("--out to be new, or embeddings of decoupe", f"{out} of another origin", "choose another name")


def _ours(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == MARK
    except (OSError, zipfile.BadZipFile):
        return False


def _kinds(model: Model, kind: str | None) -> dict[str, int]:
    """Kind -> length of its vectors, those asked for. UsageFault if the room has no such kind."""
    blank = np.zeros((2, model.spec.channels, model.spec.size, model.spec.size), np.uint8)
    known = {name: values.shape[1] for name, values in model.embed_squares(blank).items()}
    if kind is None:
        return known
    if kind not in known:
        raise UsageFault(f"--kind {'|'.join(known)}", repr(kind), "choose one of these, or leave it out for all")
    return {kind: known[kind]}


class _Work:
    """Decodes, embeds and appends, a batch at a time."""

    def __init__(self, model: Model, kinds: Sequence[str], max_pixels: int) -> None:
        self.model, self.kinds, self.max_pixels = model, kinds, max_pixels
        self.problems: list[dict[str, str]] = []

    def run(self, items: Sequence[Item], folder: Path, progress: Callable[[int, int], None] | None) -> list[int]:
        """Append the rows of all readable items to `folder`/<index of kind>; returns their positions in `items`."""
        kept: list[int] = []
        workers = max(1, min(16, len(os.sched_getaffinity(0))))
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(workers))
            files = [stack.enter_context((folder / str(n)).open("wb")) for n in range(len(self.kinds))]
            for start in range(0, len(items), BATCH):
                part = items[start : start + BATCH]
                squares = list(pool.map(self._square, part))
                good = [n for n, square in enumerate(squares) if square is not None]
                kept += [start + n for n in good]
                self._append([square for square in squares if square is not None], files)
                if progress is not None:
                    progress(min(start + BATCH, len(items)), len(items))
        self.problems.sort(key=lambda problem: problem["path"])
        return kept

    def _square(self, item: Item) -> Square | None:
        """The image as the network sees it; None, and a problem noted, if it cannot be read."""
        hint = REDUCED * self.model.spec.size
        try:
            looked = decode(item.path, max_pixels=self.max_pixels, frame=item.frame, hint=hint)
            return self.model.square(looked.pixels)
        except Fault as fault:
            self.problems.append({"path": str(item.path), "reason": getattr(fault, "reason", fault.got)})
            return None

    def _append(self, squares: Sequence[Square], files: Sequence[IO[bytes]]) -> None:
        """Embed a batch, filled up so that no result depends on how many there are."""
        if not squares:
            return
        batch = np.stack([squares[min(row, len(squares) - 1)] for row in range(BATCH)])
        found = self.model.embed_squares(batch)
        for name, file in zip(self.kinds, files, strict=True):
            file.write(np.ascontiguousarray(found[name][: len(squares)], dtype="<f4").tobytes())


def _pack(folder: Path, out: Path, names: Sequence[str], kinds: dict[str, int]) -> None:
    """The archive, written beside its place and renamed when it is whole."""
    whole = folder / "whole.npz"
    with whole.open("wb") as raw:
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
            archive.comment = MARK
            with archive.open(_entry(FILES), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(names, np.str_), allow_pickle=False)
            for index, (name, width) in enumerate(kinds.items()):
                with (
                    archive.open(_entry(name), "w", force_zip64=True) as file,
                    (folder / str(index)).open("rb") as rows,
                ):
                    about = {"descr": "<f4", "fortran_order": False, "shape": (len(names), width)}
                    np.lib.format.write_array_header_2_0(file, about)
                    shutil.copyfileobj(rows, file, 1 << 20)
        raw.flush()
        os.fsync(raw.fileno())
    whole.replace(out)
    sync_folder(out.parent)


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
