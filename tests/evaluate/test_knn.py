"""Nearest neighbours against obvious loops; baselines; classes of the flower sets; the interval of a rate."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from decoupe.data.catalogue import open_dataset
from decoupe.data.layouts.flowers import categories
from decoupe.errors import Fault
from decoupe.evaluate import knn as module
from decoupe.evaluate.knn import constant_prediction, downscaled, drawn, knn, random_prediction, raw
from decoupe.evaluate.metrics import wilson


def _clusters(n: int = 90, d: int = 5, classes: int = 4, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    labels = rng.integers(1, classes + 1, n)
    centres = rng.normal(0, 1, (classes + 1, d))
    return (centres[labels] + rng.normal(0, spread, (n, d))).astype(np.float32), labels


def _by_loops(x: np.ndarray, y: np.ndarray, labelled: int, draws: int, seed: int, k: int, cosine: bool) -> list[float]:
    out = []
    for one, others in drawn(len(x), labelled, draws, seed):
        right = 0
        for i in others:
            gaps = []
            for j in one:
                a, b = x[i].astype(float), x[j].astype(float)
                if cosine:
                    gaps.append(1 - sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b)))
                else:
                    gaps.append(math.sqrt(sum((a - b) ** 2)))
            near = [int(y[one[n]]) for n in np.argsort(gaps, kind="stable")[:k]]
            votes = Counter(near)
            best = max(votes.values())
            right += next(c for c in near if votes[c] == best) == y[i]
        out.append(right / len(others))
    return out


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("k", [1, 4])
def test_accuracy_is_that_of_the_loops(k: int, cosine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _clusters()
    expected = _by_loops(x, y, 20, 3, 7, k, cosine)
    for chunk in (1 << 23, 31):
        monkeypatch.setattr(module, "CHUNK", chunk)
        found = knn(x, y, 20, 3, 7, k=k, metric="cosine" if cosine else "euclidean")
        assert found == pytest.approx((np.mean(expected), statistics.stdev(expected)), abs=1e-12)
    assert 0.3 < found[0] < 0.95  # neither hopeless nor trivial: a wrong neighbour would show


def test_tensors_shifts_and_seeds() -> None:
    x, y = _clusters()
    assert knn(torch.from_numpy(x), torch.from_numpy(y), 20, 3) == knn(x, y, 20, 3)
    assert knn(x + 3000, y, 20, 3) == pytest.approx(knn(x, y, 20, 3), abs=0.03)
    assert knn(x, y, 20, 3, seed=1) != knn(x, y, 20, 3)
    assert knn(_clusters(spread=0.0)[0], y, 60, 4) == (1.0, 0.0)


def test_draws_share_nothing_out_and_differ() -> None:
    parts = list(drawn(30, 7, 4, 0))
    assert all(sorted([*one, *others]) == list(range(30)) and len(one) == 7 for one, others in parts)
    assert len({tuple(one) for one, _ in parts}) == 4


def test_baselines() -> None:
    squares = np.random.default_rng(0).integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
    assert raw(squares).shape == (30, 3 * 32 * 32) and raw(squares)[2, 5] == np.float32(squares[2, 0, 0, 5]) / 255
    small = downscaled(squares)
    assert small.shape == (30, 3 * 16 * 16)
    assert small[4, 16 * 16 + 2 * 16 + 3] == pytest.approx(squares[4, 1, 4:6, 6:8].mean() / 255, rel=1e-5)
    assert downscaled(squares[:, :, :24, :24]).shape == (30, 768)
    labels = np.array([1] * 15 + [2] * 10 + [3] * 5)
    assert constant_prediction(labels) == 0.5
    mean, spread = random_prediction(np.arange(20000) % 10, 200, 5)
    assert mean == pytest.approx(0.1, abs=0.005) and 0 < spread < 0.01


def test_wrong_input_is_one_line() -> None:
    x, y = _clusters()
    for arguments, words in [
        ((x, y[:-1], 20, 3), "labels"), ((x, y, 90, 3), "label fewer"), ((x, y, 0, 3), "label fewer"),
        ((x, y, 20, 1), "2 draws or more"), ((x * np.nan, y, 20, 3), "finite"), ((x[:, 0], y, 20, 3), "rows?"),
    ]:  # fmt: skip
        with pytest.raises(Fault, match=words):
            knn(*arguments)
    with pytest.raises(Fault, match="k between 1 and 20"):
        knn(x, y, 20, 3, k=21)


def _flower_files(root: Path, ids: list[int]) -> None:
    from PIL import Image

    for folder in ("jpg", "segmim"):
        (root / folder).mkdir(parents=True)
        for i in ids:
            name = f"image_{i:05d}.jpg" if folder == "jpg" else f"segmim_{i:05d}.jpg"
            Image.new("RGB", (8, 8)).save(root / folder / name)
    savemat(root / "setid.mat", {"trnid": [ids[:1]], "valid": [ids[1:2]], "tstid": [ids[2:]]})


def test_species_of_flowers102_come_from_its_labels(tmp_path: Path) -> None:
    _flower_files(tmp_path, [1, 3, 4, 6])
    dataset = open_dataset(f"flowers102:{tmp_path}")
    with pytest.raises(Fault, match=r"imagelabels\.mat"):
        categories(dataset)
    savemat(tmp_path / "imagelabels.mat", {"labels": [[77, 1, 5, 102, 9, 33]]})
    assert categories(dataset).tolist() == [77, 5, 102, 33]
    savemat(tmp_path / "imagelabels.mat", {"labels": [[77, 1, 5]]})
    with pytest.raises(Fault, match="images 1 to 3"):
        categories(dataset)


def test_species_of_flowers17_come_from_its_numbers(shared_data: Path) -> None:
    dataset = open_dataset(f"flowers17:{shared_data}/data/flowers17")
    found = categories(dataset)
    assert len(found) == len(dataset.samples) and set(found.tolist()) == set(range(1, 18))
    assert all(
        c == (int(s.image.stem.removeprefix("image_")) - 1) // 80 + 1
        for c, s in zip(found, dataset.samples, strict=True)
    )


def test_a_data_set_without_species_says_so(synth: Path) -> None:
    with pytest.raises(Fault, match="flowers17 or flowers102"):
        categories(open_dataset(f"synth:{synth}"))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (1, 1, 0.2065, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilsons_interval_against_published_values(k: int, n: int, low: float, high: float) -> None:
    """81 of 263 is the example of Newcombe (1998), table I."""
    assert wilson(k, n) == pytest.approx((low, high), abs=6e-5)


def test_wilsons_interval_solves_its_equation() -> None:
    """Its ends are the rates whose score test of the observed one is exactly at 5 %: (p - q)^2 = z^2 q (1 - q) / n."""
    for end in wilson(3, 17):
        assert (3 / 17 - end) ** 2 == pytest.approx(1.959963984540054**2 * end * (1 - end) / 17)
