"""From what the user points at (folder, glob, file, list, CSV manifest) to a list of images."""

from __future__ import annotations

import csv
import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from decoupe.data.keys import keys
from decoupe.data.paths import MARKER, inside
from decoupe.data.sniff import kind, link_words
from decoupe.errors import Fault

READ = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp"]
    + [".ppm", ".pgm", ".pbm", ".pnm", ".npy", ".npz"]
)
"""Suffixes taken for images."""

NAMED = frozenset(
    [".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".exr", ".tga", ".ico"]
    + [".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"]
)
"""Suffixes of images that cannot be read: still listed, so that the survey names them instead of losing them."""

COLUMNS = ("image", "path", "file", "filename", "image_path")
"""Column of a CSV manifest that holds the file names, the first one found."""


@dataclass(frozen=True)
class Item:
    """One image to work on, or one box of it."""

    path: Path
    """Where the file lies."""
    key: str
    """Unique safe relative stem under which its outputs are written (`x/a` for x/a.jpg)."""
    frame: int = 0
    """Frame of an animation or page of a TIFF."""
    box: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in pixels of the upright image, or None for the whole image."""


def find(source: str | Path | Sequence[str | Path]) -> list[Item]:
    """All images of a folder (with its subfolders), glob, file, CSV manifest, or a list of these, sorted by name.

    Left out without a word: hidden files and folders, files that are no images by their suffix, folders and files
    written by decoupe (`.decoupe-output`). Links are followed; a link that leads back to its own folder is kept as an
    item, so that reading it names the loop, and so is a folder that may not be read.
    A folder that holds `images` and `masks` gives those of `images`.
    The names of a CSV manifest must lie in the CSV's folder or below, links resolved, even when absolute.

    Raises:
        Fault: nothing is there, or no image is among what is there, or a manifest leads outside its folder.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise Fault("images", "an empty list", "name a folder, a file or a CSV")
    found: list[tuple[Path, Path]] = []
    for one in sources:
        found.extend(_expand(one))
    found = _once(found)
    if not found:
        shown = ", ".join(str(s) for s in sources[:3])
        raise Fault("images (JPEG, PNG, TIFF, BMP, GIF, WebP, PPM, NPY, NPZ)", f"none in {shown}", "check the path")
    if len(sources) > 1:
        common = _common([root for root, _ in found])
        found = [(common, path) for _, path in found]
    names = [Path(os.path.relpath(path, root)).as_posix() for root, path in found]
    order = sorted(range(len(names)), key=names.__getitem__)
    made = keys([names[i] for i in order])
    return [Item(found[i][1], key) for i, key in zip(order, made, strict=True)]


def _expand(source: str | Path) -> list[tuple[Path, Path]]:
    """(root, file) pairs of one source; the key of a file is its name below the root."""
    text = os.fspath(source)
    path = Path(text)
    if not text or "\0" in text:
        raise Fault("a path", repr(text), "name a folder, a file or a CSV")
    if path.is_dir():
        if _written_by_us(path) == set():
            raise Fault(
                "photos", f"{path}, a folder written by decoupe", f"name the photos' folder, or delete {MARKER}"
            )
        root = path / "images" if (path / "images").is_dir() and (path / "masks").is_dir() else path
        return [(root, file) for file in walk(root)]
    if path.is_file() or path.is_symlink():
        return _manifest(path) if path.suffix.lower() == ".csv" else [(path.parent, path)]
    if glob.has_magic(text):
        root = _fixed_part(text)
        return [(root, file) for file in _globbed(text, root)]
    raise Fault("a folder, glob, image or CSV", f"{text!r}, which does not exist", "check the path")


def _globbed(pattern: str, root: Path) -> list[Path]:
    """Images a pattern matches, and those of the folders it matches; nothing decoupe wrote.

    `**` is matched against `walk`: the standard library follows linked folders round and round.
    """
    parts = Path(pattern).parts[len(root.parts) :]
    if "**" in parts:
        return [file for file in walk(root) if _matches(file.relative_to(root).parts, parts)]
    hits = [Path(hit) for hit in sorted(glob.glob(pattern))]
    files = [hit for hit in hits if not hit.is_dir() and _is_image(hit)]
    files += [file for hit in hits if hit.is_dir() for file in walk(hit)]
    ours = {folder for folder in {file.parent for file in files} if _below_ours(folder, root)}
    return [file for file in files if file.parent not in ours]


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path fit those of a pattern; `**` stands for any number of them."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        rest = pattern[1:]
        return not rest or any(_matches(names[skip:], rest) for skip in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def walk(root: Path) -> Iterator[Path]:
    """Image files below a folder, links followed once each; real folders come before linked ones."""
    seen: set[str] = set()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        ours = _written_by_us(folder)
        if ours == set():
            continue
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            yield folder
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(".") or (ours and entry.name in ours):
                continue
            if entry.is_symlink() and link_words(path):
                yield path
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(path)
            elif _is_image(path):
                yield path


def _written_by_us(folder: Path) -> set[str] | None:
    """None: not ours. Empty set: the whole folder is ours. Else: the names in it that are."""
    try:
        return set((folder / MARKER).read_text(errors="replace").split("\n")) - {""}
    except OSError:
        return None


def _below_ours(folder: Path, root: Path) -> bool:
    """Whether a folder, or one between it and the root, was written by decoupe."""
    between = [folder, *folder.parents][: len(folder.parts) - len(root.parts) + 1]
    return any(_written_by_us(place) == set() for place in between)


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix or path.name.startswith("."):
        return suffix in READ or suffix in NAMED
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return kind(file.read(16)) not in (None, "ZIP")
    except OSError:
        return False


def _manifest(path: Path) -> list[tuple[Path, Path]]:
    """The files a CSV names in its first column called image, path, file or filename."""
    root = path.parent
    rows = read_csv(path)
    header = list(rows[0]) if rows else []
    column = next((c for name in COLUMNS for c in header if c.lower() == name), None)
    if column is None:
        raise Fault(
            f"a CSV with a column {', '.join(COLUMNS[:3])}",
            f"{path} with {', '.join(header)[:80] or 'nothing'}",
            "add a header line",
        )
    return [(root, inside(root, row[column])) for row in rows if row[column]]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV (comma, semicolon or tab) by the stripped names of its header line.

    Raises:
        Fault: it cannot be read as UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.split("\n", 1)[0]
        mark = max(",;\t", key=first.count)
        lines = list(csv.reader(text.splitlines(), delimiter=mark))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Fault("a CSV in UTF-8", f"{path}: {error}", "save it again as CSV (UTF-8)") from None
    header = [name.strip() for name in lines[0]] if lines else []
    return [
        {n: c.strip() for n, c in zip(header, [*row, *[""] * len(header)], strict=False)} for row in lines[1:] if row
    ]


def _fixed_part(pattern: str) -> Path:
    """The folders of a glob before its first wildcard."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:fixed]) if fixed else Path(".")


def _common(roots: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.abspath(root) for root in roots]))


def _once(found: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Each file once, wherever it was named first."""
    first: dict[str, tuple[Path, Path]] = {}
    for root, path in found:
        first.setdefault(os.path.abspath(path), (root, path))
    return list(first.values())
