"""The objectives of ReDO and of its reproduction study, one function per equation.

Notation: I an image, M_k its mask of region k, z_k the region's latent, G_F(I, z_i, i) the image with region i redrawn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# ReDO's max over D of E min(0, -1 + D(I)) + E min(0, -1 - D(G_F)), and section IV, first term of max L_G: E D(G_F)
from decoupe.losses.adversarial import discriminator_hinge as discriminator_hinge
from decoupe.losses.adversarial import generator_hinge as generator_hinge


# Section II, step 2: G_F(I, z_i, i) = sum over k != i of M_k I + M_i G_i(M_i, z_i)
def redraw_region(images: Tensor, mask: Tensor, drawn: Tensor) -> Tensor:
    """`images` (B, C, S, S), `mask` (B, 1, S, S) of the region, `drawn` = M_i G_i (B, C, S, S), already masked."""
    return images * (1 - mask) + drawn


# Section III.C, the ablation: G(I, z) = sum over k of M_k G_k(M_k, z_k)
def redraw_all(drawn: Tensor) -> Tensor:
    """`drawn` (B, K, C, S, S), each region already masked -> (B, C, S, S)."""
    return drawn.sum(1)


# Section III.B: L_I = || delta_i(G_F(I, z_i, i)) - z_i ||^2
def information(found: Tensor, latents: Tensor) -> Tensor:
    """`found`, `latents`: (B, Z). The squared distance (Z = nothing was found), mean over B."""
    return (found.float() - latents).square().sum(1).mean()


# Section IV.A for K regions: the odds of the area, times K - 1, so that the even share 1/K comes to lie at 1/2
def area_share(masks: Tensor) -> Tensor:
    """(B, K, S, S) probabilities -> (B, K) mean areas on a scale where 1/2 is the even share; for K = 2 the areas."""
    k, area = masks.shape[1], masks.float().mean((2, 3))
    return area * (k - 1) / (area * (k - 1) + 1 - area)


# Section IV.A, MSE: f = (m - 0.5)^2
def mse(area: Tensor) -> Tensor:
    """Squared distance of mean areas from one half; elementwise."""
    return (area - 0.5).square()


# Section IV.A, rectified MSE: f = relu((m - 0.5)^2 - s^2)
def rectified_mse(area: Tensor, margin: float = 0.3) -> Tensor:
    """The same outside of 0.5 +- `margin`, nothing within; elementwise."""
    return F.relu((area - 0.5).square() - margin**2)


# Section IV.A, Concrete density: b a x^(-b-1) (1-x)^(-b-1) / (a x^-b + (1-x)^-b), its denominator squared if asked
def concrete(area: Tensor, alpha: float = 1.0, beta: float = 0.5, squared: bool = False, floor: float = 0.01) -> Tensor:
    """Density of the binary Concrete distribution at the mean area; elementwise.

    As printed the denominator has no square; `squared` is the density of Maddison et al. (2016). It is infinite at 0
    and 1: outside of [floor, 1 - floor] its tangent goes on, so that the emptiest masks are pushed hardest.
    """
    x = area.clamp(floor, 1 - floor)
    low, high = x.pow(-beta), (1 - x).pow(-beta)
    power, below = (2 if squared else 1), alpha * low + high
    density = beta * alpha * (low / x) * (high / (1 - x)) / below.pow(power)
    slope = (beta + 1) * (1 / (1 - x) - 1 / x) - power * beta * (high / (1 - x) - alpha * low / x) / below
    return density * (1 + slope * (area - x))  # slope: of the density's logarithm


Regulariser = Callable[[Tensor], Tensor]


# Section IV.A: lambda_reg f_reg(F(I)), the mean of f over images and regions
def mask_penalty(masks: Tensor, shape: Regulariser) -> Tensor:
    """`masks` (B, K, S, S) -> the mean of `shape` over the areas of all masks of the batch."""
    return torch.mean(shape(area_share(masks)))
