"""Every kind of baseline behind the contract of a room."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from decoupe.errors import Fault
from decoupe.methods.baselines.average import best_cut, centred, tally
from decoupe.methods.baselines.config import CELLS, CLUSTERED, PRETEXTS, Config, Kind
from decoupe.methods.baselines.room import Baselines, ellipse
from decoupe.methods.room import DataSpec, TrainingData
from decoupe.nn.backbones import backbone

KINDS = get_args(Kind)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three images with masks: the object is the left half, in one of them a quarter; layout `masks`."""
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index, rows in enumerate((40, 40, 20)):
        mask = np.zeros((40, 48), np.uint8)
        mask[:rows, :24] = 1
        Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
        Image.fromarray(np.full((40, 48, 3), 90, np.uint8)).save(folder / "images" / f"{index}.png")
    return f"masks:{folder}"


@functools.cache
def weights() -> str:
    """A MobileNetV2 that was never trained, in a file kept until the end."""
    folder = Path(tempfile.mkdtemp(prefix="decoupe-weights-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = backbone("mobilenet_v2").body.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "mobilenet_v2.safetensors")
    return str(folder / "mobilenet_v2.safetensors")


def room(kind: str, labelled: str, bands: int = 3, size: int = 32, **options: Any) -> Baselines:
    """A fitted room of this kind."""
    torch.manual_seed(0)
    if kind == "average-mask":
        options["labels"] = labelled
    if kind == "features":
        options["features"] = weights()
    config = Config(kind=kind, size=size, samples=1000, **options)  # type: ignore[arg-type]
    spec = DataSpec(bands, size)
    images = np.random.default_rng(0).integers(0, 256, (8, bands, size, size), dtype=np.uint8)
    fitted = Baselines(config, spec)
    data = TrainingData(images, images, spec)
    fitted.prepare(data)
    if kind in PRETEXTS:  # as if it had trained: the last stage begins with k-means
        fitted.enter(len(fitted.stages()) - 1, data, True)
        fitted.eval()
    return fitted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bands", [1, 3, 5])
def test_any_size_any_bands(kind: str, bands: int, labelled: str) -> None:
    fitted = room(kind, labelled, bands)
    images = torch.rand(2, bands, 35, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    probs = fitted.segment(images)
    assert probs.shape == (2, 2, 35, 50) and probs.dtype == torch.float32 and len(fitted.regions) == 2
    assert probs.min() >= 0
    torch.testing.assert_close(probs.sum(1), torch.ones(2, 35, 50))
    torch.testing.assert_close(probs, torch.cat([fitted.segment(image[None]) for image in images]))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(fitted.segment(images), probs)


@pytest.mark.parametrize("kind", CLUSTERED)
def test_k_regions(kind: str, labelled: str) -> None:
    fitted = room(kind, labelled, k=4)
    probs = fitted.segment(torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    assert fitted.regions == ("region 0", "region 1", "region 2", "region 3")
    used = set(probs.argmax(1).unique().tolist())
    assert probs.shape[1] == 4 and used <= {0, 1, 2, 3} and len(used) >= (3 if kind in CELLS else 4)


@pytest.mark.parametrize("kind", ["kmeans-1x1", "kmeans-7x7"])
def test_whitened_patches_are_nearest_in_bands_of_identity_covariance(kind: str) -> None:
    rng = np.random.default_rng(0)
    light = rng.normal(120, 40, (8, 1, 32, 32)).repeat(3, 1)
    images = (light + rng.normal(0, (4, 6, 9), (8, 32, 32, 3)).transpose(0, 3, 1, 2)).clip(0, 255).astype(np.uint8)
    torch.manual_seed(0)
    spec = DataSpec(3, 32)
    fitted = Baselines(Config(kind=kind, k=4, size=32, samples=1000, whiten=True), spec)  # type: ignore[arg-type]
    fitted.prepare(TrainingData(images, images, spec))
    white = fitted.whitening(torch.from_numpy(images).float() / 127.5 - 1)
    assert np.abs(np.cov(white.movedim(1, 0).flatten(1).double().numpy(), bias=True) - np.eye(3)).max() < 1e-3
    labels = fitted.segment(torch.from_numpy(images[:2]).float() / 127.5 - 1).argmax(1)
    side = fitted.patch // 2
    for b, y, x in [(0, 5, 6), (1, 20, 28), (0, 12, 3), (1, 9, 9)]:
        patch = white[b, :, y - side : y + side + 1, x - side : x + side + 1]
        assert labels[b, y, x] == ((fitted.centres - patch) ** 2).sum((1, 2, 3)).argmin()
    again = Baselines(fitted.config, spec)
    again.load_state_dict(fitted.state_dict())
    assert torch.equal(again.segment(white), fitted.segment(white))


@pytest.mark.parametrize("kind", KINDS)
def test_state_is_all_of_it_and_the_seed_decides(kind: str, labelled: str) -> None:
    fitted, again = room(kind, labelled), room(kind, labelled)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    copy = Baselines(fitted.config, fitted.spec)
    copy.load_state_dict(fitted.state_dict())
    copy.eval()
    assert torch.equal(copy.segment(images), fitted.segment(images))
    assert all(torch.equal(a, b) for a, b in zip(fitted.buffers(), again.buffers(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(fitted.parameters(), again.parameters(), strict=True))
    assert bool(list(fitted.parameters())) == (kind in CELLS) and bool(fitted.stages()) == (kind in PRETEXTS)


def test_random_differs_between_images_and_is_uniform(labelled: str) -> None:
    fitted = room("random", labelled)
    probs = fitted.segment(torch.linspace(-1, 1, 4).view(4, 1, 1, 1).expand(4, 3, 64, 64))
    assert not torch.equal(probs[0], probs[1])
    assert probs[:, 1].mean().item() == pytest.approx(0.5, abs=0.01)
    assert (probs[:, 1] < 0.25).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_ellipse_covers_its_share_and_touches_its_axes() -> None:
    inside = ellipse(200, 300, 0.7) > 0.5
    assert inside.float().mean().item() == pytest.approx(np.pi / 4 * 0.49, abs=2e-3)
    assert inside.any(1).sum() == 140 and inside.any(0).sum() == 210


def test_tally_is_the_share_of_object_where_labelled() -> None:
    masks = [np.array([[1, 0], [1, 255]]), np.array([[1, 1], [0, 255]])]
    for shown in (masks, [np.kron(m, np.ones((3, 3), int)) for m in masks]):
        hits, seen = tally(shown, 1, 2)
        assert hits.tolist() == [[2, 1], [1, 0]] and seen.tolist() == [[2, 2], [2, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_the_cut_is_the_best_of_all_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.random((6, 6)) * 0.8
    masks = [np.where(rng.random((6, 6)) < 0.1, 255, (rng.random((6, 6)) < shape).astype(int)) for _ in range(9)]
    hits, seen = tally(masks, 1, 6)
    truth = np.stack(masks)

    def iou(level: float) -> float:
        one = np.broadcast_to((hits / seen.clamp_min(1e-6)).numpy() > level, truth.shape)
        both, either = (one & (truth == 1)).sum(), ((one | (truth == 1)) & (truth != 255)).sum()
        return float(both / either)

    assert iou(best_cut(hits, seen)) == pytest.approx(max(iou(level) for level in np.linspace(0, 0.99, 200)))


def test_centring_keeps_the_order_and_moves_the_level_to_one_half() -> None:
    mean = torch.linspace(0, 1, 11)
    bent = centred(mean, 0.3)
    assert (bent.diff() > 0).all() and bent[[0, 3, 10]].tolist() == pytest.approx([0, 0.5, 1])


def test_average_mask_is_read_from_the_labelled_set(labelled: str) -> None:
    fitted = room("average-mask", labelled)
    assert fitted.uses_labels and not room("otsu", labelled).uses_labels
    torch.testing.assert_close(fitted.mean_mask[:16, :16], torch.ones(16, 16))
    level = 1 / 3  # of the places that are object in 2 of 3 masks and of those that never are
    torch.testing.assert_close(
        fitted.mean_mask[16:, :16], torch.full((16, 16), 0.5 + (2 / 3 - level) / (1 - level) / 2)
    )
    assert fitted.mean_mask[:, 16:].max() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "best"}, "kind to be one of random"),
        ({"kind": "otsu", "k": 3}, "k = 2 for otsu"),
        ({"k": 1}, "k between"),
        ({"kind": "average-mask"}, "without --labels"),
        ({"kind": "otsu", "labels": "masks:a"}, "with --labels"),
        ({"margin": 0.5}, "margin between"),
        ({"axes": 0.0}, "axes between"),
        ({"size": 16}, "size between"),
        ({"samples": 3}, "samples between"),
        ({"kind": "sift", "whiten": True}, "--whiten with kmeans-1x1, kmeans-7x7"),
    ],
)
def test_wrong_settings_are_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault, match=words):
        Config(**options)


def test_labels_without_masks_or_object_are_refused(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.full((32, 32), 2, np.uint8)).save(tmp_path / "masks" / "a.png")
    Image.fromarray(np.full((32, 32), 2, np.uint8)).save(tmp_path / "images" / "a.png")
    config = Config(kind="average-mask", size=32, labels=f"masks:{tmp_path}")
    images = np.zeros((1, 1, 32, 32), np.uint8)
    with pytest.raises(Fault, match="one object|masks"):
        Baselines(config, DataSpec(1, 32)).prepare(TrainingData(images, images, DataSpec(1, 32)))
