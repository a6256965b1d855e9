"""LMDB stores of encoded images as folders: `bedroom_train_lmdb/KEY.webp` is the value of KEY, read in place.

Such are the files of LSUN: millions of WebP images each. Keys are quoted as in URLs, so that no key leads out of its
folder. The tree is read here, page by page, and every number in it is checked before it is followed: the C library
trusts a store that it maps, and a damaged one ends its process.

A file is pages of `size` bytes, numbers little-endian. A page begins with its number (8 bytes), 2 bytes, its kind (2)
and the ends of its table and of its free space (2 each), or for a value on pages of its own how many they are (4). The
table holds the places of the page's nodes (2 each): 4 bytes and 2 of flags, the length of the key (2), the key, the
value. In a branch the 6 bytes are the number of a child, in a leaf the 4 are the length of the value. Pages 0 and 1 are
two descriptions of the whole, of which the one with the later transaction counts.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from urllib.parse import quote, unquote_to_bytes

from decoupe.errors import Fault

FILE, SUFFIX = "data.mdb", ".webp"
OPEN = 16
"""Stores that are kept open."""
MAGIC, VERSION, NONE = 0xBEEFC0DE, 1, (1 << 64) - 1
BRANCH, LEAF, OVERFLOW = 1, 2, 4
BIG = 1
"""Flag of a node: its value is the number of a page where the value begins."""
DEEPEST, LARGEST = 32, 1 << 30
"""Levels of a tree, and bytes of a value: more is damage."""
HEAD = 16
"""Bytes before a page's table."""


class _Damaged(Exception):
    """A store whose pages contradict each other."""


Node = tuple[bytes, int, int, int]
"""Key, flags, length of the value (leaf) or number of the child (branch), and where in the page the value begins."""


