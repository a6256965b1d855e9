"""What is scored on which data set: the classes, which of them is the object, how regions are matched to them.

A protocol joins with one row of `PROTOCOLS`. `groups` names its classes and the classes of the data set that each one
gathers, so `"vegetation": ("tree", "grass")` merges two and `REST` gathers all that no other class names; what nobody
gathers is void. Without `groups` the classes are those of the data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from decoupe.errors import Fault, UsageFault
from decoupe.types import VOID, Labels

REST = "*"


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    groups: Mapping[str, tuple[str, ...]] | None = None
    """Class of the protocol -> classes of the data set; None = the data set's own."""
    object: str | None = None
    """The class whose IoU is `iou`; None = the second of two classes, and no such metric if there are more."""
    matching: str = "hungarian"
    """Default matching (see `matching.py`)."""
    crop: bool = False
    """Score each ground-truth box crop by itself instead of the whole image."""
    instances: bool = False
    """Score the things of the object's region one by one, too (see `instances.py`); samples have instances."""
    fitted: bool = False
    """Regions are matched to classes on other labelled images than those that are scored: `--fit-on` is required."""


_ONE_OBJECT: Mapping[str, tuple[str, ...]] = {"background": ("background",), "object": (REST,)}
_LAND: Mapping[str, tuple[str, ...]] = {"building": ("building",), "vegetation": ("vegetation",), "the rest": (REST,)}
_AERIAL: Mapping[str, tuple[str, ...]] = {
    "vegetation": ("grass", "tree"), "building": ("building",), "the rest": (REST,),
}  # fmt: skip
_POTSDAM_3: Mapping[str, tuple[str, ...]] = {
    "road and car": ("road", "car"),
    "building and clutter": ("building", "clutter"),
    "vegetation and tree": ("low vegetation", "tree"),
}

_ANIMALS: Mapping[str, tuple[str, ...]] = {
    "background": (REST,), **{name: (name,) for name in ("cat", "cow", "dog", "horse", "person", "sheep")},
}  # fmt: skip

PROTOCOLS: Mapping[str, Rule] = {
    "flowers17": Rule(_ONE_OBJECT),
    "flowers102": Rule(_ONE_OBJECT),
    "weizmann_horse": Rule(_ONE_OBJECT),
    "cub200": Rule(_ONE_OBJECT),
    "cub200-boxes": Rule(_ONE_OBJECT, crop=True),
    "lfw": Rule(_ONE_OBJECT),
    "dronedeploy": Rule(),
    "dronedeploy-6": Rule(),
    "dronedeploy-3": Rule(_LAND),
    "dronedeploy-3-majority": Rule(_LAND, matching="majority", fitted=True),
    "potsdam": Rule(crop=True),
    "potsdam-3": Rule(_POTSDAM_3, crop=True),
    "cocostuff": Rule(),
    "cocostuff-3": Rule({name: (name,) for name in ("sky", "ground", "plant")}),
    "cityscapes": Rule(),
    "aerial-3": Rule(_AERIAL, matching="majority", fitted=True),
    "dsb2018": Rule(_ONE_OBJECT, instances=True),
    "voc2012": Rule(matching="named"),
    "voc2012-animals": Rule(_ANIMALS, matching="named"),
    "msrc": Rule(matching="named"),
    "coco": Rule(matching="named"),
    "lsun": Rule(),
    "ade20k": Rule(),
    "ade20k-bedroom": Rule(),
    "ade20k-kitchen": Rule(),
    "masks": Rule(),
    "annotated": Rule(),
    "synth": Rule(),
}
"""Every protocol by name; a layout's default has the layout's name."""


@dataclass(frozen=True)
class Protocol:
    """A rule applied to the classes of one data set."""

    name: str
    classes: tuple[str, ...]
    """C class names."""
    object: int | None
    """Index of the class whose IoU is `iou`."""
    table: tuple[int, ...]
    """256 entries: class id of the data set -> class id of the protocol, `VOID`, or -1 for ids it does not have."""
    matching: str
    crop: bool = False
    instances: bool = False
    fitted: bool = False

    def translate(self, mask: Labels) -> Labels:
        """(H, W) ids of the data set, 255 void -> (H, W) ids of the protocol, 255 void. Fault on an unknown id."""
        known = (mask >= 0) & (mask <= VOID)
        found = np.asarray(self.table, dtype=np.int64)[np.where(known, mask, 0)]
        if not known.all() or (found < 0).any():
            wrong = mask[~known | (found < 0)].flat[0]
            count = sum(entry >= 0 for entry in self.table) - 1
            raise Fault(f"masks of the {count} classes 0 to {count - 1}, 255 for void", f"{wrong}", "repair that mask")
        return found


def protocol_of(name: str, classes: tuple[str, ...]) -> Protocol:
    """The protocol called `name` for a data set with these classes. UsageFault if there is none or it does not fit."""
    if name not in PROTOCOLS:
        raise UsageFault(f"--protocol to be one of {', '.join(PROTOCOLS)}", repr(name), "choose one of these")
    rule = PROTOCOLS[name]
    groups = rule.groups if rule.groups is not None else {c: (c,) for c in classes}
    named = {source for sources in groups.values() for source in sources if source != REST}
    missing = sorted(named - set(classes))
    if missing:
        raise UsageFault(
            f"a data set with the classes that {name} needs ({', '.join(sorted(named))})",
            f"one without {', '.join(missing)}",
            "choose another --protocol",
        )
    table = [VOID if i in (*range(len(classes)), VOID) else -1 for i in range(256)]
    for index, sources in enumerate(groups.values()):
        for source in [c for c in classes if c not in named] if REST in sources else sources:
            table[classes.index(source)] = index
    names = tuple(groups)
    object_ = names.index(rule.object) if rule.object is not None else (1 if len(names) == 2 else None)
    return Protocol(name, names, object_, tuple(table), rule.matching, rule.crop, rule.instances, rule.fitted)
