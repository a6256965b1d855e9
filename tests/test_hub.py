"""Files of a hub: what is asked for is fetched once, is what it should be, and nothing else is asked."""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from decoupe.cli import main
from decoupe.errors import Fault
from decoupe.hub import Address, fetched_file, read_address
from decoupe.nn.backbones import backbone
from decoupe.nn.backbones.weights import read_weights
from tests.methods.tags.test_room import folder, words

__all__ = ["folder"]

COMMIT = "0123456789abcdef" * 2 + "01234567"
Server = tuple[dict[str, bytes], list[str]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hf:a/b@main", Address("a/b", "main", "model.safetensors", "")),
        (f"hf:a/b.c-d@{COMMIT}:x/y.pth", Address("a/b.c-d", COMMIT, "x/y.pth", "")),
        ("hf:a/b:net.safetensors#01234567", Address("a/b", "main", "net.safetensors", "01234567")),
        ("hf:a/b@refs/pr/1#" + "ab" * 32, Address("a/b", "refs/pr/1", "model.safetensors", "ab" * 32)),
    ],
)
def test_addresses(text: str, wanted: Address) -> None:
    assert read_address(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "hf:a/b", "hf:a/b:net.pth", "hf:a@main", "hf:a/b/c@1", "hf:/b@1", "hf:a/b@", "hf:a/b@1:", "hf:a/b@1#", "hf:",
        "hf:a/b@1#0123", "hf:a/b@1#XYZ01234", "hf:../b@1", "hf:a/b@../1", "hf:a/b@1:../x", "hf:a/b@1:/etc/passwd",
        "hf:a/b@1:x//y", "hf:a/b@1:x/./y", "hf:a/b@1:x\0y", "hf:a/b@1:x\\y", "hf:a/b@1\n", "hf:ä/b@1", "hf:.a/b@1",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_file_is_refused(text: str) -> None:
    with pytest.raises(Fault, match="OWNER/NAME@REVISION") as fault:
        read_address(text)
    assert "\n" not in str(fault.value)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A hub of this process: its files by path, and what was asked of it; the client's cache is empty."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install decoupe[hub]")
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, body: bool) -> None:
            asked.append(f"{self.command} {self.path}")
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            if content is not None:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content or b"")

        def do_GET(self) -> None:
            self.answer(True)

        def do_HEAD(self) -> None:
            self.answer(False)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, args=(0.05,))
    thread.start()
    constants = importlib.import_module("huggingface_hub.constants")
    address = f"http://127.0.0.1:{web.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    yield files, asked
    web.shutdown()
    thread.join()
    web.server_close()


def test_a_file_is_fetched_once_and_its_hash_is_checked_every_time(server: Server, tmp_path: Path) -> None:
    files, asked = server
    content = save({"a": torch.arange(3.0)})
    digest = hashlib.sha256(content).hexdigest()
    for name in ("model.safetensors", f"x/net-{digest[:8]}.safetensors", "net-01234567.safetensors"):
        files[f"/a/b/resolve/{COMMIT}/{name}"] = content
    address = f"hf:a/b@{COMMIT}#{digest[:12]}"
    for _ in range(2):
        assert torch.equal(read_weights(address)["a"], torch.arange(3.0))
    path = f"/a/b/resolve/{COMMIT}/model.safetensors"
    assert asked == [f"HEAD {path}", f"GET {path}"], "a commit that is there already asks for nothing"
    assert read_weights(f"hf:a/b@{COMMIT}:x/net-{digest[:8]}.safetensors")
    for wrong in (f"hf:a/b@{COMMIT}#{'0' * 8}", f"hf:a/b@{COMMIT}:net-01234567.safetensors"):
        with pytest.raises(Fault, match="SHA-256"):
            fetched_file(wrong)
    stored = fetched_file(address).resolve()
    stored.write_bytes(content + b" ")
    for again in (address, f"hf:a/b@{COMMIT}"):  # damaged on disk: seen with a hash of the user's, and without
        with pytest.raises(Fault, match="SHA-256"):
            fetched_file(again)


def test_what_is_not_there_or_no_weights_is_one_line(server: Server) -> None:
    files, asked = server
    files[f"/a/b/resolve/{COMMIT}/text.safetensors"] = b"<html></html>"
    files[f"/a/b/resolve/{COMMIT}/pickle.bin"] = b"\x80\x04N."
    for name, words_ in (("none.pth", "none.pth of a/b"), ("text.safetensors", "weights as"), ("pickle.bin", "named")):
        with pytest.raises(Fault, match=words_) as fault:
            read_weights(f"hf:a/b@{COMMIT}:{name}")
        assert "\n" not in str(fault.value)
    assert all("/a/b/resolve/" in one for one in asked)


def test_without_the_network_the_line_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = importlib.import_module("huggingface_hub.constants")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Fault, match="model.safetensors of a/b at main"):
        fetched_file("hf:a/b@main")
    assert server[1] == []


@pytest.mark.slow
def test_a_run_begins_with_weights_of_the_hub(server: Server, folder: Path) -> None:
    files, asked = server
    torch.manual_seed(3)
    content = save({name: t.contiguous() for name, t in backbone("mobilenet_v2", 10).body.state_dict().items()})
    files["/a/b/resolve/main/net.safetensors"] = content
    address = f"hf:a/b:net.safetensors#{hashlib.sha256(content).hexdigest()[:16]}"
    short = ["--classifier-images", "8", "--sec-images", "8", "--rounds", "0", "--tags", f"{folder}/tags.csv"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        assert main(words(folder, *short, "--weights", address)) == 0
    assert len([one for one in asked if one.startswith("GET")]) == 1
    assert main(words(folder, *short, "--weights", address[:-1] + "x", "--run", f"{folder}/other")) == 1
