"""Tar shards: the same images, keys and bytes as the folder that was packed; hostile and damaged ones do no harm."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from decoupe.data.cache import survey_and_cache
from decoupe.data.checks import Facts, Groups, Table, survey
from decoupe.data.decode import BadImage, image_size, read_image
from decoupe.data.shards import members, read_member, shard_of, stamp
from decoupe.data.sources import Item, Items, find
from decoupe.export.ledger import signature
from tests.data.files import noise, save


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos in two folders, of three formats."""
    for index, name in enumerate(["a/0.png", "a/1.jpg", "b/0.png", "b/2.tif", "top.png"]):
        save(tmp_path / "photos" / name, noise(40, 50 + index, 3, seed=index))
    (tmp_path / "photos/a/1.json").write_text("{}")
    return tmp_path / "photos"


def pack(folder: Path, to: Path, mode: str = "w") -> Path:
    """A tar of everything in a folder."""
    with tarfile.open(to, mode) as archive:
        archive.add(folder, ".")
    return to


def test_a_tar_gives_what_its_folder_gives(photos: Path, tmp_path: Path) -> None:
    tar = pack(photos, tmp_path / "all.tar")
    there, here = find(tar), find(photos)
    assert [item.key for item in there] == [item.key for item in here] and len(there) == 5
    for a, b in zip(there, here, strict=True):
        assert a.path.relative_to(tar) == b.path.relative_to(photos)
        assert np.array_equal(read_image(a.path), read_image(b.path)) and image_size(a.path) == image_size(b.path)
    first, second = (survey_and_cache(items, 32, folder=tmp_path / "cache")[1] for items in (there, here))
    assert first.fingerprint == second.fingerprint and first.folder == second.folder


@pytest.mark.parametrize("source", ["shards", "shards/*.tar", "shards/**/*.png"])
def test_folders_and_globs_read_the_tars_in_them(photos: Path, tmp_path: Path, source: str) -> None:
    (tmp_path / "shards").mkdir()
    pack(photos / "a", tmp_path / "shards/0.tar")
    pack(photos / "b", tmp_path / "shards/1.TAR")
    found = [item.path.relative_to(tmp_path / "shards").as_posix() for item in find(str(tmp_path / source))]
    expected = ["0.tar/0.png", "0.tar/1.jpg", "1.TAR/0.png", "1.TAR/2.tif"]
    if source.endswith(".tar"):
        expected = expected[:2]
    if source.endswith(".png"):
        expected = [name for name in expected if name.endswith(".png")]
    assert found == expected


def test_names_in_a_tar_cannot_lead_out(tmp_path: Path) -> None:
    save(tmp_path / "secret.png", noise(20, 20))
    save(tmp_path / "inner.png", noise(20, 20, seed=3))
    raw = (tmp_path / "inner.png").read_bytes()
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("../secret.png", "/abs/y.png", "a//./z.png", "..png", "ok.png", "ok.png", "x\n.png"):
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo("link.png")
            entry.type, entry.linkname = kind, str(tmp_path / "secret.png")
            archive.addfile(entry)
    items = find(tmp_path / "x.tar")
    names = {item.path.relative_to(tmp_path / "x.tar").as_posix() for item in items}
    assert names == {"secret.png", "abs/y.png", "a/z.png", "ok.png", "x\n.png"}
    assert all(np.array_equal(read_image(item.path), read_image(tmp_path / "inner.png")) for item in items)
    assert all(".." not in item.key and not item.key.startswith("/") for item in items)
    for path in (tmp_path / "x.tar/../secret.png", tmp_path / "x.tar/link.png", tmp_path / "x.tar/none.png"):
        with pytest.raises((BadImage, FileNotFoundError)):
            read_image(path)


