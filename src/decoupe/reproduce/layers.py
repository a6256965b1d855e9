"""The tables of "Object Discovery via Layer Disposal" (Oktay, MIT, 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from decoupe.reproduce.claims import below
from decoupe.reproduce.table import Claim, Row, Rows, Table, Variant

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

TEXT = "Object Discovery via Layer Disposal"
PRESETS = {"cpu": "study", "paper": "paper"}
LENGTH = "two epochs over 3,033,042 bedrooms and 2,212,277 kitchens"
COLUMNS = (
    "mean", "bed", "window", "appliance", "counter", "wardrobe", "rug", "picture", "lamp", "plant", "floor", "ceiling",
)  # fmt: skip
FRACTIONS = (0.1, 0.2, 0.5, 1.0)
"""Shares of the labelled half of Figure 4-3."""


def _variant(**options: Any) -> tuple[Variant, ...]:
    return (Variant("layer_disposal", PRESETS, options),)


ORIGINAL, ALWAYS, IDENTICAL = _variant(), _variant(keep_prob=1.0), _variant(initial="identical")
REBUILT = _variant(photo_weight=10.0)


def _measure(context: Context, kind: str, labels: bool, **given: Any) -> Rows:
    from decoupe.reproduce import layers_rows

    score = getattr(layers_rows, kind)
    return layers_rows.measured(context, score(**given) if given else score, labels)


def _figures(bed: float, window: float, appliance: float | None, counter: float | None) -> Mapping[str, float | str]:
    four = {"bed": bed, "window": window, "appliance": appliance, "counter": counter}
    return {name: value for name, value in four.items() if value is not None}


def _row(
    name: str, short: str, text: Mapping[str, float | str], kind: str, labels: bool = False,
    variants: tuple[Variant, ...] = ORIGINAL, note: str = "", **given: Any,
) -> Row:  # fmt: skip
    return Row(name, short, text, variants, 3, note, partial(_measure, kind=kind, labels=labels, **given))


def _rows_4_1(disposal: tuple[Variant, ...], always: tuple[Variant, ...]) -> tuple[Row, ...]:
    """The rows of Table 4.1, with runs of `disposal` and, in its second row, of `always`."""
    one = partial(_row, variants=disposal)
    return (
        one("Disposal", "disposal", _figures(0.50, 0.30, 0.13, 0.10), "disposal"),
        one("Random", "random", _figures(0.31, 0.13, 0.10, 0.07), "chance"),
        _row("Autoencoder", "no disposal", _figures(0.37, 0.20, None, 0.11), "disposal", variants=always,
             note="appliances below .10"),
        one("Kmeans 1x1", "k-means 1x1", _figures(0.34, 0.17, 0.15, 0.08), "centres", p=1),
        one("Kmeans 7x7", "k-means 7x7", _figures(0.34, 0.15, 0.14, 0.07), "centres", p=7),
        one("Average Mask", "average mask", _figures(0.52, 0.19, 0.12, 0.10), "prior", True),
        one("Random Init", "random init", _figures(0.58, 0.32, 0.17, 0.11), "tuned", True, fresh=True),
        one("Disposal + Prior", "with prior", _figures(0.59, 0.33, 0.13, 0.11), "with_prior", True),
        one("Disposal + Finetune", "fine-tuned", _figures(0.69, 0.50, 0.19, 0.15), "tuned", True, fresh=False),
    )  # fmt: skip


CLAIMS_4_1 = (
    Claim("disposal beats no disposal", below("Autoencoder", "Disposal", "mean")),
    Claim("disposal beats a random guess", below("Random", "Disposal", "mean")),
    Claim("disposal beats k-means of pixels", below("Kmeans 1x1", "Disposal", "mean")),
    Claim("disposal beats k-means of 7x7 patches", below("Kmeans 7x7", "Disposal", "mean")),
    Claim("the average mask as a prior helps", below("Disposal", "Disposal + Prior", "mean")),
    Claim("fine-tuning beats random initialisation", below("Random Init", "Disposal + Finetune", "mean")),
)
TABLE_4_1 = Table(
    "layers-table-4.1",
    "average precision of layers as masks of objects, without and with labels",
    f"{TEXT}, Table 4.1",
    _rows_4_1(ORIGINAL, ALWAYS),
    CLAIMS_4_1,
    columns=COLUMNS,
    length=LENGTH,
)
DISPOSAL, AUTOENCODER, RANDOM_INIT, FINETUNE = (
    next(row for row in TABLE_4_1.rows if row.name == name)
    for name in ("Disposal", "Autoencoder", "Random Init", "Disposal + Finetune")
)

IDENTICAL_INIT = Table(
    "layers-identical-init",
    "all decoders from one draw of initial weights",
    f"{TEXT}, section 4.2",
    (
        DISPOSAL,
        _row("Identical Init", "identical", _figures(0.37, 0.14, None, None), "disposal", variants=IDENTICAL),
    ),
    (Claim("identical initialisation is worse", below("Identical Init", "Disposal", "mean")),),
    columns=COLUMNS,
    length=LENGTH,
)

THROUGH = Variant("layer_disposal", dict.fromkeys(PRESETS, "projected"), network_option="features")
PROJECTED = Table(
    "layers-projected",
    "Table 4.1 with a discriminator that looks through a frozen network (--weights), layers moved, photos rebuilt",
    f"{TEXT}, Table 4.1; not in the text: the network, moved layers, photos rebuilt",
    _rows_4_1((THROUGH,), (replace(THROUGH, options={"keep_prob": 1.0}),)),
    CLAIMS_4_1,
    columns=COLUMNS,
    length=LENGTH,
)

NO_DISPOSAL = Table(
    "layers-no-disposal",
    "layers that are always kept: the text's autoencoder",
    f"{TEXT}, Table 4.1 and Figure 5-2",
    (DISPOSAL, AUTOENCODER),
    (Claim("disposal beats no disposal", below("Autoencoder", "Disposal", "mean")),),
    columns=COLUMNS,
    length=LENGTH,
)


def _at(share: float) -> tuple[Row, ...]:
    words = f"{share:.0%}"
    whole = share == 1
    return (
        _row(f"Random Init, {words}", f"random {words}", RANDOM_INIT.text if whole else {}, "tuned", True,
             fresh=True, share=share),
        _row(f"Finetune, {words}", f"tuned {words}", FINETUNE.text if whole else {}, "tuned", True,
             fresh=False, share=share),
        _row(f"Photos Rebuilt + Finetune, {words}", f"rebuilt {words}", {}, "tuned", True, REBUILT,
             "beyond the text: --photo-weight", fresh=False, share=share),
    )  # fmt: skip


LABEL_FRACTIONS = Table(
    "layers-label-fractions",
    "fine-tuning against random initialisation with fewer and fewer labelled images",
    f"{TEXT}, Figure 4-3 (curves; its ends are in Table 4.1)",
    tuple(row for share in FRACTIONS for row in _at(share)),
    tuple(
        Claim(f"with {share:.0%} of the labels, {words} beats random initialisation",
              below(f"Random Init, {share:.0%}", f"{row}, {share:.0%}", "mean"))
        for words, row in (("fine-tuning", "Finetune"), ("after rebuilding photos, it", "Photos Rebuilt + Finetune"))
        for share in FRACTIONS
    ),
    columns=COLUMNS,
    length=LENGTH,
)  # fmt: skip


def _beyond(name: str, short: str, note: str, **options: Any) -> Row:
    return _row(name, short, {}, "disposal", variants=_variant(**options), note=note)


BEYOND = Table(
    "layers-beyond",
    "what the text leaves for later, each by itself",
    f"{TEXT}, chapter 6; not in the text",
    (
        DISPOSAL,
        _beyond("Photos rebuilt", "photos", "half of the codes are of photos", photo_weight=10.0),
        _beyond("Learned keep_prob", "learned p", "their mean stays .4", learn_keep=True),
        _beyond("Unique layers", "unique", "a penalty on masks that lie on one another", unique_weight=1.0),
        _beyond("Unique layers, K = 10", "unique 10", "twice the layers", unique_weight=1.0, k=10),
        _beyond("K = 10", "ten", "twice the layers", k=10),
        _beyond("Modern game", "modern", "hinge, R1, differentiable augmentation", adversarial="hinge", r1=1.0,
                augment=True),
        _beyond("Group norm", "group norm", "no image depends on its batch", norm="group"),
    ),
    tuple(
        Claim(f"{words} helps", below("Disposal", name, "mean"))
        for name, words in (
            ("Photos rebuilt", "rebuilding photos"), ("Learned keep_prob", "a learned keep_prob"),
            ("Unique layers", "the penalty for uniqueness"), ("Modern game", "a modern game"),
            ("Group norm", "group norm"),
        )
    ),
    columns=COLUMNS,
    length=LENGTH,
)  # fmt: skip

TABLES = (BEYOND, TABLE_4_1, IDENTICAL_INIT, LABEL_FRACTIONS, NO_DISPOSAL, PROJECTED)
