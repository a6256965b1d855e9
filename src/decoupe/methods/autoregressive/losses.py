"""The two objectives of "Autoregressive Unsupervised Image Segmentation", as losses to minimise.

Their parts are shared with `iic` and live in decoupe/losses/information.py.
"""

from __future__ import annotations

from torch import Tensor

from decoupe.losses.information import contrastive_bound, displaced_information


# Autoregressive clustering: max I(y, y') = E_x E_p(y, y') log( p(y, y') / (p(y) p(y')) ), its exact value
def clustering(
    first: Tensor, second: Tensor, reach: int, marginal_weight: float = 1.0, valid: Tensor | None = None
) -> Tensor:
    """- mean over displacements of at most `reach` cells of the mutual information of the two views' assignments.

    `first`, `second`: (B, K, H, W) summing to 1 over K; `valid` (B, 1, H, W) bool. fp32 whatever the precision.
    """
    return -displaced_information(first, second, reach, marginal_weight, valid)


# Autoregressive representation learning: max E_x log( e^f(y_l, y'_l) / ( 1/N sum_m e^f(y_l, y'_m) ) ), a lower bound
def representation(first: Tensor, second: Tensor, temperature: float, valid: Tensor | None = None) -> Tensor:
    """- the contrastive bound for (n, D) features of n pixels seen in both views; f = cosine / temperature."""
    return -contrastive_bound(first, second, temperature, valid)
