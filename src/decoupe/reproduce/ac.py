"""The tables of "Autoregressive Unsupervised Image Segmentation" (Ouali, Hudelot and Tami).

The text's figures are accuracies on Potsdam with 6 (POS) and 3 classes (POS3). Ours are of three classes, on whatever
data is given with a protocol of three: POS3 stands beside them, POS is told in the notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from decoupe.errors import UsageFault
from decoupe.reproduce.claims import as_good, below
from decoupe.reproduce.table import Claim, Row, Rows, Table, Variant, fit_and_score

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

TEXT = "Autoregressive Unsupervised Image Segmentation"
K = 3
LENGTH = "not stated"
COLUMNS = ("accuracy", "miou")


def measured(context: Context) -> Rows:
    """Fit and score; UsageFault unless the protocol has as many classes as the runs have regions."""
    check_classes(context)
    return fit_and_score(context)


def check_classes(context: Context) -> None:
    """UsageFault unless the protocol has `K` classes."""
    found = context.task.protocol
    if len(found.classes) != K:
        raise UsageFault(
            f"a protocol of {K} classes", f"{found.name} with {len(found.classes)}",
            "add --protocol dronedeploy-3, potsdam-3 or cocostuff-3",
        )  # fmt: skip


def probed(kind: str) -> Callable[[Context], Rows]:
    """A `kind` probe on the features of the row's runs, trained on labels of the training part."""

    def measure(context: Context) -> Rows:
        from decoupe.evaluate.probes import probe
        from decoupe.reproduce.scores import over_seeds

        check_classes(context)
        runs = context.fit()
        alive = [run for run in runs if run.info["status"] == "done"]
        found = [probe(run, context.task.data, kind, context.task.protocol.name, context.task.split) for run in alive]
        return [over_seeds(context, runs, [row["metrics"] for row in found], f"{kind} probe", uses_labels=True)]

    return measure


def _ac(preset: str = "f2", **options: Any) -> tuple[Variant, ...]:
    """AC with K regions: small at cpu scale, at paper scale the preset of a variant."""
    return (Variant("autoregressive", {"cpu": "study", "paper": preset}, {"k": K} | options),)


def _baseline(kind: str) -> tuple[Variant, ...]:
    return (Variant("baselines", {"cpu": "study", "paper": "study-200"}, {"kind": kind, "k": K}),)


def _row(
    name: str, short: str, pos: float | None, pos3: float | None, variants: tuple[Variant, ...],
    measure: Callable[[Context], Rows] = measured,
) -> Row:  # fmt: skip
    """One row; `pos`, `pos3`: the text's accuracies on Potsdam in percent, None where it has only a figure."""
    text = {} if pos3 is None else {"accuracy": round(pos3 / 100, 4)}
    note = "" if pos is None else f"{pos / 100:.3f} on POS".replace("0.", ".")
    return Row(name, short, text, variants, note=note, measure=measure)


PLAIN = _ac()
F_CPU = {"f1": ("identity", 5), "f2": ("stem", 5), "f3": ("residual", 4), "f4": ("residuals", 0), "f5": ("resnet18", 0)}
"""h and the masked blocks of g_ar of each variant."""


def _variant(name: str) -> tuple[Variant, ...]:
    stem, blocks = F_CPU[name]
    return (Variant("autoregressive", {"cpu": "study", "paper": name}, {"k": K}, _shape(stem, blocks)),)


def _shape(stem: str, blocks: int) -> Callable[[str, Any, int], Mapping[str, Any]]:
    def derived(scale: str, config: Any, images: int) -> Mapping[str, Any]:
        return {"stem": stem, "blocks": blocks} if scale == "cpu" else {}

    return derived


