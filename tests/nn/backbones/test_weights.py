"""Weights from elsewhere: what loads, and that nothing hostile, damaged or foreign does."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from decoupe.errors import Fault
from decoupe.nn.backbones import BACKBONES, Backbone, backbone
from decoupe.nn.backbones.weights import folded, install, read_file, read_url

State = dict[str, Tensor]


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return backbone("mobilenet_v2", classes=5).body.state_dict()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "old", "ordered", "checkpoint", "half", "parallel"])
def test_every_honest_kind_loads(kind: str, state: State, tmp_path: Path) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "old":
        torch.save(OrderedDict(state), path, _use_new_zipfile_serialization=False)
    elif kind == "checkpoint":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif kind == "half":
        torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    elif kind == "parallel":
        torch.save({f"module.{k}": torch.nn.Parameter(v, v.is_floating_point()) for k, v in state.items()}, path)
    else:
        torch.save(OrderedDict(state) if kind == "ordered" else state, path)
    network = backbone("mobilenet_v2", classes=5, weights=path)
    for name, tensor in network.body.state_dict().items():
        wanted = state[name].half().to(tensor.dtype) if kind == "half" else state[name]
        assert tensor.dtype == state[name].dtype and torch.equal(tensor, wanted), name
    assert not folded(state) and not bool(network.frozen)  # never trained, but not folded either
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("new", [True, False])
def test_a_hostile_pth_runs_nothing(new: bool, state: State, tmp_path: Path) -> None:
    path, folder = tmp_path / "w.pth", tmp_path / "made"
    torch.save({**state, "x": Evil(folder)}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(Fault, match="torch refuses"):
        backbone("mobilenet_v2", classes=5, weights=path)
    assert not folder.exists()
    torch.load(path, weights_only=False)  # it would have
    assert folder.exists()


def test_files_that_are_something_else(state: State, tmp_path: Path) -> None:
    good = io.BytesIO()
    torch.save(state, good)
    data = good.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("w.pth", data)  # torch.hub would unpack such a one
    tensors = io.BytesIO()
    torch.save(torch.zeros(3), tensors)
    cases = {
        "empty.pth": b"", "pickle.pth": b"\x80\x04N.", "text.pth": b"<html>", "cut.pth": data[: len(data) // 2],
        "packed.pth": packed.getvalue(), "wrapped.pth": other.getvalue(), "tensor.pth": tensors.getvalue(),
        "zip.safetensors": data, "text.safetensors": b"<html></html>", "weights.bin": data, "weights": data,
    }  # fmt: skip
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(Fault) as fault:
            read_file(path)
        assert "\n" not in str(fault.value) and "weights as .safetensors" in str(fault.value), name
    for missing in (tmp_path / "none.pth", tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(Fault):
            read_file(missing)


def test_weights_that_do_not_fit(state: State) -> None:
    network = backbone("mobilenet_v2", classes=5)
    first = "features.0.0.weight"
    before = {name: tensor.clone() for name, tensor in network.body.state_dict().items()}
    cases: dict[str, State] = {
        "without .features.0.0.weight": {k: v for k, v in state.items() if k != first},
        "unknown .extra": {**state, "extra": torch.zeros(1)},
        "of shape": {**state, first: torch.zeros(32, 3, 5, 5)},
        "others in": {**state, first: state[first] * float("nan")},
        "features.0.0.weight": {**state, first: state[first].int()},
        "unknown .huge": {**state, "huge": torch.zeros(1).expand(10**12)},
    }
    for words, wrong in cases.items():
        with pytest.raises(Fault, match=words):
            install(network, wrong, "memory")
    for name, tensor in network.body.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    with torch.device("meta"):
        vgg = BACKBONES["vgg16"].build(3, 5)
    with pytest.raises(Fault, match="weights of VGG16"):
        install(Backbone(vgg, 3), state, "memory")


def test_old_files_without_the_count_of_batches_load(state: State) -> None:
    network = backbone("mobilenet_v2", classes=9)
    install(network, {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, "memory")
    assert network.final.weight.shape[0] == 9
    assert torch.equal(network.body.get_submodule("features.0.0").weight, state["features.0.0.weight"])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """A web server of this process: address, its files, and what was asked of it; torch's cache is empty."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{web.server_address[1]}", files, asked
    web.shutdown()
    thread.join()
    web.server_close()


def test_urls_are_checked_by_their_hash(
    server: tuple[str, dict[str, bytes], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, files, asked = server
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(3.0)}, buffer)
    name = f"/net-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.pth"
    files |= {name: buffer.getvalue(), "/net-01234567.pth": buffer.getvalue(), "/net.pth": buffer.getvalue()}
    for _ in range(2):
        assert torch.equal(read_url(address + name)["a"], torch.arange(3.0))
    assert asked == [name]  # the second time from the cache
    cached = tmp_path / "hub" / "hub" / "checkpoints" / name[1:]
    cached.write_bytes(buffer.getvalue() + b" ")
    for wrong in (address + name, address + "/net-01234567.pth", address + "/none-01234567.pth"):
        with pytest.raises(Fault) as fault:
            read_url(wrong)
        assert "\n" not in str(fault.value)
    assert len(asked) == 3
    for url in (address + "/net.pth", f"file://{cached}", f"ftp{address[4:]}{name}", address + "/net-.pth"):
        with pytest.raises(Fault, match="a URL of http or https"):
            read_url(url)
    assert len(asked) == 3 and capsys.readouterr().out == ""


def test_a_hostile_download_runs_nothing(server: tuple[str, dict[str, bytes], list[str]], tmp_path: Path) -> None:
    address, files, asked = server
    buffer = io.BytesIO()
    torch.save({"a": Evil(tmp_path / "made")}, buffer)
    name = f"/net-{hashlib.sha256(buffer.getvalue()).hexdigest()[:12]}.pth"
    files[name] = buffer.getvalue()
    for _ in range(2):  # downloaded, then from the cache
        with pytest.raises(Fault):
            backbone("resnet18", classes=2, weights=address + name)
    assert asked == [name] and not (tmp_path / "made").exists()
