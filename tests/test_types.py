"""`Regions`: as COCO, and as a notebook shows them."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.export import rle
from decoupe.export.palette import colours
from decoupe.types import Regions
from tests.export.test_formats import SHAPES, regions


@pytest.mark.parametrize("shape", SHAPES)
def test_coco_gives_the_masks_back(shape: tuple[int, int]) -> None:
    found = regions(shape, 3)
    content = found.to_coco("a.jpg", 7)
    assert content["images"] == [{"id": 7, "file_name": "a.jpg", "width": shape[1], "height": shape[0]}]
    assert [kind["name"] for kind in content["categories"]] == ["thing 1", "thing 2"]
    rebuilt = np.zeros(shape, int)
    for one in content["annotations"]:
        mask = rle.decode(rle.from_string(one["segmentation"]["counts"], shape), shape)
        assert one["area"] == mask.sum() and one["image_id"] == 7 and 0 < one["score"] <= 1
        rebuilt[mask] = one["category_id"]
    assert np.array_equal(rebuilt, found.labels)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_loads_in_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed: pip install decoupe[coco]")
    read, found = coco.COCO(), regions((33, 64), 3)
    read.dataset = found.to_coco()
    read.createIndex()
    total = sum(read.annToMask(one) * one["category_id"] for one in read.loadAnns(read.getAnnIds()))
    assert np.array_equal(total, found.labels)


class Tags(HTMLParser):
    """Names of all elements and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}


HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;", "a" * 500, "\x1b[31m")


def test_a_notebook_shows_a_picture_and_a_legend() -> None:
    found = regions((40, 900), 3)
    text = found._repr_html_()
    (picture,) = re.findall(r"base64,([^\"]+)", text)
    with Pillow.open(io.BytesIO(base64.b64decode(picture))) as image:
        assert image.size == (450, 20) and np.array_equal(np.asarray(image), found.labels[::2, ::2])
        palette = image.getpalette() or []
        assert tuple(palette[3:6]) == colours(found.names)[1]
    shares = [float(one) for one in re.findall(r": ([\d.]+)%", text)]
    assert len(shares) == 3 and sum(shares) == pytest.approx(100, abs=0.2)


def test_names_are_text_there() -> None:
    probs = np.full((len(HOSTILE), 8, 8), 1 / len(HOSTILE), np.float32)
    tags = Tags()
    tags.feed(Regions(probs, HOSTILE)._repr_html_())
    assert tags.seen == {"figure", "img", "alt", "src", "figcaption", "ul", "li", "b", "style"}
