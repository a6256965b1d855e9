"""decoupe: segment images without pixel labels.

`decoupe.fit(room, images=..., run=...)` trains, `decoupe.load(run)` loads a run whose `.segment(image)` gives
`Regions`, `decoupe.segment(run, source, out, ...)` writes masks of a whole folder, `decoupe.embed(run, source, out)`
what the run learned about each image, `ROOMS` lists the methods. Each is imported when it is first used:
`import decoupe` alone loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decoupe.embed import embed
    from decoupe.estimator import Segmenter
    from decoupe.fit import fit
    from decoupe.methods import ROOMS
    from decoupe.model import Model, load
    from decoupe.segment import segment
    from decoupe.types import Instance, Regions

__version__ = "0.1.0"
__all__ = ["ROOMS", "Instance", "Model", "Regions", "Segmenter", "__version__", "embed", "fit", "load", "segment"]

_HOMES = {
    "ROOMS": "decoupe.methods",
    "Instance": "decoupe.types",
    "Model": "decoupe.model",
    "Regions": "decoupe.types",
    "Segmenter": "decoupe.estimator",
    "embed": "decoupe.embed",
    "fit": "decoupe.fit",
    "load": "decoupe.model",
    "segment": "decoupe.segment",
}
"""Public name -> the module that defines it."""


class _Package(ModuleType):
    """Keeps `decoupe.embed`, `.fit` and `.segment` the functions although modules of these names exist."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'decoupe' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Package
