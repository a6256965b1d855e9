"""Layers picked for classes on a labelled half, by hand on scores that are known, and through `decoupe name`."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from decoupe.cli import main
from decoupe.model import load
from decoupe.naming import name
from decoupe.picking import ap, masks, pick, shares
from tests.test_layers import _photo, _run


def _scores(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(6, 4, 8, 8) scores and (6, 8, 8) truths: layer 0 finds the left half of class 1, layer 2 its right half."""
    rng = np.random.default_rng(seed)
    truths = np.zeros((6, 8, 8), np.int64)
    truths[:, 2:6, :] = 1
    truths[:, 7, :3] = 255
    scores = rng.random((6, 4, 8, 8)).astype(np.float32) * 0.5
    scores[:, 0, 2:6, :4] += 0.6
    scores[:, 2, 2:6, 4:] += 0.6
    return scores, truths


def test_average_precision_agrees_with_scikit_learn() -> None:
    scores, truths = _scores()
    for layer in range(4):
        valid = truths != 255
        level = np.floor((scores[:, layer] - scores[:, layer][valid].min()) / np.ptp(scores[:, layer][valid]) * 1024)
        wanted = average_precision_score(truths[valid] == 1, level[valid].clip(0, 1023))
        assert ap(scores[:, layer], truths, 1) == pytest.approx(wanted, abs=1e-3)
    assert np.isnan(ap(scores[:, 0], truths, 7))
    assert ap(-scores[:, 0], truths, 1) < ap(scores[:, 0], truths, 1), "scores of any range"
    assert shares(truths, 2)[1] == pytest.approx((truths == 1).sum() / (truths != 255).sum())


def test_layers_that_complete_each_other_are_averaged_and_the_others_are_not() -> None:
    scores, truths = _scores()
    found = pick(scores, truths, 1)
    assert set(found.layers[:2]) == {0, 2}
    assert found.ap > max(ap(scores[:, k], truths, 1) for k in range(4)) + 0.1
    best = max(
        ap(scores[:, list(some)].mean(1), truths, 1)
        for n in range(1, 5)
        for some in itertools.combinations(range(4), n)
    )
    assert found.ap == pytest.approx(best, abs=0.02), "every subset tried"
    assert pick(scores, truths, 1, free=[1, 3]).layers[0] in (1, 3)
    assert pick(scores, truths, 1, free=[]).layers == ()


def _labelled(folder: Path, run_folder: Path) -> None:
    """Photos whose masks are where the run itself shows layer 2, so that it stands for `thing`."""
    model = load(_run(run_folder))
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for index in range(6):
        photo = np.roll(_photo(32, 32), 5 * index, 1)
        Image.fromarray(photo).save(folder / "images" / f"{index}.png")
        mask = masks(model, model.square(photo)[None])[0, 1] > 0.7
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{index}.png")
    (folder / "classes.txt").write_text("ground\nthing\n")


def test_name_from_masks_names_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _labelled(tmp_path / "labelled", tmp_path)
    done = name(tmp_path / "run", from_masks=tmp_path / "labelled")
    row = next(row for row in done["overlap"] if row["name"] == "thing")
    assert 2 in row["regions"] and row["ap"] > 0.9 and row["iou"] > 0.3
    model = load(tmp_path / "run")
    assert "thing" in model.names and model.names[0] == "background"
    taken = [region for row in done["overlap"] for region in row["regions"]]
    assert len(taken) == len(set(taken)), "a layer stands for one class"
    assert main(["name", str(tmp_path / "run"), "--from-masks", str(tmp_path / "labelled")]) == 0
    assert "is thing: average precision" in capsys.readouterr().out
