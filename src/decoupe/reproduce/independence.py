"""Tables of "Learning Segmentation Masks with the Independence Prior" (Dai et al., 2018): its two applications.

The text has one figure, the mIOU of distilled masks on birds; of the second application it shows pictures only, so
its table compares the ways to material for composites, which the text does not.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from decoupe.reproduce.claims import below
from decoupe.reproduce.table import Claim, Row, Rows, Table, Variant

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

TEXT = "Learning Segmentation Masks with the Independence Prior"
IMAGES = {"cpu": 12, "paper": 1_000}
"""Images of the second table, each fitted alone: the first of the set with `LEAST` things or more."""
LEAST = 20
COLUMNS = ("f1_median", "ap50_median", "count_error_median")


def _foreground(**options: Any) -> tuple[Variant, ...]:
    return (Variant("independence", {"cpu": None, "paper": "paper-birds"}, {"batch": 32, **options}),)


def _cluster(paper: str, **options: Any) -> tuple[Variant, ...]:
    return (Variant("independence", {"cpu": None, "paper": paper}, {"task": "cluster", "batch": 16, **options}),)


def _each_alone(context: Context, baseline: bool = False) -> Rows:
    from decoupe.reproduce.independence_rows import each_alone

    return each_alone(context, baseline)


FOREGROUND = Table(
    "independence-foreground",
    "masks of single objects: adversarial training, then data distillation",
    f"{TEXT}, Figures 6 and 7",
    (
        Row("Distilled", "distilled", {"iou": 0.78}, _foreground(), 3, "mIOU on Caltech birds, box crops at 128 px"),
        Row("Raw", "raw", {}, _foreground(distill=False), 3, "noisy, in pictures"),
        Row("Not snapped", "not snapped", {}, _foreground(snap=False), 3, "the text's distillation"),
        Row("One round", "one round", {}, _foreground(rounds=1), 3, "the text's distillation, on snapped targets"),
    ),
    (
        Claim("data distillation improves the raw result", below("Raw", "Distilled")),
        Claim("several rounds improve on one", below("One round", "Distilled")),
    ),
    length="not given",
)

CLUSTER = Table(
    "independence-cluster",
    "things in ONE image, found and counted: each image alone, no labels",
    "not in the text",
    (
        Row("Cut out", "cut out", {}, _cluster("cpu"), 1, "", _each_alone),
        Row("One pass", "one pass", {}, _cluster("cpu", passes=1), 1, "", _each_alone),
        Row("Generator", "generator", {}, _cluster("seeds", source="provider"), 1,
            "the text's way to single things", _each_alone),
        Row("Otsu, necks", "otsu", {}, (), 1, "baseline", partial(_each_alone, baseline=True)),
    ),
    (Claim("composites beat Otsu's threshold split at necks", below("Otsu, necks", "Cut out", "f1_median")),),
    columns=COLUMNS,
)  # fmt: skip

TABLES = (FOREGROUND, CLUSTER)
"""The tables of this text."""
