"""`decoupe bench` on the smallest settings: real steps, real parts, a table and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from decoupe import bench as package
from decoupe.bench import bench, parts, steps
from decoupe.cli import bench as verb
from decoupe.cli import main
from decoupe.errors import UsageFault
from decoupe.methods.redraw.config import PRESETS, Config
from decoupe.nn.instance import InstanceNorm2d, normalise
from tests.tiny import TINY


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few photos, and a preset `tiny` of redraw."""
    monkeypatch.setattr(steps, "PHOTOS", 16)
    monkeypatch.setattr(parts, "PHOTOS", 8)
    monkeypatch.setitem(PRESETS, "tiny", Config(**TINY["redraw"]))


@pytest.mark.slow
def test_a_room_s_step_is_timed_and_profiled(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    assert main(["bench", "redraw", "--rounds", "2", "--preset", "tiny", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    (row,) = found["rows"]
    assert row["what"].startswith("redraw ") and row["batch"] == 8 and row["ms"] > 0 and row["peak_mb"] > 50
    assert row["images_per_s"] == pytest.approx(8000 / row["ms"], rel=0.02)
    assert 0.02 < row["network_share"] <= 1
    assert any("conv" in name for name in row["kernels"]) and sum(row["kernels"].values()) <= 1.05
    assert found["command"] == "decoupe bench redraw --rounds 2 --preset tiny"
    assert found["machine"]["torch"] == torch.__version__
    shown = capsys.readouterr().out
    assert row["what"] in shown and "networks' share" in shown and "batch 8" in shown


@pytest.mark.slow
def test_reading_photos_is_compared_with_pillow(small: None, tmp_path: Path) -> None:
    read, cache = parts.data(tmp_path, 1)
    assert read["what"] == "data read" and cache["what"] == "data cache"
    assert read["faster_than_pillow"] == pytest.approx(read["pillow_ms"] / read["ms"], rel=0.05)
    assert read["images_per_s"] == pytest.approx(8000 / read["ms"], rel=0.05)


def test_medians_take_turns_and_leave_out_the_first() -> None:
    calls: list[str] = []
    found = parts.medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4 and set(found) == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("aten::mkldnn_convolution", True), ("aten::convolution_backward", True), ("aten::addmm", True),
        ("aten::native_batch_norm", True), ("aten::threshold_backward", True), ("aten::copy_", False),
        ("aten::_foreach_add_", False), ("aten::sqrt", False), ("aten::to", False), ("Optimizer.step#Adam.step", False),
    ],
)  # fmt: skip
def test_what_counts_as_a_kernel(name: str, own: bool) -> None:
    assert bool(steps.KERNELS.search(name)) is own


class Pair(nn.Module):
    """A network within a room, and what a room does outside its networks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 4, 1)
        self.network = nn.Sequential(self.inner, Doubled())


class Doubled(nn.Module):
    """Sums, copies, and an activation."""

    def forward(self, x: Tensor) -> Tensor:
        """Twice the activation."""
        y = x.clone().relu()
        return y + y


def counted(room: nn.Module, do: Callable[[], Tensor]) -> list[str]:
    """Names of the operators that count as networks' own while the sum of what is done is derived."""
    with steps.marked(room), profile(activities=[ProfilerActivity.CPU]) as found:
        do().sum().backward()  # type: ignore[no-untyped-call]
    return [event.name for event in steps.of_networks(found.events() or ())]


def test_what_runs_in_a_network_counts_and_so_do_its_derivatives() -> None:
    room, x = Pair(), torch.rand(2, 3, 8, 8, requires_grad=True)
    names = counted(room, lambda: room.network(x))
    assert {"aten::relu", "aten::clamp_min", "aten::add"} <= set(names)  # ReLU calls clamp_min
    assert {"aten::convolution_backward", "aten::threshold_backward"} <= set(names)
    assert not {"aten::clone", "CloneBackward0", "SumBackward0", "aten::expand", steps.MARK} & set(names)


def test_what_runs_outside_the_networks_does_not_count() -> None:
    """Not even a convolution, a normalisation or an activation: losses and changed photos have these too."""
    room, x = Pair(), torch.rand(2, 3, 8, 8, requires_grad=True)
    one = torch.ones(1, 3)
    assert counted(room, lambda: normalise(x, one, one) + nn.functional.conv2d(x, torch.ones(3, 3, 1, 1)).relu()) == []
    both = counted(room, lambda: room.network((x * 2).sigmoid()).square())
    assert not {"aten::sigmoid", "aten::sigmoid_backward", "aten::pow", "PowBackward0"} & set(both)
    assert "aten::convolution_backward" in both
    room.network(x)  # no range is left open, no hook is left
    assert counted(nn.Module(), lambda: room.network(x)) == []


def test_copies_within_a_kernel_are_the_kernel_s() -> None:
    """Instance normalisation multiplies, sums and converts."""
    room, x = nn.Sequential(InstanceNorm2d(3)), torch.rand(2, 3, 8, 8, requires_grad=True)
    assert {"aten::mul", "aten::sum", "aten::addcmul"} <= set(counted(room, lambda: room[0](x)))


def test_rooms_without_steps_say_so_and_unknown_names_are_refused(small: None) -> None:
    (row,) = bench(["baselines"], 1)["rows"]
    assert "closed form" in row["left_out"] and "left out" in verb.table([row])[1][-1]
    with pytest.raises(UsageFault, match="what to measure"):
        bench(["redrawn"])
    with pytest.raises(UsageFault, match="a preset of redraw"):
        bench(["redraw"], preset="fast")
    assert verb.PARTS == tuple(package.PARTS)


@pytest.mark.slow
def test_the_other_parts_run(small: None, tmp_path: Path) -> None:
    for name in ("crf", "gradcam", "segment"):
        (tmp_path / name).mkdir()
        for row in package.PARTS[name](tmp_path / name, 1):
            assert row["ms"] > 0 and row["what"].startswith(name)
    assert "share_of_bound" in row
