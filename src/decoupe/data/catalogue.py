"""Data sets by name: `open_dataset("flowers17:/data/flowers17")`."""

from __future__ import annotations

from pathlib import Path

from decoupe.data.layouts import (
    ade20k,
    aerial,
    annotated,
    coco,
    flowers,
    folders,
    lsun,
    msrc,
    nuclei,
    objects,
    scenes,
    voc2012,
)
from decoupe.data.layouts.base import Dataset, Layout, Missing, Sample
from decoupe.errors import Fault, UsageFault

__all__ = ["LAYOUTS", "Dataset", "Layout", "Sample", "open_dataset"]

LAYOUTS: dict[str, Layout] = {
    **flowers.LAYOUTS,
    **objects.LAYOUTS,
    **aerial.LAYOUTS,
    **scenes.LAYOUTS,
    **nuclei.LAYOUTS,
    **voc2012.LAYOUTS,
    **msrc.LAYOUTS,
    **coco.LAYOUTS,
    **lsun.LAYOUTS,
    **ade20k.LAYOUTS,
    **folders.LAYOUTS,
    **annotated.LAYOUTS,
}
"""All layouts by name."""


def open_dataset(spec: str) -> Dataset:
    """Open a data set given as NAME:PATH.

    Raises:
        UsageFault: NAME is unknown.
        Fault: PATH is not laid out as NAME; the message shows the expected tree and what is missing.
    """
    name, colon, place = str(spec).partition(":")
    if not colon or name not in LAYOUTS:
        raise UsageFault(f"NAME:PATH with NAME one of {', '.join(LAYOUTS)}", repr(spec), "e.g. masks:labelled/")
    layout, root = LAYOUTS[name], Path(place)
    if not place or not root.is_dir():
        raise Fault(f"a folder with {layout.tree}", f"{place!r}, which is no folder", "check the path")
    try:
        return layout.open(root)
    except Missing as error:
        raise Fault(
            f"{name} as {layout.tree}", f"{root}: {error}", "complete the folder or choose another layout"
        ) from None
