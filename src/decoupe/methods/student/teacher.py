"""The run that a student learns from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from decoupe.data.pixels import conform, resize
from decoupe.engine.files import dump_json
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault

if TYPE_CHECKING:
    from decoupe.model import Model

READ = ("room", "config", "spec", "precision")
"""What of run.json, beside weights and merges, decides about a run's regions."""


class Teacher:
    """A finished run, opened once. `regions` gives what it finds, merged as its names say."""

    def __init__(self, model: Model) -> None:
        self._model = model
        info = model.run.info
        parts: dict[str, Any] = {key: info.get(key) for key in READ}
        parts |= {"weights": info["files"]["weights.safetensors"], "merge": model.run.merges}
        self.digest = hashlib.sha256(dump_json(parts)).hexdigest()
        self.names = model.names

    @classmethod
    def open(cls, path: str, device: torch.device | str = "cpu") -> Self:
        """The run at `path`. Fault if there is none, or if it is unfinished, collapsed, or of a single region."""
        from decoupe.model import load

        run = Run.open(path)
        if run.info.get("status") == "collapsed":
            raise Fault(f"a run with masks at {path}", "one that collapsed", "choose another run to learn from")
        model = load(run, device=str(device))
        if len(model.names) < 2:
            raise Fault(
                f"two regions or more in {path}", "all merged into one", "undo a --merge, or choose another run"
            )
        return cls(model)

    def regions(self, images: Tensor) -> Tensor:
        """(B, C, S, S) in [-1, 1] -> (B, K, S, S) in their frame, found at the teacher's own size and bands."""
        spec, (height, width) = self._model.spec, images.shape[2:]
        squares = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        own = [resize(conform(square, spec.channels), spec.size, spec.size) for square in squares]
        found = self._model.predict(np.stack(own).transpose(0, 3, 1, 2))
        probs = torch.from_numpy(found).to(images.device)
        if probs.shape[2:] == (height, width):
            return probs
        smaller = spec.size > min(height, width)
        return torch.nn.functional.interpolate(probs, (height, width), mode="bilinear", antialias=smaller)
