"""Embeddings: stored with the run, streamed to one archive, and refused in one line where there are none."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import decoupe
from decoupe.cli import main
from decoupe.data.decode import read_image
from decoupe.engine.runfolder import Run
from decoupe.engine.tensors import load_tensors, pack_tensors
from decoupe.errors import Fault, UsageFault
from decoupe.methods.independence.room import Independence
from tests.tiny import TINY


def _two_kinds(self: Any, images: Tensor) -> dict[str, Tensor]:
    """Something of the student (stored anyway) and of the discriminator (stored because it is kept)."""
    mask = self.segment(images)[:, 1:]
    judged = next(p for p in self.discriminator.parameters()).flatten()[:5]
    areas = torch.nn.functional.adaptive_avg_pool2d(mask, 3).flatten(1)
    return {"mask": areas, "judge": images.mean((1, 2, 3))[:, None] * judged}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, synth: Path) -> Any:
    """A finished run of a room that embeds; the room embeds as long as the tests of this file run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoupe.engine.health.FULL", 2.0)
        patch.setattr(Independence, "embed", _two_kinds)
        patch.setattr(Independence, "kept", property(lambda self: ("discriminator.",)))
        folder = tmp_path_factory.mktemp("embedding") / "run"
        decoupe.fit("independence", synth / "images", run=folder, precision="fp32", **TINY["independence"])
        yield folder


@pytest.fixture
def mixed(tmp_path: Path, photos: Path) -> Path:
    """71 photos of three sizes and one file that is none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    files = sorted(photos.iterdir())
    for number in range(71):
        image = Image.open(files[number % len(files)])
        image.resize((40 + 8 * (number % 3), 40)).save(folder / f"p{number:02d}.png")
    (folder / "p07b.jpg").write_text("this is no photo")
    return folder


def test_the_run_keeps_what_embeddings_need_as_it_is_at_the_end(run: Path) -> None:
    opened = Run.open(run)
    weights, _ = load_tensors(opened.verify("weights.safetensors"))
    last, _ = load_tensors(opened.verify(opened.info["checkpoint"]))
    kept = [k for k in weights if k.startswith("discriminator.")]
    assert kept and all(torch.equal(weights[k], last[f"room/{k}"]) for k in kept)
    for candidate in opened.candidates():
        assert not any(k.startswith("discriminator.") for k in load_tensors(candidate.path)[0])


def test_any_snapshot_embeds_with_the_kept_networks(run: Path, photos: Path) -> None:
    image = read_image(min(photos.iterdir()))
    chosen, last = decoupe.load(run).embed([image]), decoupe.load(run, "last").embed([image])
    assert chosen["mask"].shape == (1, 9) and chosen["judge"].shape == (1, 5) and chosen["judge"].dtype == np.float32
    assert np.array_equal(chosen["judge"], last["judge"])


def test_the_archive_holds_every_image_in_order_and_names_what_was_left_out(run: Path, mixed: Path) -> None:
    calls: list[tuple[int, int]] = []
    out = mixed.parent / "vectors.npz"
    done = decoupe.embed(run, mixed, out, progress=lambda n, of: calls.append((n, of)))
    assert (done["images"], done["written"], done["kinds"]) == (72, 71, {"mask": 9, "judge": 5})
    assert [p["path"] for p in done["problems"]] == [str(mixed / "p07b.jpg")] and calls[-1] == (72, 72)
    with np.load(out, allow_pickle=False) as archive:
        assert list(archive) == ["files", "mask", "judge"]
        assert archive["files"].tolist() == [f"p{n:02d}.png" for n in range(71)]
        assert archive["mask"].dtype == np.float32 and archive["mask"].shape == (71, 9)
        model = decoupe.load(run)
        for number in (0, 31, 32, 70):
            alone = model.embed([read_image(mixed / f"p{number:02d}.png")])
            assert np.allclose(archive["mask"][number], alone["mask"][0], atol=1e-5)
            assert np.allclose(archive["judge"][number], alone["judge"][0], atol=1e-5)


def test_one_kind_alone_and_the_same_bytes_again(run: Path, mixed: Path) -> None:
    out = mixed.parent / "v.npz"
    decoupe.embed(run, mixed, out, "judge")
    first = out.read_bytes()
    with np.load(out) as archive:
        assert list(archive) == ["files", "judge"]
    decoupe.embed(run, mixed, out, "judge")
    assert out.read_bytes() == first
    with pytest.raises(UsageFault, match=r"expected --kind mask\|judge, got 'judges'"):
        decoupe.embed(run, mixed, out, "judges")


def test_memory_does_not_grow_with_the_number_of_images(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide vectors: 160 images of them are 40 MB, which are never held together."""
    monkeypatch.setattr(Independence, "embed", lambda self, images: {"wide": images.new_ones(len(images), 65536)})
    files = sorted(photos.iterdir())

    def peak(n: int) -> int:
        folder = tmp_path / str(n)
        folder.mkdir()
        for number in range(n):
            shutil.copy(files[number % len(files)], folder / f"{number}.png")
        model = decoupe.load(run)
        tracemalloc.start()
        decoupe.embed(model, folder, tmp_path / f"{n}.npz")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = peak(32), peak(160)
    assert (tmp_path / "160.npz").stat().st_size > 160 * 65536 * 4 and many < 1.2 * few


