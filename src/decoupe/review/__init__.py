"""`decoupe review`: a page on this machine to see a run, name its regions, keep the good masks and mend the rest.

Nothing leaves the machine: the server listens on loopback alone and the page loads nothing from elsewhere. What is
decided is in RUN/review, see `book` for how it is stored and `kept` for how others read it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from decoupe.errors import Fault

if TYPE_CHECKING:
    import uvicorn

    from decoupe.review.desk import Desk

PORT = 8642
"""The port that is tried first."""


def review(
    run: str | Path,
    images: str | Path | None = None,
    port: int | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the review page of a run until Ctrl-C.

    images: photos to review (default: those the run learned from). port: 1 to 65535; without one 8642, or where that
    is taken any free one. ready: called with the link to open once the server listens.

    Fault if the run or its photos cannot be read, if another review has the run, if the port is taken, or if the extra
    `review` is not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise Fault("the packages of the review page", "none", "pip install 'decoupe[review]'") from None
    from decoupe.review.desk import opened
    from decoupe.review.guard import Session

    with listening(port) as listener:
        session = Session(listener.getsockname()[1])
        with opened(run, images, session) as desk:
            desk.scan.start()
            if ready is not None:
                ready(session.url)
            with contextlib.suppress(KeyboardInterrupt):  # the way to end it
                server(desk).run(sockets=[listener])


def server(desk: Desk) -> uvicorn.Server:
    """The web server of one desk, without a socket yet."""
    import uvicorn

    from decoupe.review.app import application

    return uvicorn.Server(
        uvicorn.Config(
            application(desk), log_level="critical", access_log=False, server_header=False, ws="none",
            lifespan="off", proxy_headers=False, timeout_keep_alive=20, timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=32_768,
        )
    )  # fmt: skip


def listening(port: int | None) -> socket.socket:
    """A socket that listens on 127.0.0.1, and nowhere else. Fault if the port is taken."""
    for choice in (port,) if port is not None else (PORT, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", choice))
            listener.listen(128)
            return listener
        except OSError as error:
            listener.close()
            if port is not None:
                raise Fault(f"port {port} to be free", error.strerror or "taken", "leave --port out") from None
    raise Fault("a free port on loopback", "none", "close other programs")
