"""Built-in procedural images with exact truth: made by numpy on the spot, nothing to download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoupe.data.synthetic import aerial, cluster, objects, scenes, writer
from decoupe.data.synthetic.canvas import Canvas
from decoupe.data.synthetic.scene import Layer, Scene, finish, mix, over, quantise
from decoupe.errors import UsageFault

__all__ = ["KINDS", "Scene", "background_photos", "object_photos", "render", "write"]

KINDS = ("scenes", "objects", "cluster", "aerial")
"""The kinds, in the order that numbers their random streams."""

SMALLEST = 32
"""Smallest height and width, px."""

_Painter = Callable[[np.random.Generator, Canvas, int], list[Layer]]
_PAINTERS: dict[str, tuple[_Painter, tuple[str, ...], int]] = {
    "scenes": (lambda rng, canvas, _: scenes.render_layers(rng, canvas), scenes.CLASSES, scenes.BANDS),
    "objects": (lambda rng, canvas, _: objects.render_layers(rng, canvas), objects.CLASSES, objects.BANDS),
    "cluster": (cluster.render_layers, cluster.CLASSES, cluster.BANDS),
    "aerial": (lambda rng, canvas, _: aerial.render_layers(rng, canvas), aerial.CLASSES, aerial.BANDS),
}


def render(kind: str, seed: int, index: int, size: int | tuple[int, int] = 64, channels: int | None = None) -> Scene:
    """One built-in image with its truth, deterministic bit for bit in the arguments.

    `size` is the side in px, or (height, width), each >= 32; the picture is the same one at any size of equal aspect.
    `channels` >= 1 (default: 3, `aerial` 4; see `scene.mixing` for what other counts mean).
    Raises UsageFault for an unknown kind, too small a size, no channels, a negative seed or index.
    """
    painter, classes, bands = _painter(kind)
    layers = painter(*_start(kind, seed, index, size), index)
    return finish(layers, classes, _channels(channels, bands))


def object_photos(
    n: int, seed: int, size: int = 64, channels: int = 3, first: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`n` images of kind `objects` from index `first` on, (n, size, size, channels) uint8, and masks (n, size, size).

    The same pixels as `render("objects", seed, index, size, channels)`, without the rest of the truth: quicker.
    """
    images = np.empty((n, size, size, _channels(channels, 3)), np.uint8)
    masks = np.empty((n, size, size), np.uint8)
    for k in range(n):
        layers = objects.render_layers(*_start("objects", seed, first + k, size))
        images[k] = quantise(over([mix(layer.rgba, channels) for layer in layers]))
        masks[k] = layers[1].solid >= 0.5
    return images, masks


def background_photos(n: int, seed: int, size: int = 64, channels: int = 3, first: int = 0) -> NDArray[np.uint8]:
    """`n` grounds like those of `objects`, bare and unrelated to any image of it: (n, size, size, channels) uint8."""
    images = np.empty((n, size, size, _channels(channels, 3)), np.uint8)
    for k in range(n):
        layers = objects.ground_only(*_start("grounds", seed, first + k, size))
        images[k] = quantise(mix(layers[0].rgba, channels)[..., :-1])
    return images


def _painter(kind: str) -> tuple[_Painter, tuple[str, ...], int]:
    if kind not in _PAINTERS:
        raise UsageFault(f"a kind of built-in image ({', '.join(KINDS)})", repr(kind), "choose one of them")
    return _PAINTERS[kind]


def _channels(channels: int | None, bands: int) -> int:
    count = bands if channels is None else channels
    if count < 1:
        raise UsageFault("1 channel or more", str(count), "ask for 1 (grey), 3 (RGB), 4 (RGB and infrared) or more")
    return count


def _start(kind: str, seed: int, index: int, size: int | tuple[int, int]) -> tuple[np.random.Generator, Canvas]:
    """The random stream of one image, and its sheet."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < SMALLEST:
        raise UsageFault(f"a size of {SMALLEST} px or more", f"{height} x {width}", "ask for a larger one")
    if seed < 0 or index < 0:
        raise UsageFault("a seed and an index of 0 or more", f"{seed} and {index}", "choose others")
    number = (*KINDS, "grounds").index(kind)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([number, seed, index])))
    return rng, Canvas(height, width, rng)


def write(
    out: Path,
    kind: str,
    n: int,
    size: int | tuple[int, int],
    seed: int,
    channels: int | None = None,
    truth: bool = True,
) -> None:
    """Write images 0 to n - 1 of a kind under `out` as layout `synth` (see `writer`): same arguments, same bytes.

    With `truth` false: the images alone. With it, kind `objects` also gets `backgrounds/`: as many bare grounds.
    """
    painter, classes, bands = _painter(kind)
    if n < 1:
        raise UsageFault("1 image or more", str(n), "ask for some with --n")
    count = _channels(channels, bands)
    folder = writer.Writer(Path(out), kind, classes, truth)
    for index in range(n):
        if truth:
            folder.add(render(kind, seed, index, size, count))
        else:
            layers = painter(*_start(kind, seed, index, size), index)
            folder.add_image(quantise(over([mix(layer.rgba, count) for layer in layers])))
        if truth and kind == "objects":
            (bare,) = objects.ground_only(*_start("grounds", seed, index, size))
            folder.add_background(quantise(mix(bare.rgba, count)[..., :-1]), index)
    folder.close({"seed": seed, "n": n, "size": size, "channels": count})