VARIANTS = Table(
    "ac-variants", "what h and g_ar are made of", f"{TEXT}, variations of the model",
    (
        _row("Random", "random", 28.5, 38.2, _baseline("random-cnn")),
        _row("F1", "F1", 39.3, 56.3, _variant("f1")),
        _row("F2", "F2", 46.4, 66.4, _variant("f2")),
        _row("F3", "F3", 47.9, 64.5, _variant("f3")),
        _row("F4", "F4", 35.1, 63.4, _variant("f4")),
        _row("F5", "F5", 40.7, 51.9, _variant("f5")),
    ),
    (
        Claim("a stem before masked blocks (F2) beats masked blocks alone (F1)", below("F1", "F2", "accuracy")),
        Claim("masked blocks (F2) beat an ordinary network (F4)", below("F4", "F2", "accuracy")),
        Claim("masked blocks (F2) beat a ResNet-18 (F5)", below("F5", "F2", "accuracy")),
    ),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

ATTENTION = Table(
    "ac-attention", "attention, and which kind of ordering", f"{TEXT}, attention and type of orderings",
    (
        _row("Raster", "raster", 45.2, 61.0, PLAIN),
        _row("Raster, attention", "raster + a", 47.9, 66.3, _ac(attention=1)),
        _row("Zigzag, attention", "zigzag + a", 47.8, 66.5, _ac(attention=1, orderings="zigzag")),
        _row("Raster and zigzag, attention", "both + a", 49.3, 65.4, _ac(attention=1, orderings="both")),
    ),
    (
        Claim("attention helps", below("Raster", "Raster, attention", "accuracy")),
        Claim("zigzags are as good as rasters (to .02)", as_good("Zigzag, attention", "Raster, attention", "accuracy")),
    ),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

DROPOUT = Table(
    "ac-dropout", "dropout inside residual blocks", f"{TEXT}, dropout",
    (
        _row("p = 0", "0", 46.4, 66.4, PLAIN),
        _row("p = 0.1", "0.1", 47.9, 64.7, _ac(dropout=0.1)),
        _row("p = 0.2", "0.2", 46.9, 65.1, _ac(dropout=0.2)),
    ),
    (Claim("dropout of .1 costs no more than .02", as_good("p = 0.1", "p = 0", "accuracy")),),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

ORDERINGS = Table(
    "ac-orderings", "how many orderings", f"{TEXT}, number of orderings",
    (
        _row("8 orderings", "8", 46.4, 66.4, PLAIN),
        _row("4 orderings", "4", 45.6, 63.55, _ac(ordering_count=4)),
        _row("2 orderings", "2", 43.2, 59.5, _ac(ordering_count=2)),
    ),
    (
        Claim("two orderings are worse than eight", below("2 orderings", "8 orderings", "accuracy")),
        Claim("four orderings are worse than eight", below("4 orderings", "8 orderings", "accuracy")),
    ),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

SAMPLING = Table(
    "ac-sampling", "how the two orderings of a step are drawn", f"{TEXT}, sampling of the orderings",
    (
        _row("Random", "random", 46.4, 66.4, PLAIN),
        _row("No repetition", "no repetition", 48.6, 64.8, _ac(sampling="norepeat")),
        _row("Hard", "hard", 48.9, 65.2, _ac(sampling="hard")),
    ),
    (Claim("hard sampling is as good as random (to .02)", as_good("Hard", "Random", "accuracy")),),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

TRANSFORMS = Table(
    "ac-transforms", "transforms of the second view", f"{TEXT}, transformations",
    (
        _row("None", "none", 46.4, 66.4, PLAIN),
        _row("Colour jitter", "jitter", 47.9, 65.5, _ac(jitter=0.2)),
        _row("Flip", "flip", 46.7, 68.0, _ac(flip=True)),
        _row("Rotation", "rotation", 48.5, 68.3, _ac(rotation=30.0)),
        _row("All", "all", 48.5, 68.3, _ac(jitter=0.2, flip=True, rotation=30.0)),
    ),
    (
        Claim("rotation helps", below("None", "Rotation", "accuracy")),
        Claim("flips help", below("None", "Flip", "accuracy")),
        Claim("colour jitter does not help", as_good("None", "Colour jitter", "accuracy", 0.0)),
    ),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

OVERCLUSTERING = Table(
    "ac-overclustering", "a second head of more clusters, trained in turn", f"{TEXT}, over-clustering (a figure)",
    (
        _row("none", "none", 46.4, 66.4, PLAIN),
        _row("6 clusters", "6", None, None, _ac(over_k=6)),
        _row("12 clusters", "12", None, None, _ac(over_k=12)),
        _row("24 clusters", "24", None, None, _ac(over_k=24)),
    ),
    (Claim("24 more clusters help", below("none", "24 clusters", "accuracy")),),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

ARL = _ac(objective="arl")


VS_ARL = Table(
    "ac-vs-arl", "clusters against features: as they are, and under probes that are trained on labels",
    f"{TEXT}, AC and ARL",
    (
        _row("Clustering: AC", "AC", 46.4, 66.4, PLAIN),
        _row("Clustering: ARL", "ARL", 45.1, 57.1, ARL),
        _row("Clustering: Random CNN", "random", 28.5, 38.2, _baseline("random-cnn")),
        _row("Linear: AC", "AC linear", 23.7, 41.4, PLAIN, probed("linear")),
        _row("Linear: ARL", "ARL linear", 23.7, 38.5, ARL, probed("linear")),
        _row("Non-linear: AC", "AC hidden", 68.0, 81.8, PLAIN, probed("nonlinear")),
        _row("Non-linear: ARL", "ARL hidden", 47.6, 63.5, ARL, probed("nonlinear")),
    ),
    (
        Claim("AC clusters better than ARL", below("Clustering: ARL", "Clustering: AC", "accuracy")),
        Claim("AC beats ARL under a non-linear probe", below("Non-linear: ARL", "Non-linear: AC", "accuracy")),
    ),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

IIC = (Variant("iic", {"cpu": "study", "paper": "potsdam-3"}, {"k": K}),)

SOTA = Table(
    "ac-sota", "against other ways to divide images without labels", f"{TEXT}, comparison with the state of the art",
    (
        _row("AC", "AC", 49.3, 66.5, PLAIN),
        _row("Random CNN", "random", 28.3, 38.2, _baseline("random-cnn")),
        _row("K-means", "k-means", 35.3, 45.7, _baseline("kmeans-1x1")),
        _row("SIFT", "SIFT", 28.5, 38.2, _baseline("sift")),
        _row("Doersch 2015", "Doersch", 37.2, 49.6, _baseline("doersch")),
        _row("Isola 2016", "Isola", 44.9, 63.9, _baseline("isola")),
        _row("DeepCluster 2018", "DeepCluster", 29.2, 41.7, _baseline("deepcluster")),
        _row("IIC 2019", "IIC", 45.4, 65.1, IIC),
    ),
    (
        Claim("AC beats IIC", below("IIC 2019", "AC", "accuracy")),
        Claim("AC beats k-means", below("K-means", "AC", "accuracy")),
    ),
    columns=COLUMNS, length=LENGTH,
)  # fmt: skip

TABLES = (VARIANTS, ATTENTION, DROPOUT, ORDERINGS, SAMPLING, TRANSFORMS, OVERCLUSTERING, VS_ARL, SOTA)
