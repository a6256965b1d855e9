"""Pointing at images in every way, and what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from decoupe.data.paths import MARKER
from decoupe.data.sources import Item, find, read_csv
from decoupe.errors import Fault
from tests.data.files import save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photos in two sub-folders, sidecars, hidden files, outputs and links."""
    root = tmp_path / "photos"
    for name in ("a.jpg", "A.png", "x/a.png", "x/b.webp", "y/a.png", "ünï/猫.png"):
        save(root / name)
    for name in ("notes.txt", "tags.csv", "about.json", "README.md", "Thumbs.db", ".DS_Store", "x/data.xml", "noend"):
        (root / name).write_text("text")
    (root / "broken.jpg").write_text("text")
    (root / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    save(root / ".hidden.png"), save(root / ".cache/z.png")
    save(root / "masks_out/a.png"), (root / "masks_out" / MARKER).touch()
    save(root / "noend2.png").rename(root / "noend2")
    (root / "x" / "up").symlink_to(root)
    (root / "linked").symlink_to(root / "x")
    (root / "gone.png").symlink_to("nothing.png")
    return root


EXPECTED = ["A", "a", "broken", "gone", "noend2", "phone", "x/a", "x/b", "x/up", "y/a", "ünï/猫"]


def test_a_folder_gives_its_images_and_nothing_else(folder: Path) -> None:
    items = find(folder)
    names = [os.path.relpath(item.path, folder).split(".")[0] for item in items]
    assert sorted(names) == sorted(EXPECTED)
    assert len({item.key.casefold() for item in items}) == len(items)
    assert items == find(str(folder)) and all(item.frame == 0 and item.box is None for item in items)
    assert [item.key for item in items if item.key.startswith(("x/", "y/"))] == ["x/a", "x/b", "x/up", "y/a"]


def test_links_to_folders_outside_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "store/a.png"), save(tmp_path / "photos/b.png")
    (tmp_path / "photos/one").symlink_to(tmp_path / "store")
    (tmp_path / "photos/two").symlink_to(tmp_path / "store")
    assert [item.key for item in find(tmp_path / "photos")] == ["b", "one/a"]


def test_globs_files_and_lists(folder: Path) -> None:
    assert [item.key for item in find(f"{folder}/x/*.png")] == ["a"]
    assert {item.key for item in find(f"{folder}/**/a.png")} == {"x/a", "y/a"}
    assert {item.key for item in find(f"{folder}/[xy]")} == {"x/a", "x/b", "y/a"} | {"x/up"}
    assert len(find(f"{folder}/**")) == len(EXPECTED) and len(find(f"{folder}/**/x/*")) == 3
    assert find(folder / "a.jpg") == [Item(folder / "a.jpg", "a")]
    both = find([folder / "x" / "a.png", folder / "y" / "a.png"])
    assert [item.key for item in both] == ["x/a", "y/a"]
    assert len(find([folder, folder / "a.jpg", folder / "x"])) == len(EXPECTED)


def test_our_own_outputs_are_left_out(folder: Path) -> None:
    with pytest.raises(Fault, match="written by decoupe"):
        find(folder / "masks_out")
    assert not any("masks_out" in str(item.path) for item in find(f"{folder}/**/*.png"))
    (folder / MARKER).write_text("A.png\n")
    assert "A.png" not in [item.path.name for item in find(folder)]


def test_images_beside_masks(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png"), save(tmp_path / "masks/a.png")
    assert find(tmp_path) == [Item(tmp_path / "images/a.png", "a")]


def test_manifests(folder: Path, tmp_path: Path) -> None:
    table = folder / "list.csv"
    table.write_text(
        "\ufeffweight; Image \n3;x/a.png\n4;" + str(folder / "y/a.png") + "\n3;x/a.png\n2;\n5;x/none.png\n"
    )
    assert [item.key for item in find(table)] == ["x/a", "x/none", "y/a"]
    assert read_csv(table)[0] == {"weight": "3", "Image": "x/a.png"}
    save(tmp_path / "secret.png"), save(tmp_path / "photos-secret/s.png")
    (folder / "out").symlink_to(tmp_path / "photos-secret")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "out/s.png", "../photos-secret/s.png", "a\0.png"):
        table.write_text(f"path\n{name}\n")
        with pytest.raises(Fault, match="path inside|a file name"):
            find(table)
    table.write_text("photo\nx/a.png\n")
    with pytest.raises(Fault, match="a CSV with a column image, path, file"):
        find(table)
    table.write_bytes(b"image\n\xff\xfe\n")
    with pytest.raises(Fault, match="UTF-8"):
        find(table)
    table.write_text("")
    with pytest.raises(Fault, match="with nothing"):
        find(table)


@pytest.mark.parametrize("source", ["nowhere", "nowhere/*.png", "", [], "a\0b"])
def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fault):
        find(source)


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="JPEG, PNG, TIFF"):
        find(tmp_path)


def test_a_folder_that_may_not_be_read_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "y":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert any(item.key == "y" for item in find(folder))


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    for raw in (b"caf\xe9.png", b"caf\xe8.png"):
        save(tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw))
    items = find(tmp_path)
    assert len({item.key for item in items}) == 2
    assert all(item.key.encode() and item.path.is_file() for item in items)
