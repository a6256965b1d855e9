"""`Segmenter`: a room behind the interface of scikit-learn, which is not needed for it."""

from __future__ import annotations

import inspect
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from decoupe.errors import Fault, UsageFault

if TYPE_CHECKING:
    from decoupe.model import Model
    from decoupe.types import Image

BATCH = 32


class NotFitted(Fault, ValueError, AttributeError):
    """`predict` before `fit`: what scikit-learn's own NotFittedError derives from."""


class UnknownSetting(UsageFault, ValueError):
    """A setting that a room does not have."""


class Segmenter:
    """`Segmenter("redraw", k=2).fit(images).predict(images)`.

    room: name of a method. config: its settings and those of `decoupe.fit` (`minutes`, `images_seen`, `seed`, `run`).
    Without `run` the run lies in a temporary folder that goes with the estimator. Images: a list of (H, W) or (H, W, C)
    uint8 arrays of any sizes, or one array (N, H, W) or (N, H, W, C).
    """

    def __init__(self, room: str = "redraw", **config: Any) -> None:
        self.room = room
        self._config = dict(config)

    # ------------------------------------------------------------------ scikit-learn's conventions

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The room and every setting that was given."""
        return {"room": self.room, **self._config}

    def set_params(self, **params: Any) -> Self:
        """Change settings; values are checked by `fit`. Fault on one that neither the room nor `fit` has."""
        from decoupe.methods import ROOMS

        room = params.pop("room", self.room)
        known = self._known(room) if room in ROOMS else {*params}
        for name in params:
            if name not in known:
                raise UnknownSetting(f"a setting of {room}", repr(name), f"see decoupe fit {room} --help")
        self.room = room
        self._config |= params
        return self

    @staticmethod
    def _known(room: str) -> set[str]:
        import dataclasses

        from decoupe.fit import fit
        from decoupe.methods import ROOMS

        if room not in ROOMS:
            raise UsageFault(f"a room ({', '.join(ROOMS)})", repr(room), "choose one of these")
        own = {one.name for one in dataclasses.fields(ROOMS[room].config())}
        return own | set(inspect.signature(fit).parameters) - {"room", "images", "options", "resume", "command"}

    def __getattr__(self, name: str) -> Any:
        config = self.__dict__.get("_config", {})
        if name in config:
            return config[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __repr__(self) -> str:
        given = [repr(self.room), *(f"{name}={value!r}" for name, value in self._config.items())]
        return f"Segmenter({', '.join(given)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may know: a transformer-like estimator of images, without targets, not deterministic."""
        from sklearn.utils import InputTags, Tags, TargetTags  # type: ignore[import-untyped, unused-ignore]

        inputs = InputTags(one_d_array=False, two_d_array=False, three_d_array=True, allow_nan=False)
        return Tags(
            estimator_type="clusterer", target_tags=TargetTags(required=False), input_tags=inputs, no_validation=True
        )

    # ------------------------------------------------------------------ the work

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the room on images; `y` is ignored: no labels are needed. Fault if the images cannot be used."""
        from decoupe.fit import fit

        images = images_of(X)
        config = dict(self._config)
        unknown = set(config) - self._known(self.room)
        if unknown:
            raise UsageFault(
                f"settings of {self.room}", repr(sorted(unknown)[0]), f"see decoupe fit {self.room} --help"
            )
        folder = config.pop("run", None)
        if folder is None:
            own = tempfile.mkdtemp(prefix="decoupe-")
            weakref.finalize(self, shutil.rmtree, own, ignore_errors=True)
            folder = Path(own) / "run"
        with tempfile.TemporaryDirectory(prefix="decoupe-images-") as name:
            for index, image in enumerate(images):
                np.save(Path(name) / f"{index:08d}.npy", image)
            self.model_: Model = fit(self.room, name, run=folder, **config)
        self.n_regions_, self.names_ = len(self.model_.names), self.model_.names
        return self

    def predict(self, X: Any) -> NDArray[np.int64] | list[NDArray[np.int64]]:
        """Regions of each pixel: (N, H, W) where all images have one size, else (H, W) of each. Fault before `fit`."""
        labels = [probs.argmax(0) for probs in self.predict_proba(X)]
        return np.stack(labels) if len({one.shape for one in labels}) == 1 else labels

    def predict_proba(self, X: Any) -> list[NDArray[np.float32]]:
        """(K, H, W) float32 of each image, summing to 1 over K. Fault before `fit`."""
        if not hasattr(self, "model_"):
            raise NotFitted("a fitted Segmenter", "one that has seen no images", "call fit first")
        images = images_of(X)
        found: list[NDArray[np.float32]] = []
        for first in range(0, len(images), BATCH):
            found += self.model_.segment_arrays(images[first : first + BATCH])
        return found

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64] | list[NDArray[np.int64]]:
        """`fit`, then `predict` of the same images."""
        return self.fit(X).predict(X)

    def score(self, X: Any, y: Sequence[Any]) -> float:
        """Mean IoU over classes against label maps `y` (255 void), regions matched to classes one to one."""
        from decoupe.evaluate.matching import apply, assign
        from decoupe.evaluate.metrics import Confusion, miou

        truths = [np.asarray(one, np.int64) for one in y]
        classes = int(max(t[t != 255].max(initial=0) for t in truths)) + 1
        confusion = Confusion(self.n_regions_, classes)
        for probs, truth in zip(self.predict_proba(X), truths, strict=True):
            confusion.add(probs.argmax(0), truth)
        names = tuple(f"class {index}" for index in range(classes))
        matched = apply(assign("hungarian", confusion.counts, self.names_, names), confusion.images)
        return float(miou(matched.sum(0)))


def images_of(X: Any) -> list[Image]:
    """(H, W, C) uint8 images of whatever `fit` takes. Fault on anything else."""
    if isinstance(X, str | bytes) or not hasattr(X, "__len__") or not hasattr(X, "__getitem__"):
        raise Fault("a list or array of images", f"{type(X).__name__}", "pass arrays of uint8")
    images = []
    for one in X:
        array = np.asarray(one)
        array = array[..., None] if array.ndim == 2 else array
        if array.dtype != np.uint8 or array.ndim != 3 or min(array.shape) < 1:
            raise Fault("(H, W) or (H, W, C) uint8 images", f"{array.dtype} {array.shape}", "convert them to uint8")
        images.append(array)
    if not images:
        raise Fault("at least one image", "none", "pass some")
    return images
