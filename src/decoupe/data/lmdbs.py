"""LMDB stores of encoded images as folders: `bedroom_train_lmdb/KEY.webp` is the value of KEY, read in place.

Such are the files of LSUN: millions of WebP images each. Keys are quoted as in URLs, so that no key leads out of its
folder. Reading them needs the package lmdb; without it a `Fault` says so.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from decoupe.errors import Fault

FILE, SUFFIX = "data.mdb", ".webp"
OPEN = 16
"""Stores that are kept open."""

_open: dict[tuple[str, int], Any] = {}
_lock = threading.Lock()


def is_store(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is an LMDB store."""
    return os.path.isfile(os.path.join(folder, FILE))


def store_of(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """(data.mdb, name) of a path in a store that exists, else None."""
    folder, name = os.path.split(os.fspath(path))
    return (os.path.join(folder, FILE), name) if is_store(folder) else None


def members(folder: str) -> Iterator[str]:
    """Path of each image in a store, in the order of the keys, which are read as they are asked for."""
    with _environment(folder).begin(buffers=True) as transaction:
        for key in transaction.cursor().iternext(values=False):
            yield f"{folder}/{quote(bytes(key), safe='')}{SUFFIX}"


def read_stored(path: str | os.PathLike[str]) -> BytesIO:
    """The value behind a path of `members`. FileNotFoundError: no such store or key."""
    folder, name = os.path.split(os.fspath(path))
    if is_store(folder) and name.endswith(SUFFIX):
        with _environment(folder).begin() as transaction:
            value = transaction.get(unquote_to_bytes(name.removesuffix(SUFFIX)))
        if value is not None:
            return BytesIO(value)
    raise FileNotFoundError(2, "No such file or directory", os.fspath(path))


def _environment(folder: str) -> Any:
    """The open store (a process may open each but once). Fault without the package, or where it is no store."""
    try:
        import lmdb
    except ImportError:
        raise Fault(
            f"the package lmdb, which reads {folder}", "none installed", "pip install 'decoupe[lmdb]'"
        ) from None
    place = (os.path.realpath(folder), os.getpid())
    with _lock:
        if place not in _open:
            while len(_open) >= OPEN:
                _open.pop(next(iter(_open))).close()
            try:
                _open[place] = lmdb.open(place[0], readonly=True, lock=False, readahead=False, max_readers=1024)
            except lmdb.Error as error:
                raise Fault("an LMDB store", f"{folder}: {error}", "restore its data.mdb") from None
        return _open[place]
