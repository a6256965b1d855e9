"""What a review decided, for those that learn from it or carry it elsewhere: accepted and corrected masks.

Layout: RUN/review/state.json and RUN/review/masks/<key>.png, an indexed PNG in the photo's frame whose values are
region numbers as `decoupe name RUN` counts them (merged regions: the lowest number).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import read_image, read_mask
from decoupe.errors import Fault, UsageFault
from decoupe.export import FORMATS, OF_MASKS, Place, choose
from decoupe.export.base import Record
from decoupe.export.jobs import geo_of
from decoupe.export.ledger import Ledger, signature
from decoupe.review.album import Album, Photo
from decoupe.review.book import entries, folder_of, mask_path, read_state
from decoupe.review.regions import Naming
from decoupe.review.regions import read as read_naming
from decoupe.types import Labels


@dataclass(frozen=True)
class KeptMask:
    """A photo and the mask a person stands for."""

    photo: Photo
    mask: Path
    """Its indexed PNG."""
    corrected: bool
    """Whether a person drew in it; otherwise the model's mask was accepted as it was."""
    lowest: tuple[int, ...] = field(repr=False)
    """Of each region of the method, the number it is shown under now."""

    def labels(self) -> Labels:
        """(H, W) int64 region numbers, merged as they are now. Fault if the file is damaged or of another run."""
        mask = read_mask(self.mask)
        if mask.min(initial=0) < 0 or mask.max(initial=0) >= len(self.lowest):
            raise Fault(f"region numbers up to {len(self.lowest) - 1}", f"{self.mask}: {mask.max()}", "remove it")
        return np.asarray(np.asarray(self.lowest, np.int64)[mask])


def kept(run: str | Path, images: str | Path | list[str] | None = None) -> list[KeptMask]:
    """Accepted and corrected masks of a run with their photos, in order of the photos' names.

    images: where the photos are now; default: where they were when they were reviewed. Photos that are gone and masks
    whose file is gone are left out. Fault if nothing was reviewed, or nothing is left.
    """
    path = Path(run)
    content = read_state(path)
    known = entries(content, str(folder_of(path) / "state.json"))
    source = images if images is not None else content.get("images")
    if not any(entry.kept for entry in known.values()) or not isinstance(source, str | Path | list) or not source:
        raise Fault(f"accepted or corrected masks in {path}/review", "none", f"accept some: decoupe review {path}")
    lowest = tuple(read_naming(path).lowest())
    found = [
        KeptMask(photo, mask_path(path, photo.key), known[photo.key].corrected, lowest)
        for photo in Album.open(source).photos
        if photo.key in known and known[photo.key].kept and known[photo.key].file in ("", photo.file)
    ]
    found = [one for one in found if one.mask.is_file()]
    if not found:
        raise Fault(
            f"the photos of {len(known)} reviewed masks in {str(source)[:80]}",
            "none of them",
            "say where: --images PATH",
        )
    return found


@dataclass(frozen=True)
class _Drawn:
    """A mask as the writers of formats take it: certain everywhere."""

    labels: NDArray[np.int64]
    names: tuple[str, ...]

    @cached_property
    def probs(self) -> NDArray[np.float32]:
        """(K, H, W) one-hot."""
        return np.stack([(self.labels == k).astype(np.float32) for k in range(len(self.names))])


def export(
    run: str | Path, out: str | Path, formats: str | Sequence[str], images: str | Path | list[str] | None = None
) -> int:
    """Write the accepted and corrected masks of a run in formats of `decoupe segment`; returns how many.

    Regions are counted as they are shown: 0 to K - 1 in order. Fault as `kept`, and if `out` cannot be written.
    """
    wanted = choose(formats)
    if unknown := [name for name in wanted if name not in OF_MASKS]:
        raise UsageFault(f"formats of masks ({', '.join(OF_MASKS)})", unknown[0], "use `decoupe segment` for that")
    masks, naming = kept(run, images), read_naming(Path(run))
    shown = naming.shown()
    place_of = np.zeros(len(naming.names), np.int64)
    place_of[[region.index for region in shown]] = np.arange(len(shown))
    names, keys = tuple(region.name for region in shown), sorted(one.photo.key for one in masks)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(Path(out), _stamp(naming, masks)))
        palette, geo = tuple(region.colour for region in shown), geo_of([one.photo for one in masks])
        place = Place(Path(out), names, palette, lambda name: ledger.records(name, keys), geo)
        writers: dict[str, Any] = {name: FORMATS[name](place) for name in wanted}
        look = any(FORMATS[name].IMAGE for name in wanted)
        for one in masks:
            drawn = _Drawn(place_of[one.labels()], names)
            image = read_image(one.photo.path, frame=one.photo.frame) if look else None
            done = {name: writer.write(one.photo.key, image, drawn) for name, writer in writers.items()}
            record = Record(one.photo.key, one.photo.file, (drawn.labels.shape[0], drawn.labels.shape[1]), None)
            ledger.add(record, signature(one.photo.path, one.photo.frame), done)
        for writer in writers.values():
            writer.close()
    return len(masks)


def _stamp(naming: Naming, masks: Sequence[KeptMask]) -> dict[str, Any]:
    """Exports are made anew when names or masks have changed."""
    times = [one.mask.stat().st_mtime_ns for one in masks]
    return {"review": [list(naming.names), [list(g) for g in naming.groups], list(naming.colours), times]}
