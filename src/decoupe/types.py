"""The two types every room and every verb share: an image and its regions, in the user's own frame.

Frame: row 0 is the top row of the upright photo (EXIF rotation applied), column 0 its left column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, C) uint8, upright, C >= 1 bands in file order (RGB when C = 3)."""

Probabilities = NDArray[np.float32]
"""(K, H, W) float32 in [0, 1], summing to 1 over K at every pixel."""

Labels = NDArray[np.int64]
"""(H, W) int64 region or class index; 255 means void in ground truth."""

InstanceMap = NDArray[np.int32]
"""(H, W) int32: 0 background, 1, 2, ... the instance at each pixel; in ground truth -1 is void."""

VOID = 255
SHOWN = 512
"""Pixels of the longer side of a picture in a notebook, at most."""


@dataclass(frozen=True)
class Instance:
    """One object: column-major (Fortran) run lengths starting with a run of zeros, as COCO's uncompressed RLE."""

    size: tuple[int, int]
    """(H, W) in pixels."""
    counts: tuple[int, ...]
    """Run lengths; they sum to H * W."""
    score: float = 1.0
    """Confidence in [0, 1]."""
    region: int = 1
    """Index of the region the instance belongs to."""


@dataclass(frozen=True)
class Regions:
    """The K regions of one image."""

    probs: Probabilities
    """(K, H, W) float32, sums to 1 over K."""
    names: tuple[str, ...]
    """K region names."""
    layers: NDArray[np.float32] | None = None
    """Optional (K, H, W, 4) premultiplied RGBA in [0, 1], back to front."""
    instances: tuple[Instance, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.probs.ndim != 3 or len(self.names) != self.probs.shape[0]:
            from decoupe.errors import Fault

            raise Fault(
                "probs of shape (K, H, W) with K names",
                f"shape {self.probs.shape} with {len(self.names)} names",
                "pass one name per region",
            )

    @property
    def labels(self) -> Labels:
        """(H, W) int64: the most probable region of each pixel (ties go to the lower index)."""
        return np.asarray(self.probs.argmax(axis=0), dtype=np.int64)

    def to_coco(self, file_name: str = "image", image_id: int = 1) -> dict[str, Any]:
        """COCO instances of this image alone: `images`, `annotations` (compressed run lengths) and `categories`.

        One annotation per connected part of every region but the background, as `segment --format coco` writes them.
        """
        from decoupe.export.coco import instances
        from decoupe.export.palette import is_background
        from decoupe.export.parts import category

        height, width = self.probs.shape[1:]
        annotations = [
            {
                "id": number,
                "image_id": image_id,
                "category_id": category(region, self.names),
                "segmentation": {"size": [height, width], "counts": text},
                "area": area,
                "bbox": [x, y, w, h],
                "score": score,
                "iscrowd": 0,
            }
            for number, (region, text, area, x, y, w, h, score) in enumerate(instances(self), start=1)
        ]
        kinds = [(category(k, self.names), name) for k, name in enumerate(self.names) if not is_background(name)]
        return {
            "images": [{"id": image_id, "file_name": file_name, "width": width, "height": height}],
            "annotations": annotations,
            "categories": [{"id": number, "name": name, "supercategory": "region"} for number, name in kinds],
        }

    def _repr_html_(self) -> str:
        """The regions as a notebook shows them: a picture and its legend, without scripts."""
        import base64
        import html

        from decoupe.export.palette import colours
        from decoupe.export.png import encode_indexed

        height, width = self.probs.shape[1:]
        step = -(-max(height, width) // SHOWN)
        labels, table = self.labels[::step, ::step], colours(self.names)
        shares = np.bincount(self.labels.ravel(), minlength=len(self.names)) / self.labels.size
        picture = base64.b64encode(encode_indexed(labels, table)).decode("ascii") if len(table) <= 256 else ""
        rows = "".join(
            f'<li><b style="background:#{r:02x}{g:02x}{b:02x}">&emsp;</b> {html.escape(name[:80])}: {share:.1%}</li>'
            for name, (r, g, b), share in zip(self.names, table, shares, strict=True)
        )
        size = f"{width} x {height} pixels"
        image = f'<img alt="{len(self.names)} regions of {size}" src="data:image/png;base64,{picture}">'
        return f"<figure>{image}<figcaption>{size}<ul>{rows}</ul></figcaption></figure>"
