"""Output formats of `decoupe segment`: an explicit table, name to writer."""

from __future__ import annotations

from collections.abc import Sequence

from decoupe.errors import UsageFault
from decoupe.export.base import STATE, Place, Record, Segmented, Writer
from decoupe.export.coco import CocoWriter
from decoupe.export.csv import CsvWriter
from decoupe.export.cvat import CvatPolygonsWriter, CvatWriter
from decoupe.export.labelstudio import LabelStudioPolygonsWriter, LabelStudioWriter
from decoupe.export.layers import LayersWriter
from decoupe.export.npz import NpzWriter
from decoupe.export.ora import OraWriter
from decoupe.export.overlay import OverlayWriter
from decoupe.export.panoptic import PanopticWriter
from decoupe.export.png import PngWriter
from decoupe.export.rois import RoisWriter
from decoupe.export.tiff import TiffWriter
from decoupe.export.voc import VocWriter

WRITERS: tuple[type[Writer], ...] = (
    PngWriter, OverlayWriter, NpzWriter, CsvWriter, CocoWriter, PanopticWriter, CvatWriter, CvatPolygonsWriter,
    LabelStudioWriter, LabelStudioPolygonsWriter, VocWriter, TiffWriter, RoisWriter, LayersWriter, OraWriter,
)  # fmt: skip
FORMATS: dict[str, type[Writer]] = {writer.NAME: writer for writer in WRITERS}
"""Every format that `--format` accepts."""
OF_MASKS = tuple(name for name, writer in FORMATS.items() if not writer.LAYERS)
"""Those that need the masks alone, and not the layers of a room that finds layers."""

__all__ = ["FORMATS", "OF_MASKS", "STATE", "Place", "Record", "Segmented", "Writer", "choose"]


def choose(formats: str | Sequence[str]) -> tuple[str, ...]:
    """Format names from "png,csv" or a list, each once, in the table's order. UsageFault names the known ones."""
    asked = formats.split(",") if isinstance(formats, str) else list(formats)
    asked = [name.strip().casefold() for name in asked if name.strip()]
    unknown = [name for name in asked if name not in FORMATS]
    if unknown or not asked:
        raise UsageFault(
            f"--format of {', '.join(FORMATS)}", repr(unknown[0]) if unknown else "none", "choose from these"
        )
    return tuple(name for name in FORMATS if name in asked)
