"""Layers in the user's frame: RGBA, a photo without one, the format `layers`, and the verb `remove`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from decoupe import layers
from decoupe.cli import main
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import pack_tensors
from decoupe.errors import Fault, UsageFault
from decoupe.methods.layer_disposal.room import LayerDisposal
from decoupe.methods.room import to_unit
from decoupe.model import Model, load
from decoupe.nn.norm import BatchNorm2d
from decoupe.report.layers import strip
from decoupe.segment import segment
from tests.tiny import build, photos, teacher


def _run(folder: Path, channels: int = 3) -> Run:
    """A finished run whose masks go all the way from 0 to 1."""
    room, data = build("layer_disposal", channels, learn_keep=False)
    assert isinstance(room, LayerDisposal)
    room.train()
    with torch.no_grad():
        room.generator.decoders.last.weight.mul_(60)
        room.encoder.body[-1].weight.mul_(4)
        for norm in (m for m in room.modules() if isinstance(m, BatchNorm2d)):
            norm.momentum = 1.0  # running statistics from one batch
        room.generator.decoders.side_by_side(torch.rand(64, 8, 2, 2) * 2 - 1)
        room.encoder(to_unit(data.images))
    run = Run.create(folder / "run", "layer_disposal")
    run.commit(config=dataclasses.asdict(room.config), spec=dataclasses.asdict(room.spec), status="done")
    weights = {k: t for k, t in room.state_dict().items() if k.startswith(room.inference)}
    run.write_bytes("weights.safetensors", pack_tensors(weights))
    run.set_names(room.regions)
    return run


def _photo(height: int = 48, width: int = 80, channels: int = 3) -> np.ndarray:
    small = np.ascontiguousarray(photos(1, channels)[0].transpose(1, 2, 0))
    rows, columns = np.arange(height) * 32 // height, np.arange(width) * 32 // width
    return small[rows][:, columns]


def test_layers_over_one_another_are_the_rebuilt_image(tmp_path: Path) -> None:
    model = load(_run(tmp_path))
    square = model.square(_photo())[None]
    sheets = layers.rgba(model, square)
    assert sheets.shape == (1, 4, 4, 32, 32) and float(sheets.min()) >= 0 and float(sheets.max()) <= 1
    over = sheets[0, 0, :3]
    for sheet in sheets[0, 1:]:
        over = sheet[:3] + over * (1 - sheet[3:])
    rebuilt = (layers.decompose(model, square).flatten()[0].numpy() + 1) / 2
    assert np.allclose(over, rebuilt, atol=1e-5)
    assert float(np.ptp(sheets[0, 1:, 3])) > 0.3, "masks that say nothing test nothing"


def test_regions_carry_the_layers_and_merged_ones_are_one(tmp_path: Path) -> None:
    run = _run(tmp_path)
    found = load(run).segment(_photo())
    assert found.layers is not None and found.layers.shape == (4, 48, 80, 4)
    assert np.allclose(found.layers[0, ..., 3], 1)
    photo = _photo(32, 32)  # the side of the network: enlarged layers over one another are not what is enlarged at once
    found = load(run).segment(photo)
    run.set_names(run.names, [[1, 3]])
    merged = load(run).segment(photo)
    assert found.layers is not None and merged.layers is not None and merged.layers.shape == (3, 32, 32, 4)
    first, last = found.layers[1], found.layers[3]
    assert np.allclose(merged.layers[1], last + first * (1 - last[..., 3:]), atol=0.03)
    assert load(teacher()).segment(_photo()).layers is None


@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_bands_is_shown_in_colours(tmp_path: Path, channels: int) -> None:
    model = load(_run(tmp_path, channels))
    found = model.segment(_photo(channels=channels))
    assert found.layers is not None and found.layers.shape == (4, 48, 80, 4)
    assert layers.without(model, _photo(channels=channels), "layer 2").shape == (48, 80, channels)


def test_without_a_layer_the_photos_own_pixels_stay_where_it_was_not(tmp_path: Path) -> None:
    model, photo = load(_run(tmp_path)), _photo(32, 32)
    changed = 0
    for name in model.names[1:]:
        for seamless in (True, False):
            found = layers.without(model, photo, name, seamless)
            assert found.shape == photo.shape and found.dtype == np.uint8
            share = model.segment(photo).probs[model.names.index(name)]
            far = share < layers.KEPT - 0.001
            assert far.any() and (found[far] == photo[far]).all()
            changed += int((found != photo).any())
    assert changed


def test_where_a_layer_was_the_others_are_shown(tmp_path: Path) -> None:
    """At the network's own size, without a shift of colours: exactly the other layers over one another."""
    model = load(_run(tmp_path))
    photo = _photo(32, 32)
    stack = layers.decompose(model, model.square(photo)[None])
    keep = torch.tensor([[1.0, 0.0, 1.0]])
    others = ((stack.flatten(keep)[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    gone = model.segment(photo).probs[2] > layers.GONE + 0.01
    assert gone.any()
    assert np.abs(layers.without(model, photo, "layer 2", seamless=False)[gone] - others[gone]).max() <= 0.51


def _membrane_by_waiting(values: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Each pixel of the hole becomes the mean of its neighbours, again and again."""
    out = np.where(hole[..., None], 0.0, values.astype(np.float64))
    for _ in range(3000):
        for y, x in zip(*np.nonzero(hole), strict=True):
            around = [(y + dy, x + dx) for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))]
            out[y, x] = np.mean([out[p] for p in around if 0 <= p[0] < len(hole) and 0 <= p[1] < hole.shape[1]], 0)
    return out


def test_the_membrane_is_harmonic() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 8, 2)).astype(np.float32)
    hole = np.zeros((7, 8), bool)
    hole[2:6, 3:8] = True  # touches the border of the image
    hole[0, 0] = True
    found = layers.membrane(values, hole)
    assert np.array_equal(found[~hole], values[~hole])
    assert np.allclose(found, _membrane_by_waiting(values, hole), atol=1e-4)
    assert np.array_equal(layers.membrane(values, np.zeros_like(hole)), values)
    assert not layers.membrane(values, np.ones_like(hole)).any()
    slope = np.arange(8, dtype=np.float32)[None, :, None].repeat(7, 0)
    inner = np.zeros((7, 8), bool)
    inner[2:5, 2:6] = True
    assert np.allclose(layers.membrane(slope, inner), slope, atol=1e-5), "a ramp goes on as a ramp"


def test_layers_are_named_and_the_background_stays(tmp_path: Path) -> None:
    run = _run(tmp_path)
    run.set_names(["ground", "bed", "lamp", "bed 2"], [[1, 3]])
    model = load(run)
    assert layers.region_of(model, "bed") == 1 and layers.region_of(model, "2") == 2
    for wrong in ("cat", "9", "-1"):
        with pytest.raises(UsageFault, match=r"a layer \(bed, lamp\)"):
            layers.region_of(model, wrong)
    with pytest.raises(UsageFault, match="behind"):
        layers.region_of(model, "ground")
    with pytest.raises(Fault, match="layer_disposal"):
        layers.without(load(teacher()), _photo(), "region 1")


def test_the_format_writes_every_layer_as_a_page(tmp_path: Path) -> None:
    run = _run(tmp_path)
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.fromarray(_photo(40 + index, 50)).save(tmp_path / "photos" / f"{index}.png")
    done = segment(run, tmp_path / "photos", tmp_path / "out", "layers,png")
    assert done["files"] == {"png": 3, "layers": 3}
    with tifffile.TiffFile(tmp_path / "out" / "1.layers.tif") as file:
        assert [page.tags["PageName"].value for page in file.pages] == list(run.names)
        pages = np.stack([page.asarray() for page in file.pages])
    assert pages.shape == (4, 41, 50, 4) and (pages[0, ..., 3] == 255).all()
    wanted = load(run).segment(tmp_path / "photos" / "1.png").layers
    assert wanted is not None
    again = np.concatenate([pages[..., :3] / 255 * (pages[..., 3:] / 255), pages[..., 3:] / 255], -1)
    assert np.abs(again - wanted).max() < 0.03
    assert segment(run, tmp_path / "photos", tmp_path / "out", "layers")["skipped"] == 3


def test_the_format_needs_layers_and_whole_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(_photo()).save(tmp_path / "photos" / "a.png")
    with pytest.raises(Fault, match="a run with layers"):
        segment(teacher(), tmp_path / "photos", tmp_path / "out", "layers")
    with pytest.raises(UsageFault, match="without --tile"):
        segment(_run(tmp_path), tmp_path / "photos", tmp_path / "out", "layers", tile=32)


def test_remove_writes_the_photo_without_the_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, photo = _run(tmp_path), tmp_path / "photo.png"
    Image.fromarray(_photo()).save(photo)
    before = photo.read_bytes()
    for suffix in (".png", ".jpg", ".tif", ".npy"):
        out = tmp_path / f"without{suffix}"
        assert main(["remove", str(run.path), str(photo), "--layer", "layer 2", "--out", str(out)]) == 0
        assert "without layer 2" in capsys.readouterr().out
        wanted = layers.without(Model(run), _photo(), "layer 2")
        found = np.load(out) if suffix == ".npy" else np.asarray(Image.open(out))
        assert np.abs(found.astype(int) - wanted).mean() <= (16 if suffix == ".jpg" else 0)
    assert photo.read_bytes() == before
    plain = tmp_path / "plain.png"
    words = ["remove", str(run.path), str(photo), "--layer", "2", "--out", str(plain), "--as-rebuilt"]
    assert main(words) == 0 and plain.read_bytes() != (tmp_path / "without.png").read_bytes()


@pytest.mark.parametrize(
    ("layer", "out", "words"),
    [
        ("layer 2", "a.webp", "choose one of these suffixes"),
        ("layer 2", "photo.png", "choose another file"),
        ("cat", "a.png", "choose one of these"),
    ],
)
def test_remove_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layer: str, out: str, words: str
) -> None:
    run, photo = _run(tmp_path), tmp_path / "photo.png"
    Image.fromarray(_photo()).save(photo)
    before = photo.read_bytes()
    assert main(["remove", str(run.path), str(photo), "--layer", layer, "--out", str(tmp_path / out)]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert photo.read_bytes() == before and not (tmp_path / "a.png").exists()


def test_a_report_shows_photos_built_up_layer_by_layer(tmp_path: Path) -> None:
    model = load(_run(tmp_path))
    shown = strip(model, _photo())
    assert shown.shape == (3 * 34, 4 * 34, 3)
    stack = layers.decompose(model, model.square(_photo())[None])
    whole = ((stack.flatten()[0].permute(1, 2, 0).numpy() + 1) * 127.5).round()
    assert np.abs(shown[:32, 3 * 34 : 3 * 34 + 32] - whole).max() <= 1, "the last picture of the first row is the end"
    mask = np.rint(255 * stack.masks[0, 1, 0].numpy())
    assert np.abs(shown[68:100, 68:100, 0] - mask).max() <= 1
