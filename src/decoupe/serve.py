"""`decoupe serve`: a run behind the routes that Label Studio asks for pre-annotations, on loopback alone.

    GET  /, /health        {"status": "UP", ...}
    POST /setup            {"model_version": ...}
    POST /predict          {"results": [...]}: one prediction per task, as `segment --format labelstudio` writes them
    GET  /versions         {"versions": [...]}
    POST /train, /webhook  {}: nothing is trained here; `decoupe refine` does that, on the masks you trust

Who may ask, in the order of the checks: no WebSocket (403); one Host, a loopback name of this server (400); GET, HEAD
or POST (405); no Origin at all, for no page belongs here, and no other site by Sec-Fetch-Site (403); the token of this
start, as password of Basic or as Bearer (403); a POST of JSON (403) no longer than `LARGEST` (413); at most one range
(416).

Photos are read below the folder of `--images` and nowhere else. Nothing is ever fetched: an address is not an image.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes

from decoupe.data.decode import read_image
from decoupe.data.paths import inside
from decoupe.errors import Fault
from decoupe.export.base import Place, Record
from decoupe.export.labelstudio import LOCAL, LabelStudioPolygonsWriter, LabelStudioWriter
from decoupe.export.palette import chosen

if TYPE_CHECKING:
    from decoupe.model import Model

PORT = 9090
"""The port that Label Studio's own backends use."""
LARGEST = 8 * 1024 * 1024
"""Bytes of a request."""
MOST_TASKS = 1000
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_UPLOAD = re.compile(r"^/data/upload/\d+/(?:[0-9a-f]{8}-)?([^/]+)$")


class Refusal(Exception):
    """Why a request is turned away."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


@dataclass(frozen=True)
class Session:
    """One start of the server."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names under which it may be addressed."""
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"


# ---------------------------------------------------------------------- who may ask


def check(scope: Scope, session: Session) -> None:
    """Raise `Refusal` unless the request may pass; the rules stand at the top of this file."""
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    if any("websocket" in value.lower() for value in headers.get("upgrade", [])):
        raise Refusal(403, "no WebSockets here")
    hosts = headers.get("host", [])
    if len(hosts) != 1 or hosts[0].lower() not in session.hosts:
        raise Refusal(400, "this server answers on this machine's loopback address only")
    if scope["method"] not in ("GET", "HEAD", "POST"):
        raise Refusal(405, "GET, HEAD or POST")
    sites = [site for site in headers.get("sec-fetch-site", []) if site not in ("none", "same-origin")]
    if headers.get("origin") or sites:
        raise Refusal(403, "no page of a browser may ask here")
    if not _known(headers.get("authorization", []), session.token):
        raise Refusal(403, "the token that decoupe serve printed, as the password")
    kinds = [value.partition(";")[0].strip().lower() for value in headers.get("content-type", [])]
    if scope["method"] == "POST" and kinds != ["application/json"]:
        raise Refusal(403, "a body of JSON")
    lengths = headers.get("content-length", ["0"])
    if len(lengths) != 1 or not lengths[0].isdecimal() or int(lengths[0][:20]) > LARGEST:
        raise Refusal(413, "the body is too long")
    if any("," in value for value in headers.get("range", [])):
        raise Refusal(416, "one range at most")


def _known(given: list[str], token: str) -> bool:
    """Whether exactly one Authorization carries the token."""
    if len(given) != 1:
        return False
    kind, _, rest = given[0].partition(" ")
    if kind.lower() == "bearer":
        return hmac.compare_digest(rest.strip().encode(), token.encode())
    if kind.lower() != "basic":
        return False
    try:
        _, _, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(password, token.encode())


# ---------------------------------------------------------------------- what is answered


