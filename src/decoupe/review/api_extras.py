"""Routes of layers and instances, of photos to try, of another run beside this one, and of exports."""

from __future__ import annotations

import secrets
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from starlette.requests import Request
from starlette.responses import Response

from decoupe.data.decode import BadImage, read_image, resize, resize_probs
from decoupe.errors import Fault, UsageFault
from decoupe.export import OF_MASKS
from decoupe.export.overlay import as_rgb
from decoupe.instances import separate
from decoupe.review import beside, pictures
from decoupe.review.album import Photo
from decoupe.review.api_photos import state
from decoupe.review.desk import Desk, Row, answer, fields, picture, tab_of, whole
from decoupe.review.kept import export, kept
from decoupe.review.regions import Shown
from decoupe.review.studio import THUMB, VIEW, Labels8, fitted, jpeg, nearest

MOST_THINGS = 2000
"""Instances of one region that are told apart."""


def _size(desk: Desk, photo: Photo) -> tuple[int, int]:
    return fitted(desk.studio.size(photo), VIEW)


def _region(desk: Desk, value: Any) -> Shown:
    number = whole(value, 0, 255, "a region")
    found = next((region for region in desk.naming.shown() if region.index == number), None)
    if found is None:
        raise UsageFault("a region that is shown", str(number), "load the page again")
    return found


def _things(desk: Desk, photo: Photo, region: Shown) -> NDArray[np.int32]:
    """(H, W) int32 instances of a region at the size of the stage, numbered in reading order."""
    labels = desk.studio.labels(photo, desk.naming, _size(desk, photo))
    return separate(labels == region.index)


def layers(desk: Desk, request: Request, body: bytes) -> Response:
    """The regions of a photo as layers, and the instances of each."""
    _, photo = desk.photo(request)
    labels, naming = desk.studio.labels(photo, desk.naming, _size(desk, photo)), desk.naming
    shown = naming.shown()
    probs = desk.studio.joined(photo, naming, labels.shape)
    rows = []
    for place, region in enumerate(shown):
        inside = labels == region.index
        row = {"index": region.index, **beside.rows([region])[0], "share": round(float(inside.mean()), 4), "things": []}
        if not region.background and inside.any():
            things = separate(inside)
            count = min(int(things.max()), MOST_THINGS)
            numbers = np.arange(1, count + 1)
            areas, sure = ndimage.sum_labels(inside, things, numbers), ndimage.mean(probs[place], things, numbers)
            row["things"] = [[int(a), round(float(s), 3)] for a, s in zip(areas, np.atleast_1d(sure), strict=True)]
        rows.append(row)
    height, width = labels.shape
    about = {"number": desk.photo(request)[0], "file": photo.file, "width": width, "height": height}
    return answer({**about, "layers": rows, **state(desk.entry(photo))})


def layer(desk: Desk, request: Request, body: bytes) -> Response:
    """One region cut out of its photo, PNG."""
    _, photo = desk.photo(request)
    region, size = _region(desk, request.path_params["region"]), _size(desk, photo)
    shown = resize(np.ascontiguousarray(as_rgb(desk.studio.picture(photo, VIEW))), *size)
    return picture(
        pictures.cutout(shown, desk.studio.labels(photo, desk.naming, size) == region.index), "png", forever=True
    )


def things(desk: Desk, request: Request, body: bytes) -> Response:
    """Which instance lies at each pixel: 16-bit numbers, little end first, packed."""
    _, photo = desk.photo(request)
    found = np.minimum(_things(desk, photo, _region(desk, request.path_params["region"])), 65535).astype("<u2")
    return Response(zlib.compress(found.tobytes(), 1), media_type="application/octet-stream")


def remove(desk: Desk, request: Request, body: bytes) -> Response:
    """Give an instance's pixels to the background, or where there is none to what lies around it."""
    _, photo = desk.photo(request)
    seen, region, thing = fields(body, "seen", "region", "thing")
    chosen = _region(desk, region)
    found = _things(desk, photo, chosen)
    number = whole(thing, 1, max(1, int(found.max())), "an instance")
    naming, full = desk.naming, desk.studio.size(photo)
    labels = desk.studio.labels(photo, naming, full).copy()
    gone = (nearest((found == number).astype(np.uint8), full) > 0) & (labels == chosen.index)
    labels[gone] = _filling(labels, gone, naming.shown())[gone]
    png, stamp = desk.studio.png(labels, naming), whole(seen, 0, 10**12, "a revision")
    entry = desk.book.correct(photo.key, photo.file, png, stamp, tab_of(request))
    return answer({"photo": state(entry), "revision": desk.book.revision})


def _filling(labels: Labels8, gone: NDArray[np.bool_], shown: list[Shown]) -> Labels8:
    """(H, W) what takes the place of pixels that are gone."""
    ground = next((region.index for region in shown if region.background), None)
    if ground is not None:
        return np.full_like(labels, ground)
    if gone.all():
        raise Fault("something around the instance", "nothing: it fills the photo", "mark a region as background first")
    near = ndimage.distance_transform_edt(gone, return_distances=False, return_indices=True)
    return np.asarray(labels[near[0], near[1]])


