"""`evaluate` on real run folders: rows, matching, storage, frames, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import decoupe
from decoupe.data.catalogue import open_dataset
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import pack_tensors
from decoupe.errors import Fault, UsageFault
from decoupe.evaluate import measure as measuring
from decoupe.evaluate import run as module
from decoupe.evaluate.protocols import protocol_of
from decoupe.evaluate.run import evaluate


def write_set(folder: Path, n: int, seed: int, split: str = "", flip: int = -1) -> None:
    """Bright discs of a hue of their own on dark noise, of odd sizes; one image (`flip`) has its mask inverted."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name / split).mkdir(parents=True, exist_ok=True)
    for index in range(n):
        height, width = int(rng.integers(40, 70)), int(rng.integers(40, 70))
        y, x = np.mgrid[:height, :width]
        mask = (y - height / 2) ** 2 + (x - width / 2) ** 2 < rng.uniform(10, 16) ** 2
        photo = np.where(mask[..., None], (200, 160, 40), (40, 60, 90)) + rng.normal(0, 8, (height, width, 3))
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / "images" / split / f"{seed}_{index}.png")
        truth = np.where(index == flip, ~mask, mask).astype(np.uint8)
        truth[0, :5] = 255
        Image.fromarray(truth).save(folder / "masks" / split / f"{seed}_{index}.png")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "discs"
    write_set(folder, 9, 0, "train")
    write_set(folder, 7, 1, "test", flip=3)
    return folder