class Backend:
    """The answers; the model works on one request at a time."""

    def __init__(self, model: Model, images: Path) -> None:
        self.model, self.images = model, images
        self.version = f"decoupe-{model.run.path.resolve().name}"
        self._place = Place(images, model.names, chosen(model.names, model.colours))

    def answer(self, path: str, content: Any) -> dict[str, Any]:
        """The JSON of one route. Refusal where there is none, or on content that is no request."""
        about = {"model_version": self.version}
        if path in ("/", "/health"):
            return {"status": "UP", "model_class": "decoupe", **about}
        if path == "/setup":
            return about
        if path == "/versions":
            return {"versions": [self.version]}
        if path in ("/train", "/webhook"):
            return {}
        if path == "/predict":
            return {"results": self._predictions(content), **about}
        raise Refusal(404, "no such route")

    def _predictions(self, content: Any) -> list[dict[str, Any]]:
        tasks = content.get("tasks") if isinstance(content, dict) else None
        if not isinstance(tasks, list) or len(tasks) > MOST_TASKS:
            raise Refusal(400, f"a list of at most {MOST_TASKS} tasks")
        names = control_names(str(content.get("label_config") or ""))
        return [self._prediction(task, *names) for task in tasks]

    def _prediction(self, task: Any, kind: str, from_name: str, to_name: str) -> dict[str, Any]:
        try:
            data = task["data"]
            path = self.photo(str(data.get("image", next(iter(data.values())))))
            image = read_image(path)
        except (Fault, KeyError, TypeError, AttributeError, StopIteration) as error:
            reason = getattr(error, "reason", None) or getattr(error, "got", None) or "no image in this task"
            return {"result": [], "score": 0.0, "model_version": self.version, "error": str(reason)[:200]}
        writer = (LabelStudioPolygonsWriter if kind == "polygonlabels" else LabelStudioWriter)(self._place)
        regions = self.model.segment(image)
        record = Record("photo", "photo", (image.shape[0], image.shape[1]), writer.write("photo", image, regions))
        found: dict[str, Any] = writer.task(record)["predictions"][0]
        for one in found["result"]:
            one |= {"from_name": from_name, "to_name": to_name}
        return {**found, "model_version": self.version}

    def photo(self, address: str) -> Path:
        """The file a task names, below the folder of photos. Fault on everything else, addresses above all."""
        if address.startswith(LOCAL):
            name = os.fsdecode(unquote_to_bytes(address[len(LOCAL) :]))
        elif found := _UPLOAD.match(address):
            name = unquote(found[1])
        elif "://" in address[:64] or address.startswith(("//", "/data/", "data:")):
            raise Fault("a photo below --images", "an address: nothing is fetched", "use Label Studio's local files")
        else:
            name = address
        return inside(self.images, name)


def control_names(config: str) -> tuple[str, str, str]:
    """(kind, from_name, to_name) of the labels in a labelling configuration; brush, label, image where it has none."""
    for tag, kind in (("BrushLabels", "brushlabels"), ("PolygonLabels", "polygonlabels")):
        found = re.search(rf"<{tag}\b[^<>]{{0,2000}}>", config[:200_000])
        if found:
            given = dict(re.findall(r"\b(name|toName)\s*=\s*[\"']([^\"'<>]{1,200})[\"']", found[0]))
            return kind, given.get("name", "label"), given.get("toName", "image")
    return "brushlabels", "label", "image"


# ---------------------------------------------------------------------- the server


class Application:
    """ASGI: checks, reads the body within its limit, answers in JSON."""

    def __init__(self, backend: Backend, session: Session) -> None:
        self.backend, self.session = backend, session
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        try:
            check(scope, self.session)
            content = await self._body(scope, receive)
            async with self._turn:
                answer = await asyncio.to_thread(self.backend.answer, scope["path"], content)
            await self._say(scope, send, 200, answer)
        except Refusal as refusal:
            await self._say(scope, send, refusal.status, {"error": refusal.reason})
        except Exception as error:  # noqa: BLE001 a defect answers this request and no other
            await self._say(scope, send, 500, {"error": f"a defect of decoupe: {type(error).__name__}"})

    async def _body(self, scope: Scope, receive: Receive) -> Any:
        data = b""
        while scope["method"] == "POST":
            message = await receive()
            data += message.get("body", b"")
            if len(data) > LARGEST:
                raise Refusal(413, "the body is too long")
            if not message.get("more_body"):
                break
        try:
            return json.loads(data) if data else {}
        except (ValueError, RecursionError):
            raise Refusal(400, "JSON") from None

    async def _say(self, scope: Scope, send: Send, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        headers = [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"),
            (b"content-security-policy", b"default-src 'none'"), (b"referrer-policy", b"no-referrer"),
        ]  # fmt: skip
        if status == 413:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def serve(
    run: str | Path,
    images: str | Path = ".",
    port: int | None = None,
    ready: Callable[[Session], None] | None = None,
) -> None:
    """Answer Label Studio for a run until Ctrl-C.

    images: the folder that Label Studio's local files lie in (its document root); nothing outside is read. port: None =
    9090, or any free one where that is taken. ready: called with the session once the server listens. Fault if the run
    or the folder cannot be read, if the port is taken, or without the extra `review`.
    """
    try:
        import uvicorn
    except ImportError:
        raise Fault("the package uvicorn", "none", "pip install 'decoupe[review]'") from None
    from decoupe.model import load
    from decoupe.review import listening

    root = Path(images)
    if not root.is_dir():
        raise Fault("--images to be a folder", str(images), "name the document root of Label Studio's local files")
    backend = Backend(load(run), root)
    try:
        listener = listening(PORT if port is None else port)
    except Fault:
        if port is not None:
            raise
        listener = listening(0)
    with listener:
        session = Session(listener.getsockname()[1])
        config = uvicorn.Config(
            Application(backend, session), log_level="critical", access_log=False, server_header=False, ws="none",
            lifespan="off", proxy_headers=False, timeout_keep_alive=20, timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=32_768,
        )  # fmt: skip
        if ready is not None:
            ready(session)
        uvicorn.Server(config).run(sockets=[listener])
