"""Damage: bytes of a valid file in, bytes of a file that is nearly valid out; the random generator decides."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutator = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""(random, one input, inputs to take pieces from) -> another input."""

LONGEST = 200_000
"""Bytes; longer inputs are cut."""
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000)
NUMBERS += (0xFFFFFFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
TEXTS = (
    "", " ", "0", "-1", "1e309", "NaN", "-inf", "0x10", "1.5", "9" * 30, "9" * 5000, "../../x", "/etc/passwd", "a\0b",
    "\u202e", "\ud800", "é" * 300, "\n", "\r\n", '"', "'", "<", "&", "%s%n", "=1+1", ",", ";", "|", "\\", "[", "{",
    "[]",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 2**31, 2**63, 2**64, 10**400, -(10**9), 0.5, -0.0, 1e308, 1e-308, float("nan"),
    float("inf"), "", "x", "1", "../../x", "a\0b", [], {}, [[]], [None], [1, 2], {"a": 1}, [[[[[]]]]], "9" * 400,
)  # fmt: skip


def flip(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Some bits or bytes."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        if out:
            at = random.randrange(len(out))
            out[at] = out[at] ^ 1 << random.randrange(8) if random.random() < 0.6 else random.randrange(256)
    return bytes(out)


def number(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A word of one to eight bytes becomes a number that somebody forgot."""
    size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    if len(data) < size:
        return data
    head = random.random() < 0.5  # most counts and offsets are near the beginning
    at = random.randrange(min(len(data), 256) - size + 1 if head and len(data) > size else len(data) - size + 1)
    value = random.choice(NUMBERS) + random.choice((0, 0, -1, 1))
    return data[:at] + (value % (1 << 8 * size)).to_bytes(size, order) + data[at + size :]  # type: ignore[arg-type]


def pieces(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A piece is cut out, doubled, moved, repeated, or taken from another file; or the rest is missing."""
    a, b = sorted((random.randrange(len(data) + 1), random.randrange(len(data) + 1)))
    b = min(b, a + random.choice((1, 4, 64, 4096)))
    other = random.choice(others) if others else data
    start = random.randrange(len(other) + 1)
    return random.choice((
        lambda: data[:a] + data[b:],
        lambda: data[:b] + data[a:b] + data[b:],
        lambda: data[:a] + data[a:b] * random.choice((2, 10, 100)) + data[b:],
        lambda: data[:a] + other[start : start + b - a] + data[b:],
        lambda: data[:a] + other[start:],
        lambda: data[:a],
        lambda: data + other,
        lambda: data[:a] + bytes(b - a) + data[b:],
    ))()[:LONGEST]  # fmt: skip


def digits(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A number or word written as text becomes another text."""
    found = list(re.finditer(rb"-?[\d.]+|[A-Za-z_]+|\"[^\"]*\"", data))
    if not found:
        return flip(random, data, others)
    where = random.choice(found)
    text = random.choice(TEXTS).encode(errors="surrogatepass")
    return (data[: where.start()] + text + data[where.end() :])[:LONGEST]


def plain(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One of the ways above that fit any bytes."""
    return random.choice((flip, number, pieces))(random, data, others)


def text(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One of the ways above that fit text."""
    return random.choice((digits, digits, pieces, flip))(random, data, others)


def tree(random: Random, content: Any) -> Any:
    """A JSON value with one of its parts replaced, left out, doubled, or moved."""
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            collect(node[key])

    collect(content)
    if not places:
        return random.choice(VALUES)
    node, key = random.choice(places)
    turn = random.randrange(6)
    if turn == 0:
        del node[key]
    elif turn == 1:
        other, name = random.choice(places)
        node[key] = json.loads(json.dumps(other[name])) if name in other or isinstance(other, list) else None
    elif turn == 2 and isinstance(node, list):
        node.extend(node[: random.choice((1, 50))])
    elif turn == 3 and isinstance(node, dict):
        node[random.choice(("x", "", "__class__", "id", str(key) * 2))] = node.pop(key)
    else:
        node[key] = random.choice(VALUES)
    return content


def structured(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """JSON whose values change and which stays JSON; now and then its bytes."""
    if random.random() < 0.15:
        return text(random, data, others)
    try:
        content = json.loads(data)
        for _ in range(random.choice((1, 1, 2, 5))):
            content = tree(random, content)
        return json.dumps(content).encode()[:LONGEST]
    except (ValueError, IndexError, KeyError, RecursionError):
        return text(random, data, others)


def headed(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """safetensors: the JSON of the header changes, and its length is right again."""
    length = int.from_bytes(data[:8], "little")
    if random.random() < 0.3 or length > len(data) - 8:
        return plain(random, data, others)
    head = structured(random, data[8 : 8 + length], ())
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def chunks(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """PNG: bytes change anywhere, and most of the time the sums of the chunks are right again."""
    out = plain(random, data, others)
    if not out.startswith(b"\x89PNG\r\n\x1a\n") or random.random() < 0.3:
        return out
    fixed, at = bytearray(out), 8
    while at + 12 <= len(fixed):
        length = int.from_bytes(fixed[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(bytes(fixed[at + 4 : end])))
        at = end + 4
    return bytes(fixed)


def zipped(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """An archive one of whose members changes, with right sums; now and then its bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()[:20]}
        if random.random() < 0.3 or not members:
            return plain(random, data, others)
        name = random.choice(sorted(members))
        members[name] = plain(random, members[name], list(members.values()))
        if random.random() < 0.1:
            members[random.choice(("x.npy", "../x.npy", "a/b", name + "2"))] = members[name]
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for key, value in members.items():
                archive.writestr(key, value)
        return target.getvalue()
    except Exception:  # noqa: BLE001 the archive was damaged by an earlier turn
        return plain(random, data, others)


def blocks(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """tar: a field of a header changes, and the header's sum is right again; or any bytes."""
    if random.random() < 0.3 or len(data) < 512:
        return plain(random, data, others)
    heads = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    if not heads:
        return plain(random, data, others)
    out, at = bytearray(data), random.choice(heads)
    first, size = random.choice(((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 6), (345, 155)))
    value = random.choice((
        random.randbytes(size), b"7" * size, b"\xff" * size, b"\x80" + b"\xff" * (size - 1), bytes(size),
        random.choice(TEXTS).encode(errors="surrogatepass")[:size].ljust(size, b"\0"),
        (b"%o" % random.choice(NUMBERS))[:size].ljust(size, b"\0"),
        random.choice(b"01234567xgLKSDV").to_bytes(1, "big") * size,
    ))  # fmt: skip
    out[at + first : at + first + size] = value
    out[at + 148 : at + 156] = b" " * 8
    out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return bytes(out)
