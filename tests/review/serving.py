"""A real server of the review page in a thread, and a client that sends exactly the headers it is told."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoupe.review import listening, server
from decoupe.review.desk import Desk, opened
from decoupe.review.guard import Session


@dataclass
class Reply:
    """An answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Served:
    """A running review."""

    desk: Desk

    @property
    def port(self) -> int:
        """Its port."""
        return self.desk.session.port

    @property
    def good(self) -> dict[str, str]:
        """The headers of the page itself."""
        session = self.desk.session
        return {
            "Host": f"127.0.0.1:{self.port}",
            "Origin": f"http://127.0.0.1:{self.port}",
            "Cookie": f"{session.cookie}={session.link}",
            "X-Decoupe-Token": session.page,
            "X-Decoupe-Tab": "test",
            "Content-Type": "application/json",
        }

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """One request with these headers and no others (but Content-Length)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None and "Content-Length" not in headers and "Transfer-Encoding" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            data = reply.read()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, data)
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        """GET as the page does it."""
        return self.send("GET", path, self.good)

    def post(self, path: str, content: Any, tab: str = "test", method: str = "POST") -> Reply:
        """POST of JSON, or of bytes, as the page does it."""
        headers = self.good | {"X-Decoupe-Tab": tab}
        if isinstance(content, bytes):
            return self.send(method, path, headers | {"Content-Type": "application/octet-stream"}, content)
        return self.send(method, path, headers, json.dumps(content).encode())


@contextlib.contextmanager
def serving(run: Path, images: Path | str | None = None, scan: bool = True) -> Iterator[Served]:
    """The review of a run on a free port, as `decoupe review` serves it."""
    with listening(None) as listener, opened(run, images, Session(listener.getsockname()[1])) as desk:
        web = server(desk)
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        if scan:
            desk.scan.start()
        until = time.monotonic() + 30
        while not web.started and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield Served(desk)
        finally:
            web.should_exit = True
            thread.join(10)


def looked(served: Served, seconds: float = 60) -> None:
    """Wait until the scan has seen every photo."""
    until = time.monotonic() + seconds
    while served.desk.scan.done < len(served.desk.album) and time.monotonic() < until:
        time.sleep(0.05)
    assert served.desk.scan.done == len(served.desk.album)
