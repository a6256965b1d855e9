"""Who may talk to the page: this machine, this browser, this session. Everybody else is turned away before any work.

In the order they are asked:

1. a WebSocket, or a request to become one: 403
2. exactly one Host, and it names this server on loopback: else 400 (a rebound name of another site ends here)
3. a method of GET, HEAD, POST, PUT: else 405
4. no Origin but our own, and one must be there to change anything; Sec-Fetch-Site may not be another site: else 403
5. the session's cookie (set by the link that the terminal shows): else 403
6. to change anything, the page's own token in a header that no form can send, and a body of JSON, bytes: else 403
7. a body no longer than its route allows: else 413; at most one range: else 416

The body's length is also counted while it is read, whatever its headers claim.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob:", "connect-src 'self'",
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        "require-trusted-types-for 'script'", "trusted-types 'none'",
    ]
)  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SAFE, UNSAFE = ("GET", "HEAD"), ("POST", "PUT")
BODIES = ("application/json", "application/octet-stream")
LARGEST = 64 * 1024 * 1024
"""Bytes of a body: a mask, a photo that is tried."""
LARGEST_JSON = 1024 * 1024
TOKEN = "x-decoupe-token"


@dataclass(frozen=True)
class Session:
    """The secrets of one start."""

    port: int
    link: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    """In the link that the terminal shows, and then in the cookie."""
    page: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    """In the pages, sent back with every change."""
    name: str = field(default_factory=lambda: secrets.token_hex(4))
    """No secret: pictures of different sessions have different addresses."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names under which this server may be addressed."""
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"

    @property
    def cookie(self) -> str:
        """Name of the cookie: cookies of one host are shared by all its ports."""
        return f"decoupe-{self.port}"

    @property
    def url(self) -> str:
        """The link to open."""
        return f"http://127.0.0.1:{self.port}/?token={self.link}"


class Refusal(Exception):
    """Why a request is turned away."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


class TooLong(Exception):
    """A body went on beyond its limit."""


class Guard:
    """ASGI middleware that answers refused requests itself and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, session: Session) -> None:
        self.app, self.session = app, session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        counted = _Counted(receive, LARGEST_JSON if _kind(scope) == "application/json" else LARGEST)
        try:
            check(scope, self.session)
            await self.app(scope, counted, _guarded(send))
        except Refusal as refusal:
            await _refuse(send, refusal, self._entering(scope, refusal))

    def _entering(self, scope: Scope, refusal: Refusal) -> dict[str, str]:
        """The answer to the terminal's link: a cookie, and the way to the page without the token in its address."""
        if refusal.status != 303:
            return {}
        cookie = f"{self.session.cookie}={self.session.link}; Path=/; HttpOnly; SameSite=Strict"
        return {"Set-Cookie": cookie, "Location": "/"}


@dataclass
class _Counted:
    """A `receive` that stops counting at a limit."""

    receive: Receive
    left: int

    async def __call__(self) -> Message:
        message = await self.receive()
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            raise TooLong
        return message


def check(scope: Scope, session: Session) -> None:
    """Raise `Refusal` unless the request may pass; the rules stand at the top of this file."""
    headers = _headers(scope)
    if any("websocket" in value.lower() for value in headers.get("upgrade", [])):
        raise Refusal(403, "no WebSockets here")
    hosts = headers.get("host", [])
    if len(hosts) != 1 or hosts[0].lower() not in session.hosts:
        raise Refusal(400, "this server answers on this machine's loopback address only")
    method = scope["method"]
    if method not in SAFE + UNSAFE:
        raise Refusal(405, "GET, HEAD, POST or PUT")
    _check_origin(headers, method, session)
    _check_secrets(scope, headers, method, session)
    _check_body(headers, method)


def _check_origin(headers: dict[str, list[str]], method: str, session: Session) -> None:
    own = [f"http://{host}" for host in session.hosts]
    origins = headers.get("origin", [])
    if any(origin.lower() not in own for origin in origins) or len(origins) > 1:
        raise Refusal(403, "asked by another site")
    if method in UNSAFE and (not origins or origins[0].lower() != f"http://{headers['host'][0].lower()}"):
        raise Refusal(403, "changes need the page's own origin")
    if any(site not in ("same-origin", "none") for site in headers.get("sec-fetch-site", [])):
        raise Refusal(403, "asked by another site")


def _check_secrets(scope: Scope, headers: dict[str, list[str]], method: str, session: Session) -> None:
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
    if method == "GET" and scope["path"] == "/" and len(given) == 1 and _equal(given[0], session.link):
        raise Refusal(303, "")
    if not _equal(_cookie(headers, session.cookie), session.link):
        raise Refusal(403, "open the link that decoupe review printed in the terminal")
    if method in UNSAFE:
        tokens = headers.get(TOKEN, [])
        if len(tokens) != 1 or not _equal(tokens[0], session.page):
            raise Refusal(403, "load the page again: its token is of another session")


def _check_body(headers: dict[str, list[str]], method: str) -> None:
    kind = headers.get("content-type", [""])[0].partition(";")[0].strip().lower()
    if method in UNSAFE and kind not in BODIES:
        raise Refusal(403, "a body of JSON or bytes")
    length = headers.get("content-length", ["0"])[0]
    if not (length.isascii() and length.isdigit()) or int(length) > (
        LARGEST_JSON if kind == "application/json" else LARGEST
    ):
        raise Refusal(413, "the body is too long")
    if any("," in value for value in headers.get("range", [])):
        raise Refusal(416, "one range at most")


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    return found


def _kind(scope: Scope) -> str:
    return _headers(scope).get("content-type", [""])[0].partition(";")[0].strip().lower()


def _cookie(headers: dict[str, list[str]], name: str) -> str:
    try:
        jar = SimpleCookie("; ".join(headers.get("cookie", [])))
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _guarded(send: Send) -> Send:
    async def guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            known = {name.lower() for name, _ in message["headers"]}
            extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            message["headers"] = [*message["headers"], *extra]
            if b"cache-control" not in known:
                message["headers"].append((b"cache-control", b"no-store"))
        await send(message)

    return guarded


async def _refuse(send: Send, refusal: Refusal, extra: dict[str, str] | None = None) -> None:
    body = refusal.reason.encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), **(extra or {})}
    if refusal.status == 413:
        headers["Connection"] = "close"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    guarded = _guarded(send)
    await guarded({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await guarded({"type": "http.response.body", "body": body})
