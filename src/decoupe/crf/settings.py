"""Parameters of the dense CRF and the sets of them that published systems use."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from decoupe.errors import Fault, UsageFault


@dataclass(frozen=True)
class Settings:
    """Energy and inference of one dense CRF; a kernel whose weight is 0 is left out altogether."""

    appearance: float = 10.0
    """Weight of the appearance (bilateral) kernel; 0 switches it off."""
    appearance_sxy: float = 80.0
    """Its width in pixels."""
    srgb: float = 13.0
    """Its width in image values; bytes run from 0 to 255."""
    smoothness: float = 3.0
    """Weight of the smoothness (Gaussian) kernel; 0 switches it off."""
    smoothness_sxy: float = 3.0
    """Its width in pixels."""
    iterations: int = 10
    """Mean-field updates; 0 returns the unary's own distribution."""
    gt_prob: float | None = None
    """None: the unary is -log p. Otherwise only the most probable label of a pixel counts, and has this probability."""
    floor: float = 1e-5
    """Probabilities below count as this one, so that -log p stays finite."""

    def __post_init__(self) -> None:
        for name in ("appearance", "smoothness"):
            _within(name, getattr(self, name), 0.0, 1e4, "0 (off) to 10,000")
        for name in ("appearance_sxy", "srgb", "smoothness_sxy"):
            _within(name, getattr(self, name), 1e-3, 1e6, "0.001 to 1,000,000")
        _within("floor", self.floor, 1e-30, 0.1, "1e-30 to 0.1")
        if self.gt_prob is not None:
            _within("gt_prob", self.gt_prob, 1e-6, 1 - 1e-6, "between 0 and 1")
        if not isinstance(self.iterations, int) or not 0 <= self.iterations <= 10_000:
            raise Fault("iterations of 0 to 10,000", repr(self.iterations), "10 are enough for every preset")

    def scaled(self, factor: float) -> Settings:
        """With widths in pixels `factor` times as large, for photos of another size."""
        far, near = self.appearance_sxy * factor, self.smoothness_sxy * factor
        return replace(self, appearance_sxy=far, smoothness_sxy=near)


def _within(name: str, value: float, low: float, high: float, words: str) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
        raise Fault(f"CRF {name} of {words}", repr(value), "correct the setting")


PRESETS = {
    "krahenbuhl": Settings(10, 80, 13, 3, 3),
    "sec-train": Settings(10, 80 / 12, 13, 3, 0.25),
    "sec-test": Settings(10, 80, 13, 3, 3),
    "cutler": Settings(10, 50, 5, 7, 3),
    "stego": Settings(4, 67, 3, 3, 1),
    "irn": Settings(10, 50, 5, 3, 3, gt_prob=0.7),
}
"""By name: the example of Kraehenbuehl and Koltun, SEC on 41 x 41 cells and on whole photos, CutLER, STEGO and IRN."""


def choose(preset: str | Settings, iterations: int | None = None) -> Settings:
    """Settings of a preset's name (or as given), with another number of iterations if one is given."""
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise UsageFault(f"a CRF preset: {', '.join(PRESETS)}", repr(preset)[:60], "choose one of these")
        preset = PRESETS[preset]
    return preset if iterations is None else replace(preset, iterations=iterations)
