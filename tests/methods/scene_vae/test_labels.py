"""Masks are found, matched, counted, translated; what cannot be used is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from decoupe.data.sources import find
from decoupe.errors import Fault
from decoupe.export.palette import colours
from decoupe.export.png import encode_labels
from decoupe.methods.room import Draw
from decoupe.methods.scene_vae.config import Config, complete
from decoupe.methods.scene_vae.labels import Masks, read_masks
from decoupe.methods.scene_vae.pool import presence, shown


def _photos(folder: Path, names: list[str], size: tuple[int, int] = (40, 48)) -> Any:
    (folder / "images").mkdir(parents=True)
    for name in names:
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    return SimpleNamespace(items=find(folder / "images"))


def _mask(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(path)


def _quarters(classes: tuple[int, int, int, int], size: tuple[int, int] = (40, 48)) -> np.ndarray:
    rows, columns = np.arange(size[0])[:, None] >= size[0] // 2, np.arange(size[1])[None] >= size[1] // 2
    return np.array(classes)[2 * rows + columns]


def _read(config: Config, source: Any) -> Masks:
    return read_masks(complete(config), source)


def test_masks_belong_to_images_of_their_name_and_are_shrunk(tmp_path: Path) -> None:
    source = _photos(tmp_path, ["a", "x/b", "c"])
    _mask(tmp_path / "m/a.png", _quarters((0, 1, 2, 255)))
    _mask(tmp_path / "m/x/b.png", _quarters((2, 2, 2, 2)))
    found = _read(Config(masks=str(tmp_path / "m"), size=32), source)
    assert found.rows.tolist() == [0, 2] and found.weights.tolist() == [1, 1] and found.real == 2  # a, c, x/b
    assert np.array_equal(found.labels[0], _quarters((0, 1, 2, 255), (32, 32)))
    assert complete(Config(masks=str(tmp_path / "m"), size=32)).names == ("class 0", "class 1", "class 2")


def test_names_come_from_a_list_beside_the_masks_or_from_what_segment_wrote(tmp_path: Path) -> None:
    _photos(tmp_path, ["a"])
    names = ("background", "cat", "dog")
    (tmp_path / "m").mkdir()
    (tmp_path / "m/a.png").write_bytes(encode_labels(_quarters((0, 1, 2, 2)), names, colours(names)))
    assert complete(Config(masks=str(tmp_path / "m"))).names == names
    (tmp_path / "m/classes.txt").write_text("ground\nkitten\npuppy\n")
    assert complete(Config(masks=str(tmp_path / "m"))).names == ("ground", "kitten", "puppy")


def test_black_and_white_masks_are_background_and_object(tmp_path: Path) -> None:
    source = _photos(tmp_path, ["a"])
    _mask(tmp_path / "m/a.png", _quarters((0, 255, 255, 0)))
    config = complete(Config(masks=str(tmp_path / "m"), size=32))
    assert config.names == ("background", "object")
    assert np.array_equal(read_masks(config, source).labels[0], _quarters((0, 1, 1, 0), (32, 32)))


def test_val_and_test_masks_of_a_layout_are_never_read(tmp_path: Path) -> None:
    source = _photos(tmp_path, ["train/a", "val/b", "test/c", "d"])
    for name in ("train/a", "val/b", "test/c", "d"):
        _mask(tmp_path / f"masks/{name}.png", _quarters((0, 1, 1, 0)))
    found = _read(Config(masks=f"masks:{tmp_path}", size=32), source)
    assert [source.items[row].key for row in found.rows] == ["d", "train/a"]


def test_a_few_masks_are_the_same_few_whatever_else_is_there(tmp_path: Path) -> None:
    names = [f"{i:02d}" for i in range(12)]
    source = _photos(tmp_path, names)
    for name in names:
        _mask(tmp_path / f"m/{name}.png", _quarters((0, 1, 1, 0)))
    config = Config(masks=str(tmp_path / "m"), size=32, labelled=5)
    few, fewer = _read(config, source), _read(dataclasses.replace(config, labelled=3), source)
    assert len(few.rows) == 5 and set(fewer.rows) < set(few.rows)


def test_pseudo_masks_fill_in_by_name_with_their_weight(tmp_path: Path) -> None:
    source = _photos(tmp_path, ["a", "b", "c"])
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    _mask(tmp_path / "m/a.png", _quarters((0, 1, 2, 0)))
    (tmp_path / "p").mkdir()
    for name in ("a", "b"):
        other = ("background", "dog", "cat")  # in another order
        (tmp_path / f"p/{name}.png").write_bytes(encode_labels(_quarters((0, 1, 2, 0)), other, colours(other)))
    config = Config(masks=str(tmp_path / "m"), pseudo_masks=str(tmp_path / "p"), pseudo_weight=0.25, size=32)
    found = _read(config, source)
    assert found.rows.tolist() == [0, 1] and found.weights.tolist() == [1, 0.25]
    assert np.array_equal(found.labels[1], _quarters((0, 2, 1, 0), (32, 32)))
    alone = _read(dataclasses.replace(config, masks=None), source)
    assert alone.weights.tolist() == [0.25, 0.25]
    (tmp_path / "p/c.png").write_bytes(encode_labels(_quarters((0, 1, 1, 0)), ("background", "cow"), [(0, 0, 0)] * 2))
    (tmp_path / "p/a.png").unlink()
    (tmp_path / "p/b.png").unlink()
    with pytest.raises(Fault, match="cow"):
        complete(config)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    source = _photos(tmp_path, ["a"])
    with pytest.raises(Fault, match="none at"):
        complete(Config(masks=str(tmp_path / "nowhere")))
    _mask(tmp_path / "m/other.png", _quarters((0, 1, 1, 0)))
    with pytest.raises(Fault, match="equal names"):
        _read(Config(masks=str(tmp_path / "m"), size=32), source)
    _mask(tmp_path / "m/a.png", _quarters((0, 1, 1, 0), (20, 20)))
    with pytest.raises(Fault, match="size of their images"):
        _read(Config(masks=str(tmp_path / "m"), size=32), source)


def test_image_and_mask_are_cut_and_mirrored_alike() -> None:
    labels = torch.zeros(64, 32, 32, dtype=torch.int64)
    labels[:, 4:12, 18:28] = 1
    images = (labels[:, None].float() * 1.6 - 0.8).expand(-1, 3, -1, -1)
    cut, moved = shown(images, labels, Draw(0, 64), Config(zoom=1.5, jitter=0.0))
    agree = ((cut[:, 0] > 0) == (moved == 1)).float().mean()
    assert float(agree) > 0.98 and len(torch.unique(moved.flatten(1), dim=0)) > 40
    still, same = shown(images, labels, Draw(0, 64), Config(zoom=1.0, jitter=0.0, mirror=False))
    assert torch.equal(same, labels) and torch.allclose(still, images, atol=1e-5)


def test_presence_leaves_out_void() -> None:
    labels = torch.tensor([[[0, 2], [255, 255]], [[255, 255], [255, 255]]])
    assert presence(labels, 3).tolist() == [[1, 0, 1], [0, 0, 0]]
