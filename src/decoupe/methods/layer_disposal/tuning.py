"""Section 4.3: the encoder and one layer's decoder, trained further on labelled masks of one class."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from decoupe.methods.layer_disposal.networks import initialise
from decoupe.methods.layer_disposal.room import LayerDisposal
from decoupe.methods.room import to_unit
from decoupe.types import VOID

BATCH = 16


class MaskOfLayer(nn.Module):
    """(B, C, S, S) -> (B, S, S) logits of one layer's mask: the encoder, and a copy of that layer's decoder."""

    def __init__(self, room: LayerDisposal, layer: int, fresh: bool) -> None:
        """`layer`: 0 to K - 1. fresh: with new random weights, as a baseline."""
        super().__init__()
        generator = room.generator
        self.encoder = copy.deepcopy(room.encoder)
        if generator.mask_decoders is None:
            self.decoder, self.channel = generator.decoders.alone(layer + 1), room.spec.channels
        else:
            self.decoder, self.channel = generator.mask_decoders.alone(layer), 0
        if fresh:
            for network in (self.encoder, self.decoder):
                initialise(network)
                for module in network.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        module.reset_running_stats()

    def forward(self, images: Tensor) -> Tensor:
        """Logits in float32."""
        logits: Tensor = self.decoder(self.encoder(images))[:, 0, self.channel]
        return logits


def tune(
    network: MaskOfLayer, squares: NDArray[np.uint8], truths: NDArray[np.int64], class_: int, epochs: int, rate: float,
    seed: int = 0,
) -> MaskOfLayer:  # fmt: skip
    """Train on (N, C, S, S) uint8 images and (N, S, S) class ids: cross-entropy, Adam (beta1 .5); void left out."""
    network = network.train().requires_grad_(True)
    optimiser = torch.optim.Adam(network.parameters(), rate, (0.5, 0.999))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(squares), generator=generator)
        for rows in torch.split(order, BATCH):
            if len(rows) < 2 <= len(order):
                continue  # statistics of a single image are none
            chosen = rows.numpy()
            truth = torch.from_numpy(truths[chosen])
            losses = F.binary_cross_entropy_with_logits(
                network(to_unit(squares[chosen])), (truth == class_).float(), reduction="none"
            )
            known = (truth != VOID).float()
            optimiser.zero_grad()
            loss: Tensor = (losses * known).sum() / known.sum().clamp_min(1)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return network.eval()


@torch.no_grad()
def predict(network: MaskOfLayer, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S, S) probabilities."""
    parts = [torch.sigmoid(network(to_unit(squares[i : i + 64]))) for i in range(0, len(squares), 64)]
    return np.asarray(torch.cat(parts).numpy())
