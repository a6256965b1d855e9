"""The tables of "Exploring Weak-Supervision and Generative Models for Semantic Segmentation": image tags to masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoupe.reproduce.claims import below
from decoupe.reproduce.table import Claim, Row, Rows, Table, Variant

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

TEXT = "Exploring Weak-Supervision and Generative Models for Semantic Segmentation"
PRESETS = {"cpu": "cpu", "paper": "paper"}
CHAIN = (Variant("tags", PRESETS, {"rounds": 2}),)
"""All rows look at one run: the rounds of self-training come after what the text has, and change nothing of it."""
LENGTH = "8,000 steps of 15 photos for SEC; the classifier's is not stated"


def _measure(context: Context) -> Rows:
    from decoupe.reproduce.weak_rows import measure

    return measure(context)


def _row(name: str, short: str, text: float | None, note: str = "") -> Row:
    figures = {} if text is None else {"miou": text}
    return Row(name, short, figures, CHAIN, note=note, measure=_measure)


CRF, SEC, BOTH = "Grad-CAM + CRF", "Grad-CAM + SEC", "Grad-CAM + SEC + CRF"
TAUGHT = "Grad-CAM + SEC + self-training"
SELF = f"{TAUGHT} + CRF"

STAGES = Table(
    "weak-table-2",
    "what each stage adds: class maps, dense CRF, SEC, and two rounds of self-training that are not in the text",
    f"{TEXT}, Table 2",
    (
        _row("Grad-CAM", "maps", 0.269),
        _row(CRF, "maps crf", 0.312),
        _row(SEC, "sec", 0.448),
        _row(BOTH, "sec crf", 0.506),
        _row(TAUGHT, "self", None, "not in the text: two rounds of self-training"),
        _row(SELF, "self crf", None, "a milder CRF, the preset stego, chosen on a third of the training masks"),
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


def _name(place: float, colour: float) -> str:
    return f"theta_alpha {80 * place:g} px, theta_beta {13 * colour:g}"


def _point(place: float, colour: float) -> Row:
    middle = place == colour == 1.0
    note = "the text's best; it does not say at which widths" if middle else ""
    return _row(_name(place, colour), f"grid {place:g} {colour:g}", 0.312 if middle else None, note=note)


GRID = Table(
    "weak-crf-grid",
    "mean IoU of maps and CRF over the widths of the appearance kernel; photos seen by it at 161 px",
    f"{TEXT}, Figure 9",
    tuple(_point(place, colour) for place in FACTORS for colour in FACTORS),
    (
        Claim("narrow kernels are worse than those in the middle", below(_name(0.25, 0.25), _name(1, 1), "miou")),
        Claim("wide kernels are worse than those in the middle", below(_name(4, 4), _name(1, 1), "miou")),
    ),
    ("miou", "accuracy"),
    length=LENGTH,
)

TABLES = (STAGES, KERNELS, GRID)
