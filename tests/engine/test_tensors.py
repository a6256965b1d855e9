"""Weights files: safetensors only; a pickle, a zip, or a lying header is refused before anything is made of it."""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
from pathlib import Path

import pytest
import torch

from decoupe.engine.tensors import load_tensors, pack_tensors, save_tensors
from decoupe.errors import Fault

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "flag": torch.tensor([True, False])}


def test_round_trip_keeps_bits_and_description(tmp_path: Path) -> None:
    save_tensors(tmp_path / "w.safetensors", TENSORS, {"room": "x", "n": 1})
    tensors, about = load_tensors(tmp_path / "w.safetensors")
    assert about == {"room": "x", "n": 1}
    assert all(torch.equal(tensors[k], TENSORS[k]) and tensors[k].dtype == TENSORS[k].dtype for k in TENSORS)


@pytest.mark.parametrize("first", [b"\x80", b"PK"])
def test_a_header_length_that_begins_like_a_pickle_or_a_zip_is_read(tmp_path: Path, first: bytes) -> None:
    path = tmp_path / "w.safetensors"
    paddings = range(0, 40_000, 8)  # header lengths are multiples of 8, little-endian: "PK" is 0x4b50
    data = next(d for n in paddings if (d := pack_tensors(TENSORS, {"pad": "x" * n})).startswith(first))
    assert data.startswith(first)
    path.write_bytes(data)
    assert torch.equal(load_tensors(path)[0]["a"], TENSORS["a"])


def _header(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _torch_zip() -> bytes:
    file = io.BytesIO()
    torch.save(TENSORS, file)
    return file.getvalue()


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "zip": _torch_zip(),
    "pickle": pickle.dumps({"a": 1}),
    "empty": b"",
    "short": b"\0" * 7,
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "not json": struct.pack("<Q", 4) + b"oops",
    "overrun": _header({"a": ONE | {"data_offsets": [0, 1 << 40]}}, b"\0" * 8),
    "overlap": _header({"a": ONE, "b": ONE}, b"\0" * 8),
    "hole": _header({"a": ONE | {"data_offsets": [4, 12]}}, b"\0" * 12),
    "text and a number": _header({"a": ONE | {"shape": ["x", 1 << 70]}}, b"\0" * 8),
    "text many times": _header({"a": ONE | {"shape": ["x", 1 << 40]}}, b"\0" * 8),
    "negative": _header({"a": ONE | {"shape": [-2]}}, b"\0" * 8),
    "huge shape": _header({"a": ONE | {"shape": [1 << 40, 1 << 40]}}, b"\0" * 8),
    "unknown type": _header({"a": ONE | {"dtype": "PY"}}, b"\0" * 8),
    "tail": _header({"a": ONE}, b"\0" * 9),
    "list": _header([1, 2]),
    "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(Fault) as caught:
        load_tensors(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('unpickled')",)


def test_a_pickle_inside_is_never_unpickled(tmp_path: Path) -> None:
    events: list[str] = []
    sys.addaudithook(lambda event, _: events.append(event) if event == "pickle.find_class" else None)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(Fault, match="a pickle"):
        load_tensors(path)
    assert events == []
