"""The figures of section 6 of "Exploring Weak-Supervision and Generative Models for Semantic Segmentation" (cVAE ...).

The text gives one mIoU for each model and does not say what was observed. Here every row says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from decoupe.reproduce.claims import NO_SPREAD, below, figures
from decoupe.reproduce.table import Claim, Row, Rows, Spread, Table, Variant, Verdict

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context

TEXT = "Exploring Weak-Supervision and Generative Models for Semantic Segmentation"
PRESETS = {"cpu": None, "paper": "text"}
SUBSETS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "unet": (("image",),),
    "cvae": (("image",), ("image", "mask")),
    "joint": (("image",), ("image", "tags"), ("tags",), ("mask",), ("image", "tags", "mask")),
}
"""What is observed, of each kind of model; the mask among it is the one that is scored: reconstruction."""
WHOLE = ("image", "tags", "mask")


def measure(context: Context, draws: int = 0, text: str = "image") -> Rows:
    """Fit the row's variant once per seed, with masks; one result row for each observed subset."""
    from decoupe.reproduce.scene_vae_rows import measure as rows_of

    return rows_of(context, draws, text)


def observing_helps(name: str) -> Any:
    """The mask among what is observed raises the mIoU of row `name`: then a figure says nothing without what it saw."""

    def check(rows: Mapping[str, Rows], spread: Spread = NO_SPREAD, /) -> Verdict:
        by_subset = {tuple(row["observed"]): row["metrics"].get("miou") for row in rows.get(name, ())}
        without, within = by_subset.get(("image",)), by_subset.get(WHOLE)
        if without is None or within is None:
            return Verdict(None, "not measured")
        runs = (figures(rows, name) or {}).get("n_runs") or 0
        why = f"mask observed {within:.3f}, not observed {without:.3f} ({runs} {'run' if runs == 1 else 'runs'})"
        return Verdict(within > without, why)

    return check


def _model(model: str, **options: Any) -> tuple[Variant, ...]:
    return (Variant("scene_vae", PRESETS, {"model": model} | options),)


STANDARD = _model("cvae", prior="standard")
SHARED = _model("telbo", decoder_gradient="shared")
DRAWN, GIVEN_ALL = partial(measure, draws=1), partial(measure, text="+".join(WHOLE))

TABLE = Table(
    "scene-vae-table",
    "masks from a latent: one for the mask given the image, one for image, tags and mask",
    f"{TEXT}, section 6",
    (
        Row("cVAE", "cVAE", {"miou": 0.3775}, STANDARD, measure=DRAWN, note="z drawn from N(0, I); spurious classes"),
        Row("cVAE, mean of z", "cVAE mean", {}, STANDARD, measure=measure),
        Row("cVAE, free bits", "free bits", {}, _model("cvae", prior="standard", free_bits=0.1), measure=DRAWN),
        Row("cVAE, learned prior", "cVAE p(z|i)", {}, _model("cvae", prior="conditional"), measure=DRAWN),
        Row(
            "j-VAE", "j-VAE", {"miou": 0.6225}, _model("jvae", ignored="tags"), measure=GIVEN_ALL,
            note="does not say whether the mask was observed; its posterior has it as an input",
        ),
        Row("TELBO, shared decoders", "TELBO shared", {"miou": 0.4723}, SHARED, measure=measure),
        Row("TELBO, stopped", "TELBO stopped", {}, _model("telbo", decoder_gradient="stopped"), measure=measure),
        Row(
            "TELBO, cross term", "TELBO cross", {}, _model("telbo", decoder_gradient="stopped", cross=1.0),
            measure=measure,
        ),
        Row("JMVAE", "JMVAE", {}, _model("jmvae"), measure=measure),
        Row("no latent", "no latent", {}, _model("unet"), measure=measure),
        Row(
            "TELBO, shared, 5 samples", "5 samples", {}, _model("telbo", decoder_gradient="shared", retrofit_samples=5),
            measure=measure,
        ),
    ),
    (
        Claim(
            "with z from N(0, I), the cVAE is worse than with a learned prior",
            below("cVAE", "cVAE, learned prior", "miou"),
        ),
        Claim("free bits help the cVAE with N(0, I)", below("cVAE", "cVAE, free bits", "miou")),
        Claim("j-VAE's figure rests on the mask that it observes", observing_helps("j-VAE")),
        Claim("stopped decoder gradients beat shared ones", below("TELBO, shared decoders", "TELBO, stopped", "miou")),
        Claim(
            "several samples in the retrofitted ELBOs help (the text's guess)",
            below("TELBO, shared decoders", "TELBO, shared, 5 samples", "miou"),
        ),
        Claim("the cross term beats shared decoders", below("TELBO, shared decoders", "TELBO, cross term", "miou")),
    ),
    columns=("miou", "accuracy"),
    length="not stated",
    labelled=300,
)  # fmt: skip

TABLES = (TABLE,)
