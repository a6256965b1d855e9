"""Writing built-in images and their truth as a folder: the layout `synth`.

images/000000.png        1 or 3 channels: PNG; any other count: TIFF
masks/000000.png         indexed PNG, the visible class of each pixel (names and colours in classes.json)
instances/000000.png     16-bit PNG, instance ids, 0 = none
layers/000000.npz        `layers` float16 (L, H, W, C+1), premultiplied, back to front
removed/NAME/000000.png  the image without what bears the name
backgrounds/000000.png   kind `objects`: other grounds, with nothing on them
tags.csv                 image,tags (names joined by ";")
boxes.csv                image,x0,y0,x1,y1,name (px, right and lower ends exclusive)
classes.json             names, colours, and how the folder was made
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from decoupe.data.synthetic.canvas import colour
from decoupe.data.synthetic.scene import Scene


def class_colours(count: int) -> list[tuple[int, int, int]]:
    """One colour for each class: the first dark grey, the others spread around the colour circle."""
    colours = [(40, 40, 44)]
    for k in range(1, count):
        r, g, b = (int(v) for v in np.round(colour(0.45 + 0.18 * (k % 3), 0.02 + 0.381966 * k, 0.6) * 255))
        colours.append((r, g, b))
    return colours


class Writer:
    """Writes scenes one by one; `close` writes the tables."""

    def __init__(self, out: Path, kind: str, classes: tuple[str, ...], truth: bool) -> None:
        self.out, self.kind, self.classes, self.truth = out, kind, classes, truth
        self.colours = class_colours(len(classes))
        self.tags: list[tuple[str, str]] = []
        self.boxes: list[tuple[str, int, int, int, int, str]] = []
        self.count, self.name = 0, ""
        for name in ("images", *(("masks", "instances", "layers", "removed") if truth else ())):
            (out / name).mkdir(parents=True, exist_ok=True)

    def add_image(self, image: NDArray[np.uint8]) -> str:
        """Write the next image alone; returns its stem."""
        stem = f"{self.count:06d}"
        self.name = _save_image(self.out / "images" / stem, image)
        self.count += 1
        return stem

    def add(self, scene: Scene) -> None:
        """Write the next image and its truth."""
        stem = self.add_image(scene.image)
        mask = Image.fromarray(scene.mask)
        mask.putpalette([value for rgb in self.colours for value in rgb])
        mask.save(self.out / "masks" / f"{stem}.png", compress_level=3)
        Image.fromarray(scene.instances).save(self.out / "instances" / f"{stem}.png", compress_level=3)
        _save_npz(self.out / "layers" / f"{stem}.npz", scene.layers.astype(np.float16))
        for absent, image in scene.removed.items():
            (self.out / "removed" / absent).mkdir(exist_ok=True)
            _save_image(self.out / "removed" / absent / stem, image)
        self.tags.append((f"images/{self.name}", ";".join(scene.tags)))
        self.boxes += [(f"images/{self.name}", *ends, thing) for thing, *ends in scene.boxes]  # type: ignore[misc]

    def add_background(self, image: NDArray[np.uint8], index: int) -> None:
        """Write a ground with nothing on it."""
        (self.out / "backgrounds").mkdir(exist_ok=True)
        _save_image(self.out / "backgrounds" / f"{index:06d}", image)

    def close(self, made: dict[str, Any]) -> None:
        """Write the tables and classes.json."""
        if self.truth:
            _save_csv(self.out / "tags.csv", ("image", "tags"), self.tags)
            _save_csv(self.out / "boxes.csv", ("image", "x0", "y0", "x1", "y1", "name"), self.boxes)
        about = {"kind": self.kind, "classes": list(self.classes), "colours": self.colours, "void": 255, **made}
        (self.out / "classes.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _save_image(stem: Path, image: NDArray[np.uint8]) -> str:
    """Save (H, W, C) as PNG (C 1 or 3) or TIFF; returns the file's name."""
    if image.shape[-1] in (1, 3):
        path = stem.with_name(stem.name + ".png")
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path, compress_level=3)
    else:
        path = stem.with_name(stem.name + ".tif")
        extra = [0] * (image.shape[-1] - 1)
        tifffile.imwrite(
            path,
            image,
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=extra,
            metadata=None,
            software=False,
        )
    return path.name


def _save_npz(path: Path, layers: NDArray[np.float16]) -> None:
    """Save as an .npz of equal bytes for equal arrays."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(layers), allow_pickle=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo("layers.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 1)


def _save_csv(path: Path, header: tuple[str, ...], rows: list[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
