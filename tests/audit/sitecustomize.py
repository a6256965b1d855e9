"""Watches every Python process of the tests: nothing of ours unpickles, nothing reaches beyond loopback.

tests/conftest.py puts this folder on PYTHONPATH, so that processes which tests start are watched as well. What is found
is appended to the file $DECOUPE_AUDIT: one line per process ("process") and one per event that must not be.
"""

import os
import sys

HOME = os.sep + os.path.join("src", "decoupe") + os.sep
LOCAL = ("127.", "::1", "localhost", "::ffff:127.")
UNPICKLING = ("pickle.find_class", "marshal.loads")
SOCKETS = ("socket.connect", "socket.bind", "socket.sendto")


def ours() -> str:
    """The innermost line of the package that is at work, else nothing."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if HOME in name:
            return f"{name.rpartition(HOME)[2]}:{frame.f_lineno}"
        if name.startswith("<frozen importlib"):  # Python itself reads compiled modules
            return ""
        frame = frame.f_back
    return ""


def judge(event: str, arguments: tuple) -> str:
    """What is wrong with an event, else nothing."""
    if event in UNPICKLING:
        return f"{event} {arguments[:2] if event != 'marshal.loads' else ''} at {place}" if (place := ours()) else ""
    address = arguments[1] if len(arguments) > 1 else None
    if not isinstance(address, tuple) or not address:  # a socket of this machine alone
        return ""
    host = address[0].decode(errors="replace") if isinstance(address[0], bytes) else str(address[0])
    return "" if host.startswith(LOCAL) else f"{event} {address[:2]}"


def watch(event: str, arguments: tuple) -> None:
    """The hook."""
    if event in UNPICKLING or event in SOCKETS:
        wrong = judge(event, arguments)
        if wrong:
            tell(f"{wrong} in {os.environ.get('PYTEST_CURRENT_TEST', sys.argv[:1])}")


def tell(line: str) -> None:
    """Append a line to the file that all processes share."""
    place = os.environ.get("DECOUPE_AUDIT")
    if place:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, (line.replace("\n", " ") + "\n").encode(errors="replace"))
        os.close(handle)


if os.environ.get("DECOUPE_AUDIT") and not getattr(sys, "_decoupe_audited", False):
    sys._decoupe_audited = True  # type: ignore[attr-defined]
    sys.addaudithook(watch)
    tell("process")
