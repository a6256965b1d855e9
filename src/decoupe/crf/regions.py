"""The dense CRF as a last step of any method: regions of a photo in, sharper regions out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from decoupe.crf.inference import dense_crf
from decoupe.crf.settings import Settings, choose
from decoupe.engine.files import parse_json
from decoupe.errors import Fault
from decoupe.methods.config import read_config
from decoupe.types import Image, Regions


def asked(crf: str | Settings | None) -> Settings | None:
    """Settings of a preset's name, or of a file of `decoupe crf fit` (*.json); None for None and "none".

    UsageFault on an unknown name, Fault on another file.
    """
    if isinstance(crf, str) and crf.endswith(".json"):
        return read_settings(Path(crf))
    return None if crf is None or crf == "none" else choose(crf)


def read_settings(path: Path) -> Settings:
    """The settings that `decoupe crf fit` wrote. Fault if the file holds none, or none that a CRF can have."""
    try:
        content = parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise Fault(f"a file of decoupe crf fit at {path}", error.strerror or str(error), "check the path") from error
    return read_config(Settings, content.get("settings"), str(path))  # type: ignore[arg-type]


def sharpen(regions: Regions, image: Image, crf: str | Settings | None, device: str | torch.device = "cpu") -> Regions:
    """`regions` with their probabilities passed through the CRF over `image`, (H, W, C) uint8 of the same frame.

    crf: preset, settings, or None / "none" (nothing is done). Layers and instances belong to the regions before: left
    out. Fault if frames differ. Any number of bands; widths are per band, so five bands tell more apart than three.
    """
    settings = asked(crf)
    if settings is None:
        return regions
    photo, probs = torch.from_numpy(np.array(image)), torch.from_numpy(np.array(regions.probs, np.float32)).to(device)
    sharp = dense_crf(probs, photo, settings, None)
    return replace(regions, probs=sharp.cpu().numpy(), layers=None, instances=())
