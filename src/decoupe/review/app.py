"""The web application: routes, pages, errors. Every answer goes through the guard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from decoupe.errors import Fault, UsageFault
from decoupe.review import api_extras, api_masks, api_photos, api_regions, front
from decoupe.review.book import Stale
from decoupe.review.desk import Desk, Handler, answer
from decoupe.review.guard import Guard, TooLong

HERE = Path(__file__).parent
PAGES = {
    "overview": ("/", "Overview"),
    "name": ("/name", "Name"),
    "triage": ("/triage", "Triage"),
    "correct": ("/correct", "Correct"),
    "layers": ("/layers", "Layers"),
    "try": ("/try", "Try"),
    "compare": ("/compare", "Compare"),
    "export": ("/export", "Export"),
}
"""Pages in the order of their tabs: address and title."""
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def application(desk: Desk) -> ASGIApp:
    """The guarded application for one desk."""
    environment = Environment(
        loader=FileSystemLoader([HERE / "templates", HERE.parent / "report"]),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    routes = [Route(address, _page(desk, environment, name), methods=["GET"]) for name, (address, _) in PAGES.items()]
    routes.append(Route("/static/{name}", _static(), methods=["GET"]))
    for table in (api_photos.ROUTES, api_regions.ROUTES, api_masks.ROUTES, api_extras.ROUTES):
        routes += [Route(path, _handled(desk, handler), methods=[method]) for method, path, handler in table]
    handlers: Any = {TooLong: lambda request, error: Response("the body is too long", 413)}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), desk.session)


def _handled(desk: Desk, handler: Handler) -> Callable[[Request], Any]:
    """`handler` in a thread; its faults as one line of JSON."""

    async def endpoint(request: Request) -> Response:
        desk.scan.asked = time.monotonic()
        body = await request.body()
        try:
            return await run_in_threadpool(handler, desk, request, body)
        except Stale as stale:
            return answer({"error": str(stale), "stale": True}, 409)
        except UsageFault as fault:
            return answer({"error": str(fault)}, 400)
        except Fault as fault:
            return answer({"error": str(fault)}, 409)

    return endpoint


def _page(desk: Desk, environment: Environment, name: str) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        desk.scan.asked = time.monotonic()
        about = await run_in_threadpool(front.overview, desk) if name == "overview" else {}
        text = environment.get_template(f"{name}.html.j2").render(
            page=name,
            pages=PAGES,
            run=desk.run.resolve().name,
            token=desk.session.page,
            album=desk.scan.mark[:12],
            session=desk.session.name,
            **about,
        )
        return HTMLResponse(text)

    return endpoint


def _static() -> Callable[[Request], Any]:
    """The page's own files, read once: no name from outside ever reaches the disk."""
    files = {path.name: path.read_bytes() for path in (HERE / "static").iterdir() if path.suffix in KINDS}

    async def endpoint(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            return Response("no such file", 404)
        return Response(files[name], media_type=KINDS[Path(name).suffix], headers={"Cache-Control": "no-cache"})

    return endpoint
