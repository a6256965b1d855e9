"""`decoupe crf fit`: from a run and a few masks to a file that `segment --crf` takes, and a picture of the search."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from decoupe.cli import main
from decoupe.crf import PRESETS, Settings, dense_crf, fit_parameters, fitting
from decoupe.crf.fitting import fit_crf
from decoupe.crf.learning import Fitted
from decoupe.crf.picture import CELL, colour, grid_picture
from decoupe.crf.regions import asked
from decoupe.errors import Fault, UsageFault
from decoupe.model import Model, load
from tests.crf.scenes import scene
from tests.crf.test_learning import iou, labelled


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of a bright disc, their masks (0 and 1, a row of void), and a run of Otsu's threshold."""
    root = tmp_path_factory.mktemp("problem")
    for name in ("data/images", "data/masks"):
        (root / name).mkdir(parents=True)
    y, x = np.mgrid[:48, :60]
    for i in range(3):
        Image.fromarray(scene(48, 60, seed=i).numpy()).save(root / f"data/images/p{i}.png")
        mask = ((y - 48 * 0.45) ** 2 + (x - 60 * 0.55) ** 2 < (0.3 * 48) ** 2).astype(np.uint8)
        mask[0] = 255
        Image.fromarray(mask).save(root / f"data/masks/p{i}.png")
    fit = ["fit", "baselines", "--images", f"{root}/data/images", "--kind", "otsu", "--size", "48"]
    assert main([*fit, "--run", f"{root}/run"]) == 0
    return root


def test_the_command_writes_a_file_that_segment_takes(
    problem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "of few masks" / "crf.json"
    out.parent.mkdir()
    words = ["crf", "fit", f"{problem}/run", "--data", f"masks:{problem}/data", "--out", str(out)]
    assert main([*words, "--grid", "srgb=3,13", "--grid", "appearance=0,10", "--start", "stego"]) == 0
    said = capsys.readouterr().out
    content = json.loads(out.read_text())
    assert len(content["grid"]) == 4 and content["uses_labels"] is True and content["images"] == 3
    assert content["miou"] == max(row["miou"] for row in content["grid"]) and "no longer label-free" in said
    assert content["command"].startswith("decoupe") and content["start"]["appearance"] == 4
    settings = asked(str(out))
    assert isinstance(settings, Settings) and settings.smoothness_sxy == PRESETS["stego"].smoothness_sxy
    typed = next(line for line in said.splitlines() if line.startswith("next"))
    assert shlex.split(typed)[1:] == shlex.split(f"decoupe segment {problem}/run NEW_PHOTOS --out masks --crf '{out}'")
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.size == (3 * CELL, 3 * CELL)
    assert (
        main(["segment", f"{problem}/run", f"{problem}/data/images", "--out", f"{tmp_path}/m", "--crf", str(out)]) == 0
    )
    image = np.array(Image.open(problem / "data/images/p1.png"))
    probs = torch.from_numpy(load(problem / "run").segment(image).probs)
    wanted = dense_crf(probs, torch.from_numpy(image), settings, None).argmax(0).numpy()
    assert np.array_equal(np.array(Image.open(tmp_path / "m/p1.png")) > 0, wanted > 0)


def test_widths_are_for_photos_as_they_are(problem: Path, tmp_path: Path) -> None:
    """At half the size the search sees widths of half as many pixels."""
    done: list[tuple[int, int]] = []
    grid = {"appearance_sxy": [20.0]}
    found = fit_crf(
        problem / "run", f"masks:{problem}/data", tmp_path / "a.json", grid=grid, side=30, images=2,
        progress=lambda *now: done.append(now),
    )  # fmt: skip
    assert found["images"] == 2 and done[-1] == (2, 2) and found["settings"]["appearance_sxy"] == 20
    probs, image, mask = labelled(1)
    half = fit_parameters([probs], [image], [mask], {"appearance_sxy": [8.0]}, scales=[0.5])
    whole = fit_parameters([probs], [image], [mask], {"appearance_sxy": [4.0], "smoothness_sxy": [1.5]})
    assert half.iou == whole.iou and half.settings.appearance_sxy == 8


def test_labels_that_share_a_class_and_labels_of_none() -> None:
    """Three regions, two of which are one class; and one that stands for nothing."""
    probs, image, mask = labelled(2)
    three = torch.stack([probs[0] * 0.6, probs[1], probs[0] * 0.4])
    found = fit_parameters([three], [image], [mask], {"srgb": [13.0]}, classes=[0, 1, 0])
    labels = dense_crf(three, image, found.settings, None).argmax(0)
    assert found.iou == pytest.approx(iou((labels == 1).long(), mask), abs=1e-6)
    none = fit_parameters([three], [image], [mask], {"srgb": [13.0]}, classes=[0, 1, -1])
    wrong = torch.where(labels == 2, 7, (labels == 1).long())
    assert none.iou == pytest.approx(iou(wrong, mask), abs=1e-6)
    for classes in ([0, 1], [-1, -1, -1]):
        with pytest.raises(Fault, match="a class of each of 3 labels"):
            fit_parameters([three], [image], [mask], classes=classes)


def test_the_picture_has_a_panel_for_each_weight_and_frames_the_best() -> None:
    points = [Settings(w, s, c) for w in (5.0, 10.0) for s in (20.0, 40.0, 80.0) for c in (3.0, 13.0)]
    table = tuple((p, 0.5 + 0.01 * i) for i, p in enumerate(points))
    with Image.open(io.BytesIO(grid_picture(Fitted(points[-1], 0.61, 0.4, table)))) as picture:
        assert picture.size == (2 * 3 * CELL, 4 * CELL + 24)
        drawn = picture.convert("RGB")
    assert drawn.getpixel((CELL + 5, CELL + 24 + 5)) == colour(0)
    last = (6 * CELL - 6, 4 * CELL + 24 - 6)
    assert drawn.getpixel(last) == colour(1) and drawn.getpixel((6 * CELL - 2, 4 * CELL + 24 - 2)) == (0, 0, 0)
    one = Fitted(points[0], 0.5, 0.4, table[:1])
    assert Image.open(io.BytesIO(grid_picture(one))).size == (2 * CELL, 2 * CELL)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "settings"), ("[]", "JSON object"), ('{"settings": {"srgb": -1}}', "srgb"),
        ('{"settings": {"srgb": "x"}}', "srgb"), ('{"settings": {"colour": 1}}', "colour"), ("{", "JSON object"),
        ('{"settings": {"srgb": NaN}}', "JSON object"),
    ],
)  # fmt: skip
def test_files_that_hold_no_settings_are_refused_in_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "crf.json"
    path.write_text(content)
    with pytest.raises(Fault, match=words) as fault:
        asked(str(path))
    assert "\n" not in str(fault.value)


