"""Routes of photos and verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from decoupe.errors import UsageFault
from decoupe.review import pictures
from decoupe.review.book import VERDICTS, Entry
from decoupe.review.desk import Desk, Row, answer, fields, picture, tab_of, whole
from decoupe.review.scan import UNREAD
from decoupe.review.studio import THUMB, VIEW, fitted

SIDES = {"thumb": THUMB, "view": VIEW}
LETTERS: dict[str | None, str] = {None: ".", **{verdict: verdict[0] for verdict in VERDICTS}}


def photos(desk: Desk, request: Request, body: bytes) -> Response:
    """All photos: names, verdicts as one letter each, what the scan knows."""
    known = [desk.entry(photo) for photo in desk.album.photos]
    return answer(
        {
            "source": str(desk.album.source)[-80:].rpartition("/")[2],
            "files": [photo.file for photo in desk.album.photos],
            "verdicts": "".join(LETTERS[entry.verdict] for entry in known),
            "corrected": [number for number, entry in enumerate(known) if entry.corrected],
            "revisions": {number: entry.revision for number, entry in enumerate(known) if entry.revision},
            "revision": desk.book.revision,
            "naming": desk.regions.revision,
            **_scores(desk),
        }
    )


def scores(desk: Desk, request: Request, body: bytes) -> Response:
    """How far the scan is; its figures with `?all=1`."""
    if request.query_params.get("all"):
        return answer(_scores(desk))
    return answer({"done": desk.scan.done, "count": len(desk.album), "naming": desk.regions.revision})


def _scores(desk: Desk) -> dict[str, Any]:
    scan = desk.scan
    return {
        "done": scan.done,
        "count": len(desk.album),
        "confidence": _percent(scan.confidence),
        "disagreement": _percent(scan.disagreement),
    }


def _percent(values: NDArray[np.float32]) -> list[int]:
    """Hundredths of a percent, -1 where unknown, -2 where a photo cannot be read."""
    whole = np.where(np.isfinite(values), np.rint(np.nan_to_num(values) * 10_000), -1).astype(int)
    whole[values == UNREAD] = -2
    return [int(value) for value in whole]


def changes(desk: Desk, request: Request, body: bytes) -> Response:
    """Photos that changed after ?since=REVISION, in any tab."""
    since = whole(request.query_params.get("since", "0"), 0, 10**12, "a revision")
    numbers = {photo.key: number for number, photo in enumerate(desk.album.photos)}
    found = desk.book.changed(since)
    rows = {str(numbers[key]): state(entry) for key, entry in found.items() if key in numbers}
    return answer({"revision": desk.book.revision, "naming": desk.regions.revision, "photos": rows})


def state(entry: Entry) -> dict[str, Any]:
    """An entry as the page keeps it."""
    return {"verdict": LETTERS[entry.verdict], "corrected": entry.corrected, "revision": entry.revision}


def show(desk: Desk, request: Request, body: bytes) -> Response:
    """The photo as JPEG."""
    _, photo = desk.photo(request)
    return picture(desk.studio.view(photo, _side(request)), "jpeg", forever=True)


def _side(request: Request) -> int:
    name = request.path_params["side"]
    if name not in SIDES:
        raise UsageFault("a picture of thumb or view", repr(name)[:40], "load the page again")
    return SIDES[name]


def mask(desk: Desk, request: Request, body: bytes) -> Response:
    """What to lay over the photo, as PNG with transparency."""
    _, photo = desk.photo(request)
    naming, side = desk.naming, _side(request)
    size = fitted(desk.studio.size(photo), side)
    labels = desk.studio.labels(photo, naming, size)
    return picture(pictures.overlay(labels, naming.shown()), "png", forever=True)


def judge(desk: Desk, request: Request, body: bytes) -> Response:
    """Store a verdict; an acceptance stores the mask with it."""
    _, photo = desk.photo(request)
    (verdict,) = fields(body, "verdict")
    if verdict is not None and verdict not in VERDICTS:
        raise UsageFault(f"a verdict of {', '.join(VERDICTS)}", repr(verdict)[:40], "load the page again")
    data = None
    if verdict == "accepted" and not desk.entry(photo).corrected:
        naming = desk.naming
        data = desk.studio.png(desk.studio.found(photo, naming, desk.studio.size(photo)), naming)
    entry = desk.book.judge(photo.key, photo.file, verdict, tab_of(request), data)
    return answer({"photo": state(entry), "revision": desk.book.revision})


def undo(desk: Desk, request: Request, body: bytes) -> Response:
    """Take back the tab's latest verdict."""
    fields(body)
    found = desk.book.undo(tab_of(request))
    if found is None:
        return answer({"photo": None, "revision": desk.book.revision})
    key, entry = found
    number = next((n for n, photo in enumerate(desk.album.photos) if photo.key == key), None)
    return answer({"number": number, "photo": state(entry), "revision": desk.book.revision})


ROUTES: list[Row] = [
    ("GET", "/api/photos", photos),
    ("GET", "/api/scores", scores),
    ("GET", "/api/changes", changes),
    ("GET", "/photo/{photo}/{side}.jpg", show),
    ("GET", "/mask/{photo}/{side}.png", mask),
    ("POST", "/api/judge/{photo}", judge),
    ("POST", "/api/undo", undo),
]