def test_a_damaged_tar_is_named_and_what_lies_before_the_damage_is_used(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    whole = pack(photos, tmp_path / "shards/0.tar").read_bytes()
    places = [offset + size for _, offset, size in members(tmp_path / "shards/0.tar")]
    (tmp_path / "shards/0.tar").write_bytes(whole[: places[2] + 100])
    pack(photos, tmp_path / "shards/1.tar", "w:gz")
    found = survey(find(tmp_path / "shards"))
    assert 1 <= found.usable <= 3
    assert {p.path.name for p in found.problems} == {"0.tar", "1.tar"}
    assert all("tar that is damaged, compressed" in p.reason for p in found.problems)


def test_of_equal_names_the_last_one_counts_and_a_changed_tar_is_read_anew(tmp_path: Path) -> None:
    for content in (b"old", b"new!"):
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            for text in (b"first", content):
                entry = tarfile.TarInfo("same")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
        time = 1_000_000_000 + 10 * len(content)
        os.utime(tmp_path / "x.tar", (time, time))
        assert read_member(tmp_path / "x.tar/same").read() == content
        assert stamp(tmp_path / "x.tar/same") == ((tmp_path / "x.tar").stat().st_size, time * 10**9)
    assert signature(tmp_path / "x.tar/same", 0) not in ("", signature(tmp_path / "x.tar/other", 0))
    assert shard_of(tmp_path / "x.tar") is None and shard_of(tmp_path / "y.tar/a") is None


def test_a_folder_called_tar_is_a_folder(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "folder.tar")
    assert len(find(tmp_path / "folder.tar")) == 5 and len(find(tmp_path)) == 10


# ------------------------------------------------------------------ many images in little memory


def test_items_keep_paths_and_keys_in_few_bytes() -> None:
    paths = [f"/data/photos/{i // 1000:05d}/{i:09d}.jpg" for i in range(50_000)]
    tracemalloc.start()
    items = Items(paths, (path[13:-4] for path in paths))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size < 64 * len(paths)
    assert items[49_999] == Item(Path(paths[-1]), paths[-1][13:-4]) == items[-1]
    assert items[10:12] == [items[10], items[11]] and list(items.take([3, 1])) == [items[3], items[1]]
    assert items == list(items) and items != list(items)[1:] and len(Groups(items)) == 50_000
    with pytest.raises(IndexError):
        items[50_000]


def test_names_that_are_no_text_survive() -> None:
    paths = ["/x/" + name for name in ("\udcff.png", "a\nb.png", "ä.png", "")]
    assert [str(item.path) for item in Items(paths, "abcd")] == [*paths[:3], "/x"]


def test_a_table_holds_what_was_added() -> None:
    table, looks = Table(), [Facts((None,) * (1 + i % 3), (10 + i, 20), i % 4, 8, i % 7 == 0) for i in range(3000)]
    looks[7] = Facts(("broken", "broken"))
    for look in looks:
        table.add(look)
    assert len(table) == 3000 and table.rows.itemsize < 24
    assert table.column("height").tolist() == [look.full[0] for look in looks]
    assert table.column("good").tolist() == [sum(b is None for b in look.bad) for look in looks]
    first = sum(len(look.bad) for look in looks[:7])
    assert table.bad == {first: "broken", first + 1: "broken"}


@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("odd_at", [None, 0, 3, 5])
def test_members_are_those_that_tarfile_finds(tmp_path: Path, dialect: int, odd_at: int | None) -> None:
    """Plain members are read without tarfile, up to the first that is not: long names, links, accents, folders."""
    odd = ["d" * 90 + "/" + "e" * 70 + ".png", "é.png", "link", "folder", "../out/../../x.png", "/abs/./y.png"]
    names = [f"a/{number}.png" for number in range(4)]
    if odd_at is not None:
        names[odd_at:odd_at] = odd
    with tarfile.open(tmp_path / "x.tar", "w", format=dialect) as archive:
        for number, name in enumerate(names):
            entry = tarfile.TarInfo(name)
            entry.type = {"link": tarfile.SYMTYPE, "folder": tarfile.DIRTYPE}.get(name, tarfile.REGTYPE)
            entry.linkname = "a/0.png" if name == "link" else ""
            entry.size = 511 * number % 1300 if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(bytes([number]) * entry.size))
    found = list(members(tmp_path / "x.tar"))
    with tarfile.open(tmp_path / "x.tar") as archive:
        there = [member for member in archive if member.isreg()]
    assert [(offset, size) for _, offset, size in found] == [(member.offset_data, member.size) for member in there]
    assert len(found) == 4 + (0 if odd_at is None else 4)
    assert all(".." not in name and not name.startswith("/") for name, _, _ in found)
    assert [read_member(tmp_path / "x.tar" / name).getvalue()[:1] for name, _, size in found if size] == [
        (tmp_path / "x.tar").read_bytes()[offset : offset + 1] for _, offset, size in found if size
    ]