class _Store:
    """One data.mdb, open for reading. Many threads and forked processes may share it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._bytes = os.fstat(self._file).st_size
        first = self._read(0, 152)
        self._size = struct.unpack_from("<I", first, 40)[0]
        if self._size not in (1 << n for n in range(9, 17)):
            raise _Damaged(f"pages of {self._size} bytes")
        metas = [self._meta(page) for page in (first, self._read(self._size, 152))]
        self._root = max(meta for meta in metas if meta is not None)[1] if any(metas) else NONE
        if not any(metas):
            raise _Damaged("no description of its tree")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    @staticmethod
    def _meta(page: bytes) -> tuple[int, int] | None:
        """(transaction, root page) of one of the two descriptions; None: it is none."""
        magic, version = struct.unpack_from("<II", page, HEAD)
        (flags,), (root,) = struct.unpack_from("<H", page, 92), struct.unpack_from("<Q", page, 128)
        if magic != MAGIC or version != VERSION or flags:  # flags: several values to a key, numbers as keys
            return None
        return struct.unpack_from("<Q", page, 144)[0], root

    def _read(self, offset: int, count: int) -> bytes:
        if offset + count > self._bytes:
            raise _Damaged("cut short")
        return os.pread(self._file, count, offset)

    def _page(self, number: int, kinds: int) -> tuple[bytes, int]:
        """(bytes, kind) of a page that says it has that number and one of `kinds`."""
        page = self._read(number * self._size, self._size)
        own, kind = struct.unpack_from("<QxxH", page)
        if own != number or kind not in (BRANCH, LEAF, OVERFLOW) or not kind & kinds:
            raise _Damaged(f"page {number} is not what it should be")
        return page, kind

    def _nodes(self, page: bytes, kind: int) -> Iterator[Node]:
        lower = struct.unpack_from("<H", page, 12)[0]
        if not HEAD <= lower <= len(page):
            raise _Damaged("a table of nodes that leaves its page")
        for (place,) in struct.iter_unpack("<H", page[HEAD : HEAD + (lower - HEAD) // 2 * 2]):
            if not lower <= place <= len(page) - 8:
                raise _Damaged("a node outside its page")
            low, high, flags, length = struct.unpack_from("<HHHH", page, place)
            begin = place + 8 + length
            if begin > len(page):
                raise _Damaged("a key that leaves its page")
            value = low | high << 16 | (flags << 32 if kind == BRANCH else 0)
            yield page[place + 8 : begin], flags, value, begin

    def _value(self, page: bytes, node: Node) -> bytes:
        """The value of a node in a leaf."""
        _, flags, length, begin = node
        if flags & ~BIG or length > LARGEST:
            raise _Damaged("a value of another kind")
        if not flags:
            if begin + length > len(page):
                raise _Damaged("a value that leaves its page")
            return page[begin : begin + length]
        if begin + 8 > len(page):
            raise _Damaged("a value that leaves its page")
        number = struct.unpack_from("<Q", page, begin)[0]
        head, _ = self._page(number, OVERFLOW)
        if length + HEAD > struct.unpack_from("<I", head, 12)[0] * self._size:
            raise _Damaged("a value longer than its pages")
        return self._read(number * self._size + HEAD, length)

    def keys(self) -> Iterator[bytes]:
        """All keys, ascending, read as they are asked for."""
        left = self._bytes // self._size  # a tree that visits more pages than there are runs in circles
        waiting = [] if self._root == NONE else [(self._root, 0)]
        while waiting:
            number, depth = waiting.pop()
            left -= 1
            if left < 0 or depth > DEEPEST:
                raise _Damaged("a tree that runs in circles")
            page, kind = self._page(number, BRANCH | LEAF)
            if kind == BRANCH:
                waiting += [(child, depth + 1) for _, _, child, _ in reversed(list(self._nodes(page, kind)))]
            else:
                yield from (key for key, *_ in self._nodes(page, kind))

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None: there is no such key."""
        number = self._root
        for _ in range(DEEPEST):
            if number == NONE:
                return None
            page, kind = self._page(number, BRANCH | LEAF)
            nodes = list(self._nodes(page, kind))
            if kind == LEAF:
                return next((self._value(page, node) for node in nodes if node[0] == key), None)
            number = NONE
            for place, (least, _, child, _) in enumerate(nodes):  # the first child has no least key
                if place and least > key:
                    break
                number = child
        raise _Damaged("a tree that runs in circles")


def is_store(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is an LMDB store."""
    return os.path.isfile(os.path.join(folder, FILE))


def store_of(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """(data.mdb, name) of a path in a store that exists, else None."""
    folder, name = os.path.split(os.fspath(path))
    return (os.path.join(folder, FILE), name) if is_store(folder) else None


def members(folder: str) -> Iterator[str]:
    """Path of each image in a store, in the order of the keys, which are read as they are asked for.

    Fault where the store is damaged.
    """
    try:
        for key in _store(folder).keys():
            yield f"{folder}/{quote(key, safe='')}{SUFFIX}"
    except (_Damaged, OSError) as error:
        raise _refuse(folder, error) from None


def read_stored(path: str | os.PathLike[str]) -> BytesIO:
    """The value behind a path of `members`. FileNotFoundError: no such store or key; Fault: the store is damaged."""
    folder, name = os.path.split(os.fspath(path))
    if is_store(folder) and name.endswith(SUFFIX):
        try:
            value = _store(folder).get(unquote_to_bytes(name.removesuffix(SUFFIX)))
        except (_Damaged, OSError) as error:
            raise _refuse(folder, error) from None
        if value is not None:
            return BytesIO(value)
    raise FileNotFoundError(2, "No such file or directory", os.fspath(path))


def _refuse(folder: str, error: Exception) -> Fault:
    return Fault("an LMDB store", f"{folder}: {error}", f"restore its {FILE}")


def _store(folder: str) -> _Store:
    place = os.path.join(os.path.realpath(folder), FILE)
    stat = os.stat(place)
    return _opened(place, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=OPEN)
def _opened(path: str, inode: int, size: int, changed: int) -> _Store:
    """The store as it was at that size and time."""
    return _Store(path)
