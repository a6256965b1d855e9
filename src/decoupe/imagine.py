"""New images with their masks, from a run that has learned both: the layout `masks`, ready to be trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoupe.data.decode import read_mask
from decoupe.engine.files import write_atomic
from decoupe.errors import Fault, UsageFault
from decoupe.export.palette import Colour, chosen
from decoupe.export.png import encode_labels, encode_pixels
from decoupe.types import VOID

if TYPE_CHECKING:
    from decoupe.methods.scene_vae.room import SceneVae
    from decoupe.methods.scene_vae.scene import Seen

SHOWN, ROW = 64, 8
"""Pairs on the overview, and in each of its rows."""


def imagine(
    run: Any,
    out: str | Path,
    n: int = 16,
    *,
    mask: str | Path | None = None,
    tags: Sequence[str] | None = None,
    start: str = "data",
    walk: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write `n` imagined pairs to OUT/images and OUT/masks, beside classes.txt and a picture of some, overview.png.

    run: a run of `scene_vae`, a loaded `Model`, or its path. mask: a mask of the run's classes; scenes are imagined for
    it, and it is the mask of each pair. tags: classes that are there, all others are not. start: without both, "data"
    = around the scenes that were learned, "prior" = from N(0, I). walk: a random walk with this step in (0, 1].

    Returns {"out", "n", "observed", "classes"}. Fault if the run cannot imagine, or `out` holds something already.
    """
    from decoupe.model import loaded

    model = loaded(run)
    room = _room(model)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Fault("--out to be new or empty", f"{out}", "choose another folder")
    if start not in ("data", "prior"):
        raise UsageFault("--from data|prior", repr(start), "choose one of these")
    given = None if mask is None else _mask(Path(mask), room)
    seen = _seen(room, given, tags)
    names = room.regions
    palette = chosen(names, model.picked)
    shown: list[tuple[NDArray[np.uint8], NDArray[np.int64]]] = []
    for name in ("images", "masks"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for done, (square, found) in enumerate(_pairs(room, n, seen, start, walk, seed)):
        labels = found if given is None else given
        _write(out / "images" / f"{done:06d}", square)
        write_atomic(out / "masks" / f"{done:06d}.png", encode_labels(labels, names, palette))
        if len(shown) < SHOWN:
            shown.append((square, labels))
        if progress is not None:
            progress(done + 1, n)
    (out / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    write_atomic(out / "overview.png", overview(shown, palette))
    observed = [name for name, value in (("tags", tags), ("mask", mask)) if value is not None]
    return {"out": str(out), "n": n, "observed": observed, "classes": list(names)}


@torch.inference_mode()
def _pairs(
    room: SceneVae, n: int, seen: Seen, start: str, walk: float | None, seed: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """(S, S, C) uint8 and (S, S) class numbers, one scene at a time."""
    for images, shares in room.imagine(n, seen, start, walk, seed):
        squares = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        yield from zip(squares, shares.argmax(1).cpu().numpy(), strict=True)


def _room(model: Any) -> SceneVae:
    from decoupe.methods.scene_vae.room import SceneVae

    if not isinstance(model.room, SceneVae):
        raise Fault("a run of scene_vae", f"one of {model.room.NAME}", "train one: decoupe fit scene_vae")
    return model.room


def _mask(path: Path, room: SceneVae) -> NDArray[np.int64]:
    """The mask at the run's size, each pixel that of the file at its centre. Fault on a class the run does not have."""
    labels = read_mask(path)
    wrong = labels[(labels != VOID) & ((labels < 0) | (labels >= len(room.regions)))]
    if wrong.size:
        known = f"a mask of the {len(room.regions)} classes of the run, 255 for void"
        raise Fault(known, f"{wrong[0]} in {path}", f"0 is {room.regions[0]}, 1 {room.regions[1]}, ...")
    size = room.config.size
    rows, columns = (((np.arange(size) + 0.5) * side / size).astype(np.int64) for side in labels.shape)
    return np.asarray(labels[rows[:, None], columns[None]])


def _seen(room: SceneVae, mask: NDArray[np.int64] | None, tags: Sequence[str] | None) -> Seen:
    from decoupe.methods.scene_vae.scene import Seen

    shares = None if mask is None else room.scene.shares(torch.from_numpy(mask)[None])
    table = None if tags is None else torch.tensor([presence(tags, room.regions)])
    return Seen(None, table, shares)


def presence(tags: Sequence[str], classes: Sequence[str]) -> list[float]:
    """1 for each class that is named (any case), 0 for the others. UsageFault on a name that is no class."""
    known = {name.casefold(): number for number, name in enumerate(classes)}
    found = [0.0] * len(classes)
    for tag in tags:
        if tag.strip().casefold() not in known:
            raise UsageFault(f"--tags of {', '.join(classes)}", repr(tag), "choose some of these")
        found[known[tag.strip().casefold()]] = 1.0
    return found


def _write(stem: Path, image: NDArray[np.uint8]) -> None:
    """(S, S, C): PNG of one or three bands, else NPY."""
    if image.shape[2] not in (1, 3):
        np.save(stem.with_name(stem.name + ".npy"), image)
        return
    pixels = image[..., 0] if image.shape[2] == 1 else image
    write_atomic(stem.with_name(stem.name + ".png"), encode_pixels(pixels, 6))


def overview(pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.int64]]], palette: Sequence[Colour]) -> bytes:
    """PNG with eight pairs a row, each image beside its mask in colours."""
    table = np.array(palette, np.uint8)
    tiles = []
    for image, labels in pairs:
        rgb = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, 2)
        both = np.concatenate([rgb, np.where((labels == VOID)[..., None], 255, table[labels % len(table)])], 1)
        tiles.append(np.pad(both, ((0, 3), (0, 3), (0, 0)), constant_values=255))
    while len(tiles) % ROW:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.concatenate(tiles[i : i + ROW], 1) for i in range(0, len(tiles), ROW)]
    return encode_pixels(np.concatenate(rows).astype(np.uint8), 6)