@pytest.fixture(scope="module")
def fitted(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("runs")
    options: dict[str, dict[str, Any]] = {
        "kmeans-lab": {}, "kmeans-1x1": {"k": 3, "samples": 2000}, "random": {},
        "average-mask": {"labels": f"masks:{labelled}"},
    }  # fmt: skip
    for kind, more in options.items():
        decoupe.fit("baselines", images=labelled / "images", run=base / kind, kind=kind, size=32, **more)
    return {kind: base / kind for kind in options}


def test_three_rows_and_the_fields_of_the_design(fitted: dict[str, Path], labelled: Path) -> None:
    content = evaluate(fitted["kmeans-lab"], f"masks:{labelled}")
    assert set(content) == {"results", "protocol", "split", "data", "about", "command", "date"}
    assert (content["protocol"], content["split"], content["data"]) == ("masks", "test", f"masks:{labelled}")
    rows = content["results"]
    assert [row["row"] for row in rows] == [row["selection"] for row in rows] == ["last", "selected", "oracle"]
    for row in rows:
        assert row["matching"] == "hungarian" and row["observed"] == ["image"] and row["n_images"] == 7
        assert set(row["metrics"]) == {"iou", "miou", "accuracy", "precision", "recall", "f1", "ap"}
        assert row["frame"] == "ground truth's" and list(row["per_class"]) == ["background", "object"]
        low, high = row["interval"]["iou"]
        assert 0 <= low <= row["metrics"]["iou"] <= high <= 1
        assert "confusions" not in row and row["uses_labels"] == (row["row"] == "oracle")
    json.dumps(content, allow_nan=False)


def test_scores_are_those_of_the_masks_that_segment_gives(fitted: dict[str, Path], labelled: Path) -> None:
    row = evaluate(fitted["kmeans-lab"], f"masks:{labelled}")["results"][1]
    model = decoupe.load(fitted["kmeans-lab"])
    both = either = right = valid = 0
    for sample in open_dataset(f"masks:{labelled}").split("test")[1]:
        regions, truth = model.segment(sample.image), sample.mask()
        seen = truth != 255
        predicted = regions.labels == 1
        both += int((predicted & (truth == 1) & seen).sum())
        either += int(((predicted | (truth == 1)) & seen).sum())
        right += int((predicted == (truth == 1))[seen].sum())
        valid += int(seen.sum())
    assert row["metrics"]["iou"] == pytest.approx(both / either, abs=1e-6)
    assert row["metrics"]["accuracy"] == pytest.approx(right / valid, abs=1e-6)
    assert 0.3 < row["metrics"]["iou"] < 0.9  # one of seven masks is inverted


def test_matching_modes_are_ordered_as_they_must_be(fitted: dict[str, Path], labelled: Path) -> None:
    data = f"masks:{labelled}"
    by_mode = {
        m: evaluate(fitted["kmeans-lab"], data, matching=m)["results"][1]
        for m in ("hungarian", "per-image-flip", "named")
    }
    accuracy = {m: row["metrics"]["accuracy"] for m, row in by_mode.items()}
    assert accuracy["named"] == accuracy["hungarian"] < accuracy["per-image-flip"]
    assert by_mode["per-image-flip"]["uses_labels"] and not by_mode["hungarian"]["uses_labels"]
    assert by_mode["per-image-flip"]["metrics"]["iou"] > 0.9 and by_mode["per-image-flip"]["metrics"]["ap"] is None


def test_leftover_regions_and_majority_with_three_clusters(fitted: dict[str, Path], labelled: Path) -> None:
    one = evaluate(fitted["kmeans-1x1"], f"masks:{labelled}")["results"][1]
    many = evaluate(fitted["kmeans-1x1"], f"masks:{labelled}", matching="majority")["results"][1]
    assert sorted(name or "" for _, name in one["assignment"]) == ["", "background", "object"]
    assert all(name for _, name in many["assignment"])
    assert many["metrics"]["accuracy"] > one["metrics"]["accuracy"]


def test_matching_fitted_elsewhere_is_applied_here(fitted: dict[str, Path], labelled: Path, tmp_path: Path) -> None:
    write_set(tmp_path / "inverted", 4, 5)
    for path in (tmp_path / "inverted" / "masks").iterdir():
        Image.fromarray(1 - np.minimum(np.asarray(Image.open(path)), 1)).save(path)
    run, data = fitted["kmeans-lab"], f"masks:{labelled}"
    own = evaluate(run, data, fit_on=data)["results"][1]
    assert own["matching"] == "fit-on-train" and own["fit_on"] == f"{data} (train)"
    assert own["metrics"] == evaluate(run, data)["results"][1]["metrics"]
    swapped = evaluate(run, data, fit_on=f"masks:{tmp_path / 'inverted'}")["results"][1]
    assert swapped["metrics"]["accuracy"] == pytest.approx(1 - own["metrics"]["accuracy"], abs=1e-5)
    assert [name for _, name in swapped["assignment"]] == ["object", "background"]


def test_label_use_is_marked(fitted: dict[str, Path], labelled: Path) -> None:
    rows = evaluate(fitted["average-mask"], f"masks:{labelled}")["results"]
    assert all(row["uses_labels"] for row in rows)


def test_results_are_kept_under_names_that_do_not_collide(fitted: dict[str, Path], labelled: Path) -> None:
    run, data = fitted["random"], f"masks:{labelled}"
    evaluate(run, data)
    evaluate(run, data, split="train")
    evaluate(run, data, matching="majority")
    stored = dict(Run.open(run).results())
    assert set(stored) == {"masks-discs", "masks-discs-train", "masks-discs-majority"}
    content = stored["masks-discs"]
    assert len(content["images"]) == 7 and np.array(content["results"][0]["confusions"]).shape == (7, 3, 2)
    assert content["command"] == f"decoupe evaluate {run} --data {data}"


def test_large_results_leave_out_the_images(
    fitted: dict[str, Path], labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORED", 7 * 6 - 1)
    evaluate(fitted["random"], f"masks:{labelled}")
    content = dict(Run.open(fitted["random"]).results())["masks-discs"]
    assert "images" not in content and "confusions" not in content["results"][0]


def test_progress_counts_every_image(fitted: dict[str, Path], labelled: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = f"masks:{labelled}"
    evaluate(fitted["random"], data, fit_on=data, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 16) for i in range(16)]


def snapshots(run: Path, shifts: dict[int, float], chosen: int) -> None:
    """Give a finished average-mask run snapshots whose mask is shifted by so much."""
    opened = Run.open(run)
    model = decoupe.load(run)
    state = {k: t.clone() for k, t in model.room.state_dict().items()}
    about = {"room": "baselines", "config": opened.info["config"], "spec": opened.info["spec"]}
    entries = []
    for images, shift in shifts.items():
        name = f"candidates/{images:09d}.safetensors"
        opened.write_bytes(name, pack_tensors(state | {"mean_mask": (state["mean_mask"] + shift).clamp(0, 1)}, about))
        entries.append({"images": images, "score": 0.5, "file": name, "healthy": True, "stage": "a"})
    opened.commit(candidates=entries, selection={"images": chosen, "score": 0.5})


def test_oracle_is_the_best_snapshot_and_selected_the_chosen_one(labelled: Path, tmp_path: Path) -> None:
    data = f"masks:{labelled}"
    decoupe.fit("baselines", images=labelled / "images", run=tmp_path / "r", kind="average-mask", size=32, labels=data)
    snapshots(tmp_path / "r", {100: -0.4, 200: 0.0, 300: 0.3}, chosen=100)
    last, selected, oracle = evaluate(tmp_path / "r", data, split="train")["results"]
    assert (last["snapshot"], selected["snapshot"], oracle["snapshot"]) == (300, 100, 200)
    assert oracle["metrics"]["iou"] > max(last["metrics"]["iou"], selected["metrics"]["iou"])
    assert selected["metrics"] != last["metrics"]
    assert "image 100" in selected["chosen"] and "best iou of 3" in oracle["chosen"]


def test_box_protocol_scores_each_crop(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:12, 4:20] = 1
    for name, array in (("i", np.zeros((20, 30, 3), np.uint8)), ("m", mask)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    sample = measuring.Sample("i", tmp_path / "i.png", "test", tmp_path / "m.png", (3.5, 4.0, 20.2, 99.0))
    boxes, whole = (protocol_of(name, ("background", "bird")) for name in ("cub200-boxes", "cub200"))
    image, truth = measuring.load_pair(sample, boxes)
    assert image.shape == (16, 18, 3) and np.array_equal(truth, mask[4:20, 3:21])
    assert measuring.load_pair(sample, whole)[1].shape == (20, 30)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"matching": "luck"}, "--matching to be one of"),
        ({"matching": "fit-on-train"}, "--fit-on"),
        ({"protocol": "pascal"}, "--protocol to be one of"),
        ({"protocol": "cub200-boxes"}, "a box for every image"),
        ({"split": "dev"}, "a split of masks"),
    ],
)
def test_wrong_options_are_one_line(fitted: dict[str, Path], labelled: Path, options: Any, words: str) -> None:
    with pytest.raises(Fault, match=words):
        evaluate(fitted["random"], f"masks:{labelled}", **options)


def test_names_that_fit_no_class_are_refused(fitted: dict[str, Path], labelled: Path) -> None:
    with pytest.raises(UsageFault, match="decoupe name"):
        evaluate(fitted["random"], f"masks:{labelled}", matching="named")


def test_real_photos_score_what_was_measured(photos: Path, shared_data: Path, tmp_path: Path) -> None:
    decoupe.fit("baselines", images=photos, run=tmp_path / "r", kind="kmeans-lab", size=64)
    content = evaluate(tmp_path / "r", f"flowers17:{shared_data / 'data' / 'flowers17'}")
    row = content["results"][1]
    assert content["split"] == "test" and row["n_images"] == 109
    assert row["metrics"]["iou"] == pytest.approx(0.784, abs=0.01)  # methods/baselines/README.md
