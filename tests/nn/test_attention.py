"""Ordered attention against the formula written out in float64."""

from __future__ import annotations

import math

import pytest
import torch

from decoupe.nn.attention import MaskedAttention, ordered_attention
from decoupe.nn.masked_conv import RASTER, ZIGZAG, Ordering


@pytest.mark.parametrize("ordering", [None, *RASTER, *ZIGZAG], ids=lambda o: o.name if o else "all")
def test_against_minus_infinity_before_the_softmax(ordering: Ordering | None) -> None:
    height, width = 3, 5
    count = height * width
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 2, count, 4, dtype=torch.float64, generator=generator) for _ in range(3))
    order = None if ordering is None else ordering.order(height, width)
    given = ordered_attention(query, key, value, order)
    for b in range(2):
        for h in range(2):
            for p in range(count):
                seen = list(range(count)) if ordering is None else ordering.allowed(height, width)[p].nonzero()[:, 0]
                energies = [math.exp(float(query[b, h, p] @ key[b, h, q]) / 2) for q in seen]
                wanted = sum(e / sum(energies) * value[b, h, q] for e, q in zip(energies, seen, strict=True))
                assert torch.allclose(given[b, h, p], torch.as_tensor(wanted), atol=1e-12)


def test_the_first_pixel_sees_itself_alone() -> None:
    """A product with the mask after the scores would let exp(0) of every hidden pixel in."""
    query, key, value = torch.randn(3, 1, 1, 6, 4, generator=torch.Generator().manual_seed(1))
    order = ZIGZAG[3].order(2, 3)
    assert torch.equal(ordered_attention(query, key, value, order)[0, 0, order[0]], value[0, 0, order[0]])


def test_gradients_by_finite_differences() -> None:
    torch.manual_seed(0)
    block = MaskedAttention(4, 2, torch.nn.Identity()).double()
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: block(x, RASTER[5]), x)
    assert torch.autograd.gradcheck(lambda x: block(x), x)
