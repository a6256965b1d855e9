"""The objective of "Invariant Information Clustering for Unsupervised Image Classification and Segmentation"."""

from __future__ import annotations

from torch import Tensor

from decoupe.losses.information import displaced_information


# Eq. 5: max over Phi of the mean over displacements t of I(P_t), P_t = sum over pixels u of Phi_u(x) Phi_(u+t)(gx)^T;
# Eq. 3: I(P) = sum_cc' P_cc' (ln P_cc' - lambda ln P_c - lambda ln P_c'), lambda = 1 in the paper
def invariant(
    first: Tensor, second: Tensor, reach: int, marginal_weight: float = 1.0, valid: Tensor | None = None
) -> Tensor:
    """- mean over displacements of at most `reach` of the mutual information between an image and its transform.

    `first`, `second`: (B, K, H, W) summing to 1 over K, the second moved back into the frame of the first; `valid`
    (B, 1, H, W) bool: pixels that the transformed image held. fp32 whatever the precision.
    """
    return -displaced_information(first, second, reach, marginal_weight, valid)