def test_nothing_is_left_when_it_fails(run: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    out = mixed.parent / "v.npz"
    decoupe.embed(run, mixed, out)
    before = out.read_bytes()
    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(Fault, match="No space left"):
        decoupe.embed(run, mixed, out, "mask")
    assert out.read_bytes() == before and sorted(p.name for p in out.parent.iterdir()) == ["mixed", "v.npz"]


def test_files_of_another_origin_and_photos_are_never_replaced(run: Path, mixed: Path) -> None:
    other = mixed.parent / "mine.npz"
    np.savez(other, a=np.zeros(3))
    with pytest.raises(Fault, match="of another origin"):
        decoupe.embed(run, mixed, other)
    with pytest.raises(Fault, match="apart from the photos"):
        decoupe.embed(run, mixed, mixed / "v.npz")
    with pytest.raises(Fault, match="folder of --out"):
        decoupe.embed(run, mixed, mixed.parent / "none" / "v.npz")
    (mixed.parent / "odd").mkdir()
    (mixed.parent / "odd" / "a.jpg").write_text("no")
    with pytest.raises(Fault, match="at least one image that can be read"):
        decoupe.embed(run, mixed.parent / "odd", mixed.parent / "v.npz")


def test_on_the_command_line(run: Path, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = mixed.parent / "v.npz"
    assert main(["embed", str(run), str(mixed), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "71 of 72 images" in said and "mask: 9 numbers, judge: 5 numbers" in said and "p07b.jpg" in said


def test_a_run_of_an_earlier_version_says_so(run: Path, mixed: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "old")
    opened = Run.open(tmp_path / "old")
    tensors, about = load_tensors(opened.verify("weights.safetensors"))
    older = {k: t for k, t in tensors.items() if not k.startswith("discriminator.")}
    opened.write_bytes("weights.safetensors", pack_tensors(older, about))
    assert decoupe.load(opened).segment(mixed / "p00.png").probs.shape[0] == 2
    with pytest.raises(Fault, match="one made by an earlier version"):
        decoupe.embed(opened, mixed, mixed.parent / "v.npz")


def test_a_room_without_embeddings_gets_one_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoupe.fit("baselines", photos, run=tmp_path / "simple", kind="otsu", size=32)
    assert main(["embed", str(tmp_path / "simple"), str(photos), "--out", str(tmp_path / "v.npz")]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(said) == 1 and "expected a room with embeddings (" in said[0] and "a run of baselines" in said[0]
