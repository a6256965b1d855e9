"""The tables of "Exploring Weak-Supervision and Generative Models for Semantic Segmentation": image tags to masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoupe.reproduce.claims import below
from decoupe.reproduce.table import Claim, Row, Rows, Table, Variant

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

TEXT = "Exploring Weak-Supervision and Generative Models for Semantic Segmentation"
PRESETS = {"cpu": "cpu", "paper": "paper"}
CHAIN = (Variant("tags", PRESETS, {"rounds": 0}),)
BEYOND = (Variant("tags", PRESETS, {"rounds": 1}),)
LENGTH = "8,000 steps of 15 photos for SEC; the classifier's is not stated"


def _measure(context: Context) -> Rows:
    from decoupe.reproduce.weak_rows import measure

    return measure(context)


def _row(name: str, short: str, text: float | None, variants: tuple[Variant, ...] = CHAIN, note: str = "") -> Row:
    figures = {} if text is None else {"miou": text}
    return Row(name, short, figures, variants, note=note, measure=_measure)


CRF, SEC, BOTH = "Grad-CAM + CRF", "Grad-CAM + SEC", "Grad-CAM + SEC + CRF"
SELF = "Grad-CAM + SEC + self-training + CRF"

STAGES = Table(
    "weak-table-2",
    "what each stage adds: class maps, dense CRF, SEC, and a round of self-training that is not in the text",
    f"{TEXT}, Table 2",
    (
        _row("Grad-CAM", "maps", 0.269),
        _row(CRF, "maps crf", 0.312),
        _row(SEC, "sec", 0.448),
        _row(BOTH, "sec crf", 0.506),
        _row(SELF, "self crf", None, BEYOND, "not in the text: one round of self-training"),
    ),
    (
        Claim("the CRF improves the maps", below("Grad-CAM", CRF, "miou")),
        Claim("SEC improves on maps and CRF", below(CRF, SEC, "miou")),
        Claim("the CRF improves SEC", below(SEC, BOTH, "miou")),
    ),
    ("miou", "accuracy"),
    length=LENGTH,
)

SMOOTH, APPEAR = "Grad-CAM + CRF (only smoothness kernel)", "Grad-CAM + CRF (only appearance kernel)"
WHOLE = "Grad-CAM + CRF (smoothness and appearance kernel)"

KERNELS = Table(
    "weak-table-3",
    "which kernel of the CRF does the work",
    f"{TEXT}, Table 3",
    (
        _row("Grad-CAM", "maps", 0.269),
        _row(SMOOTH, "maps smooth", 0.269),
        _row(APPEAR, "maps appear", 0.307),
        _row(WHOLE, "maps crf", 0.312),
    ),
    (
        Claim("the appearance kernel is more important than the smoothness kernel", below(SMOOTH, APPEAR, "miou")),
        Claim("both kernels are better than the appearance kernel alone", below(APPEAR, WHOLE, "miou")),
    ),
    ("miou", "accuracy"),
    length=LENGTH,
)

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the grid, relative to the preset's 80 pixels and 13 grey values."""


def _point(place: float, colour: float) -> Row:
    short = f"grid {place:g} {colour:g}"
    return _row(f"theta_alpha {80 * place:g} px, theta_beta {13 * colour:g}", short, None)


GRID = Table(
    "weak-crf-grid",
    "mean IoU over the widths of the appearance kernel (the text's Figure 9): map and CRF, seen by it at 161 px",
    f"{TEXT}, Figure 9",
    tuple(_point(place, colour) for place in FACTORS for colour in FACTORS),
    columns=("miou", "accuracy"),
    length=LENGTH,
)

TABLES = (STAGES, KERNELS, GRID)
