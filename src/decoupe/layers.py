"""Layers of a user's image, from rooms that find layers: as RGBA in the image's frame, and the image without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoupe.compositing import Layered, Stack, visible
from decoupe.data.decode import read_image
from decoupe.errors import Fault, UsageFault
from decoupe.methods.room import to_unit
from decoupe.types import Image

if TYPE_CHECKING:
    from decoupe.model import Model

KEPT, GONE = 0.25, 0.75
"""Up to KEPT of a layer at a pixel, the photo's own pixel stays; from GONE on it is replaced; between, mixed."""
Floats = NDArray[np.float32]


def layered_rooms() -> list[str]:
    """Names of the rooms that find layers."""
    from decoupe.methods import ROOMS

    return [name for name, entry in ROOMS.items() if hasattr(entry.room(), "decompose")]


def check(model: Model, tiled: bool = False) -> None:
    """Fault if the model's room finds no layers; UsageFault if images are cut into tiles."""
    if not isinstance(model.room, Layered):
        rooms = ", ".join(layered_rooms())
        raise Fault(f"a run with layers ({rooms})", f"a run of {model.room.NAME}", "choose a run of such a room")
    if tiled:
        raise UsageFault("layers without --tile", "both", "leave --tile out: layers are those of a whole scene")


@torch.inference_mode()
def decompose(model: Model, squares: NDArray[np.uint8]) -> Stack:
    """uint8 (B, C, S, S) -> its layers, float32 on the CPU. Fault if the model's room finds no layers."""
    check(model)
    room: Any = model.room
    bf16 = model.run.info.get("precision") == "bf16"
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
        stack = room.decompose(to_unit(squares, model.device))
    return Stack(*(part.float().cpu() for part in (stack.background, stack.images, stack.masks)))


def rgba(model: Model, squares: NDArray[np.uint8]) -> Floats:
    """uint8 (B, C, S, S) -> (B, K, 4, S, S) premultiplied RGBA in [0, 1] of each region shown, back to front.

    Laid over one another they are the rebuilt image. Regions that were merged are one layer: its members over one
    another, at the place of the rearmost. One band is shown grey, of more than three the first three.
    """
    stack = decompose(model, squares)
    colours = (torch.cat([stack.background[:, None], stack.images], 1) + 1) / 2
    colours = colours[:, :, :3] if colours.shape[2] >= 3 else colours[:, :, :1].expand(-1, -1, 3, -1, -1)
    masks = torch.cat([torch.ones_like(stack.masks[:, :1]), stack.masks], 1)
    sheets = torch.cat([colours * masks, masks], 2)
    shown = []
    for group in model.groups:
        whole = sheets[:, group[0]]
        for index in group[1:]:
            whole = sheets[:, index] + whole * (1 - sheets[:, index, 3:])
        shown.append(whole)
    return np.asarray(torch.stack(shown, 1).numpy())


def resized(sheets: Floats, size: tuple[int, int]) -> Floats:
    """(K, 4, S, S) premultiplied -> (K, H, W, 4), bilinear: `Regions.layers`."""
    k = len(sheets)
    planes = resize_planes(sheets.reshape(4 * k, *sheets.shape[2:]), size)
    return np.ascontiguousarray(planes.reshape(k, 4, *size).transpose(0, 2, 3, 1))


def resize_planes(planes: Floats, size: tuple[int, int]) -> Floats:
    """(N, h, w) -> (N, H, W) float32: bilinear, as masks are resized, each plane by itself."""
    height, width = size
    if planes.shape[1:] == size:
        return planes
    tensor = torch.from_numpy(np.ascontiguousarray(planes))[None]
    smaller = height < planes.shape[1] or width < planes.shape[2]
    found = torch.nn.functional.interpolate(tensor, (height, width), mode="bilinear", antialias=smaller)[0]
    return np.asarray(found.numpy(), np.float32)


def region_of(model: Model, layer: str) -> int:
    """Index of the shown region with that name or number. UsageFault if there is none, or it is the background."""
    names = model.names
    found = names.index(layer) if layer in names else int(layer) if layer.isdecimal() else -1
    if not 0 <= found < len(names):
        raise UsageFault(f"a layer ({', '.join(names[1:])})", repr(layer), "choose one of these")
    if 0 in model.groups[found]:
        raise UsageFault(f"a layer ({', '.join(names[1:])})", f"the {names[0]}", "nothing is known of what lies behind")
    return found


