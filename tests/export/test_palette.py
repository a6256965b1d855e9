"""Colours that a person chose reach the masks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.engine.runfolder import Run
from decoupe.export.palette import chosen, colours, given
from decoupe.fit import fit
from decoupe.model import load
from decoupe.report import render
from decoupe.segment import segment


def test_choices_replace_the_palette_where_there_are_any() -> None:
    names = ("background", "leaf", "stem")
    assert chosen(names, ()) == colours(names)
    assert chosen(names, ("", "#0a0B0c", "red")) == (colours(names)[0], (10, 11, 12), colours(names)[2])
    assert given("#00ff10") == (0, 255, 16) and given("#00ff1") is given("00ff10") is given("") is None
    with pytest.raises(ValueError, match="zip"):
        chosen(names, ("#ffffff",))


def test_masks_have_the_colours_that_were_chosen_and_change_with_them(
    tiny_run: Path, photos: Path, tmp_path: Path
) -> None:
    run = Run.open(tiny_run)
    names = run.names
    try:
        for colour in ("#123456", "#fedcba"):
            run.set_names(names, colours=("", colour))
            found = segment(load(tiny_run), photos, tmp_path / "masks", ("png", "coco-panoptic"))
            assert found["written"] > 0
            mask = Pillow.open(next(p for p in (tmp_path / "masks").rglob("*.png") if "panoptic" not in str(p)))
            assert tuple(np.array(mask.getpalette()[:6])[3:]) == given(colour)
            panoptic = json.loads((tmp_path / "masks/coco.panoptic.json").read_text(encoding="utf-8"))
            assert panoptic["categories"][1]["color"] == list(given(colour) or ())
    finally:
        run.set_names(names)


def test_the_report_has_the_colours_that_were_chosen(synth: Path, tmp_path: Path) -> None:
    run = fit("baselines", synth / "images", run=tmp_path / "run", kind="kmeans-1x1", k=3, size=32).run
    before = render(run)
    run.set_names(run.names, colours=("", "#c0ffee", ""))
    after = render(run)
    assert "#c0ffee" in after and "#c0ffee" not in before
    assert set(re.findall('data:image/jpeg[^"]+', after)) != set(re.findall('data:image/jpeg[^"]+', before))
