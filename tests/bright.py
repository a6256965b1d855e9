"""A stand-in for a trained model: what is brighter than the middle grey is the object. No weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from decoupe.data.decode import conform, resize, resize_probs


class Bright:
    """Has what `segment` needs of a `decoupe.model.Model`."""

    def __init__(self, size: int = 32, names: tuple[str, ...] = ("background", "object"), weights: str = "w") -> None:
        self.spec = SimpleNamespace(size=size, channels=3)
        self.names = names
        self.colours = ()
        self.selection = "selected"
        self.room = SimpleNamespace(WHOLE=False)
        self.crf = None
        info: dict[str, Any] = {"room": "bright", "files": {"weights.safetensors": weights}}
        self.run = SimpleNamespace(info=info, merges=[])
        self.calls = 0

    def square(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (3, S, S)."""
        size = self.spec.size
        return np.ascontiguousarray(resize(conform(image, 3), size, size).transpose(2, 0, 1))

    def predict(self, squares: np.ndarray) -> np.ndarray:
        """(B, 3, S, S) uint8 -> (B, K, S, S): K equal steps of brightness."""
        self.calls += 1
        level = squares.astype(np.float32).mean(1) / 255
        centres = (np.arange(len(self.names), dtype=np.float32) + 0.5) / len(self.names)
        score = np.exp(-40 * (level[:, None] - centres[None, :, None, None]) ** 2)
        return np.asarray(score / score.sum(1, keepdims=True), np.float32)

    def segment_arrays(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As the model's: each in its image's frame."""
        return [resize_probs(self.predict(self.square(i)[None])[0], *i.shape[:2]) for i in images]
