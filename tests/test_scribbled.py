"""`fit --scribbles`: any method, then a few strokes that name its regions and correct them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from decoupe.cli import main
from decoupe.drawn import Drawn, Given, drawn, given_masks
from decoupe.engine.progress import Silent
from decoupe.engine.runfolder import Run
from decoupe.errors import Fault, Interrupted, UsageFault
from decoupe.export.png import encode_labels
from decoupe.fit import fit
from decoupe.model import Model, load
from decoupe.scribbled import _regions, assigned, called, fit_scribbled, pixels
from tests.test_refine import discs, iou, painted

KMEANS: dict[str, Any] = {"kind": "kmeans-1x1", "k": 3, "size": 32}
NAMES = ("background", "object")


def strokes(labelled: Path, folder: Path, names: tuple[str, ...] | None = NAMES, count: int = 8) -> Path:
    """A dot in each disc, a line above it and one below: 6 % of the pixels, the others unknown."""
    folder.mkdir()
    for path in sorted((labelled / "masks").iterdir())[:count]:
        mask = np.asarray(Pillow.open(path))
        labels = np.full(mask.shape, 255, np.int64)
        labels[[0, 1, -2, -1], 4:-4] = 0
        y, x = np.argwhere(mask).mean(0).round().astype(int)
        labels[y - 2 : y + 3, x - 2 : x + 3] = 1
        if names is None:
            Pillow.fromarray(labels.astype(np.uint8)).save(folder / path.name)
        else:
            (folder / path.name).write_bytes(encode_labels(labels, names, [(i, i, i) for i in range(256)]))
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return discs(tmp_path_factory.mktemp("scribbled") / "labelled")


@pytest.fixture
def kmeans(labelled: Path, tmp_path: Path) -> Model:
    return fit("baselines", labelled / "images", run=tmp_path / "kmeans", **KMEANS)


def test_each_class_gets_a_region_of_its_own_first() -> None:
    counts = np.array([[90, 4], [10, 3], [0, 0], [40, 1]])
    assert assigned(counts) == {0: [0, 3], 1: [1]} or assigned(counts) == {0: [0], 1: [1, 3]}
    shares = counts / counts.sum(0)
    best = max(
        ((a, b) for a in range(4) for b in range(4) if a != b), key=lambda ab: shares[ab[0], 0] + shares[ab[1], 1]
    )
    found = assigned(counts)
    assert best[0] in found[0] and best[1] in found[1]
    assert sorted(k for regions in found.values() for k in regions) == [0, 1, 3], "no stroke lies in region 2"
    assert assigned(np.array([[0, 5], [7, 0]])) == {0: [1], 1: [0]}


def test_pixels_are_counted_where_something_is_drawn(kmeans: Model, labelled: Path, tmp_path: Path) -> None:
    found = drawn(strokes(labelled, tmp_path / "drawn"), labelled / "images")
    counts = pixels(kmeans, found)
    slow = np.zeros_like(counts)
    for one in found.photos:
        labels = kmeans.segment(one.path).labels
        for y, x in np.argwhere(one.labels() < 255):
            slow[labels[y, x], one.labels()[y, x]] += 1
    assert counts.shape == (3, 2) and np.array_equal(counts, slow) and counts.sum() == 8 * (4 * 32 + 25)


def test_regions_are_called_as_the_strokes_in_them(kmeans: Model, labelled: Path) -> None:
    """Three regions, two classes: two regions become one, and doing it again changes nothing."""
    paths = sorted((labelled / "images").iterdir())
    photos = tuple(Given(path, 0, lambda path=path: np.minimum(kmeans.segment(path).labels, 1)) for path in paths)
    found = Drawn(NAMES, photos, False)
    called(kmeans, found, Silent())
    once = load(kmeans.run.path)
    assert once.names == NAMES and once.run.merges == [[1, 2]]
    called(once, found, Silent())
    assert load(kmeans.run.path).names == once.names and Run.open(kmeans.run.path).merges == once.run.merges


def test_classes_without_names_are_numbers(kmeans: Model, labelled: Path, tmp_path: Path) -> None:
    folder = strokes(labelled, tmp_path / "drawn", None)
    called(kmeans, drawn(folder, labelled / "images"), Silent())
    model = load(kmeans.run.path)
    assert {*model.names} >= {"class 0", "class 1"}
    one = next(given_masks(model, folder, labelled / "images", True))
    labels = one.labels()
    assert (labels[0, 4:-4] == model.names.index("class 0")).all() and labels[2, 0] == 255


def test_what_no_object_covers_is_unknown(kmeans: Model, labelled: Path) -> None:
    """In files of annotation tools nobody draws the background."""
    image = sorted((labelled / "images").iterdir())[0]
    labels = np.zeros((40, 40), np.int64)
    labels[20, 20] = 1
    for ground, counted in ((True, 1), (False, 1600)):
        found = Drawn(NAMES, (Given(image, 0, lambda: labels),), ground)
        assert pixels(kmeans, found).sum() == counted


def flags(folder: Path) -> Path:
    """Red discs on a ground that is blue on the left and green on the right."""

    def paint(mask: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        ground = np.where((x < 20)[..., None], (30, 40, 160), (40, 150, 40))
        return np.where(mask[..., None], (200, 50, 40), ground) + rng.normal(0, 6, (40, 40, 3))

    return painted(folder, 6, paint)


@pytest.mark.slow
def test_strokes_say_what_a_thing_is(tmp_path: Path) -> None:
    """Three colours are three regions; strokes on eight photos join the two of the ground, and the run finds discs."""
    labelled = flags(tmp_path / "labelled")
    folder, run = strokes(labelled, tmp_path / "drawn"), tmp_path / "run"
    model = fit_scribbled(
        "baselines", labelled / "images", scribbles=folder, run=run, images_seen=4_000, **KMEANS
    )  # fmt: skip
    assert model.run.path == run and sorted(model.names) == sorted(NAMES)
    assert model.run.info["refined"]["labelled"] == 8 and iou(run, labelled) > 0.9


def test_a_stopped_one_goes_on(labelled: Path, tmp_path: Path) -> None:
    from decoupe.engine.loop import Loop

    folder, tick = strokes(labelled, tmp_path / "drawn"), Loop._tick
    options: dict[str, Any] = {"scribbles": folder, "images_seen": 64, **KMEANS}
    straight = fit_scribbled("baselines", labelled / "images", run=tmp_path / "straight", **options)

    def stopping(self: Loop) -> None:
        tick(self)
        self._signal = int(self.counters.images >= 24)

    command = f"decoupe fit baselines --scribbles {folder} --run {tmp_path}/run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted, match="decoupe fit baselines .* --resume"):
        patch.setattr(Loop, "_tick", stopping)
        fit_scribbled("baselines", labelled / "images", run=tmp_path / "run", command=command, **options)
    assert (tmp_path / "run-unlabelled" / "weights.safetensors").exists()
    resumed = fit_scribbled("baselines", None, run=tmp_path / "run", resume=True, **options)
    left, right = straight.room.state_dict(), resumed.room.state_dict()
    needed = [key for key in left if key.startswith(straight.room.inference)]
    assert needed and [key for key in needed if not np.array_equal(left[key], right[key])] == []


def test_what_does_not_fit_is_said(labelled: Path, tmp_path: Path, kmeans: Model) -> None:
    images, few = labelled / "images", tmp_path / "few"
    few.mkdir()
    first = sorted(images.iterdir())[0]
    with pytest.raises(Fault, match="masks"):
        fit_scribbled("baselines", images, scribbles=few, run=tmp_path / "run", **KMEANS)
    assert not (tmp_path / "run-unlabelled").exists(), "said before anything is trained"
    one = Given(first, 0, lambda: np.full((40, 40), 255))
    with pytest.raises(Fault, match="something drawn"):
        called(kmeans, Drawn(NAMES, (one,), False), Silent())
    many = Given(first, 0, lambda: np.arange(1600).reshape(40, 40) // 400)
    with pytest.raises(Fault, match="more classes than regions"):
        called(kmeans, Drawn(("a", "b", "c", "d"), (many,), False), Silent())
    with pytest.raises(Fault, match="size of their photos"):
        called(kmeans, Drawn(NAMES, (Given(first, 0, lambda: np.zeros((9, 7), int)),), False), Silent())
    with pytest.raises(UsageFault, match="new"):
        fit_scribbled("baselines", images, scribbles=few, run=tmp_path / "kmeans", **KMEANS)


def test_a_run_of_that_name_is_not_taken_silently(labelled: Path, tmp_path: Path) -> None:
    """Part 1 is done, part 2 is not: only --resume goes on with it, and only in its own room."""
    folder, run = strokes(labelled, tmp_path / "drawn"), tmp_path / "run"
    fit("baselines", labelled / "images", run=tmp_path / "run-unlabelled", **KMEANS)
    with pytest.raises(UsageFault, match="run-unlabelled; choose another --run, or .* --resume"):
        fit_scribbled("baselines", labelled / "images", scribbles=folder, run=run, **KMEANS)
    with pytest.raises(UsageFault, match="a redraw run at .*run-unlabelled, got one of baselines"):
        fit_scribbled("redraw", None, scribbles=folder, run=run, resume=True)
    assert not run.exists()
    model = fit_scribbled("baselines", None, scribbles=folder, run=run, resume=True, images_seen=32)
    assert {*NAMES} <= {*model.names}


def test_a_run_without_its_first_part_is_not_trained_again(labelled: Path, tmp_path: Path) -> None:
    """The refined run is all that is needed once it is done; before, there is nothing to go on from."""
    folder, run = strokes(labelled, tmp_path / "drawn"), tmp_path / "run"
    options: dict[str, Any] = {"scribbles": folder, "images_seen": 32, **KMEANS}
    made = fit_scribbled("baselines", labelled / "images", run=run, **options)
    shutil.rmtree(tmp_path / "run-unlabelled")
    again = fit_scribbled("baselines", None, run=run, resume=True, **options)
    assert again.names == made.names and not (tmp_path / "run-unlabelled").exists()
    Run.open(run).commit(status="running")
    with pytest.raises(Fault, match="run-unlabelled .* got none; restore it, or begin anew"):
        fit_scribbled("baselines", None, run=run, resume=True, **options)
    assert not (tmp_path / "run-unlabelled").exists()
    fit("baselines", labelled / "images", run=tmp_path / "plain", **KMEANS)
    with pytest.raises(UsageFault, match="a refined run at .*plain, got another"):
        fit_scribbled("baselines", None, scribbles=folder, run=tmp_path / "plain", resume=True)


def test_a_class_listed_but_never_drawn_is_no_matter(labelled: Path, tmp_path: Path) -> None:
    folder, listed = strokes(labelled, tmp_path / "drawn", (*NAMES, "tree", "sky")), {"images_seen": 32, **KMEANS}
    assert drawn(folder, labelled / "images").names == (*NAMES, "tree", "sky")
    model = fit_scribbled("baselines", labelled / "images", scribbles=folder, run=tmp_path / "run", **listed)
    assert {*NAMES} <= {*model.names}


def wrong(folder: Path, at: str, labels: np.ndarray, names: tuple[str, ...]) -> None:
    (folder / at).write_bytes(encode_labels(labels, names, [(i, i, i) for i in range(256)]))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((9, 7), np.int64), "size of their photos"),
        (np.full((40, 40), 255), "something drawn"),
        (np.arange(1600).reshape(40, 40) // 400, r"than regions \(3\), got 4 .*new --run"),
    ],
)
def test_strokes_that_cannot_be_used_are_said_at_once(
    labels: np.ndarray, words: str, labelled: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "drawn"
    folder.mkdir()
    wrong(folder, "00.png", labels, ("a", "b", "c", "d"))
    with pytest.raises(Fault, match=words):
        fit_scribbled("baselines", labelled / "images", scribbles=folder, run=tmp_path / "run", **KMEANS)
    assert not (tmp_path / "run-unlabelled").exists()


def test_photos_without_a_stroke_are_left_out(labelled: Path, tmp_path: Path) -> None:
    folder = strokes(labelled, tmp_path / "drawn")
    wrong(folder, "03.png", np.full((40, 40), 255), NAMES)
    model = fit_scribbled(
        "baselines", labelled / "images", scribbles=folder, run=tmp_path / "run", images_seen=32, **KMEANS
    )
    assert model.run.info["refined"]["labelled"] == 7


@pytest.mark.parametrize(
    ("room", "given", "count"),
    [
        ("baselines", {"k": 5}, 5), ("baselines", {}, 2), ("layer_disposal", {"k": 3}, 4), ("redraw", {}, 2),
        ("iic", {"k": "auto"}, None), ("independence", {}, None), ("nothing", {}, None),
    ],
)  # fmt: skip
def test_the_regions_that_settings_ask_for(room: str, given: dict[str, Any], count: int | None) -> None:
    assert _regions(room, given) == count


@pytest.mark.parametrize("words", [[], ["--run", "r", "--seeds", "2"], ["--run", "r", "--nodes", "2"]])
def test_flags_that_do_not_go_together(words: list[str], labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "baselines", "--images", str(labelled / "images"), "--scribbles", "drawn", *words]) == 2
    assert "\n" not in capsys.readouterr().err.strip()


def test_the_command(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = strokes(labelled, tmp_path / "drawn")
    words = [
        "fit",
        "baselines",
        "--images",
        str(labelled / "images"),
        "--scribbles",
        str(folder),
        "--kind",
        "kmeans-1x1",
    ]
    assert main([*words, "--size", "32", "--run", str(tmp_path / "run"), "--images-seen", "32"]) == 0
    seen = capsys.readouterr()
    assert "next   decoupe segment" in seen.out and "object: region" in seen.err
