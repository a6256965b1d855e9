"""Images behind a URL (s3://, gs://, http://, file://): copied once into the cache folder, then read like any others.

Whatever fsspec and its installed drivers understand. Nothing is fetched unless the user names a URL.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decoupe.data.paths import inside
from decoupe.errors import Fault

Wanted = Callable[[str], bool]
"""Whether a file of this name is worth fetching."""


def is_url(text: str) -> bool:
    """Whether `text` names something by a protocol: `s3://bucket/photos`."""
    protocol, mark, rest = text.partition("://")
    return bool(mark and rest) and protocol.replace("+", "").replace("::", "").isalnum()


def fetch(url: str, folder: Path, wanted: Wanted) -> Path:
    """A local folder (or file, if the URL is one) with the files of a folder, glob or file behind a URL.

    Files that are there already with the right size are kept, so that an interrupted copy goes on where it stopped.

    Raises:
        Fault: the protocol is unknown or lacks its driver, nothing is there, or the copy fails.
    """
    home = folder / hashlib.sha256(url.encode()).hexdigest()[:24]
    try:
        system, path = _open(url)
        if not any(mark in path for mark in "*?[") and system.isfile(path):
            return _copy(system, path, inside(home, path.rsplit("/", 1)[-1]))
        names, root = _listed(system, path)
        names = [name for name in names if wanted(name.rsplit("/", 1)[-1])]
        for name in names:
            _copy(system, name, inside(home, name[len(root) :].lstrip("/")))
    except (OSError, ValueError) as error:
        told = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise Fault(f"to read {url}", told, "check the address, the network and your permissions") from None
    if not names:
        raise Fault("images", f"none behind {url}", "check the address")
    return home


def _open(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise Fault(f"a driver for {url}", str(error), "install that package") from None
    except ValueError as error:
        raise Fault("a known protocol", f"{url}: {error}", "use one that fsspec knows, or a local path") from None
    return system, str(path)


def _listed(system: Any, path: str) -> tuple[list[str], str]:
    """All files below a folder or that match a glob, sorted, and the root that their names are relative to."""
    if any(mark in path for mark in "*?["):
        fixed = path[: min(path.index(mark) for mark in "*?[" if mark in path)]
        root = fixed.rsplit("/", 1)[0]
        return sorted(name for name in system.glob(path) if system.isfile(name)), root
    return sorted(system.find(path)), path.rstrip("/")


def _copy(system: Any, name: str, to: Path) -> Path:
    """Fetch one file unless it is there; complete or absent."""
    size = system.info(name).get("size")
    if to.is_file() and size is not None and to.stat().st_size == size:
        return to
    to.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=".part-", dir=to.parent)
    os.close(handle)
    try:
        system.get_file(name, part)
        os.replace(part, to)
    finally:
        Path(part).unlink(missing_ok=True)
    return to
