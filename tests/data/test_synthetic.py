"""Built-in images: the same everywhere, and truth that is exact."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from decoupe.data import synthetic
from decoupe.data.synthetic import KINDS, Scene, background_photos, cluster, object_photos, piles, render
from decoupe.data.synthetic.canvas import Canvas
from decoupe.data.synthetic.scene import mixing
from decoupe.errors import UsageFault

SIZES: list[int | tuple[int, int]] = [32, (48, 80), 65]


def over(layers: NDArray[np.float32]) -> NDArray[np.float64]:
    """Alpha-over written out, in float64."""
    image = np.zeros((*layers.shape[1:3], layers.shape[3] - 1))
    for layer in layers.astype(np.float64):
        image = layer[..., :-1] + image * (1 - layer[..., -1:])
    return image


def digest(scene: Scene) -> str:
    parts = [scene.image, scene.mask, scene.layers, scene.instances, *(scene.removed[k] for k in sorted(scene.removed))]
    content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return hashlib.sha256(content + repr((scene.tags, scene.boxes, scene.classes)).encode()).hexdigest()


def digests() -> list[str]:
    return [digest(render(kind, 3, index, 48)) for kind in KINDS for index in (0, 9)]


def without(scene: Scene, name: str) -> list[int]:
    """The layers whose absence gives `removed[name]`: one by one, or for a cluster all that are not the ground."""
    total = len(scene.layers)
    choices = [[k] for k in range(1, total)] + [list(range(1, total))]
    for gone in choices:
        image = over(np.delete(scene.layers, gone, 0)) * 255
        if np.abs(image - scene.removed[name]).max() <= 0.502:
            return gone
    raise AssertionError(f"no layer's absence gives removed[{name!r}]")


@pytest.fixture(scope="module")
def some() -> list[Scene]:
    return [render(kind, 11, index, 64) for kind in KINDS for index in range(4)]


@pytest.mark.slow
def test_another_process_in_another_order_paints_the_same_bits() -> None:
    code = (
        "from tests.data.test_synthetic import *\n"
        "with ThreadPoolExecutor(3) as pool:\n"
        "    jobs = [(k, i) for k in reversed(KINDS) for i in (9, 0)]\n"
        "    print(dict(pool.map(lambda j: (j, digest(render(j[0], 3, j[1], 48))), jobs)))"
    )
    paths = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    there = eval(done.stdout)
    assert [there[kind, index] for kind in KINDS for index in (0, 9)] == digests()


def test_threads_do_not_disturb_each_other() -> None:
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: digest(render("objects", 1, i, 40)), range(12)))
    assert together == [digest(render("objects", 1, i, 40)) for i in range(12)]


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_index_each_change_the_picture(kind: str) -> None:
    first = render(kind, 0, 0, 48).image.astype(int)
    for other in (render(kind, 1, 0, 48), render(kind, 0, 7, 48)):
        assert np.abs(other.image.astype(int) - first).mean() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_another_size_is_the_same_picture(kind: str) -> None:
    small, large = render(kind, 2, 3, 64), render(kind, 2, 3, 128)
    halved = large.image.reshape(64, 2, 64, 2, -1).mean((1, 3))
    assert np.abs(halved - small.image).mean() < 7
    assert (large.mask[::2, ::2] == small.mask).mean() > 0.93


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_compose_to_the_image_at_any_size_and_channels(kind: str, channels: int) -> None:
    for index, size in enumerate(SIZES):
        scene = render(kind, 5, index, size, channels)
        height, width = (size, size) if isinstance(size, int) else size
        assert scene.image.shape == (height, width, channels) and scene.image.dtype == np.uint8
        assert scene.layers.shape[1:] == (height, width, channels + 1) and scene.layers.dtype == np.float32
        assert np.abs(over(scene.layers) * 255 - scene.image).max() <= 0.502
        colours, alpha = scene.layers[..., :-1], scene.layers[..., -1:]
        assert scene.layers.min() >= 0 and alpha.max() <= 1 + 1e-6 and (colours <= alpha + 1e-5).all()
        assert (scene.layers[0, ..., -1] == 1).all()


def test_removed_images_lack_exactly_their_layer(some: list[Scene]) -> None:
    for scene in some:
        assert scene.removed
        for name, image in scene.removed.items():
            gone = without(scene, name)
            untouched = scene.layers[gone, ..., -1].max(0) == 0
            assert (image[untouched] == scene.image[untouched]).all()
            if (scene.mask == scene.classes.index(name)).any():
                assert (image != scene.image).any()


def test_the_mask_is_what_the_layers_show(some: list[Scene]) -> None:
    checked = 0
    for scene in some:
        owner = {k: name for name in scene.removed for k in without(scene, name)}
        clear = np.ones(scene.mask.shape, bool)
        for k in range(len(scene.layers) - 1, 0, -1):
            alpha = scene.layers[k, ..., -1]
            solid = clear & (alpha > 0.98)
            assert (scene.mask[solid] == scene.classes.index(owner[k])).all()
            checked += int(solid.sum())
            clear &= alpha < 0.02
        assert (scene.mask[clear] == 0).all()
    assert checked > 10_000


def test_object_mask_is_half_coverage() -> None:
    for index in range(5):
        scene = render("objects", 4, index, 64)
        assert ((scene.layers[1, ..., -1] >= 0.5) == (scene.mask == 1)).all()
        assert (scene.instances == scene.mask).all()


def test_tags_boxes_and_instances_agree_with_the_mask(some: list[Scene]) -> None:
    for scene in some:
        seen = {scene.classes[k] for k in np.unique(scene.mask)} - {"background"}
        assert set(scene.tags) == seen
        numbers = [int(k) for k in np.unique(scene.instances) if k]
        assert len(scene.boxes) == len(numbers)
        for number, (name, x0, y0, x1, y1) in zip(numbers, scene.boxes, strict=True):
            ys, xs = np.nonzero(scene.instances == number)
            assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert set(scene.mask[ys, xs]) == {scene.classes.index(name)}


@pytest.mark.slow
def test_every_class_turns_up() -> None:
    for kind, count in (("scenes", 40), ("aerial", 12)):
        scenes = [render(kind, 8, index, 48) for index in range(count)]
        assert set().union(*(scene.tags for scene in scenes)) == set(scenes[0].classes)
        assert any(set(scene.tags) != set(scenes[0].tags) for scene in scenes), "nothing is optional"


def test_things_in_rooms_hide_one_another() -> None:
    hidden = 0
    for index in range(12):
        scene = render("scenes", 6, index, 48)
        for k in range(3, len(scene.layers)):
            behind = scene.layers[2:k, ..., -1].max(0) > 0.98
            hidden += bool((behind & (scene.layers[k, ..., -1] > 0.98)).any())
    assert hidden >= 4


@pytest.mark.parametrize("variant", range(len(cluster.VARIANTS)))
def test_no_thing_of_a_cluster_is_hidden_beyond_the_limit(variant: int) -> None:
    canvas = Canvas(64, 64, np.random.default_rng(0))
    things = piles.place(np.random.default_rng(variant), canvas, piles.SORTS[cluster.VARIANTS[variant]])
    assert 15 <= len(things) <= 200
    axis = ((np.arange(500) + 0.5) / 500).astype(np.float32)
    stamps = [thing.frame(axis[None], axis[:, None])[2] > 0 for thing in things]
    touching = 0
    for k, (thing, stamp) in enumerate(zip(things, stamps, strict=True)):
        if stamp.sum() < 200:
            continue
        above = np.zeros_like(stamp)
        for j, (other, cover) in enumerate(zip(things, stamps, strict=True)):
            if other.level > thing.level:
                above |= cover
            elif other.level == thing.level and j != k:
                assert not (cover & stamp).any()
        touching += bool((above & stamp).any())
        assert (above & stamp).sum() <= (piles.OVERLAP + 0.04) * stamp.sum()
    assert touching >= 3


def test_a_cluster_image_counts_its_things_at_any_size() -> None:
    counts = [len(render("cluster", 2, 0, size).boxes) for size in (96, 192)]
    assert abs(counts[0] - counts[1]) <= 2 and counts[1] > 20


def test_objects_vary_in_area_place_and_turn() -> None:
    _, masks = object_photos(80, seed=9)
    areas = (masks > 0).mean((1, 2))
    assert 0.2 < areas.mean() < 0.31 and areas.min() > 0.12 and areas.max() < 0.46 and areas.std() > 0.03
    ys, xs = np.mgrid[:64, :64]
    centres = np.array([[xs[m > 0].mean(), ys[m > 0].mean()] for m in masks])
    assert (centres.std(0) > 3).all() and (np.abs(centres.mean(0) - 31.5) < 4).all()


def test_photos_are_the_renders_and_backgrounds_are_bare() -> None:
    photos, masks = object_photos(3, seed=5, size=40, channels=1, first=2)
    for k in range(3):
        scene = render("objects", 5, 2 + k, 40, 1)
        assert (photos[k] == scene.image).all() and (masks[k] == scene.mask).all()
    grounds = background_photos(3, seed=5, size=40)
    assert (grounds == background_photos(4, seed=5, size=40)[:3]).all()
    removed = render("objects", 5, 0, 40).removed["object"]
    assert np.abs(grounds[0].astype(int) - removed).mean() > 5, "drawn apart from the images"


def test_infrared_tells_plants_from_what_is_painted_like_them() -> None:
    scenes = [render("aerial", 3, index, 64) for index in range(10)]
    pixels = np.concatenate([scene.image.reshape(-1, 4) for scene in scenes]).astype(float)
    plants = np.isin(np.concatenate([scene.mask.ravel() for scene in scenes]), [0, 5])
    greenish = (pixels[:, 1] > pixels[:, 0]) & (pixels[:, 1] > pixels[:, 2] * 1.15)
    assert (greenish & ~plants).sum() > 0.08 * greenish.sum()
    ratio = (pixels[:, 3] - pixels[:, 1]) / (pixels[:, 3] + pixels[:, 1] + 1)
    assert np.median(ratio[plants]) > 0.15 and np.median(ratio[greenish & ~plants]) < -0.1


def test_channels_are_mixed_by_rows_that_sum_to_one() -> None:
    for bands in (3, 4):
        for channels in (1, 2, 3, 4, 7, 20):
            weights = mixing(channels, bands)
            assert weights.shape == (channels, bands) and np.allclose(weights.sum(1), 1)
            assert len({tuple(row) for row in weights.tolist()}) == channels
    grey, colour = render("objects", 1, 1, 48, 1).image, render("objects", 1, 1, 48, 3).image
    assert np.abs(grey[..., 0] - colour @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "cats"}, "choose one"),
        ({"size": 31}, "32 px or more"),
        ({"size": (64, 8)}, "32 px or more"),
        ({"channels": 0}, "1 channel or more"),
        ({"seed": -1}, "0 or more"),
        ({"index": -1}, "0 or more"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, object], words: str) -> None:
    arguments = {"kind": "objects", "seed": 0, "index": 0, "size": 64, "channels": 3, **change}
    with pytest.raises(UsageFault, match=words):
        render(**arguments)  # type: ignore[arg-type]


def test_objects_are_painted_quickly() -> None:
    object_photos(3, seed=0)
    start = time.process_time()
    object_photos(40, seed=0)
    assert 40 / (time.process_time() - start) > 20, "about 200 images/s on one idle core"


def test_public_names() -> None:
    assert synthetic.KINDS == ("scenes", "objects", "cluster", "aerial")
