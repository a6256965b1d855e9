"""Pictures and masks of the photos under review: decoded, segmented and kept for the next look."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from decoupe.data.decode import decode, image_size, read_image, read_mask, resize, resize_probs
from decoupe.data.paths import inside
from decoupe.engine.files import write_atomic
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.export.overlay import as_rgb
from decoupe.export.png import encode_labels
from decoupe.model import Model
from decoupe.review.album import Album, Photo
from decoupe.review.book import CACHE, Book, mask_path
from decoupe.review.regions import Naming
from decoupe.types import Image, Probabilities

THUMB, VIEW, WORK = 192, 1280, 1600
"""Longer sides in pixels: in grids, on the stage, and of masks under the brush."""
Labels8 = NDArray[np.uint8]
"""(H, W) uint8 region numbers."""
T = TypeVar("T")


class _Unmerged(Run):
    """A run read without its merges: the review joins regions itself, so that a change needs no new model."""

    @property
    def merges(self) -> list[list[int]]:
        """None."""
        return []


class Kept:
    """The latest values by key, a bounded number of them; safe from several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._items, self._lock = most, OrderedDict[Any, Any](), threading.Lock()

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """The value of `key`, made if it is not there."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                found: T = self._items[key]
                return found
        value = make()
        with self._lock:
            self._items[key] = value
            while len(self._items) > self._most:
                self._items.popitem(last=False)
        return value

    def find(self, key: Any) -> Any:
        """The value of `key`, None if it is not there."""
        with self._lock:
            return self._items.get(key)


def fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(H, W) reduced so that the longer side is at most `side`; never enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _size(photo: Photo) -> tuple[int, int]:
    if photo.frame:
        height, width, _ = read_image(photo.path, frame=photo.frame).shape
        return height, width
    return image_size(photo.path)


def nearest(labels: Labels8, size: tuple[int, int]) -> Labels8:
    """(h, w) -> (H, W) by the nearest pixel."""
    if labels.shape == size:
        return labels
    rows = ((np.arange(size[0]) + 0.5) * labels.shape[0] / size[0]).astype(np.intp)
    columns = ((np.arange(size[1]) + 0.5) * labels.shape[1] / size[1]).astype(np.intp)
    return np.asarray(labels[rows][:, columns])


def jpeg(pixels: NDArray[np.uint8], quality: int = 85) -> bytes:
    """JPEG bytes of (H, W, 3) uint8."""
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def check_run(run: Path) -> Model:
    """The model of a run, its regions unmerged. Fault if it has over 250 regions: masks here hold bytes."""
    from decoupe.model import load

    model = load(_Unmerged.open(run))
    if len(model.names) > 250:
        raise Fault("a run of at most 250 regions", str(len(model.names)), "train with a smaller --k to review it")
    return model


class Studio:
    """A model, its photos, and what has been computed of them."""

    def __init__(self, model: Model, album: Album, book: Book) -> None:
        self.model, self.album, self.book = model, album, book
        self.cache = inside(book.folder, CACHE)
        self._net = threading.Lock()
        self._probs, self._views, self._sizes, self._labels = Kept(256), Kept(48), Kept(100_000), Kept(48)

    def size(self, photo: Photo) -> tuple[int, int]:
        """(H, W) of the upright photo in pixels."""
        return self._sizes.get(photo.key, lambda: _size(photo))

    def picture(self, photo: Photo, side: int) -> Image:
        """(H, W, C) uint8, its longer side at most `side`."""
        pixels = decode(photo.path, frame=photo.frame, hint=min(side, 2 * VIEW)).pixels
        return resize(pixels, *fitted(self.size(photo), side))

    def view(self, photo: Photo, side: int) -> bytes:
        """JPEG for the screen; small ones are kept on disk for the next session."""
        if side > THUMB:
            return self._views.get((photo.key, side), lambda: jpeg(as_rgb(self.picture(photo, side)), 90))
        path = self._place("thumbs", photo, ".jpg")
        try:
            return path.read_bytes()
        except OSError:
            data = jpeg(as_rgb(self.picture(photo, side)), 80)
            write_atomic(path, data)
            return data

    def _place(self, kind: str, photo: Photo, suffix: str) -> Path:
        """Where something computed of a photo is kept; a changed file has another place."""
        try:
            stat = photo.path.stat()
            state = f"{stat.st_size}|{stat.st_mtime_ns}"
        except OSError:  # within a tar
            state = ""
        name = f"{photo.path.absolute()}|{photo.frame}|{state}".encode(errors="replace")
        digest = hashlib.sha256(name).hexdigest()[:24]
        return inside(self.cache, f"{kind}/{digest[:2]}/{digest}{suffix}")

    def predict(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, C, S, S) -> (B, K, S, S) of the method's own regions; one thread at a time."""
        with self._net:
            return self.model.predict(squares)

    def square(self, photo: Photo) -> NDArray[np.uint8]:
        """(C, S, S) for the network."""
        pixels = decode(photo.path, frame=photo.frame, hint=2 * self.model.spec.size).pixels
        return self.model.square(pixels)

    def probs(self, photo: Photo) -> Probabilities:
        """(K, S, S) of the method's own regions."""
        return self._probs.get(photo.key, lambda: self.predict(self.square(photo)[None])[0])

    def joined(self, photo: Photo, naming: Naming, size: tuple[int, int]) -> Probabilities:
        """(shown regions, H, W) probabilities at any size."""
        own = self.probs(photo)
        groups = np.stack([own[list(region.members)].sum(0) for region in naming.shown()])
        return resize_probs(groups, *size)

    def found(self, photo: Photo, naming: Naming, size: tuple[int, int]) -> Labels8:
        """(H, W) region numbers as the model has them; not to be written to."""
        if max(size) > VIEW:
            return self._found(photo, naming, size)
        return self._labels.get((photo.key, naming, size), lambda: self._found(photo, naming, size))

    def _found(self, photo: Photo, naming: Naming, size: tuple[int, int]) -> Labels8:
        numbers = np.array([region.index for region in naming.shown()], np.uint8)
        return np.asarray(numbers[self.joined(photo, naming, size).argmax(0)])

    def labels(self, photo: Photo, naming: Naming, size: tuple[int, int]) -> Labels8:
        """(H, W) region numbers as they stand: the person's mask where there is one, else the model's."""
        if self.book.get(photo.key).corrected:
            stored = self.stored(photo, naming)
            if stored is not None:
                return nearest(stored, size)
        return self.found(photo, naming, size)

    def stored(self, photo: Photo, naming: Naming) -> Labels8 | None:
        """The stored mask in the photo's frame, regions merged as they are now; None if it is gone or unfit."""
        try:
            mask = read_mask(mask_path(self.book.run, photo.key))
        except Fault:
            return None
        if mask.shape != self.size(photo) or mask.max(initial=0) >= len(naming.names):
            return None
        return np.asarray(naming.lowest(), np.uint8)[mask]

    def png(self, labels: Labels8, naming: Naming) -> bytes:
        """An indexed PNG of region numbers with names and colours of all of the method's regions."""
        by_number = {region.index: region for region in naming.shown()}
        chosen = [by_number[number].colour for number in naming.lowest()]
        return encode_labels(labels, naming.names, chosen)
