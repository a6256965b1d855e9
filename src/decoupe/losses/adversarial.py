"""Games of a generator and a discriminator; one function per objective. All are minimised by the one they train.

Scores are of any shape (a patch map counts each patch); an objective is the mean over all of them.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


# Goodfellow et al. 2014, Eq. 1: max over D of E log D(x) + E log(1 - D(x_g)), D = sigmoid(score) = P(real)
def discriminator_nonsaturating(real: Tensor, fake: Tensor) -> Tensor:
    """- E log D(x) - E log(1 - D(x_g)): binary cross-entropy. `real`, `fake`: logits of P(real). Minimised by D."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


# Goodfellow et al. 2014, section 3: maximise log D(x_g) instead of minimising log(1 - D(x_g))
def generator_nonsaturating(fake: Tensor) -> Tensor:
    """- E log D(x_g). `fake`: logits of P(real). Minimised by G."""
    return F.softplus(-fake).mean()


# Miyato et al. 2018, Eq. 16: max over D of E min(0, -1 + D(x)) + E min(0, -1 - D(x_g)), as a loss
def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """E relu(1 - D(x)) + E relu(1 + D(x_g)). `real`, `fake`: unbounded scores. Minimised by D."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


# Miyato et al. 2018, Eq. 17
def generator_hinge(fake: Tensor) -> Tensor:
    """- E D(x_g). `fake`: unbounded scores. Minimised by G."""
    return -fake.mean()