def membrane(values: Floats, hole: NDArray[np.bool_]) -> Floats:
    """(H, W, C) with the pixels of `hole` (H, W) replaced by the harmonic function that continues those around.

    Inside, each pixel is the mean of its 4 neighbours (fewer at the border of the image). A hole without any pixel
    around it becomes 0.
    """
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    out = values.astype(np.float32, copy=True)
    if hole.all():
        return np.zeros_like(out)
    if not hole.any():
        return out
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    rows, columns = np.nonzero(hole)
    degree, known = np.zeros(len(rows)), np.zeros((len(rows), values.shape[2]))
    pairs: list[NDArray[Any]] = []
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        y, x = rows + dy, columns + dx
        inside = (y >= 0) & (y < hole.shape[0]) & (x >= 0) & (x < hole.shape[1])
        degree += inside
        own, y, x = np.flatnonzero(inside), y[inside], x[inside]
        free = number[y, x] >= 0
        pairs.append(np.stack([own[free], number[y[free], x[free]]]))
        np.add.at(known, own[~free], values[y[~free], x[~free]])
    links = np.concatenate(pairs, 1)
    matrix = sparse.diags(degree) - sparse.coo_matrix((np.ones(links.shape[1]), links), (len(rows),) * 2)
    solved = spsolve(matrix.tocsc(), known)
    out[rows, columns] = np.asarray(solved).reshape(len(rows), -1)
    return out


def without(model: Model, image: Image, layer: str, seamless: bool = True) -> Image:
    """(H, W, C) uint8 -> the same without a layer: rebuilt from the others where it was, its own pixels elsewhere.

    seamless: shift the colours of what is rebuilt so that it continues the photo around it (the membrane of Perez et
    al. 2003); the generator knows what is there better than its exact colour. UsageFault on an unknown layer.
    """
    region, square = region_of(model, layer), model.square(image)
    stack = decompose(model, square[None])
    group = [index - 1 for index in model.groups[region]]
    keep = torch.ones(1, stack.masks.shape[1])
    keep[:, group] = 0
    shares = visible(stack.masks)[0, [index + 1 for index in group]].sum(0).numpy()
    mixed = np.clip((shares - KEPT) / (GONE - KEPT), 0, 1).astype(np.float32)
    rebuilt = ((stack.flatten(keep)[0] + 1) * 127.5).numpy()
    if seamless:
        error = (square.astype(np.float32) - rebuilt).transpose(1, 2, 0)
        rebuilt = rebuilt + membrane(error, mixed > 0).transpose(2, 0, 1)
    size = (image.shape[0], image.shape[1])
    planes = resize_planes(np.concatenate([rebuilt, mixed[None]]).astype(np.float32), size)
    fill, share = planes[:-1].transpose(1, 2, 0), planes[-1][..., None]
    fill = fill if fill.shape[2] == image.shape[2] else np.repeat(fill.mean(2, keepdims=True), image.shape[2], 2)
    found = image + share * (np.clip(fill, 0, 255) - image)
    return np.asarray(np.rint(found), np.uint8)


def remove(run: Any, image: str | Path, layer: str, out: str | Path, seamless: bool = True) -> dict[str, Any]:
    """`decoupe remove`: write `image` without `layer` to `out` (PNG, JPEG, TIFF or NPY by its suffix).

    Returns {"out", "layer", "size": (H, W), "changed": share of the pixels that are not the photo's own}. Fault if the
    image cannot be read or the run has no layers; UsageFault on an unknown layer, suffix, or `out` equal to `image`.
    """
    from decoupe.model import load

    source, target = Path(image), Path(out)
    if target.suffix.lower() not in (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy"):
        raise UsageFault("--out FILE.png, .jpg, .tif or .npy", repr(target.name), "choose one of these suffixes")
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageFault("--out apart from the photo", str(target), "choose another file")
    pixels = read_image(source)
    if pixels.shape[2] not in (1, 3) and target.suffix.lower() not in (".tif", ".tiff", ".npy"):
        raise UsageFault(f"--out FILE.tif or .npy for {pixels.shape[2]} bands", target.name, "choose that suffix")
    model = load(run)
    found = without(model, pixels, layer, seamless)
    _write(target, found)
    changed = float((found != pixels).any(2).mean())
    return {"out": str(target), "layer": model.names[region_of(model, layer)], "size": found.shape[:2],
            "changed": round(changed, 4)}  # fmt: skip


def _write(path: Path, image: Image) -> None:
    import io

    import tifffile
    from PIL import Image as pillow

    from decoupe.engine.files import write_atomic

    buffer, suffix = io.BytesIO(), path.suffix.lower()
    if suffix == ".npy":
        np.save(buffer, image)
    elif suffix in (".tif", ".tiff"):
        many = image.shape[2] not in (1, 3)
        tifffile.imwrite(
            buffer, image, photometric="minisblack" if many or image.shape[2] == 1 else "rgb", planarconfig="contig",
            extrasamples=[0] * (image.shape[2] - 1) if many else None, metadata=None, software=False,
        )  # fmt: skip
    else:
        shown = pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        shown.save(buffer, "PNG" if suffix == ".png" else "JPEG", **({} if suffix == ".png" else {"quality": 95}))
    write_atomic(path, buffer.getvalue())