def test_what_fails_cheaply_fails_before_a_photo_is_segmented(
    problem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a photo was segmented")

    monkeypatch.setattr(fitting, "_probs", never)
    data = f"masks:{problem}/data"
    for name, content in (("a.png", "mine"), ("b.png", "mine"), ("b.json", '{"settings": {}}'), ("file", "")):
        (tmp_path / name).write_text(content)
    for name in ("c.json", "d.png"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())
    for out, told in [
        ("a.json", "a.png"), ("b.json", "b.png"), ("c.json", "folder"), ("d.json", "d.png"), ("file/x.json", "write"),
    ]:  # fmt: skip
        with pytest.raises(Fault, match=told) as fault:
            fit_crf(problem / "run", data, tmp_path / out, grid={"srgb": [3.0]})
        assert len(str(fault.value).splitlines()) == 1
    for grid in ({"srgb": [3.0, 0.0]}, {"smoothness_sxy": [1e-3]}, {"appearance": [float("nan")]}):
        with pytest.raises(Fault, match="CRF"):  # the second is too small for the photos of the search alone
            fit_crf(problem / "run", data, tmp_path / "x/y.json", grid=grid, side=30)
    assert [p for p in sorted(tmp_path.iterdir()) if p.name != "x"] == before
    assert (tmp_path / "a.png").read_text() == "mine"


def test_the_json_is_first_and_its_own_picture_is_replaced(
    problem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real = fitting.write_atomic

    def write(path: Path, data: bytes) -> str:
        order.append(path.name)
        return real(path, data)

    monkeypatch.setattr(fitting, "write_atomic", write)
    for _ in range(2):
        fit_crf(problem / "run", f"masks:{problem}/data", tmp_path / "crf.json", grid={"srgb": [3.0]}, images=1)
    assert order == ["crf.json", "crf.png"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crf.json", "crf.png"]


def test_the_majority_is_found_at_the_size_of_the_search(
    problem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    real = fitting._probs

    def probs(model: Model, image: np.ndarray, scale: float) -> torch.Tensor:
        seen.append(scale)
        return real(model, image, scale)

    monkeypatch.setattr(fitting, "_probs", probs)
    model = load(problem / "run")
    monkeypatch.setattr(model, "names", ("background", "thing"))
    found = fit_crf(model, f"masks:{problem}/data", tmp_path / "crf.json", grid={"srgb": [3.0]}, side=30)
    assert found["matching"] == "majority" and set(seen) == {0.5}


def test_misuse_is_one_line(problem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["crf", "fit", f"{problem}/run", "--data", f"masks:{problem}/data"]
    for more, told in [
        (["--grid", "colour=3"], "--grid of appearance"), (["--grid", "srgb=a"], "FIELD=VALUE"),
        (["--grid", "srgb"], "FIELD=VALUE"), (["--start", "none"], "--start of krahenbuhl"),
        (["--grid", "srgb=3", "--grid", "srgb=4"], "each field"), (["--out", "crf.txt"], "FILE.json"),
        (["--images", "0"], "--images between"),
    ]:  # fmt: skip
        assert main([*words, *more]) == 2
        assert told in capsys.readouterr().err
    assert main(["crf"]) == 2 and "decoupe crf fit" in capsys.readouterr().err
    assert main(["segment", f"{problem}/run", f"{problem}/data/images", "--out", "m", "--crf", "none.json"]) == 1
    assert "none.json" in capsys.readouterr().err
    with pytest.raises(Fault):
        fit_crf(problem / "run", f"masks:{problem}/data", tmp_path / "x.json", grid={"srgb": [0.0]})
    with pytest.raises(UsageFault):
        fit_crf(problem / "run", f"masks:{problem}/data", tmp_path / "x.json", grid={"floor": [0.1]})
    assert not list(tmp_path.iterdir())
