"""URLs: what lies behind them is read as if it were here, fetched once, and never where it could lead outside."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from decoupe.data import remote
from decoupe.data.pack import pack
from decoupe.data.sources import find
from decoupe.errors import Fault
from tests.data.files import noise, save


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three photos and a note in an object store in memory."""
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    for index, name in enumerate(["a/0.png", "a/1.jpg", "top.png"]):
        save(tmp_path / "here" / name, noise(30, 40, 3, seed=index))
        store.pipe(f"/bucket/{name}", (tmp_path / "here" / name).read_bytes())
    store.pipe("/bucket/notes.txt", b"hello")
    return "memory://bucket"


@pytest.mark.parametrize(
    ("tail", "keys"),
    [("", ["a/0", "a/1", "top"]), ("/a", ["0", "1"]), ("/a/*.png", ["0"]), ("/top.png", ["top"])],
)
def test_a_url_gives_what_a_folder_gives(bucket: str, tmp_path: Path, tail: str, keys: list[str]) -> None:
    items = find(bucket + tail)
    assert [item.key for item in items] == keys
    for item in items:
        original = next((tmp_path / "here").rglob(item.path.name))
        assert item.path.read_bytes() == original.read_bytes()
    assert not list((tmp_path / "cache").rglob("notes.txt")) and not list((tmp_path / "cache").rglob(".part-*"))


def test_files_are_fetched_once_and_a_cut_off_copy_goes_on(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = type(fsspec.filesystem("memory")), list[str]()
    get = store.get_file

    def failing(self: object, name: str, to: str) -> None:
        asked.append(name)
        if len(asked) == 2:
            raise OSError("connection lost")
        get(self, name, to)

    monkeypatch.setattr(store, "get_file", failing)
    with pytest.raises(Fault, match="connection lost"):
        find(bucket)
    assert len(find(bucket)) == 3 and len(asked) == 4  # the first one is not asked for again
    assert len(find(bucket)) == 3 and len(asked) == 4


@pytest.mark.parametrize(
    ("url", "words"),
    [("memory://empty", "none behind"), ("nope://x/y", "Protocol not known"), ("s3://bucket/x", "Install s3fs")],
)
def test_what_cannot_be_read_is_one_line(bucket: str, url: str, words: str) -> None:
    with pytest.raises(Fault, match=words):
        find(url)


def test_names_behind_a_url_cannot_lead_out(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(store, "find", lambda self, path: ["/bucket/../../../../evil.png"])
    with pytest.raises(Fault, match="a path inside"):
        find(bucket)
    assert not list(tmp_path.rglob("evil.png"))


def test_only_protocols_make_urls() -> None:
    assert remote.is_url("s3://b/x") and remote.is_url("simplecache::s3://b")
    assert not any(remote.is_url(text) for text in ("photos", "a:b", "://x", "flowers17:/x", "a b://x", "s3://"))


# ------------------------------------------------------------------ packing


def test_packing_keeps_bytes_names_and_order_and_is_repeatable(tmp_path: Path) -> None:
    for index in range(7):
        save(tmp_path / f"in/{index % 2}/{index}.png", noise(30, 40, 3, seed=index))
    (tmp_path / "in/1/gone.png").symlink_to(tmp_path / "nowhere.png")
    items = find(tmp_path / "in")
    size = max(item.path.stat().st_size for item in items if item.path.exists())
    done = pack(items, tmp_path / "out", 3 * (size + 512))
    assert done.images == 7 and [p.path.name for p in done.problems] == ["gone.png"] and len(done.shards) >= 3
    packed = find(tmp_path / "out")
    assert [item.key.partition("/")[2] for item in packed] == [item.key for item in items if item.path.exists()]
    again = pack(items, tmp_path / "again", 3 * (size + 512))
    assert [a.read_bytes() for a in done.shards] == [b.read_bytes() for b in again.shards]
    with pytest.raises(Fault, match="new or empty folder"):
        pack(items, tmp_path / "out")
    with pytest.raises(Fault, match="images that can be read"):
        pack([item for item in items if not item.path.exists()], tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "in", "out"]
