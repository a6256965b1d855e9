"""Writing and reading files so that a crash, a full disk or a flipped bit never costs more than the file in flight."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any, NoReturn

from decoupe.errors import Fault

JSON_LIMIT = 64 * 1024 * 1024


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> str:
    """Replace `path` by `data` (temporary file, fsync, rename) and return the SHA-256 of `data`.

    Either the old or the new content is there afterwards, whatever happens. Fault if the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Fault(f"to write {path}", error.strerror or str(error), "free space or choose another folder") from error
    return hashlib.sha256(data).hexdigest()


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is too large")
    return value


def strict_json(text: bytes) -> Any:
    """What JSON says. ValueError on anything else, on NaN, on numbers too large for one. RecursionError: too deep."""
    return json.loads(text, parse_constant=_reject, parse_float=_finite)


def parse_json(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object from `text`. Fault on anything else: too large, too deep, NaN, not an object."""
    try:
        if len(text) > JSON_LIMIT:
            raise ValueError(f"{len(text)} bytes")
        content = strict_json(text)
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}")
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Fault(f"a JSON object in {name}", reason, "restore the file or choose another run") from error
    return content


def dump_json(content: Any, indent: int | None = 1) -> bytes:
    """UTF-8 JSON; NaN and infinity are refused (ValueError): a result that is not a number is a defect."""
    return (json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode()
