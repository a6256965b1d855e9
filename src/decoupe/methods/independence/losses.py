"""The objectives of "Learning Segmentation Masks with the Independence Prior", one function per equation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

# with D = P(real) and the usual sign Eq. 6-7 are binary cross-entropy; the hinge is its other common form
from decoupe.losses.adversarial import discriminator_hinge as discriminator_hinge
from decoupe.losses.adversarial import discriminator_nonsaturating as discriminator_nonsaturating
from decoupe.losses.adversarial import generator_hinge as generator_hinge
from decoupe.losses.adversarial import generator_nonsaturating as generator_nonsaturating


# Eq. 6 as printed: L_D = E log D(x) + E log(1 - D(x_g)), minimised, so D = P(fake)
def discriminator_paper(real: Tensor, fake: Tensor) -> Tensor:
    """`real`, `fake`: logits of P(fake), any shape (a patch map is averaged). Minimised by D."""
    return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean()


# Eq. 7 as printed, its first term: L_G = E log D(x_g), minimised by G with D = P(fake) (saturating)
def generator_paper(fake: Tensor) -> Tensor:
    """`fake`: logits of P(fake). Minimised by G."""
    return F.logsigmoid(fake).mean()


DISCRIMINATOR = {
    "paper": discriminator_paper,
    "nonsaturating": discriminator_nonsaturating,
    "hinge": discriminator_hinge,
}
GENERATOR = {"paper": generator_paper, "nonsaturating": generator_nonsaturating, "hinge": generator_hinge}


# below Eq. 7: L_area = E (1/N) sum_i (|m_i|_1 / A - a)^2
def area_penalty(masks: Tensor, target: float, margin: float = 0.0, one_sided: bool = False) -> Tensor:
    """Squared distance of each mask's mean from `target`, averaged over (B, 1, H, W) masks.

    `margin` > 0 leaves areas within target +- margin unpunished; `one_sided` punishes only masks that are too large
    (the text's "as small as possible"). With margin 0 and two sides this is the printed formula.
    """
    return _excess(masks.mean((1, 2, 3)) - target, margin, one_sided).square().mean()


def batch_area_penalty(mean: Tensor, target: float, margin: float = 0.0) -> Tensor:
    """The same for the mean area of the whole batch: single objects may be small or large, their average may not."""
    return _excess(mean - target, margin, False).square()


def _excess(distance: Tensor, margin: float, one_sided: bool) -> Tensor:
    if one_sided:
        return F.relu(distance - margin)
    return F.relu(distance.abs() - margin) if margin else distance


# Information term of the second application, its form left open there: -E log Q(z | x) of a Gaussian of variance 1/2
def information(read: Tensor, z: Tensor) -> Tensor:
    """Mean squared distance of what Q reads, (B, Z), from the z that the instance was made of: up to a constant the
    negative log-likelihood of InfoGAN (Chen et al. 2016, Eq. 5)."""
    return (read - z).square().mean()
