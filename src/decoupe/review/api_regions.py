"""Routes of names, merges and colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from decoupe.errors import UsageFault
from decoupe.export.overlay import as_rgb
from decoupe.review import pictures, regions
from decoupe.review.desk import Desk, Row, answer, fields, picture, whole
from decoupe.review.scan import CROPS, UNREAD
from decoupe.review.studio import jpeg

CROP = 160
"""Side of a crop in pixels."""


def listed(desk: Desk) -> dict[str, Any]:
    """The regions as the page shows them."""
    scan = desk.scan
    known = np.isfinite(scan.confidence) & (scan.confidence != UNREAD)
    shares = scan.shares[known].mean(0) if known.any() else np.zeros(scan.shares.shape[1])
    rows = [
        {
            "index": region.index,
            "members": list(region.members),
            "name": region.name,
            "colour": "#{:02x}{:02x}{:02x}".format(*region.colour),
            "background": region.background,
            "share": round(float(sum(shares[m] for m in region.members)), 4),
            "crops": [{"photo": n, "sure": round(s, 4)} for s, n, _ in scan.best(region.members)],
        }
        for region in desk.naming.shown()
    ]
    return {"regions": rows, "revision": desk.regions.revision, "done": scan.done, "count": len(desk.album)}


def show(desk: Desk, request: Request, body: bytes) -> Response:
    """All regions."""
    return answer(listed(desk))


def change(desk: Desk, request: Request, body: bytes) -> Response:
    """Rename, merge, split, colour, mark as background, or undo."""
    (do, values) = fields(body, "do", "with")
    known = {
        "rename": (regions.rename, 2),
        "split": (regions.split, 1),
        "colour": (regions.recolour, 2),
        "background": (regions.background, 1),
    }
    if not isinstance(values, list) or len(values) > 256:
        raise UsageFault("a list of values", repr(values)[:40], "load the page again")
    if do == "undo" and not values:
        desk.regions.undo()
    elif do == "merge":
        desk.regions.change(regions.merge(values))
    elif do in known and len(values) == known[do][1]:
        desk.regions.change(known[do][0](*values))  # type: ignore[operator]
    else:
        raise UsageFault(f"one of merge, undo, {', '.join(known)}", repr(do)[:40], "load the page again")
    return answer(listed(desk))


def crop(desk: Desk, request: Request, body: bytes) -> Response:
    """One of a region's most confident crops."""
    number = whole(request.path_params["region"], 0, len(desk.naming.names) - 1, "a region")
    place = whole(request.path_params["place"], 0, CROPS, "a crop")
    region = next((r for r in desk.naming.shown() if number in r.members), None)
    rows = desk.scan.best(region.members) if region else []
    if region is None or place >= len(rows):
        raise UsageFault("a crop that is there", str(place), "load the page again")
    _, at, box = rows[place]
    photo = desk.album[at]
    side = 3 * CROP / max(box[2] - box[0], box[3] - box[1], 0.05)
    shown = as_rgb(desk.studio.picture(photo, int(min(side, 1600))))
    share = desk.studio.probs(photo)[list(region.members)].sum(0)
    return picture(jpeg(pictures.crop(shown, share, box, CROP)), "jpeg", forever=True)


ROUTES: list[Row] = [
    ("GET", "/api/regions", show),
    ("POST", "/api/regions", change),
    ("GET", "/crop/{region}/{place}.jpg", crop),
]
