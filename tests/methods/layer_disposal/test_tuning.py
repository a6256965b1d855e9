"""Fine-tuning of a layer's mask on labels: what it starts from, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoupe.methods.layer_disposal.config import Config
from decoupe.methods.layer_disposal.room import LayerDisposal
from decoupe.methods.layer_disposal.tuning import MaskOfLayer, predict, tune
from decoupe.methods.room import DataSpec, to_unit
from decoupe.picking import ap
from tests.tiny import TINY, photos


def _room(shared_trunk: bool = True) -> LayerDisposal:
    torch.manual_seed(0)
    options = TINY["layer_disposal"] | {"learn_keep": False, "shared_trunk": shared_trunk}
    return LayerDisposal(Config(**options), DataSpec(3, 32)).eval()


@pytest.mark.parametrize("shared_trunk", [True, False])
def test_it_starts_from_the_layers_own_mask(shared_trunk: bool) -> None:
    room, squares = _room(shared_trunk), photos(5)
    with torch.no_grad():
        wanted = room.decompose(to_unit(squares)).masks[:, :, 0].numpy()
    for layer in range(3):
        assert np.allclose(predict(MaskOfLayer(room, layer, False).eval(), squares), wanted[:, layer], atol=1e-5)
    own, fresh = MaskOfLayer(room, 0, False), MaskOfLayer(room, 0, True)
    for (key, kept), other in zip(own.named_parameters(), fresh.parameters(), strict=True):
        assert kept.ndim == 1 or not torch.allclose(kept, other), key


def test_it_learns_from_labels_and_leaves_the_room_alone() -> None:
    room, squares = _room(), photos(40)
    truths = (squares.mean(1) > 125).astype(np.int64)
    truths[:, 0] = 255
    before = {key: tensor.clone() for key, tensor in room.state_dict().items()}
    network = tune(MaskOfLayer(room, 1, True), squares[:24], truths[:24], 1, 30, 5e-3)
    found = ap(predict(network, squares[24:]), truths[24:], 1)
    assert found > 1.3 * float((truths == 1).sum() / (truths != 255).sum())
    assert all(torch.equal(before[key], tensor) for key, tensor in room.state_dict().items())
