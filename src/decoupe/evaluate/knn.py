"""How much a run's embeddings know of classes that it was never told: k nearest neighbours of a few labelled images.

A number of images is drawn at random and labelled; every other image gets the class of its nearest labelled ones.
Repeated for several draws: mean and standard deviation. The baselines are pixels and predictions without any image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from decoupe.errors import Fault

SIDE = 16
"""Side in pixels of the images of the baseline `downscaled pixels`."""
CHUNK = 1 << 23
"""Numbers of the float64 copies that are held at once."""
Metric = Literal["euclidean", "cosine"]
Vectors = NDArray[np.float32]
Whole = NDArray[np.int64]


def drawn(n: int, labelled: int, draws: int, seed: int) -> Iterator[tuple[Whole, Whole]]:
    """(indices of the labelled, of all others) of each draw: a function of these numbers alone, never of what is
    compared, so that all embeddings of the same images are measured on the same draws.
    """
    for draw in range(draws):
        order = np.random.default_rng([seed, draw]).permutation(n)
        yield order[:labelled], np.sort(order[labelled:])


def knn(
    embeddings: ArrayLike | Tensor,
    labels: ArrayLike,
    labelled: int,
    draws: int,
    seed: int = 0,
    *,
    k: int = 1,
    metric: Metric = "euclidean",
) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over draws of the accuracy in [0, 1] on the images that are not labelled.

    embeddings: (N, D) finite. labels: (N,) integers. The nearest `k` labelled images vote; among classes with equally
    many votes the nearest image decides, and of images at the same distance the one drawn first. Fault if the sizes do
    not fit together or a number is not finite.
    """
    vectors, classes = _checked(embeddings, labels, labelled, draws)
    if not 1 <= k <= labelled:
        raise Fault(f"k between 1 and {labelled}, the labelled images", str(k), "choose another k")
    if metric == "cosine":
        vectors = vectors / vectors.double().norm(dim=1, keepdim=True).clamp_min(1e-12)
    right = [
        float((_nearest(vectors, classes, one, others, k) == classes[others]).double().mean())
        for one, others in drawn(len(vectors), labelled, draws, seed)
    ]
    return float(np.mean(right)), float(np.std(right, ddof=1))


def _checked(embeddings: ArrayLike | Tensor, labels: ArrayLike, labelled: int, draws: int) -> tuple[Tensor, Tensor]:
    vectors = torch.as_tensor(embeddings if isinstance(embeddings, Tensor) else np.asarray(embeddings)).detach().cpu()
    classes = torch.as_tensor(np.asarray(labels)).long()
    if vectors.ndim != 2 or classes.shape != vectors.shape[:1]:
        got = f"{tuple(vectors.shape)} and {tuple(classes.shape)}"
        raise Fault("embeddings (N, D) and labels (N,)", got, "pass one row and one label per image")
    if not 1 <= labelled < len(vectors) or draws < 2:
        got = f"{labelled} of {len(vectors)} in {draws} draws"
        raise Fault(
            "some images to label, some to be classified, and 2 draws or more", got, "label fewer, or take more images"
        )
    if not bool(vectors.isfinite().all()):
        raise Fault("finite embeddings", "some that are no number", "use a run that did not collapse")
    return vectors, classes


def _nearest(vectors: Tensor, classes: Tensor, one: Whole, others: Whole, k: int) -> Tensor:
    """(M,) class of each of `others` by its nearest of `one`; |a - b|^2 = |a|^2 - 2 a.b + |b|^2 in float64."""
    known = vectors[one].double()
    norms, own = known.square().sum(1), classes[one]
    rows = max(1, CHUNK // max(1, vectors.shape[1]))
    found = []
    for part in np.array_split(others, -(-len(others) // rows)):
        distances = norms - 2 * vectors[part].double() @ known.T  # |a|^2 is the same for all
        nearest = distances.argsort(dim=1, stable=True)[:, :k]
        found.append(_vote(own[nearest]))
    return torch.cat(found)


def _vote(votes: Tensor) -> Tensor:
    """(M, k) classes, nearest first -> (M,): the most frequent, among equals the one that comes first."""
    counts = (votes[:, :, None] == votes[:, None, :]).sum(2)
    first = counts.argmax(1)  # the first of the largest
    return votes.gather(1, first[:, None])[:, 0]


# ------------------------------------------------------------------ baselines


def raw(squares: NDArray[np.uint8]) -> Vectors:
    """(N, C, S, S) uint8 -> (N, C S S) float32 in [0, 1]: the pixels themselves."""
    return np.asarray(squares.reshape(len(squares), -1) / np.float32(255), np.float32)


def downscaled(squares: NDArray[np.uint8], side: int = SIDE) -> Vectors:
    """(N, C, S, S) uint8 -> (N, C side side) float32 in [0, 1]: means over areas."""
    small = [
        torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(part)).float(), side).flatten(1)
        for part in np.array_split(squares, max(1, -(-len(squares) // 1024)))
    ]
    return np.asarray((torch.cat(small) / 255).numpy())


def random_prediction(labels: ArrayLike, labelled: int, draws: int, seed: int = 0) -> tuple[float, float]:
    """Accuracy of classes drawn at random, all equally likely, on the same images as `knn`."""
    classes = np.asarray(labels)
    known, right = np.unique(classes), []
    for draw, (_, others) in enumerate(drawn(len(classes), labelled, draws, seed)):
        guesses = np.random.default_rng([seed, draw, 1]).choice(known, len(others))
        right.append(float((guesses == classes[others]).mean()))
    return float(np.mean(right)), float(np.std(right, ddof=1))


def constant_prediction(labels: ArrayLike) -> float:
    """Accuracy of always saying the largest class."""
    classes = np.asarray(labels)
    return float(np.unique(classes, return_counts=True)[1].max() / len(classes))
