"""Self-attention over pixels that sees only what comes before a pixel in an ordering."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.nn.masked_conv import Ordering


def ordered_attention(query: Tensor, key: Tensor, value: Tensor, order: Tensor | None) -> Tensor:
    """Softmax(Q K^T / sqrt(d) + log M) V over tokens (B, heads, N, d): hidden pairs get -inf BEFORE the softmax.

    A product with M after the scores, as it is sometimes printed, would leave exp(0) to every hidden pair. `order` (N,)
    holds the tokens as they are visited; token order[j] sees order[:j + 1]. In that order M is lower triangular, which
    the kernels of torch know without being given a mask: nothing of size N x N exists. None: every token sees all.
    """
    if order is None:
        return F.scaled_dot_product_attention(query, key, value)
    query, key, value = (tokens.index_select(2, order) for tokens in (query, key, value))
    found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return found.index_select(2, order.argsort())


class MaskedAttention(nn.Module):
    """X + A W^O over all pixels of a map, from normalised X; A as in `ordered_attention`."""

    def __init__(self, channels: int, heads: int, norm: nn.Module) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm
        self.inwards = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.outwards = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, ordering: Ordering | None = None) -> Tensor:
        """(B, C, H, W) -> same shape; C divisible by `heads`."""
        count, channels, height, width = x.shape
        tokens = self.inwards(self.norm(x)).reshape(count, 3, self.heads, channels // self.heads, height * width)
        query, key, value = tokens.transpose(3, 4).unbind(1)
        order = None if ordering is None else ordering.order(height, width).to(x.device)
        found = ordered_attention(query, key, value, order)
        joined: Tensor = self.outwards(found.transpose(2, 3).reshape(count, channels, height, width))
        return x + joined
