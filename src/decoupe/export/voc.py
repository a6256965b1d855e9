"""`voc`: a folder `dataset.voc` as PASCAL VOC lays it out, without the photos.

    SegmentationClass/<image>.png        class numbers, 0 = background, with VOC's palette
    ImageSets/Segmentation/default.txt   the images, a name with spaces in double quotes
    labelmap.txt                         name:red,green,blue:: of every class, in the order of their numbers

Masks are kept exactly; of names, what the table cannot hold (`:` and control characters, a leading `#`) becomes `_`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from decoupe.errors import Fault
from decoupe.export.base import Segmented, Writer
from decoupe.export.palette import Colour, is_background
from decoupe.export.parts import category, unique
from decoupe.export.png import encode_indexed
from decoupe.types import Image

FOLDER = "dataset.voc/"
VOID_COLOUR: Colour = (224, 224, 192)


def voc_colour(number: int) -> Colour:
    """VOC's colour of a class number: its bits in threes, dealt out to red, green, blue from the highest bit down."""
    channels = [0, 0, 0]
    for digit in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * digit + channel) & 1) << (7 - digit)
    return channels[0], channels[1], channels[2]


def classes(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Class number of each region, and the name of each class; class 0 is the background. Fault beyond 254 classes."""
    numbers = [0 if is_background(name) else category(region, names) for region, name in enumerate(names)]
    if max(numbers) > 254:
        raise Fault("at most 254 regions for voc", str(len(names)), "use --format npz, or merge regions")
    kept = [region for region, number in enumerate(numbers) if number]
    titles = unique([_plain(names[region]) for region in kept], ("background",))
    shown = ["background", *(f"unused {number}" for number in range(1, max(numbers) + 1))]
    for region, title in zip(kept, titles, strict=True):
        shown[numbers[region]] = title
    return numbers, shown


def _plain(name: str) -> str:
    return re.sub(r"^#|[:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "_", name.strip())


class VocWriter(Writer):
    """`dataset.voc/`."""

    NAME: ClassVar[str] = "voc"
    SUFFIX: ClassVar[str | None] = ".png"
    FOLDER: ClassVar[str] = FOLDER + "SegmentationClass/"

    def write(self, key: str, image: Image | None, regions: Segmented) -> int:
        """Write one image's classes; returns the file's size in bytes."""
        table = np.asarray(classes(regions.names)[0], np.uint8)
        palette = [*(voc_colour(number) for number in range(255)), VOID_COLOUR]
        return self.place.put(self.path(self.place, key), encode_indexed(table[regions.labels], palette))

    def close(self) -> None:
        """Write the lists of images and of classes."""
        with self.place.stream(FOLDER + "ImageSets/Segmentation/default.txt") as file:
            for record in self.place.records(self.NAME):
                file.write((f'"{record.key}"' if re.search(r"\s", record.key) else record.key) + "\n")
        with self.place.stream(FOLDER + "labelmap.txt") as file:
            file.write("# label:color_rgb:parts:actions\n")
            for number, name in enumerate(classes(self.place.names)[1]):
                file.write(f"{name}:{','.join(map(str, voc_colour(number)))}::\n")
