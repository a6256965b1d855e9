"""The runs of a study: each variant is fitted once per seed, whatever number of tables asks for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoupe import __version__
from decoupe.data.catalogue import Dataset, Sample
from decoupe.data.layouts.base import HELD_OUT
from decoupe.engine.files import dump_json, parse_json, write_atomic
from decoupe.engine.progress import Reporter
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault
from decoupe.fit import fit
from decoupe.nn.features import parse
from decoupe.reproduce.table import Variant


@dataclass(frozen=True)
class Images:
    """What the runs of a study are trained on: images only, no label is read."""

    paths: Sequence[str]
    digest: str
    """Of the layout, the images' keys and file sizes: where they lie does not matter."""
    words: str
    """A sentence that says which images these are."""


def training_images(dataset: Dataset) -> Images:
    """The layout's images without those of its val and test splits; all of them where it has no splits."""
    kept = [sample for sample in dataset.samples if sample.split not in HELD_OUT]
    if not kept:
        raise Fault(f"images to train on in {dataset.root}", "only val and test images", "choose another data set")
    left_out = len(dataset.samples) - len(kept)
    counts = {name: sum(s.split == name for s in kept) for name in dict.fromkeys(s.split for s in kept)}
    parts = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    words = f"trained on {len(kept):,} images of {dataset.name} ({parts}) without labels; "
    words += (
        f"{left_out:,} images of val and test never seen" if left_out else "the layout has no splits: scored ones too"
    )
    return Images([str(s.image) for s in kept], _fingerprint(dataset.name, kept), words)


def _fingerprint(name: str, samples: Sequence[Sample]) -> str:
    rows = sorted((sample.key, sample.image.stat().st_size) for sample in samples)
    return hashlib.sha256(json.dumps([name, rows]).encode()).hexdigest()


def folder_name(
    variant: Variant, scale: str, images: Images, images_seen: int | None, seed: int, size: int | None = None
) -> str:
    """`<slug>-<digest>-s<seed>`: the slug says what differs from the preset, the digest stands for everything.

    The version counts too: a later one may train otherwise from equal settings.
    """
    config, base = (dataclasses.asdict(c) for c in (variant.config(scale, images_seen, size), variant.base(scale)))
    if network := config.get(variant.network_option):
        config[variant.network_option] = _content(network)
    everything = [__version__, variant.room, config, images.digest, images_seen, dict(variant.settings)]
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()
    changed = [f"{name}-{config[name]}".lower() for name in config if config[name] != base[name]]
    slug = re.sub(r"[^a-z0-9.]+", "-", "-".join([variant.room, *changed])).strip("-")[:80]
    return f"{slug}-{digest[:10]}-s{seed}"


def _content(network: str) -> str:
    """NAME:FILE of a network -> NAME and what is in the file: where it lies does not matter."""
    name, path = parse(network)
    try:
        with open(path, "rb") as file:
            return f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"
    except OSError as error:
        raise Fault(f"the weights of a network at {path}", str(error.strerror), "check --weights") from error


@dataclass
class Fitting:
    """Fits variants into a study's folder, or finds them there."""

    out: Path
    scale: str
    images: Images
    images_seen: int | None
    reporter: Reporter
    size: int | None = None
    """Side of the images in pixels; None = that of each variant's preset."""

    def run(self, variant: Variant, seed: int) -> Run:
        """The finished run of `variant` with `seed`: found, resumed where it stopped, or fitted anew.

        A collapse is a result, not a failure: restarts are the engine's help and would hide the method's own
        robustness, so there are none. Interrupted after Ctrl-C (the run goes on from there next time).
        """
        path = self.out / "runs" / self._folder(variant, seed)
        state = _state(path)
        if state in ("done", "collapsed"):
            return Run.open(path)
        if state == "new":  # stopped before its settings were written: nothing to lose
            shutil.rmtree(path)
        try:
            if state == "begun":
                fit(variant.room, run=path, resume=True, reporter=self.reporter)
            else:
                self._fit(variant, seed, path)
        except Fault:
            if _state(path) != "collapsed":
                raise
        self._remember_precision(path)
        return Run.open(path)

    def finished(self, variant: Variant) -> list[Run]:
        """The runs of `variant` that are in the folder and did not collapse, by seed."""
        stem = self._folder(variant, 0).removesuffix("-s0")
        found = [Run.open(path) for path in (self.out / "runs").glob(f"{stem}-s*") if _state(path) == "done"]
        return sorted(found, key=lambda run: int(run.info["seed"]))

    def _folder(self, variant: Variant, seed: int) -> str:
        return folder_name(variant, self.scale, self.images, self.images_seen, seed, self.size)

    def _fit(self, variant: Variant, seed: int, path: Path) -> None:
        options = variant.all_options(self.scale, self.images_seen, self.size)
        fit(
            variant.room, list(self.images.paths), run=path, seed=seed, preset=variant.presets[self.scale],
            images_seen=self.images_seen, precision=self._precision(), restarts=0, reporter=self.reporter,
            **variant.settings, **options,
        )  # fmt: skip

    # All runs of a study compute in one precision, that which its first run measured to be faster.

    def _precision(self) -> str | None:
        place = self.out / "study.json"
        return str(parse_json(place.read_bytes(), str(place))["precision"]) if place.is_file() else None

    def _remember_precision(self, path: Path) -> None:
        chosen = Run.open(path, verify=False).info.get("precision")
        if chosen and not (self.out / "study.json").is_file():
            write_atomic(self.out / "study.json", dump_json({"precision": chosen}))


def _state(path: Path) -> str:
    """none, new (nothing written yet), begun, done or collapsed."""
    if not (path / "run.json").is_file():
        return "new" if path.exists() else "none"
    info: dict[str, Any] = Run.open(path, verify=False).info
    if info["status"] in ("done", "collapsed"):
        return str(info["status"])
    return "begun" if "settings" in info else "new"
