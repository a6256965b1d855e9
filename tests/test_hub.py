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
from decoupe.export.hub import public
from decoupe.hub import Address, fetched_file, read_address
from decoupe.methods import ROOMS
from decoupe.model import load
from decoupe.nn.backbones import backbone
from decoupe.nn.backbones.weights import read_weights
from tests.methods.tags.test_room import folder, words

__all__ = ["folder"]

COMMIT = "0123456789abcdef" * 2 + "01234567"
SHA = "0123456789abcdef" * 4
Server = tuple[dict[str, bytes], list[str]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"hf:a/b@{COMMIT}", Address("a/b", COMMIT, "model.safetensors", "")),
        (f"hf:a/b.c-d@{COMMIT}:x/y.pth", Address("a/b.c-d", COMMIT, "x/y.pth", "")),
        (f"hf:a/b:net.safetensors#{SHA}", Address("a/b", "main", "net.safetensors", SHA)),
        ("hf:a/b@refs/pr/1#" + "ab" * 32, Address("a/b", "refs/pr/1", "model.safetensors", "ab" * 32)),
    ],
)
def test_addresses(text: str, wanted: Address) -> None:
    assert read_address(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "hf:a/b", "hf:a/b:net.pth", f"hf:a@{COMMIT}", f"hf:a/b/c@{COMMIT}", f"hf:/b@{COMMIT}", "hf:a/b@", "hf:",
        f"hf:a/b@{COMMIT}:", f"hf:a/b@{COMMIT}#", f"hf:../b@{COMMIT}", f"hf:a/b@../{COMMIT}", f"hf:ä/b@{COMMIT}",
        f"hf:.a/b@{COMMIT}", f"hf:a/b@{COMMIT}\n", f"hf:a\n/b@{COMMIT}", f"hf:a/b\n@{COMMIT}", f"hf:a/b@x\n#{SHA}",
        *(f"hf:a/b@{COMMIT}:{file}" for file in ("../x", "/etc/passwd", "x//y", "x/./y", "x\\y", "x/")),
        *(f"hf:a/b@{COMMIT}:x{mark}y.pth" for mark in "\0\n\r\t\x1b\x7f\x85\u2028"),
        *(f"hf:a/b@{COMMIT}#{digest}" for digest in ("0123", SHA[:8], SHA[:63], SHA + "0", "X" + SHA[1:], SHA.upper())),
        *(f"hf:a/b@{name}{file}" for name in ("main", "v1", COMMIT[:12], COMMIT + "0") for file in ("", ":net.pth")),
        f"hf:a/b@main:net-{SHA[:8]}.pth", f"hf:a/b@main#{SHA[:16]}",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_file_is_refused(text: str) -> None:
    with pytest.raises(Fault, match="OWNER/NAME@COMMIT") as fault:
        read_address(text)
    assert len(str(fault.value).splitlines()) == 1


def test_a_branch_or_a_short_hash_is_told_what_is_needed() -> None:
    for text in ("hf:a/b@main", f"hf:a/b@main#{SHA[:8]}", "hf:a/b"):
        with pytest.raises(Fault, match="SHA-256.* 64"):
            read_address(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hf:a/b@1:run.json", "leave out :FILE and #HASH"), (f"hf:a/b@1#{SHA}", "leave out :FILE and #HASH"),
        (f"hf:a/b@1:x.pth#{SHA}", "leave out :FILE and #HASH"), ("hf:a/b", "name a revision"),
        ("hf:a/b@1\n", "correct"), ("hf:a\nb/c@1", "correct"), ("hf:a/b@1:x\ny", "correct"), ("hf:a/b/c@1", "correct"),
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_run_is_refused(text: str, told: str) -> None:
    with pytest.raises(Fault, match="hf:OWNER/NAME@REVISION,.*" + told) as fault:
        load(text)
    assert len(str(fault.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (f"hf:a/b@{COMMIT}:x/net.pth", f"hf:a/b@{COMMIT}:x/net.pth"),
        (f"hf:a/b:net.pth#{SHA}", f"hf:a/b:net.pth#{SHA}"),
        ("https://h.org:8080/x/net-01234567.pth", "https://h.org:8080/x/net-01234567.pth"),
        ("https://me:secret@h.org/net.pth?token=secret#secret", "https://h.org/net.pth"),
        ("HTTP://secret@h.org?secret", "HTTP://h.org"),
        ("/home/secret/net.pth", "net.pth"), ("C:\\secret\\net.pth", "net.pth"), ("", ""),
    ],
)  # fmt: skip
def test_addresses_of_weights_stay_in_what_is_exported_without_what_is_secret(given: str, kept: str) -> None:
    assert public({"weights": given, "size": 321}, ROOMS["tags"].config()) == {"weights": kept, "size": 321}


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
    for name in ("model.safetensors", f"x/net-{digest[:8]}.safetensors", "w-20230114.safetensors"):
        files[f"/a/b/resolve/{COMMIT}/{name}"] = content
    address = f"hf:a/b@{COMMIT}#{digest}"
    for _ in range(2):
        assert torch.equal(read_weights(address)["a"], torch.arange(3.0))
    path = f"/a/b/resolve/{COMMIT}/model.safetensors"
    assert asked == [f"HEAD {path}", f"GET {path}"], "a commit that is there already asks for nothing"
    assert read_weights(f"hf:a/b@{COMMIT}:x/net-{digest[:8]}.safetensors")
    assert read_weights(f"hf:a/b@{COMMIT}:w-20230114.safetensors"), "a date in the name is no hash"
    with pytest.raises(Fault, match="SHA-256"):
        fetched_file(f"hf:a/b@{COMMIT}#{SHA}")
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
    with pytest.raises(Fault, match=f"model.safetensors of a/b at {COMMIT}"):
        fetched_file(f"hf:a/b@{COMMIT}")
    assert server[1] == []


@pytest.mark.slow
def test_a_run_begins_with_weights_of_the_hub(server: Server, folder: Path) -> None:
    files, asked = server
    torch.manual_seed(3)
    content = save({name: t.contiguous() for name, t in backbone("mobilenet_v2", 10).body.state_dict().items()})
    files["/a/b/resolve/main/net.safetensors"] = content
    address = f"hf:a/b:net.safetensors#{hashlib.sha256(content).hexdigest()}"
    short = ["--classifier-images", "8", "--sec-images", "8", "--rounds", "0", "--tags", f"{folder}/tags.csv"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        assert main(words(folder, *short, "--weights", address)) == 0
    assert len([one for one in asked if one.startswith("GET")]) == 1
    assert main(words(folder, *short, "--weights", address[:-1] + "x", "--run", f"{folder}/other")) == 1
