"""What a built-in image is made of, and how its layers become the image and its exact truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic.canvas import Canvas, Field, downsample

GRAIN = 0.012
"""Deviation of the camera noise, of the full range."""

GLOW = (1.0, 0.93, 0.74)
"""Colour of lamplight."""


@dataclass(frozen=True)
class Scene:
    """One built-in image with its exact truth. H x W px, C channels, L layers.

    image: (H, W, C) uint8.
    mask: (H, W) uint8, the VISIBLE class of each pixel, an index into `classes`.
    layers: (L, H, W, C+1) float32, premultiplied, 0..1, back to front; layer 0 is opaque; laid over one another they
        give `image` to rounding. A shadow, or lamplight, belongs to the layer of what casts it.
    removed: name -> (H, W, C) uint8, the image without what bears that name; layer 0 cannot be removed.
    tags: the classes visible in the image (but `background`).
    boxes: (name, x0, y0, x1, y1) in px, right and lower ends exclusive, tight around what shows of an instance.
    instances: (H, W) uint16, 1, 2, ... the visible thing at each pixel, 0 where there is none.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    classes: tuple[str, ...]
    layers: NDArray[np.float32]
    removed: dict[str, NDArray[np.uint8]]
    tags: tuple[str, ...]
    boxes: list[tuple[str, int, int, int, int]]
    instances: NDArray[np.uint16]


@dataclass
class Layer:
    """One painted layer in the kind's own bands (3 or 4): premultiplied (H, W, bands + 1), and whose it is."""

    name: str
    rgba: Field
    solid: Field
    """(H, W) coverage of the thing itself, without its shadow."""
    cls: int = 0
    """Class of every pixel of `solid`."""
    parts: list[tuple[int, int, str]] = field(default_factory=list)
    """Instances in this layer: (id, class, name); empty: no instance (the background, or stuff)."""
    ids: NDArray[np.uint16] | None = None
    """(H, W) instance ids of a layer of several disjoint instances; None: `solid` is the one instance."""


def paint(
    canvas: Canvas, rgb: Field, alpha: Field | None, shadow: Field | None = None, glow: Field | None = None
) -> tuple[Field, Field]:
    """Colours (2H, 2W, bands), coverage (2H, 2W) -> premultiplied (H, W, bands + 1), coverage (H, W) without shadow.

    The camera noise is put into the colours here; `shadow` (2H, 2W) darkens what lies below, outside the coverage,
    and `glow` brightens it towards warm white.
    """
    rgb = np.clip(rgb + canvas.grain * np.float32(GRAIN), 0, 1)
    if alpha is None:
        alpha = np.ones(canvas.shape, np.float32)
    sheet = np.empty((*canvas.shape, rgb.shape[-1] + 1), np.float32)
    np.multiply(rgb, alpha[..., None], out=sheet[..., :-1])
    sheet[..., -1] = alpha
    for veil, tone in ((shadow, (0.0, 0.0, 0.0)), (glow, GLOW)):
        if veil is not None:
            below = veil * (1 - sheet[..., -1])
            sheet[..., -1] += below
            if any(tone):
                sheet[..., :-1] += below[..., None] * np.asarray(tone, np.float32)
    return downsample(sheet), downsample(alpha)


def over(layers: list[Field]) -> Field:
    """Alpha-over of premultiplied (H, W, C+1) layers, back to front -> (H, W, C)."""
    image = layers[0][..., :-1].copy()
    for layer in layers[1:]:
        image *= 1 - layer[..., -1:]
        image += layer[..., :-1]
    return image


def quantise(image: Field) -> NDArray[np.uint8]:
    """0..1 -> 0..255, rounded."""
    return np.asarray(np.clip(image * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8))


def finish(layers: list[Layer], classes: tuple[str, ...], channels: int) -> Scene:
    """The layers of one image -> the image and all of its truth, in `channels` channels."""
    painted = [mix(layer.rgba, channels) for layer in layers]
    mask, instances = _visible(layers)
    names = sorted({layer.name for layer in layers[1:]})
    removed = {}
    for name in names:
        kept = [rgba for rgba, layer in zip(painted, layers, strict=True) if layer.name != name]
        removed[name] = quantise(over(kept))
    boxes = _boxes(layers, instances)
    present = np.bincount(mask.ravel(), minlength=len(classes)) > 0
    tags = tuple(name for name, there in zip(classes, present, strict=True) if there and name != "background")
    return Scene(quantise(over(painted)), mask, classes, np.stack(painted), removed, tags, boxes, instances)


def _visible(layers: list[Layer]) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Class and instance of the topmost thing that covers at least half of each pixel."""
    shape = layers[0].solid.shape
    mask, instances = np.full(shape, layers[0].cls, np.uint8), np.zeros(shape, np.uint16)
    for layer in layers[1:]:
        covered = layer.solid >= 0.5
        mask[covered] = layer.cls
        if layer.ids is not None:
            instances[covered] = layer.ids[covered]
        else:
            instances[covered] = layer.parts[0][0] if layer.parts else 0
    return mask, instances


def _boxes(layers: list[Layer], instances: NDArray[np.uint16]) -> list[tuple[str, int, int, int, int]]:
    """Tight boxes of the visible part of every instance, by id."""
    from scipy import ndimage

    names = {number: name for layer in layers for number, _, name in layer.parts}
    found = ndimage.find_objects(instances.astype(np.int32))
    boxes = []
    for number, place in enumerate(found, start=1):
        if place is not None:
            rows, columns = place
            boxes.append((names[number], columns.start, rows.start, columns.stop, rows.stop))
    return boxes


LUMA = (0.299, 0.587, 0.114)


def mixing(channels: int, bands: int) -> NDArray[np.float32]:
    """(channels, bands) weights, rows summing to 1, from a kind's own bands (R, G, B [, near infrared]).

    1: luma. 2: luma and near infrared. 3: RGB. 4: RGB and near infrared. More: those four, then blends of two of
    them that step through (R+G, G+B, B+N, N+R, R+B, G+N) with a changing share. Kinds without an infrared band of
    their own take .6 R + .3 G + .1 B for it.
    """
    basis = np.eye(4, bands, dtype=np.float64)
    if bands == 3:
        basis[3] = (0.6, 0.3, 0.1)
    luma = np.zeros(bands)
    luma[:3] = LUMA
    if channels <= 2:
        rows = [luma, basis[3]][:channels]
    else:
        rows = list(basis[: min(channels, 4)])
        pairs = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3))
        for extra in range(channels - 4):
            first, second = pairs[extra % 6]
            share = 1 / (2 + extra // 6)
            rows.append((1 - share) * basis[first] + share * basis[second])
    return np.stack(rows).astype(np.float32)


def mix(rgba: Field, channels: int) -> Field:
    """Premultiplied (H, W, bands + 1) -> (H, W, channels + 1)."""
    bands = rgba.shape[-1] - 1
    if channels == bands:
        return rgba
    out = np.zeros((*rgba.shape[:-1], channels + 1), np.float32)
    out[..., -1] = rgba[..., -1]
    for row, weights in enumerate(mixing(channels, bands)):
        for band, weight in enumerate(weights):
            if weight:
                out[..., row] += rgba[..., band] * weight
    return out
