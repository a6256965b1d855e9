"""The one place that reads and writes tensors: safetensors with JSON metadata. Nothing here ever unpickles."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from decoupe.engine.files import parse_json, write_atomic
from decoupe.errors import Fault

HEADER_LIMIT = 16 * 1024 * 1024
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "U8": 1, "I8": 1, "BOOL": 1}


def pack_tensors(tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> bytes:
    """Named tensors and a JSON-able description as the bytes of a safetensors file."""
    from safetensors.torch import save

    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(flat, {"decoupe": json.dumps(about, allow_nan=False)} if about is not None else None)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> str:
    """Write `pack_tensors` atomically; returns the file's SHA-256."""
    return write_atomic(path, pack_tensors(tensors, about))


def _refuse(path: Path, got: str) -> Fault:
    return Fault(f"a safetensors file at {path}", got, "use weights written by decoupe; nothing else is ever loaded")


def _count(shape: Any) -> int:
    """Numbers in a tensor. ValueError if that is no list of whole numbers."""
    if type(shape) is not list or any(type(side) is not int or side < 0 for side in shape):
        raise ValueError
    return math.prod(shape)


def check_header(data: bytes, path: Path) -> dict[str, Any]:
    """Validate the header against the file's length before any tensor is made; returns the metadata.

    Names zips and pickles for what they are. Fault on overlap, overrun, holes, unknown types or sizes that disagree.
    """
    ours = data[8:9] == b"{"  # a header may have any length, so the first bytes alone tell nothing
    if data[:2] == b"PK" and not ours:
        raise _refuse(path, "a zip archive (a pickled checkpoint)")
    if data[:1] == b"\x80" and not ours:
        raise _refuse(path, "a pickle")
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else HEADER_LIMIT + 1
    if length > min(HEADER_LIMIT, len(data) - 8):
        raise _refuse(path, f"{len(data)} bytes that are not one")
    header = parse_json(data[8 : 8 + length], f"the header of {path.name}")
    metadata = header.pop("__metadata__", {})
    end = 0
    try:
        for entry in sorted(header.values(), key=lambda entry: int(entry["data_offsets"][0])):
            start, stop = entry["data_offsets"]
            if start != end or stop - start != _count(entry["shape"]) * BYTES[entry["dtype"]]:
                raise ValueError
            end = stop
        if end != len(data) - 8 - length:
            raise ValueError
        about = metadata.get("decoupe", "{}").encode()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _refuse(path, "a damaged header") from error
    return parse_json(about, f"the metadata of {path.name}")


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a file written by `save_tensors`. Fault on anything that is not one."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
    except OSError as error:
        raise Fault(f"to read {path}", error.strerror or str(error), "check the path or choose another run") from error
    about = check_header(data, path)
    try:
        return load(data), about
    except (SafetensorError, ValueError, KeyError) as error:
        raise _refuse(path, "a damaged file") from error
