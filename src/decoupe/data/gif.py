"""How large a GIF becomes: its later frames may reach beyond the first, and decoders enlarge the canvas for them."""

from __future__ import annotations

import struct
from typing import IO

_IMAGE, _EXTENSION, _END = b",", b"!", b";"


def extent(stream: IO[bytes]) -> tuple[int, int]:
    """(height, width) in pixels that all frames together reach to, from their headers; nothing is decoded.

    `stream` is read from its beginning and left where it was. A file that stops early counts as far as it goes.
    """
    place = stream.tell()
    try:
        stream.seek(0)
        return _extent(stream)
    except (struct.error, IndexError):
        return 0, 0
    finally:
        stream.seek(place)


def _extent(stream: IO[bytes]) -> tuple[int, int]:
    width, height, flags, _, _ = struct.unpack("<6xHHBBB", stream.read(13))
    _table(stream, flags)
    while (mark := stream.read(1)) not in (b"", _END):
        if mark == _EXTENSION:
            stream.read(1)
            _blocks(stream)
        elif mark == _IMAGE and len(head := stream.read(9)) == 9:
            x, y, wide, high, flags = struct.unpack("<HHHHB", head)
            width, height = max(width, x + wide), max(height, y + high)
            _table(stream, flags)
            stream.read(1)  # bits of a code
            _blocks(stream)
    return height, width


def _table(stream: IO[bytes], flags: int) -> None:
    """Skip a table of colours."""
    if flags & 0x80:
        stream.read(3 << (flags & 7) + 1)


def _blocks(stream: IO[bytes]) -> None:
    """Skip blocks up to the empty one."""
    while length := stream.read(1):
        if length == b"\0" or len(stream.read(length[0])) < length[0]:
            return
