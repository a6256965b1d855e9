"""Routes of masks under the brush: read, store, reset, scribble.

Masks travel as bytes: height times width region numbers, row by row, packed with zlib.
"""

from __future__ import annotations

import zlib

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from decoupe.errors import UsageFault
from decoupe.review.album import Photo
from decoupe.review.api_photos import state
from decoupe.review.desk import Desk, Row, answer, fields, tab_of, whole
from decoupe.review.scribble import NONE, spread
from decoupe.review.studio import WORK, Labels8, fitted, nearest


def about(desk: Desk, request: Request, body: bytes) -> Response:
    """What the brush has to know of a photo."""
    number, photo = desk.photo(request)
    size = desk.studio.size(photo)
    height, width = fitted(size, WORK)
    rows = [
        {"index": r.index, "name": r.name, "colour": list(r.colour), "background": r.background}
        for r in desk.naming.shown()
    ]
    return answer(
        {
            "number": number, "file": photo.file, "full": [size[1], size[0]], "width": width, "height": height,
            "regions": rows, "count": len(desk.album), **state(desk.entry(photo)),
        }
    )  # fmt: skip


def read(desk: Desk, request: Request, body: bytes) -> Response:
    """The mask as it stands; with ?of=model, as the model has it."""
    _, photo = desk.photo(request)
    size = fitted(desk.studio.size(photo), WORK)
    found = desk.studio.found if request.query_params.get("of") == "model" else desk.studio.labels
    return _packed(found(photo, desk.naming, size))


def store(desk: Desk, request: Request, body: bytes) -> Response:
    """A corrected mask, seen at ?seen=REVISION. Pixels that were not touched keep their place in the full frame."""
    _, photo = desk.photo(request)
    seen = whole(request.query_params.get("seen"), 0, 10**12, "a revision")
    (labels,) = _unpacked(desk, photo, body, 1)
    naming, full = desk.naming, desk.studio.size(photo)
    if labels.shape != full:
        whole_mask = desk.studio.labels(photo, naming, full).copy()
        touched = nearest((labels != desk.studio.labels(photo, naming, labels.shape)).astype(np.uint8), full) > 0
        whole_mask[touched] = nearest(labels, full)[touched]
        labels = whole_mask
    entry = desk.book.correct(photo.key, photo.file, desk.studio.png(labels, naming), seen, tab_of(request))
    return answer({"photo": state(entry), "revision": desk.book.revision})


def reset(desk: Desk, request: Request, body: bytes) -> Response:
    """Back to the model's own mask."""
    _, photo = desk.photo(request)
    (seen,) = fields(body, "seen")
    entry = desk.book.restore(photo.key, photo.file, whole(seen, 0, 10**12, "a revision"), tab_of(request))
    return answer({"photo": state(entry), "revision": desk.book.revision})


def scribble(desk: Desk, request: Request, body: bytes) -> Response:
    """The mask and the strokes in, the mask with the strokes carried to the edges out; nothing is stored."""
    _, photo = desk.photo(request)
    mask, strokes = _unpacked(desk, photo, body, 2)
    image = desk.studio.picture(photo, max(mask.shape))
    return _packed(spread(image, mask, strokes))


def _packed(labels: Labels8) -> Response:
    height, width = labels.shape
    headers = {"X-Size": f"{width}x{height}"}
    return Response(zlib.compress(labels.tobytes(), 1), media_type="application/octet-stream", headers=headers)


def _unpacked(desk: Desk, photo: Photo, body: bytes, planes: int) -> list[Labels8]:
    """Planes of region numbers in the work frame. UsageFault on another length or unknown numbers."""
    height, width = fitted(desk.studio.size(photo), WORK)
    length = planes * height * width
    unpack = zlib.decompressobj()
    try:
        data = unpack.decompress(body, length + 1)
    except zlib.error:
        data = b""
    if len(data) != length:
        raise UsageFault(f"{planes} masks of {width}x{height} pixels", "another body", "load the page again")
    rows = np.frombuffer(data, np.uint8).reshape(planes, height, width)
    shown = [region.index for region in desk.naming.shown()]
    if not np.isin(rows[0], shown).all() or (planes == 2 and not np.isin(rows[1], [*shown, NONE]).all()):
        raise UsageFault("regions of this run", "others", "load the page again: the names may have changed")
    return list(rows)


ROUTES: list[Row] = [
    ("GET", "/api/photo/{photo}", about),
    ("GET", "/labels/{photo}", read),
    ("PUT", "/labels/{photo}", store),
    ("POST", "/api/reset/{photo}", reset),
    ("POST", "/api/scribble/{photo}", scribble),
]
