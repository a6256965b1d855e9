"""Everything one review has open, and the small things its routes share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from decoupe.engine.runfolder import Run
from decoupe.errors import UsageFault
from decoupe.review.album import Album, Photo, recorded
from decoupe.review.book import Book, Entry
from decoupe.review.guard import Session
from decoupe.review.regions import Naming, Regions
from decoupe.review.scan import Scan
from decoupe.review.studio import Kept, Studio, check_run

FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""For pictures whose address changes with their content."""


@dataclass
class Desk:
    """One run and its photos, open for review."""

    run: Path
    session: Session
    album: Album
    book: Book
    regions: Regions
    studio: Studio
    scan: Scan
    tries: Kept = field(default_factory=lambda: Kept(8))
    """Photos that were dropped on the page `try`."""
    others: Kept = field(default_factory=lambda: Kept(2))
    """Runs that were put beside this one."""

    @property
    def naming(self) -> Naming:
        """The names as they are now."""
        return self.regions.now

    def photo(self, request: Request) -> tuple[int, Photo]:
        """The photo whose number is in the address. UsageFault if it is none."""
        number = whole(request.path_params.get("photo"), 0, len(self.album) - 1, "a photo")
        return number, self.album[number]

    def entry(self, photo: Photo) -> Entry:
        """What is known about a photo."""
        return self.book.get(photo.key)


@contextlib.contextmanager
def opened(run: str | Path, images: str | Path | None, session: Session) -> Iterator[Desk]:
    """Open a run for review. Fault if it is none, if its photos are gone, or if another review has it."""
    path = Path(run)
    info = Run.open(path).info
    model = check_run(path)
    album = Album.open(images if images is not None else recorded(info.get("settings")))
    with Book(path, album.source) as book:
        studio = Studio(model, album, book)
        scan = Scan(studio)
        try:
            yield Desk(path, session, album, book, Regions(path), studio, scan)
        finally:
            scan.stop()


def whole(value: Any, low: int, high: int, what: str) -> int:
    """A whole number in [low, high] from an address or JSON. UsageFault otherwise."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if (
        not isinstance(text, str)
        or not (text.isascii() and text.isdigit())
        or len(text) > 12
        or not low <= int(text) <= high
    ):
        raise UsageFault(f"{what} from {low} to {high}", repr(value)[:40], "load the page again")
    return int(text)


def fields(body: bytes, *names: str) -> list[Any]:
    """Values of a JSON object that has exactly these names. UsageFault otherwise."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or set(content) != set(names):
        raise UsageFault(f"a JSON object with {', '.join(names)}", "another body", "load the page again")
    return [content[name] for name in names]


def tab_of(request: Request) -> str:
    """The tab that asks, as it calls itself."""
    return request.headers.get("x-decoupe-tab", "")[:40]


Handler = Callable[[Desk, Request, bytes], Response]
Row = tuple[str, str, Handler]
"""Method, address and handler of a route."""


def answer(content: Any, status: int = 200) -> Response:
    """JSON; numbers that are none become null beforehand, or this raises."""
    return JSONResponse(content, status)


def picture(data: bytes, kind: str, forever: bool) -> Response:
    """A picture; `forever`: its address changes when it does."""
    return Response(data, media_type=f"image/{kind}", headers=FOREVER if forever else {})
