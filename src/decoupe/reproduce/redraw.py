"""The tables of "Unsupervised Object Segmentation by Redrawing: reproducibility challenge" (Moiseev et al., EPFL)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from decoupe.reproduce.claims import as_good, below, collapses, less_often, never_collapses, sometimes_collapses
from decoupe.reproduce.table import Claim, Row, Rows, Table, Variant

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

TEXT = "Unsupervised Object Segmentation by Redrawing: reproducibility challenge"
PRESETS = {"cpu": "study", "paper": "paper-flowers"}
ORIGINAL = {"accuracy": 0.860, "iou": 0.734}
OFF_AFTER = 5_000
"""Steps after which the text's hybrid schedule switches the regulariser off."""
LENGTH = f"20,000 to 40,000 steps, the hybrid's penalty off after {OFF_AFTER:,}"
"""The method's published length; the text itself says only that most runs took some ten hours."""


def _redraw(**options: Any) -> tuple[Variant, ...]:
    return (Variant("redraw", PRESETS, options),)


def _off_point(scale: str, config: Any, images: int) -> Mapping[str, Any]:
    """The text's 5000 steps, but never more than a quarter of a run: shorter ones keep its proportions."""
    text = OFF_AFTER * int(config.batch) if scale == "paper" else images
    return {"regulariser_images": min(text, images // 4)}


BASELINE = _redraw()
HYBRID = (Variant("redraw", PRESETS, {"regulariser": "concrete", "regulariser_weight": 30.0}, _off_point),)


def _alone(regulariser: str) -> tuple[Variant, ...]:
    return _redraw(regulariser=regulariser, regulariser_weight=100.0, information="none")


ATTENTION = Table(
    "redraw-attention",
    "self-attention off in the generators, in the discriminator, in both",
    f"{TEXT}, Table I",
    (
        Row("Original Model", "original", ORIGINAL, BASELINE),
        Row(
            "Off Generator Attention",
            "off G",
            {"accuracy": "collapsed", "iou": "collapsed"},
            _redraw(attention_generator=False),
        ),
        Row(
            "Off Discriminator Attention",
            "off D",
            {"accuracy": 0.836, "iou": 0.700},
            _redraw(attention_discriminator=False),
        ),
        Row(
            "Off G and D Attention",
            "off G and D",
            {"accuracy": 0.824, "iou": 0.683},
            _redraw(attention_generator=False, attention_discriminator=False),
        ),
    ),
    (
        Claim("without attention in G alone, training collapses", collapses("Off Generator Attention")),
        Claim("without attention in D, the IoU is lower", below("Off Discriminator Attention", "Original Model")),
        Claim("without attention in G and D, training does not collapse", never_collapses("Off G and D Attention")),
        Claim(
            "without attention in both, the IoU is lower than without it in D",
            below("Off G and D Attention", "Off Discriminator Attention"),
        ),
    ),
    length=LENGTH,
)

CONSTRAINT = Table(
    "redraw-constraint",
    "no information term; all regions redrawn at once",
    f"{TEXT}, section III.B and Table II",
    (
        Row("Original Model", "original", ORIGINAL, BASELINE),
        Row(
            "No Conservation of Region Information",
            "no info term",
            {"accuracy": "collapsed", "iou": "collapsed", "collapse_rate": 1.0},
            _redraw(information="none"),
            seeds=3,
            note="collapsed with all three seeds",
        ),
        Row("Full Image Generation", "all redrawn", {"accuracy": 0.804, "iou": 0.647}, _redraw(step="all")),
    ),
    (
        Claim(
            "without the information term, every run collapses",
            collapses("No Conservation of Region Information"),
        ),
        Claim("redrawing all regions gives a lower IoU", below("Full Image Generation", "Original Model")),
        Claim("redrawing all regions does not collapse", never_collapses("Full Image Generation")),
    ),
    columns=("iou", "accuracy", "collapse_rate"),
    length=LENGTH,
)

REGULARISERS = Table(
    "redraw-regularisers",
    "penalties on the area of masks instead of the information term, and the hybrid of both",
    f"{TEXT}, Figure 2",
    (
        Row("Original Model", "original", ORIGINAL, BASELINE),
        Row("MSE", "MSE", {"collapse_rate": 0.0}, _alone("mse"), note="no collapse; well below the original"),
        Row(
            "Rectified MSE",
            "rectified MSE",
            {"collapse_rate": 0.0},
            _alone("rectified"),
            note="no empty masks, but very poor, and it drops after a good start",
        ),
        Row(
            "Concrete PDF",
            "Concrete",
            {"collapse_rate": 0.0},
            _alone("concrete"),
            note="no collapse; well below the original",
        ),
        Row("Hybrid", "hybrid", {"collapse_rate": 0.0}, HYBRID, note="the same performance as the original"),
    ),
    (
        Claim("MSE, rectified MSE and Concrete alone prevent collapse",
              never_collapses("MSE", "Rectified MSE", "Concrete PDF")),
        Claim("MSE alone stays below the original", below("MSE", "Original Model")),
        Claim("Concrete alone stays below the original", below("Concrete PDF", "Original Model")),
        Claim("rectified MSE is worse than MSE", below("Rectified MSE", "MSE")),
        Claim("rectified MSE is worse than Concrete", below("Rectified MSE", "Concrete PDF")),
        Claim("the hybrid is as good as the original (to .02)", as_good("Hybrid", "Original Model")),
    ),
    columns=("iou", "accuracy", "collapse_rate"),
    length=LENGTH,
)  # fmt: skip

ROBUSTNESS = Table(
    "redraw-robustness",
    "how often training collapses over seeds, with and without the regulariser's help at the start",
    f"{TEXT}, section IV.C",
    (
        Row(
            "Original Model",
            "original",
            {"collapse_rate": 0.35, "accuracy": 0.860, "iou": 0.734},
            BASELINE,
            seeds=10,
            note="collapses early in about 35 % of runs",
        ),
        Row("Hybrid", "hybrid", {"collapse_rate": 0.0}, HYBRID, seeds=10, note="has never failed"),
    ),
    (
        Claim("the original collapses with some seeds", sometimes_collapses("Original Model", 0.35)),
        Claim("the hybrid never collapses", never_collapses("Hybrid")),
        Claim("the hybrid collapses less often than the original", less_often("Hybrid", "Original Model")),
        Claim("the hybrid is as good as the original (to .02)", as_good("Hybrid", "Original Model")),
    ),
    columns=("collapse_rate", "iou", "accuracy"),
    length=LENGTH,
)


def _by_neighbours(context: Context) -> Rows:
    from decoupe.reproduce.neighbours import measure

    return measure(context)


EMBEDDINGS = Table(
    "redraw-embeddings",
    "species of flowers by the nearest of 200 labelled images, in several spaces",
    f"{TEXT}, Table III (102 species; figures over 17 are higher)",
    (
        Row("Random prediction", "random", {"accuracy": 0.0098}, measure=_by_neighbours),
        Row("Constant prediction", "constant", {"accuracy": 0.0315}, measure=_by_neighbours),
        Row("KNN on raw images", "raw", {"accuracy": 0.068, "deviation": 0.006}, BASELINE, measure=_by_neighbours),
        Row(
            "KNN on raw downscaled images",
            "downscaled",
            {"accuracy": 0.107, "deviation": 0.005},
            BASELINE,
            measure=_by_neighbours,
        ),
        Row(
            "KNN on embeddings from Segmentator",
            "mask network",
            {"accuracy": 0.064, "deviation": 0.004},
            BASELINE,
            seeds=3,
            measure=_by_neighbours,
        ),
        Row(
            "KNN on embeddings from Discriminator",
            "discriminator",
            {"accuracy": 0.229, "deviation": 0.008},
            BASELINE,
            seeds=3,
            measure=_by_neighbours,
        ),
    ),
    (
        Claim(
            "the discriminator's embeddings beat raw pixels",
            below("KNN on raw images", "KNN on embeddings from Discriminator", "accuracy"),
        ),
        Claim(
            "the discriminator's embeddings beat downscaled pixels",
            below("KNN on raw downscaled images", "KNN on embeddings from Discriminator", "accuracy"),
        ),
        Claim(
            "the mask network's embeddings are no better than raw pixels",
            as_good("KNN on raw images", "KNN on embeddings from Segmentator", "accuracy", 0.0),
        ),
    ),
    columns=("accuracy", "deviation"),
    length=LENGTH,
    labelled=200,
)

BEYOND = Table(
    "redraw-beyond",
    "augmentation, a moving average, a reader that shares the discriminator's features, a stopping rule, three regions",
    "not in the text",
    (
        Row("Original Model", "original", ORIGINAL, BASELINE),
        Row("Augmented", "augmented", {}, _redraw(augment=True)),
        Row("Moving average", "average", {}, _redraw(average=0.999)),
        Row("Shared reader", "shared reader", {}, _redraw(information="shared"), seeds=3),
        Row("Stopping rule", "stopped", {}, _redraw(patience=3)),
        Row(
            "Three regions",
            "K = 3",
            {},
            _redraw(k=3),
            note="the protocol has two classes: two regions stand for them, the pixels of the third count as wrong",
        ),
    ),
    (
        Claim("a reader that shares the discriminator's features does not collapse", never_collapses("Shared reader")),
        Claim("it is as good as one of its own (to .02)", as_good("Shared reader", "Original Model")),
        Claim("the stopping rule is as good as the full run (to .02)", as_good("Stopping rule", "Original Model")),
    ),
    columns=("iou", "accuracy", "collapse_rate"),
    length=LENGTH,
)

TABLES = (ATTENTION, CONSTRAINT, REGULARISERS, ROBUSTNESS, EMBEDDINGS, BEYOND)
