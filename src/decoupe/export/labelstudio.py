"""`labelstudio` and `labelstudio-polygons`: tasks with predictions and scores, one file to import into Label Studio.

`labelstudio` holds brush masks (`brush.py`), `labelstudio-polygons` polygons along the edges of the pixels, in percent
of the image's sides; both give the masks back exactly. Photos are named as files of Label Studio's local storage,
relative to its document root. The score of an object is its region's mean probability there, that of a task the mean
over its objects by area.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any, ClassVar
from urllib.parse import quote

from decoupe.export import brush, rle
from decoupe.export.base import Record, Segmented, Writer
from decoupe.export.cvat import outline
from decoupe.export.parts import Part, parts, unique
from decoupe.types import Image

LOCAL = "/data/local-files/?d="
"""How Label Studio names a file below its document root."""


class LabelStudioWriter(Writer):
    """`labelstudio.json`."""

    NAME: ClassVar[str] = "labelstudio"
    FILE: ClassVar[str | None] = "labelstudio.json"
    PROBS: ClassVar[bool] = True
    KIND: ClassVar[str] = "brushlabels"

    def write(self, key: str, image: Image | None, regions: Segmented) -> list[list[Any]]:
        """[region, area, score, shape] of one image's objects."""
        size = (regions.labels.shape[0], regions.labels.shape[1])
        return [[part.region, part.area, part.score, self._shape(part, size)] for part in parts(regions)]

    def _shape(self, part: Part, size: tuple[int, int]) -> Any:
        runs = rle.encode(part.mask.T, (size[1], size[0]), (part.x, part.y))
        return base64.b64encode(brush.encode(runs)).decode("ascii")

    def _value(self, shape: Any, size: tuple[int, int]) -> dict[str, Any]:
        return {"format": "rle", "rle": list(base64.b64decode(shape))}

    def close(self) -> None:
        """Write the file, streaming over the records."""
        labels = unique(self.place.names)
        with self.place.stream(self.FILE or "") as file:
            file.write("[")
            for number, record in enumerate(self.place.records(self.NAME)):
                file.write((",\n" if number else "\n") + json.dumps(self.task(record, labels)))
            file.write("\n]\n")

    def task(self, record: Record, labels: list[str] | None = None) -> dict[str, Any]:
        """The task of one image with its prediction; `labels`: a name for each region (None: made unique here)."""
        labels = unique(self.place.names) if labels is None else labels
        height, width = record.size
        results, weight, total = [], 0, 0.0
        for number, (region, area, score, shape) in enumerate(record.content, start=1):
            weight, total = weight + area, total + area * score
            results.append(
                {
                    "id": f"r{number}",
                    "type": self.KIND,
                    "from_name": "label",
                    "to_name": "image",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": score,
                    "value": {**self._value(shape, record.size), self.KIND: [labels[region]]},
                }
            )
        score = round(total / weight, 4) if weight else 0.0
        image = LOCAL + quote(os.fsencode(record.name))
        return {
            "data": {"image": image},
            "predictions": [{"model_version": "decoupe", "score": score, "result": results}],
        }


class LabelStudioPolygonsWriter(LabelStudioWriter):
    """`labelstudio-polygons.json`."""

    NAME: ClassVar[str] = "labelstudio-polygons"
    FILE: ClassVar[str | None] = "labelstudio-polygons.json"
    KIND: ClassVar[str] = "polygonlabels"

    def _shape(self, part: Part, size: tuple[int, int]) -> Any:
        return outline(part)

    def _value(self, shape: Any, size: tuple[int, int]) -> dict[str, Any]:
        height, width = size
        return {"closed": True, "points": [[round(100 * x / width, 9), round(100 * y / height, 9)] for x, y in shape]}