def attempt(desk: Desk, request: Request, body: bytes) -> Response:
    """Segment a photo that somebody dropped on the page; it is kept in memory for this session only."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="decoupe-try-") as folder:
        path = Path(folder) / "photo"
        path.write_bytes(body)
        try:
            pixels = read_image(path)
        except BadImage as bad:
            raise Fault("a photo that can be read", bad.reason, "try another file") from None
    size = fitted((pixels.shape[0], pixels.shape[1]), VIEW)
    square = desk.studio.predict(desk.studio.model.square(pixels)[None])[0]
    shown = desk.naming.shown()
    joined = resize_probs(np.stack([square[list(r.members)].sum(0) for r in shown]), *size)
    labels = np.array([r.index for r in shown], np.uint8)[joined.argmax(0)]
    name = secrets.token_hex(8)
    view = resize(np.ascontiguousarray(as_rgb(pixels)), *size)
    desk.tries.get(name, lambda: (jpeg(view, 90), pictures.overlay(labels, shown), view, labels))
    shares = [round(float((labels == r.index).mean()), 4) for r in shown]
    regions = [row | {"share": share} for row, share in zip(beside.rows(shown), shares, strict=True)]
    seconds = round(time.perf_counter() - started, 3)
    sure = round(float(joined.max(0).mean()), 4)
    about = {"width": pixels.shape[1], "height": pixels.shape[0], "seconds": seconds, "sure": sure}
    return answer({"id": name, **about, "regions": regions})


def tried(desk: Desk, request: Request, body: bytes) -> Response:
    """The picture, the mask or the cut-out of a photo that was tried."""
    found = desk.tries.find(request.path_params["id"])
    what = request.path_params["what"]
    if found is None or what not in ("photo.jpg", "mask.png", "cut.png"):
        raise UsageFault("a photo of this session", "another", "drop it again")
    if what == "cut.png":
        ground = [r.index for r in desk.naming.shown() if r.background]
        return picture(pictures.cutout(found[2], ~np.isin(found[3], ground)), "png", forever=True)
    return picture(found[0] if what == "photo.jpg" else found[1], "jpeg" if what == "photo.jpg" else "png", True)


def others(desk: Desk, request: Request, body: bytes) -> Response:
    """Runs that may be put beside this one."""
    return answer({"runs": beside.neighbours(desk.run)})


def _other(desk: Desk, request: Request) -> beside.Other:
    name = request.query_params.get("with", "")
    return desk.others.get((name, desk.regions.revision), lambda: beside.put_beside(desk.studio, name))


def compared(desk: Desk, request: Request, body: bytes) -> Response:
    """Regions of both runs, and with ?photos=1,2,3 how far they agree on those."""
    other = _other(desk, request)
    asked = [part for part in request.query_params.get("photos", "").split(",") if part][:64]
    numbers = [whole(part, 0, len(desk.album) - 1, "a photo") for part in asked]
    found: dict[str, float | None] = {}
    for number in numbers:
        try:
            found[str(number)] = round(beside.agreement(desk.studio, other, desk.album[number]), 4)
        except Fault:
            found[str(number)] = None
    return answer({"ours": beside.rows(desk.naming.shown()), "theirs": beside.rows(other.regions), "agree": found})


def other_mask(desk: Desk, request: Request, body: bytes) -> Response:
    """What the other run lays over a photo."""
    _, photo = desk.photo(request)
    other = _other(desk, request)
    side = THUMB if request.path_params["side"] == "thumb" else VIEW
    labels = other.labels(photo, fitted(desk.studio.size(photo), side))
    return picture(pictures.overlay(labels, other.regions), "png", forever=True)


def exports(desk: Desk, request: Request, body: bytes) -> Response:
    """How many masks would be exported, and in which formats."""
    try:
        count = len(kept(desk.run, desk.album.source))
    except Fault:
        count = 0
    corrected = sum(1 for photo in desk.album.photos if desk.entry(photo).corrected and desk.entry(photo).kept)
    return answer({"count": count, "corrected": corrected, "formats": list(OF_MASKS)})


def write(desk: Desk, request: Request, body: bytes) -> Response:
    """Export accepted and corrected masks into a new folder of the run."""
    (formats,) = fields(body, "formats")
    if not isinstance(formats, list) or not all(isinstance(name, str) for name in formats):
        raise UsageFault("a list of formats", repr(formats)[:40], "choose some")
    with desk.book.quiet():
        folder = next(p for n in range(1, 100_000) if not (p := desk.book.folder / f"export-{n}").exists())
        count = export(desk.run, folder, formats, desk.album.source)
    made = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return answer(
        {"count": count, "folder": f"review/{folder.name}", "files": made[:12], "more": max(0, len(made) - 12)}
    )


ROUTES: list[Row] = [
    ("GET", "/api/layers/{photo}", layers),
    ("GET", "/layer/{photo}/{region}.png", layer),
    ("GET", "/things/{photo}/{region}", things),
    ("POST", "/api/remove/{photo}", remove),
    ("POST", "/api/try", attempt),
    ("GET", "/try/{id}/{what}", tried),
    ("GET", "/api/others", others),
    ("GET", "/api/compare", compared),
    ("GET", "/compare/{photo}/{side}.png", other_mask),
    ("GET", "/api/export", exports),
    ("POST", "/api/export", write),
]
