"""How the rows of `independence-cluster` are measured: every image is fitted alone, and its things are compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from decoupe.data.catalogue import Sample
from decoupe.data.decode import read_image
from decoupe.errors import Fault
from decoupe.evaluate.instances import Overlap, ap, count_error, f1_of, overlap
from decoupe.evaluate.run import number
from decoupe.instances import instances
from decoupe.model import Model
from decoupe.reproduce.independence import IMAGES, LEAST
from decoupe.reproduce.runs import Images
from decoupe.reproduce.table import Rows
from decoupe.types import Instance

if TYPE_CHECKING:
    from decoupe.reproduce.study import Context


def images_of(context: Context) -> list[Sample]:
    """The images of the table. Fault where the data set has no masks of single things, or too few of them."""
    found = []
    for sample in context.task.samples:
        if sample.instance_reader is None:
            continue
        if len(np.unique(sample.instances())) > LEAST:
            found.append(sample)
        if len(found) == IMAGES[context.fitting.scale]:
            break
    if not found:
        raise Fault(
            f"images with {LEAST} things or more and a mask of each", context.task.data,
            "give --data dsb2018:PATH, or synth:PATH of built-in clusters",
        )  # fmt: skip
    return found


def each_alone(context: Context, baseline: bool) -> Rows:
    """One result row: medians over the images of F1 at IoU .5, AP at IoU .5 and the error of the count."""
    found: list[Overlap] = []
    samples = images_of(context)
    with context.counting("images") as progress:
        for done, sample in enumerate(samples, start=1):
            things = _by_necks(sample) if baseline else _by_run(context, sample)
            found.append(overlap(things, sample.instances()))
            progress(done, len(samples))
    columns = {
        "f1_median": [f1_of(one) for one in found],
        "ap50_median": [ap([one], 0.5) for one in found],
        "count_error_median": [count_error(one) for one in found],
    }
    context.shared["trained_on"] = "each image fitted alone, without labels"
    context.shared["about"] = f"{len(samples):,} images of {LEAST} things or more, medians over images"
    return [
        {
            "row": context.row.name, "selection": "selected", "matching": "by construction", "observed": ["image"],
            "uses_labels": False, "status": "done", "n_images": len(samples), "n_runs": len(samples),
            "metrics": {name: number(np.median(values)) for name, values in columns.items()},
            "each": {name: [number(v) for v in values] for name, values in columns.items()},
            "images": [sample.key for sample in samples], "spread": {}, "uncertainty": {}, "interval": {},
            "collapsed": {"n": 0, "of": len(samples), "rate": 0.0},
            "text": dict(context.row.text), "note": context.row.note, "seeds": [],
        }
    ]  # fmt: skip


def _by_run(context: Context, sample: Sample) -> list[Instance]:
    """The things that a run on this image alone finds in it."""
    size = sample.image.stat().st_size
    alone = Images([str(sample.image)], f"{sample.key}-{size}", f"trained on {sample.key} alone")
    run = replace(context.fitting, images=alone).run(context.row.variants[0], 0)
    context.seen = int(run.info.get("images_seen", 0))
    return list(Model(run).look(read_image(sample.image)).instances)


def _by_necks(sample: Sample) -> list[Instance]:
    """Otsu's threshold, the parts split at necks."""
    import torch

    from decoupe.methods.baselines.colour import split_by_brightness

    image = np.array(read_image(sample.image))
    unit = torch.from_numpy(image).movedim(2, 0)[None].float() / 127.5 - 1
    return instances(split_by_brightness(unit)[0].numpy())
