"""From what the user points at (folder, glob, file, list, CSV manifest) to a list of images."""

from __future__ import annotations

import csv
import fnmatch
import glob
import os
import tarfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from decoupe.data import lmdbs
from decoupe.data.keys import keys
from decoupe.data.memory import give_back
from decoupe.data.paths import MARKER, default_cache_folder, inside
from decoupe.data.remote import fetch, is_url
from decoupe.data.rows import Rows
from decoupe.data.shards import SUFFIX, members
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

LISTED = READ | NAMED

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


class _Texts:
    """Many strings as one run of bytes: nothing per string but its end."""

    def __init__(self, texts: Iterable[str]) -> None:
        data, ends = bytearray(), array("q")
        for text in texts:
            data += os.fsencode(text)
            ends.append(len(data))
        self._data, self._ends = bytes(data), ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self._data[self._ends[index - 1] if index else 0 : self._ends[index]])


class Items(Rows[Item]):
    """Whole images by the million: names and keys are kept as bytes, an `Item` is made when it is asked for."""

    def __init__(self, paths: Sequence[str], keys: Iterable[str]) -> None:
        self._prefix = os.path.commonprefix(paths)
        self._paths = _Texts(path[len(self._prefix) :] for path in paths)
        self._keys = _Texts(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def row(self, index: int) -> Item:
        """The `Item` at this place."""
        return Item(Path(self._prefix + self._paths[index]), self._keys[index])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

    def files(self) -> Iterator[str]:
        """The path of each, without making an `Item`."""
        return (self._prefix + self._paths[index] for index in range(len(self)))

    def take(self, chosen: Sequence[int]) -> Items:
        """Those at these positions."""
        paths = [self._prefix + self._paths[i] for i in chosen]
        return Items(paths, (self._keys[i] for i in chosen))


def find(source: str | Path | Sequence[str | Path]) -> Items:
    """All images of a folder (with its subfolders), glob, file, CSV manifest, tar, or a list of these, sorted by name.

    Left out without a word: hidden files and folders, files that are no images by their suffix, folders and files
    written by decoupe (`.decoupe-output`). Links are followed; a link that leads back to its own folder is kept as an
    item, so that reading it names the loop, and so is a folder that may not be read, and a tar that is damaged.
    A folder that holds `images` and `masks` gives those of `images`. A tar counts as a folder.
    The names of a CSV manifest must lie in the CSV's folder or below, links resolved, even when absolute.

    Raises:
        Fault: nothing is there, or no image is among what is there, or a manifest leads outside its folder.
    """
    items = _found([source] if isinstance(source, str | Path) else list(source))
    give_back(len(items))
    return items


def _found(sources: Sequence[str | Path]) -> Items:
    """`find` of a list."""
    if not sources:
        raise Fault("images", "an empty list", "name a folder, a file or a CSV")
    parts = [_expand(one) for one in sources]
    if len(parts) == 1:
        (root, files), *_ = parts
        names = [relative(file, root) for file in files]
    else:
        parts = [(root, list(files)) for root, files in parts]
        files = [file for _, some in parts for file in some]
        common = os.path.commonpath([os.path.abspath(root) for root, some in parts if some] or ["/"])
        names = [relative(os.path.abspath(file), common) for file in files]
    if not files:
        shown = ", ".join(str(s) for s in sources[:3])
        raise Fault("images (JPEG, PNG, TIFF, BMP, GIF, WebP, PPM, NPY, NPZ)", f"none in {shown}", "check the path")
    if len(parts) > 1 or len(set(files)) < len(files):
        files, names = _once(files, names)
    order = sorted(range(len(names)), key=names.__getitem__)
    return Items([files[i] for i in order], keys([names[i] for i in order]))


def relative(file: str, root: str) -> str:
    """The name of a file below its root, with `/`."""
    start = root if root.endswith("/") else root + "/"
    return file[len(start) :] if file.startswith(start) else Path(os.path.relpath(file, root)).as_posix()


def _expand(source: str | Path) -> tuple[str, list[str]]:
    """Root and files of one source; the key of a file is its name below the root."""
    text = os.fspath(source)
    path = Path(text)
    if not text or "\0" in text:
        raise Fault("a path", repr(text), "name a folder, a file or a CSV")
    if is_url(text):
        return _expand(fetch(text, default_cache_folder() / "remote", lambda name: _suffix(name) in LISTED | {SUFFIX}))
    if path.is_dir():
        if _written_by_us(path) == set():
            raise Fault(
                "photos", f"{path}, a folder written by decoupe", f"name the photos' folder, or delete {MARKER}"
            )
        root = path / "images" if (path / "images").is_dir() and (path / "masks").is_dir() else path
        return str(root), list(walk(str(root)))
    if path.is_file() or path.is_symlink():
        if path.suffix.lower() == ".csv":
            return str(path.parent), [str(file) for file in _manifest(path)]
        if path.suffix.lower() == SUFFIX:
            return str(path), list(_shard(str(path)))
        return str(path.parent), [str(path)]
    if glob.has_magic(text):
        root = _fixed_part(text)
        return str(root), _globbed(text, root)
    raise Fault("a folder, glob, image or CSV", f"{text!r}, which does not exist", "check the path")


def _globbed(pattern: str, root: Path) -> list[str]:
    """Images a pattern matches, and those of the folders and tars it matches; nothing decoupe wrote.

    `**` is matched against `walk`: the standard library follows linked folders round and round.
    """
    parts = Path(pattern).parts[len(root.parts) :]
    if "**" in parts:
        return [file for file in walk(str(root)) if _matches(Path(file).relative_to(root).parts, parts)]
    files: list[str] = []
    for hit in sorted(glob.glob(pattern)):
        path = str(Path(hit))
        if os.path.isdir(path):
            files += walk(path)
        elif path.lower().endswith(SUFFIX):
            files += _shard(path)
        elif _is_image(path):
            files.append(path)
    ours = {folder for folder in {os.path.dirname(file) for file in files} if _below_ours(Path(folder), root)}
    return [file for file in files if os.path.dirname(file) not in ours]


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path fit those of a pattern; `**` stands for any number of them."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        rest = pattern[1:]
        return not rest or any(_matches(names[skip:], rest) for skip in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def walk(root: str) -> Iterator[str]:
    """Image files below a folder, links followed once each; real folders come before linked ones."""
    seen: set[str] = set()
    folders, links = [root], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        ours = _written_by_us(Path(folder))
        if ours == set():
            continue
        if lmdbs.is_store(folder):
            yield from lmdbs.members(folder)
            continue
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            yield folder
            continue
        for entry in entries:
            if entry.name.startswith(".") or (ours and entry.name in ours):
                continue
            if entry.is_symlink() and link_words(Path(entry.path)):
                yield entry.path
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry.path)
            elif entry.name.lower().endswith(SUFFIX):
                yield from _shard(entry.path)
            elif _is_image(entry.path):
                yield entry.path


def _shard(path: str) -> Iterator[str]:
    """Images in a tar as paths below it; the tar itself if it is damaged, so that reading it says so."""
    try:
        for name, _, _ in members(path):
            hidden = any(part.startswith(".") for part in name.split("/"))
            if not hidden and _suffix(name) in LISTED:
                yield f"{path}/{name}"
    except (tarfile.TarError, OSError):
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


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_image(path: str) -> bool:
    name = os.path.basename(path)
    suffix = _suffix(name)
    if suffix or name.startswith("."):
        return suffix in LISTED
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return kind(file.read(16)) not in (None, "ZIP")
    except OSError:
        return False


def _manifest(path: Path) -> list[Path]:
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
    return [inside(root, row[column]) for row in rows if row[column]]


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


def _once(files: list[str], names: list[str]) -> tuple[list[str], list[str]]:
    """Each file once, under the name it came with first."""
    first: dict[str, int] = {}
    for index, file in enumerate(files):
        first.setdefault(os.path.abspath(file), index)
    return [files[i] for i in first.values()], [names[i] for i in first.values()]
