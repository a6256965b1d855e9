"""Colours that a person chose reach the masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.engine.runfolder import Run
from decoupe.export.palette import chosen, colours, given
from decoupe.model import load
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
            assert segment(load(tiny_run), photos, tmp_path / "masks", "png")["written"] > 0
            mask = Pillow.open(next((tmp_path / "masks").rglob("*.png")))
            assert tuple(np.array(mask.getpalette()[:6])[3:]) == given(colour)
    finally:
        run.set_names(names)
