"""Probes of frozen features: what they can and cannot separate, and a whole pass over a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import decoupe
from decoupe.errors import Fault, UsageFault
from decoupe.evaluate.probes import cell_labels, fit_probe, probe
from decoupe.evaluate.run import evaluate
from tests.data import trees
from tests.data.files import save
from tests.tiny import TINY


def _rows(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2000, 4, generator=generator)
    inside = rows[:, 0] * rows[:, 1] > 0 if kind == "xor" else rows[:, 0] + 2 * rows[:, 1] > 0
    return 3 * rows + 7, inside.long()


def test_a_line_is_enough_for_a_line_and_not_for_a_saddle() -> None:
    for shape, kind, low, high in (
        ("line", "linear", 0.95, 1.0), ("xor", "linear", 0.4, 0.6), ("xor", "nonlinear", 0.95, 1.0),
    ):  # fmt: skip
        rows, classes = _rows(shape)
        trained = fit_probe(rows, classes, 2, kind)
        found = trained(rows.T[:, :, None]).argmax(0)[:, 0]
        assert low <= float((found == classes.numpy()).mean()) <= high, (shape, kind)


def test_the_same_seed_gives_the_same_probe_and_leaves_the_generator_alone() -> None:
    rows, classes = _rows("line")
    before = torch.get_rng_state()
    a, b = (fit_probe(rows, classes, 2, "nonlinear", seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(a(rows.T[:, :, None]), b(rows.T[:, :, None]))
    with pytest.raises(UsageFault, match="linear, nonlinear"):
        fit_probe(rows, classes, 2, "deep")


def test_the_class_at_the_centre_of_each_cell() -> None:
    truth = np.arange(36).reshape(6, 6)
    assert cell_labels(truth, 2, 3).tolist() == [[7, 9, 11], [25, 27, 29]]
    assert cell_labels(truth, 6, 6).tolist() == truth.tolist()


def _chips(root: Path) -> None:
    """Drone chips whose colour is their class."""
    trees.dronedeploy(root)
    rng = np.random.default_rng(0)
    for index in range(5):
        label = np.full((40, 40, 3), 4, np.uint8)
        label[:, : 12 + 4 * index] = 0
        tones = np.where(label == 0, np.array([200, 40, 40]), np.array([40, 160, 60]))
        save(root / f"image-chips/site-{index:06d}.png", (tones + rng.integers(0, 40, tones.shape)).astype(np.uint8))
        save(root / f"label-chips/site-{index:06d}.png", label)


def test_a_whole_pass_over_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "chips"
    _chips(data)
    options = TINY["iic"] | {"train_images": 16}
    decoupe.fit("iic", images=str(data / "image-chips"), run=tmp_path / "run", precision="fp32", **options)
    row = probe(str(tmp_path / "run"), f"dronedeploy:{data}", "linear", "dronedeploy-3")
    assert row["uses_labels"] and row["n_images"] == 1 and row["fit_on"].endswith("(train)")
    assert row["metrics"]["accuracy"] > 0.85 and row["per_class"]["building"] > 0.7
    source = f"dronedeploy:{data}"
    simple = decoupe.fit("baselines", images=source, split="train", run=tmp_path / "simple", size=32)
    assert simple.run.info["data"]["n"] == 3 and simple.run.info["data"]["split"] == "train"
    with pytest.raises(UsageFault, match="--fit-on NAME:PATH with dronedeploy-3-majority"):
        evaluate(tmp_path / "simple", source, "dronedeploy-3-majority")
    scored = evaluate(tmp_path / "simple", source, "dronedeploy-3-majority", fit_on=source)
    assert scored["results"][1]["matching"] == "majority" and "(train)" in scored["results"][1]["fit_on"]
    with pytest.raises(Fault, match="a map of features"):
        probe(str(tmp_path / "simple"), f"dronedeploy:{data}")
