"""One image as a source of training patches: crops at the scale at which its things are `THING` pixels across."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoupe.data.decode import MAX_PIXELS, read_image
from decoupe.data.pixels import resize
from decoupe.data.prepare import Prepared, items_of
from decoupe.engine.progress import Reporter
from decoupe.errors import Fault, UsageFault
from decoupe.methods.independence.cluster.proposals import Proposals, propose
from decoupe.methods.independence.cluster.sprites import THING
from decoupe.methods.room import DataSpec, TrainingData
from decoupe.types import Image

LOOK = (512, 1024, 2048)
"""Longest sides in pixels at which things are looked for, in turn, until they are large enough to judge."""
FINE = 9.0
"""Diameter in pixels from which on they are."""
COARSE = (256, 128)
"""Where only specks are found, longest sides at which noise has averaged out."""
ALIKE = 0.2
"""Sizes that differ by less than this (in log) are the same."""
_STRIDE = 8


class OneImage:
    """Crops of one photo on a grid: `source[i]` with an index array gives uint8 (B, C, S, S).

    `photo` is the whole at its own size, `thing` the diameter of a typical thing in its pixels.
    """

    def __init__(self, photo: Image, thing: float, size: int) -> None:
        self.photo, self.thing, self.size = photo, thing, size
        self.scaled = at_scale(photo, thing)
        height, width = self.scaled.shape[:2]
        more = ((0, max(0, size - height)), (0, max(0, size - width)), (0, 0))
        self._padded = np.pad(self.scaled, more, mode="edge")
        self._across = (self._padded.shape[1] - size) // _STRIDE + 1
        self._down = (self._padded.shape[0] - size) // _STRIDE + 1

    def __len__(self) -> int:
        return int(self._across * self._down)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        places = np.atleast_1d(np.arange(len(self))[index])
        crops = []
        for place in places:
            y, x = (int(v) * _STRIDE for v in divmod(int(place), self._across))
            crops.append(self._padded[y : y + self.size, x : x + self.size])
        return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))


def at_scale(photo: Image, thing: float, target: float = THING) -> Image:
    """(H, W, C) uint8 resized so that things of diameter `thing` are `target` pixels across."""
    height, width = (max(8, round(side * target / thing)) for side in photo.shape[:2])
    return photo if (height, width) == photo.shape[:2] else resize(photo, height, width)


def estimate(photo: Image) -> tuple[float, int, str]:
    """Diameter of a typical thing in pixels of `photo`, the number of proposals behind it, and the plane they show in.

    Specks below `FINE` pixels may be noise: things that both of two coarser views find, of one size, are believed more.
    What is truly that small is blurred there, and the larger, the coarser the view.

    Raises:
        Fault: nothing in it looks like many alike things.
    """
    longest = max(photo.shape[:2])
    for side in LOOK:
        best, shown = _proposed(photo, side)
        if best.diameter >= FINE or longest <= side:
            break
    if best.diameter < FINE and longest > COARSE[0]:
        (found, larger), (again, smaller) = (_proposed(photo, side) for side in COARSE)
        same = (
            found.diameter >= FINE and abs(np.log(max(again.diameter, 1) / smaller * larger / found.diameter)) < ALIKE
        )
        if same and min(found.cover, again.cover) > best.cover / 2:
            best, shown = found, larger
    if not len(best.quality):
        raise Fault(
            "an image of many alike things", "one in which no part stands out", "give --instance-px, or another image"
        )
    return best.diameter * longest / shown, len(best.quality), best.plane


def _proposed(photo: Image, side: int) -> tuple[Proposals, int]:
    """What can be told in `photo` at a longest side of at most `side`, and that side."""
    longest = max(photo.shape[:2])
    looked = photo if longest <= side else at_scale(photo, longest, side)
    return propose(looked), max(looked.shape[:2])


def single_image(settings: Mapping[str, Any], config: Any, reporter: Reporter) -> Prepared:
    """The training data of `--task cluster --images ONE`: its patches, after its things have been sized.

    Raises:
        UsageFault: more than one image, or boxes or backgrounds, which this task has no use for.
    """
    items = items_of(settings["images"])
    if len(items) != 1:
        raise UsageFault("--images ONE with --task cluster", f"{len(items):,} images", "name one image file")
    for name in ("boxes", "backgrounds"):
        if settings.get(name) is not None:
            raise UsageFault(f"no --{name} with --task cluster", str(settings[name]), "leave it out")
    photo = read_image(items[0].path, max_pixels=settings["max_pixels"] or MAX_PIXELS, frame=items[0].frame)
    if config.instance_px is None:
        thing, count, plane = estimate(photo)
        sentence = f"things are about {thing:.0f} px across (median of {count} that stand out in the plane {plane})"
    else:
        thing = float(config.instance_px)
        sentence = f"things are {thing:g} px across, as given"
    reporter.note(f"one image of {photo.shape[1]}x{photo.shape[0]} px; {sentence}; --instance-px sets another size")
    source = OneImage(photo, thing, config.size)
    fingerprint = hashlib.sha256(repr(photo.shape).encode() + photo.tobytes()).hexdigest()[:32]
    about = {
        "source": items[0].path.name, "n": len(source), "fingerprint": fingerprint, "skipped": 0, "survey": sentence,
        "instance_px": round(thing, 2), "instance_px_estimated": config.instance_px is None,
    }  # fmt: skip
    return Prepared(TrainingData(source, source, DataSpec(photo.shape[2], config.size)), about)
