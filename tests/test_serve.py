"""`decoupe serve` over real sockets: the routes of Label Studio, and everybody who may not ask."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.errors import Fault
from decoupe.export.readers import read_masks
from decoupe.model import load
from decoupe.serve import LARGEST, Backend, Session, control_names, serve

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install decoupe[review]")


class Server:
    """One start, in a thread that ends with the process."""

    def __init__(self, run: Path, images: Path) -> None:
        found: list[Session] = []
        arrived = threading.Event()

        def ready(session: Session) -> None:
            found.append(session)
            arrived.set()

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        threading.Thread(target=serve, args=(run, images, port, ready), daemon=True).start()
        assert arrived.wait(120)
        self.session = found[0]
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"label-studio:{self.session.token}".encode()).decode()

    def ask(
        self, method: str, path: str, content: Any = None, *, raw: bytes | None = None, **headers: str | None
    ) -> tuple[int, Any]:
        """Status and JSON; a header given as None is left out."""
        body = raw if raw is not None else (b"" if content is None else json.dumps(content).encode())
        given: dict[str, str | None] = {
            "Host": f"localhost:{self.session.port}", "Authorization": self.basic, "Content-Length": str(len(body)),
        }  # fmt: skip
        if method == "POST":
            given["Content-Type"] = "application/json"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.session.port, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        try:
            return answer.status, json.loads(data)
        except ValueError:
            return answer.status, None


@pytest.fixture(scope="module")
def photos_folder(tmp_path_factory: pytest.TempPathFactory, synth: Path) -> Path:
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(synth / "images", folder / "root" / "in")
    Pillow.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "secret.png")
    return folder / "root"


@pytest.fixture(scope="module")
def server(tiny_run: Path, photos_folder: Path) -> Iterator[Server]:
    yield Server(tiny_run, photos_folder)


def test_the_routes_of_label_studio(server: Server) -> None:
    assert server.ask("GET", "/health")[1]["status"] == "UP"
    assert server.ask("GET", "/")[0] == 200
    status, setup = server.ask("POST", "/setup", {"project": "1", "schema": "<View/>", "access_token": "x"})
    assert status == 200 and setup["model_version"].startswith("decoupe-")
    assert server.ask("GET", "/versions")[1] == {"versions": [setup["model_version"]]}
    assert server.ask("POST", "/webhook", {"action": "ANNOTATION_CREATED"}) == (200, {})
    assert server.ask("GET", "/nothing")[0] == 404
    assert server.ask("POST", "/predict", {"tasks": 3})[0] == 400
    assert server.ask("POST", "/predict", raw=b"{")[0] == 400


@pytest.mark.parametrize("kind", ["BrushLabels", "PolygonLabels"])
def test_predictions_are_the_masks_of_the_run(
    server: Server, tiny_run: Path, photos_folder: Path, tmp_path: Path, kind: str
) -> None:
    config = f'<View><Image name="photo" value="$image"/><{kind} name="parts" toName="photo"><Label value="object"/>'
    names = sorted(path.name for path in (photos_folder / "in").iterdir())[:3]
    tasks = [{"id": i, "data": {"image": f"/data/local-files/?d=in/{name}"}} for i, name in enumerate(names)]
    status, answer = server.ask("POST", "/predict", {"tasks": tasks, "label_config": config})
    assert status == 200 and len(answer["results"]) == 3
    model = load(tiny_run)
    for name, found, task in zip(names, answer["results"], tasks, strict=True):
        labels = model.segment(photos_folder / "in" / name).labels
        assert not found.get("error") and 0 <= found["score"] <= 1
        assert all((one["from_name"], one["to_name"]) == ("parts", "photo") for one in found["result"])
        if not found["result"]:
            assert not (labels == 1).any()
            continue
        (tmp_path / "tasks.json").write_text(json.dumps([{"data": task["data"], "predictions": [found]}]))
        read = read_masks(tmp_path / "tasks.json").images[0].labels()
        assert np.array_equal(read > 0, labels == 1)


HOSTILE = [
    "http://169.254.169.254/latest/meta-data/", "https://example.com/a.png", "file:///etc/passwd",
    "//example.com/a.png",
    "s3://bucket/a.png", "gopher://x", "data:image/png;base64,AAAA", "/data/local-files/?d=../secret.png",
    "/data/local-files/?d=%2e%2e/secret.png", "/data/local-files/?d=/etc/passwd", "../secret.png",
    "in/../../secret.png", "/etc/passwd", "", "\0", "in", "/data/upload/1/../secret.png",
    "/data/upload/1/0123abcd-..", "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("address", HOSTILE)
def test_nothing_outside_is_read_and_nothing_is_fetched(
    tiny_run: Path, photos_folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an outgoing request")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    backend = Backend(load(tiny_run), photos_folder)
    (found,) = backend.answer("/predict", {"tasks": [{"data": {"image": address}}]})["results"]
    assert found["result"] == [] and found["error"] and "\n" not in found["error"]


@pytest.mark.parametrize("task", [None, 3, [], {}, {"data": None}, {"data": {}}, {"data": {"image": None}}])
def test_tasks_that_are_none_get_an_empty_answer(tiny_run: Path, photos_folder: Path, task: Any) -> None:
    (found,) = Backend(load(tiny_run), photos_folder).answer("/predict", {"tasks": [task]})["results"]
    assert found["result"] == [] and found["error"]


def test_combinations_of_host_origin_token_and_method(server: Server) -> None:
    """720 requests: only those of this machine, of no page, with the token and a known method, are answered."""
    port, token = server.session.port, server.session.token
    hosts = {f"127.0.0.1:{port}": True, f"localhost:{port}": True, "example.com": False, f"example.com:{port}": False,
             "127.0.0.1": False, f"[::1]:{port}": False, "": False, None: False}  # fmt: skip
    origins = {None: True, "null": False, f"http://localhost:{port}": False, "http://example.com": False,
               "https://localhost": False}  # fmt: skip
    tokens = {server.basic: True, f"Bearer {token}": True, None: False, "Bearer wrong": False,
              "Basic " + base64.b64encode(b"user:wrong").decode(): False, "Basic ***": False}  # fmt: skip
    methods = {"GET": True, "POST": True, "DELETE": False}
    wrong, count = [], 0
    for host, origin, given, method in itertools.product(hosts, origins, tokens, methods):
        may = hosts[host] and origins[origin] and tokens[given] and methods[method]
        status, _ = server.ask(method, "/health", Host=host, Origin=origin, Authorization=given)
        count += 1
        if (status == 200) != may or (not may and status not in (400, 403, 405)):
            wrong.append((host, origin, given, method, status))
        if not hosts[host] and status != 400:
            wrong.append((host, status))
    assert count >= 500 and wrong == []


def test_other_ways_in(server: Server) -> None:
    post = ("POST", "/predict")
    assert server.ask(*post, {"tasks": []}, Content_Type="text/plain")[0] == 403
    assert server.ask(*post, {"tasks": []}, Content_Type="application/x-www-form-urlencoded")[0] == 403
    assert server.ask(*post, {"tasks": []}, Content_Type=None)[0] == 403
    assert server.ask("GET", "/health", Upgrade="websocket", Connection="Upgrade")[0] in (400, 403)
    assert server.ask("GET", "/health", Sec_Fetch_Site="cross-site")[0] == 403
    started = time.perf_counter()
    assert server.ask(*post, raw=b"", Content_Length=str(LARGEST + 1))[0] == 413
    assert server.ask("GET", "/health", Range="bytes=" + ",".join(f"{i}-{i}" for i in range(500)))[0] == 416
    assert time.perf_counter() - started < 10


def test_a_flood_without_a_length_is_cut(server: Server) -> None:
    connection = socket.create_connection(("127.0.0.1", server.session.port), timeout=30)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost:{server.session.port}\r\nAuthorization: {server.basic}\r\n"
    connection.sendall((head + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
    sent = 0
    try:
        while sent < 4 * LARGEST:
            connection.sendall(b"40000\r\n" + b"x" * 0x40000 + b"\r\n")
            sent += 0x40000
    except OSError:
        pass
    assert sent < 4 * LARGEST
    connection.close()


def test_only_loopback_listens(server: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            own = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no network besides loopback")
    if own.startswith("127."):
        pytest.skip("this machine has no network besides loopback")
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex((own, server.session.port)) != 0


def test_the_labelling_configuration_names_its_controls() -> None:
    assert control_names("") == ("brushlabels", "label", "image")
    config = "<View><Image name='p' value='$x'/><PolygonLabels toName='p' name='q' strokeWidth='3'>"
    assert control_names(config) == ("polygonlabels", "q", "p")
    assert control_names("<BrushLabels " * 5000)[0] == "brushlabels"


def test_a_folder_that_is_none(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="--images"):
        serve(tiny_run, tmp_path / "nothing")
