"""Mean-field inference in the fully connected CRF of Kraehenbuehl and Koltun 2011."""

from __future__ import annotations

import torch
from torch import Tensor

from decoupe.crf.kernels import Exact, Fast, Messages
from decoupe.crf.settings import Settings, choose
from decoupe.errors import Fault

SUM = 1e-3
"""By how much the probabilities of a pixel may miss 1."""


@torch.no_grad()
def dense_crf(
    probs: Tensor,
    image: Tensor,
    preset: str | Settings = "krahenbuhl",
    iterations: int | None = 10,
    exact: bool = False,
) -> Tensor:
    """Sharpen class probabilities along the edges of their photo.

    probs: (K, H, W) float, in [0, 1], summing to 1 over K; or a batch (B, K, H, W). image: (H, W, C) uint8 or float,
    any C >= 1, or a batch (B, H, W, C); floats are in the same units as `srgb`, so 0 to 255 where bytes would be.
    preset: a name in `PRESETS`, or `Settings`. iterations: None takes the settings' own number. exact: sum over all
    pairs of pixels, O(N^2), instead of the lattice; about 1 s per 10,000-pixel image and iteration.

    Returns float32 of the shape and on the device of `probs`, summing to 1 over K; equal input gives equal output,
    and an image of a batch what it gives alone. Fault on other shapes, on NaN, and on values that are no probabilities.

    Each update: Q_i(l) <- softmax_l(log p_i(l) + sum over kernels m of w(m) sum_j k(m)_ij Q_j(l)): with the Potts model
    of their equation 3 and 7, a label costs what its kernels do not agree with, up to a constant.
    """
    settings = choose(preset, iterations)
    probs, image = check(probs, image)
    if probs.ndim == 3:
        return _one(probs, image, settings, exact, torch.empty(probs.shape, device=probs.device))
    result = torch.empty(probs.shape, device=probs.device)  # one after the other: their lattices share nothing
    for p, i, into in zip(probs, image, result, strict=True):
        _one(p, i, settings, exact, into)
    return result


def check(probs: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 on one device. Fault in one line if they are no probabilities of an image."""
    shapes = f"{tuple(probs.shape)} with {tuple(image.shape)}"
    batched = probs.ndim == 4
    fits = probs.ndim in (3, 4) and image.ndim == probs.ndim and 0 not in probs.shape and 0 not in image.shape
    if not fits or probs.shape[-2:] != image.shape[batched : batched + 2] or (batched and len(probs) != len(image)):
        raise Fault("probs (K, H, W) and image (H, W, C), or batches of both", shapes, "give them one frame")
    if not probs.is_floating_point() or image.is_complex():
        raise Fault("floating-point probs and a real image", f"{probs.dtype}, {image.dtype}", "convert them")
    probs, image = probs.detach().float(), image.detach().to(probs.device, torch.float32)
    low, high = torch.aminmax(probs)
    error = float((probs.sum(-3) - 1).abs().max())
    if not (float(low) >= -1e-6 and float(high) <= 1 + SUM and error <= SUM):
        got = f"values {float(low):.3g} to {float(high):.3g}, sums off by {error:.2g}"
        raise Fault("probabilities that sum to 1 over labels at every pixel", got, "pass softmax outputs")
    if not bool(torch.isfinite(image).all()):
        raise Fault("an image of finite values", "NaN or infinity", "replace missing values first")
    return probs, image


def log_unary(probs: Tensor, settings: Settings) -> Tensor:
    """(K, H, W) probabilities -> (H W, K) contiguous log p, the negative of the unary energy."""
    k = len(probs)
    if settings.gt_prob is not None and k > 1:
        most = torch.zeros_like(probs).scatter_(0, probs.argmax(0, keepdim=True), 1.0)
        rest = (1 - settings.gt_prob) / (k - 1)
        probs = rest + (settings.gt_prob - rest) * most
    return probs.reshape(k, -1).T.contiguous().clamp(min=settings.floor).log_()


def prepare(image: Tensor, settings: Settings, exact: bool = False) -> Messages | None:
    """Kernels of one (H, W, C) float32 image; None if both are off."""
    if not settings.appearance and not settings.smoothness:
        return None
    return Exact(image, settings) if exact else Fast(image, settings)


def mean_field(unary: Tensor, messages: Messages | None, iterations: int) -> Tensor:
    """(N, K) log p -> (N, K) marginals after `iterations` updates (their Algorithm 1)."""
    q = _normal(unary.clone())
    if messages is None or not iterations:
        return q
    for shifted in (False, True):  # no message of any preset needs the slower exp that cannot overflow
        result = _updates(q, unary, messages, iterations, shifted)
        if bool(result.sum().isfinite()):
            break
    return result


def _normal(energies: Tensor) -> Tensor:
    """(n, K) <- softmax over K, in place, where nothing is so large that exp overflows."""
    energies.exp_()
    ones = torch.ones(energies.shape[1], device=energies.device)
    return energies.mul_((energies @ ones).reciprocal_()[:, None])


def _updates(q: Tensor, unary: Tensor, messages: Messages, iterations: int, shifted: bool) -> Tensor:
    buffers = torch.empty_like(q), torch.empty_like(q)
    for iteration in range(iterations):
        following = buffers[iteration % 2]
        for first, last in messages.begin(q, iteration):
            part = following[first:last].copy_(unary[first:last])
            messages.add(first, last, part)
            if shifted:
                part.copy_(torch.softmax(part, 1))
            else:
                _normal(part)
        q = following
    return q


def _one(probs: Tensor, image: Tensor, settings: Settings, exact: bool, into: Tensor) -> Tensor:
    """Marginals of one (K, H, W), written to the contiguous `into`."""
    if len(probs) == 1:
        return into.fill_(1.0)
    q = mean_field(log_unary(probs.contiguous(), settings), prepare(image, settings, exact), settings.iterations)
    into.view(len(probs), -1).copy_(q.T)
    return into
