"""Who is turned away: every combination of Host, Origin, token, cookie and method against a real server."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from decoupe.errors import Fault
from decoupe.review import listening
from tests.review.serving import Served, serving


@pytest.fixture(scope="module")
def served(_fitted: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import shutil

    with serving(Path(shutil.copytree(_fitted["two"], tmp_path_factory.mktemp("guard") / "run")), scan=False) as found:
        yield found


def combinations(port: int, cookie: str, page: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """((host, origin, cookie, token, method), the status that is right), told apart by rules written down anew here."""
    own = f"127.0.0.1:{port}"
    hosts = [own, f"localhost:{port}", f"LOCALHOST:{port}", "evil.example", f"evil.example:{port}", "127.0.0.1",
             f"127.0.0.1:{port + 1}", f"[::1]:{port}", f"127.0.0.1.evil.example:{port}", ""]  # fmt: skip
    origins = [
        "",
        f"http://{own}",
        "same",
        "null",
        "http://evil.example",
        f"https://{own}",
        f"http://127.0.0.1:{port + 1}",
    ]
    cookies = [cookie, "", cookie[:-1] + ("a" if cookie[-1] != "a" else "b")]
    tokens = [page, "", page + "x"]
    methods = ["GET", "POST", "PUT", "DELETE"]
    for host, origin, jar, token, method in itertools.product(hosts, origins, cookies, tokens, methods):
        sent = f"http://{host}" if origin == "same" else origin
        local = host.lower() in (own, f"localhost:{port}")
        ours = sent.lower() in (f"http://{own}", f"http://localhost:{port}")
        matching = sent.lower() == f"http://{host.lower()}"
        changing = method in ("POST", "PUT")
        right = 200
        if not local:
            right = 400
        elif method == "DELETE":
            right = 405
        elif (sent and not ours) or (changing and not matching) or jar != cookie or (changing and token != page):
            right = 403
        yield (host, sent, jar, token, method), right


def test_no_combination_of_host_origin_token_and_method_is_wrong(served: Served) -> None:
    session = served.desk.session
    wrong, seen = [], dict.fromkeys((200, 400, 403, 405), 0)
    cases = list(combinations(served.port, session.link, session.page))
    # every case that may pass, and of those that may not every third: over 600
    chosen = [case for number, case in enumerate(cases) if case[1] == 200 or number % 3 == 0]
    assert len(chosen) >= 500
    for (host, origin, jar, token, method), right in chosen:
        headers = {"Host": host} if host else {}
        headers |= {"Origin": origin} if origin else {}
        headers |= {"Cookie": f"{session.cookie}={jar}"} if jar else {}
        headers |= {"X-Decoupe-Token": token} if token else {}
        path = "/api/scores"
        body = None
        if method in ("POST", "PUT"):
            headers["Content-Type"] = "application/json"
            path, body = "/api/undo", b"{}"
        status = served.send(method, path, headers, body).status
        expected = 405 if right == 200 and method == "PUT" else right  # the route itself takes POST alone
        seen[right] += 1
        if status != expected:
            wrong.append(((host, origin, jar == session.link, token == session.page, method), status, expected))
    assert wrong == []
    assert all(count >= 8 for count in seen.values()), seen


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_bodies_that_a_form_can_send_change_nothing(served: Served, kind: str) -> None:
    headers = {k: v for k, v in served.good.items() if k != "Content-Type"} | ({"Content-Type": kind} if kind else {})
    before = served.desk.book.revision
    assert served.send("POST", "/api/judge/0", headers, b'{"verdict": "accepted"}').status == 403
    assert served.desk.book.revision == before


def test_two_hosts_two_origins_and_other_sites_are_refused(served: Served) -> None:
    good = served.good
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as raw:
        own = f"Host: 127.0.0.1:{served.port}\r\n"
        raw.sendall(f"GET /api/scores HTTP/1.1\r\n{own}{own}Connection: close\r\n\r\n".encode())
        assert b" 400 " in raw.recv(4096).split(b"\r\n")[0]
    for site in ("cross-site", "same-site"):
        assert served.send("GET", "/api/scores", good | {"Sec-Fetch-Site": site}).status == 403
    assert served.send("GET", "/api/scores", good | {"Sec-Fetch-Site": "same-origin"}).status == 200


def test_no_websocket_opens(served: Served) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    for path in ("/", "/api/photos", "/ws"):
        assert served.send("GET", path, served.good | upgrade).status == 403


def test_the_link_sets_a_strict_cookie_and_leaves_the_address(served: Served) -> None:
    session, host = served.desk.session, {"Host": f"127.0.0.1:{served.port}"}
    reply = served.send("GET", f"/?token={session.link}", host)
    assert reply.status == 303 and reply.headers["location"] == "/"
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert served.send("GET", "/", host | {"Cookie": cookie.split(";")[0]}).status == 200
    for wrong in (
        "/?token=x",
        "/",
        f"/?token={session.link}&token=x",
        f"/triage?token={session.link}",
        "/static/core.js",
    ):
        assert served.send("GET", wrong, host).status == 403
    assert served.send("GET", f"/?token={session.link}", {"Host": "evil.example"}).status == 400


def test_every_answer_carries_the_policy(served: Served) -> None:
    for path in ("/", "/triage", "/static/core.js", "/static/none.js", "/api/photos", "/photo/0/thumb.jpg", "/nothing"):
        for headers in (served.good, {"Host": "evil.example"}):
            found = served.send("GET", path, headers).headers
            policy = found["content-security-policy"]
            assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy
            assert found["x-content-type-options"] == "nosniff" and found["referrer-policy"] == "no-referrer"
            assert "server" not in found and "access-control-allow-origin" not in found


def test_floods_end_at_once(served: Served) -> None:
    started = time.monotonic()
    large = served.good | {"Content-Length": str(1 << 40)}
    assert served.send("POST", "/api/undo", large, b"{}").status == 413
    assert served.send("POST", "/api/undo", served.good | {"Content-Length": "-1"}, b"{}").status in (400, 413)
    ranges = served.good | {"Range": "bytes=" + ",".join(f"{i}-{i}" for i in range(500))}
    assert served.send("GET", "/photo/0/view.jpg", ranges).status == 416
    assert time.monotonic() - started < 3


def test_a_body_without_a_length_is_counted_while_it_is_read(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as raw:
        lines = [f"{name}: {value}" for name, value in served.good.items()]
        raw.sendall("\r\n".join(["POST /api/undo HTTP/1.1", *lines, "Transfer-Encoding: chunked", "", ""]).encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(40):
                raw.sendall(chunk)
        assert b" 413 " in raw.recv(4096).split(b"\r\n")[0]


def test_only_loopback_listens() -> None:
    with listening(None) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        port = listener.getsockname()[1]
        with pytest.raises(Fault, match=f"port {port} to be free"):
            listening(port)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/guard.py", "/static//etc/passwd",
        "/static/style.css%00",
        "/photo/..%2f..%2fx/thumb.jpg", "/photo/-1/thumb.jpg", "/photo/99999/thumb.jpg", "/photo/1e3/thumb.jpg",
        "/photo/0/..jpg", "/photo/%D9%A3/thumb.jpg", "/mask/0/original.png", "/try/../photo.jpg",
        "/try/abc/passwd", "/crop/0/999.jpg", "/layer/0/77.png", "/compare/0/view.png?with=../../etc",
        "/compare/0/view.png?with=", "/labels/1000000000000000000000", "/api/photo/0x1",
    ],
)  # fmt: skip
def test_addresses_lead_nowhere_else(served: Served, path: str) -> None:
    reply = served.send("GET", path, served.good)
    assert reply.status in (400, 404) and b"Traceback" not in reply.body and b"root:" not in reply.body


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"verdict": 1}', b'{"verdict": "x"}', b'{"verdict": {}}',
                                  b'{"verdict": "accepted", "more": 1}', b"[" * 20_000, b"\xff\xfe"])  # fmt: skip
def test_other_bodies_are_refused_in_one_line(served: Served, body: bytes) -> None:
    reply = served.send("POST", "/api/judge/0", served.good, body)
    assert reply.status == 400 and reply.json()["error"].startswith("expected ")
    assert served.desk.book.revision == 0


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch, run: Callable[[str], Path]) -> None:
    import sys

    from decoupe.review import review

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(Fault, match=r"pip install 'decoupe\[review\]'"):
        review(run("two"))
