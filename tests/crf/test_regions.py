"""The CRF as the last step of any method: `sharpen`, `segment(crf=...)` and `segment --crf`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image as Pillow

from decoupe.cli.segment import CRFS, crf
from decoupe.crf import PRESETS, Settings, dense_crf, sharpen
from decoupe.errors import Fault, UsageFault
from decoupe.segment import segment
from decoupe.types import Regions
from tests.bright import Bright
from tests.crf.scenes import guess, scene


class AnyBands(Bright):
    """Takes photos of any number of bands."""

    def square(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (3, S, S), each the mean band."""
        return super().square(image.mean(2, keepdims=True).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Grey, colour and five-band photos of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Pillow.fromarray(scene(40, 52, 1).numpy()[..., 0]).save(folder / "grey.png")
    Pillow.fromarray(scene(44, 36, 3).numpy()).save(folder / "colour.png")
    tifffile.imwrite(folder / "bands.tif", scene(38, 41, 5).numpy(), photometric="minisblack", planarconfig="contig")
    return folder


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_sharpen_is_dense_crf_in_the_photo_s_frame(channels: int) -> None:
    image, probs = scene(30, 33, channels), guess(3, 30, 33)
    regions = Regions(probs.numpy(), ("a", "b", "c"), layers=np.zeros((3, 30, 33, 4), np.float32))
    image_array = image.numpy()
    image_array.flags.writeable = False
    sharp = sharpen(regions, image_array, "stego")
    assert np.array_equal(sharp.probs, dense_crf(probs, image, "stego").numpy())
    assert sharp.names == regions.names and sharp.layers is None
    assert sharpen(regions, image_array, None) is regions and sharpen(regions, image_array, "none") is regions
    with pytest.raises(Fault, match="one frame"):
        sharpen(regions, image_array[:9], "stego")
    with pytest.raises(UsageFault, match="preset"):
        sharpen(regions, image_array, "photoshop")


@pytest.mark.parametrize("k", [2, 4])
def test_segment_with_a_crf(photos: Path, tmp_path: Path, k: int) -> None:
    model = AnyBands(names=tuple(f"r{i}" for i in range(k)))
    done = segment(model, photos, tmp_path / "out", ("npz", "png", "coco", "overlay", "csv"), crf="krahenbuhl")
    assert done["written"] == 3 and not done["problems"]
    plain = segment(model, photos, tmp_path / "plain", "npz")
    assert plain["written"] == 3
    from decoupe.data.decode import read_image

    for path in photos.iterdir():
        got = np.load(tmp_path / "out" / f"{path.stem}.npz")
        before = np.load(tmp_path / "plain" / f"{path.stem}.npz")["probs"]
        image = read_image(path)
        expected = dense_crf(torch.from_numpy(before), torch.from_numpy(image.copy())).numpy()
        assert got["probs"].shape == (k, *image.shape[:2])
        assert np.abs(got["probs"] - expected).max() < 2e-3  # npz keeps half precision
        assert np.array_equal(np.asarray(Pillow.open(tmp_path / "out" / f"{path.stem}.png")), got["labels"])


def test_another_crf_redoes_the_folder_and_the_same_one_does_not(photos: Path, tmp_path: Path) -> None:
    model, out = AnyBands(), tmp_path / "out"
    assert segment(model, photos, out, crf="none")["written"] == 3
    assert segment(model, photos, out)["written"] == 0
    assert segment(model, photos, out, crf="stego")["written"] == 3
    assert segment(model, photos, out, crf="stego")["written"] == 0
    assert segment(model, photos, out, crf=Settings(srgb=7))["written"] == 3


def test_the_command_knows_every_preset() -> None:
    assert CRFS == ("none", *PRESETS) and [crf(name) for name in CRFS] == list(CRFS)
    with pytest.raises(UsageFault, match="--crf of none, krahenbuhl"):
        crf("krahenbul")
