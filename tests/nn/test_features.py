"""Frozen features: which file belongs to which network, their components, and rooms that learn on top of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import decoupe
from decoupe.errors import UsageFault
from decoupe.methods.clusters import ClusterRoom
from decoupe.nn.backbones import backbone
from decoupe.nn.features import FrozenFeatures, parse
from tests.tiny import photos


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("mobilenet_v2:a/b.pth", ("mobilenet_v2", "a/b.pth")),
        ("a/resnet50-19c8e357.pth", ("resnet50", "a/resnet50-19c8e357.pth")),
        ("https://x.org/vgg16-397923af.pth", ("vgg16", "https://x.org/vgg16-397923af.pth")),
        ("resnet18:https://x.org/some-0123456789.pth", ("resnet18", "https://x.org/some-0123456789.pth")),
    ],
)
def test_the_network_is_read_off_the_source(source: str, found: tuple[str, str]) -> None:
    assert parse(source) == found


@pytest.mark.parametrize("source", ["mobilenet_v2", "some.pth", "alexnet:a.pth", "mobilenet_v2:"])
def test_a_source_without_network_or_weights_is_refused(source: str) -> None:
    with pytest.raises(UsageFault, match="--features") as caught:
        parse(source)
    assert "\n" not in str(caught.value)


def test_components_are_uncorrelated_and_of_the_variance_they_stand_for(mobilenet_file: Path) -> None:
    images = torch.from_numpy(photos(12, size=64)).float() / 127.5 - 1
    frozen = FrozenFeatures(str(mobilenet_file), 3, ("stage2", "stage3"), 4, 6)
    frozen.fit([images[:6], images[6:]])
    found = frozen(images)
    assert found.shape == (12, 6, 16, 16) and not found.requires_grad
    rows = found.movedim(1, 3).flatten(0, 2)
    covariance = torch.cov(rows.T)
    assert float(covariance.trace()) == pytest.approx(3, rel=0.01)
    assert float((covariance - covariance.diag().diag()).abs().max()) < 0.02
    assert bool((covariance.diag()[:-1] >= covariance.diag()[1:] - 1e-4).all())
    # the same, from the maps one by one
    maps = frozen.network.layers(images[:1], ["stage2", "stage3"])
    raw = torch.cat([maps["stage2"], torch.nn.functional.interpolate(maps["stage3"], (16, 16), mode="bilinear")], 1)
    slow = torch.einsum("dc,bchw->bdhw", frozen.axes, raw - frozen.mean[:, None, None])
    assert torch.allclose(slow, found[:1], atol=1e-4)
    with pytest.raises(UsageFault, match="at most 56 components"):
        FrozenFeatures(str(mobilenet_file), 3, ("stage2", "stage3"), 4, 57)


@pytest.mark.parametrize("room", ["autoregressive", "iic"])
def test_rooms_learn_on_top_and_keep_what_they_need(
    room: str, mobilenet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECOUPE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for index, photo in enumerate(photos(16, size=40)):
        Image.fromarray(photo.transpose(1, 2, 0)).save(tmp_path / f"photos/{index:02d}.png")
    copy = tmp_path / mobilenet_file.name
    copy.write_bytes(mobilenet_file.read_bytes())
    model = decoupe.fit(
        room, tmp_path / "photos", run=tmp_path / "run", features=str(copy), components=8, start="kmeans", size=32,
        batch=8, train_images=16, k=3, over_k=0, precision="fp32", checks=1, width=8,
    )  # fmt: skip
    copy.unlink()
    again = decoupe.load(tmp_path / "run")
    square = model.square(photos(1, size=32)[0].transpose(1, 2, 0))[None]
    assert torch.equal(torch.from_numpy(model.predict(square)), torch.from_numpy(again.predict(square)))
    own, given = again.room, backbone("mobilenet_v2", weights=mobilenet_file).body.state_dict()
    assert isinstance(own, ClusterRoom) and own.trunk.frozen is not None
    kept = own.trunk.frozen.network.body.state_dict()
    assert all(torch.equal(kept[k], v) for k, v in given.items() if not k.startswith("classifier"))  # never trained
