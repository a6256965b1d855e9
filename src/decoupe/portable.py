"""A run as one network that other programs run: pixels of any size in, regions of that size out.

Everything `Model.segment` does around the room is inside: bands to [-1, 1], the photo to the room's S x S and its
regions back (bilinear, averaging when it shrinks, as `data.pixels.resize`, but without rounding to whole grey values in
between), regions merged as they are named.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe import snapping
from decoupe.errors import Fault
from decoupe.naming import shown

if TYPE_CHECKING:
    from decoupe.methods.room import Room
    from decoupe.model import Model


def triangle(source: int, target: int, device: torch.device | None = None) -> Tensor:
    """(target, source) float32: weights of bilinear resizing along one side, each row summing to 1.

    w(i, j) = max(0, 1 - |j + 1/2 - (i + 1/2) s| / max(s, 1)) with s = source / target, then divided by its row's sum.
    """
    scale = torch.scalar_tensor(source, dtype=torch.float32, device=device) / torch.scalar_tensor(
        target, dtype=torch.float32, device=device
    )
    centres = (torch.arange(target, dtype=torch.float32, device=device) + 0.5) * scale
    places = torch.arange(source, dtype=torch.float32, device=device) + 0.5
    reach = torch.clamp(scale, min=1.0)
    weights = torch.clamp(1 - (places[None, :] - centres[:, None]).abs() / reach, min=0)
    return weights / weights.sum(1, keepdim=True)


def resized(maps: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) -> (B, C, height, width)."""
    down = triangle(maps.shape[2], height, maps.device)
    across = triangle(maps.shape[3], width, maps.device)
    return torch.matmul(down, torch.matmul(maps, across.T))


class Portable(nn.Module):
    """The whole of a run. `forward` takes (B, C, H, W) pixels in 0..255, of any type and size."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        room = copy.deepcopy(model.room).cpu().eval().float()
        self.snaps = bool(getattr(room.config, "snap", False)) and _snaps_in_segment(room)
        if self.snaps:  # the room's own loop over images would fix their number: `_snapped` is the same without it
            room.config = dataclasses.replace(room.config, snap=False)
        _fix_numbers(room)
        self.room, self.size = room, model.spec.size
        self.groups = [tuple(group) for group in shown(len(room.regions), model.run.merges)]
        self.names = model.names

    def forward(self, images: Tensor) -> Tensor:
        """(B, K, H, W) float32 summing to 1 over K, regions merged as they are named."""
        height, width = images.shape[2], images.shape[3]
        small = resized(images.float(), self.size, self.size) / 127.5 - 1
        probs = self.room.segment(small).float()
        if self.snaps:
            probs = _snapped(small, probs)
        if len(self.groups) < probs.shape[1]:
            probs = torch.stack([probs[:, list(group)].sum(1) for group in self.groups], 1)
        whole = torch.clamp(resized(probs, height, width), min=0)
        return whole / whole.sum(1, keepdim=True)


class Labelled(nn.Module):
    """`Portable` with labels beside the probabilities."""

    def __init__(self, portable: Portable) -> None:
        super().__init__()
        self.portable = portable

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (B, K, H, W) and the most probable region of each pixel (B, H, W) int64."""
        probs = self.portable(images)
        return probs, probs.argmax(1)


CONSENSUS = "weights"
"""Buffer of a room that it reads number by number, to leave out networks of weight 0."""


class _Numbers(list[float]):
    """Such a buffer as plain numbers."""

    def tolist(self) -> list[float]:
        """Itself."""
        return list(self)

    def sum(self) -> Tensor:
        """A scalar."""
        return torch.tensor(float(sum(self)))


def _fix_numbers(room: Room) -> None:
    """Turn the room's own counters into plain numbers: what they decide is decided now."""
    for name, buffer in list(room.named_buffers(recurse=False)):
        whole = not buffer.is_floating_point() and buffer.numel() == 1
        if whole or name == CONSENSUS:
            del room._buffers[name]
            setattr(room, name, int(buffer) if whole else _Numbers(buffer.tolist()))


def _snaps_in_segment(room: Room) -> bool:
    """Whether `segment` itself draws masks to the colours (elsewhere `snap` is about targets of training)."""
    images = torch.rand(1, room.spec.channels, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    config = room.config
    try:
        with torch.no_grad():
            with_snap = room.segment(images)
            room.config = dataclasses.replace(config, snap=False)
            return not torch.equal(with_snap, room.segment(images))
    finally:
        room.config = config


def _snapped(
    images: Tensor, probs: Tensor, colour: float = 0.10, place: float = 0.20, iterations: int = 6, trust: float = 0.5
) -> Tensor:
    """`snapping.snap` for all images at once, so that their number stays open."""
    size = (min(snapping.ANCHORS, images.shape[2]), min(snapping.ANCHORS, images.shape[3]))
    coarse = F.adaptive_avg_pool2d(probs, size)
    anchors = _features(F.adaptive_avg_pool2d(images, size), colour, place)
    kernel, prior, q = _kernel(anchors, anchors), _prior(coarse, trust), coarse.flatten(2).mT
    for _ in range(iterations - 1):
        q = torch.softmax(3 * torch.matmul(kernel, q) + prior, 2)
    points = _features(images, colour, place)
    q = torch.softmax(3 * torch.matmul(_kernel(points, anchors), q) + _prior(probs, trust), 2)
    return q.mT.reshape(images.shape[0], probs.shape[1], images.shape[2], images.shape[3])


def _features(images: Tensor, colour: float, place: float) -> Tensor:
    """(B, C, h, w) in [-1, 1] -> (B, h*w, C + 2)."""
    bands, height, width = images.shape[1:]
    tones = (images + 1) / 2 * (3 / bands) ** 0.5 / colour
    y = torch.linspace(0.5 / height, 1 - 0.5 / height, height)
    x = torch.linspace(0.5 / width, 1 - 0.5 / width, width)
    where = torch.stack(torch.meshgrid(y, x, indexing="ij"))[None] / place
    return torch.cat([tones, where + torch.zeros_like(tones[:, :1])], 1).flatten(2).mT


def _kernel(points: Tensor, anchors: Tensor) -> Tensor:
    """(B, n, d), (B, m, d) -> (B, n, m): exp(-|p - a|^2 / 2) over its sum, which |p|^2 does not change."""
    energy = torch.matmul(points, anchors.mT) - anchors.square().sum(2)[:, None, :] / 2
    return torch.softmax(energy, 2)


def _prior(probs: Tensor, trust: float) -> Tensor:
    """(B, K, h, w) -> (B, h*w, K)."""
    return 2 * trust * (probs + 0.02).log().flatten(2).mT


def portable(model: Model) -> Portable:
    """The network of a run. Fault if its method does not run on tensors alone."""
    made = Portable(model)
    try:
        with torch.no_grad():
            made(torch.zeros(1, model.spec.channels, 40, 36))
    except (RuntimeError, NotImplementedError) as error:
        raise Fault(
            "a method that runs on tensors alone", str(error).splitlines()[0][:120], "distil it first"
        ) from None
    return made
