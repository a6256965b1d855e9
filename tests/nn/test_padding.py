"""Padded convolutions: what PyTorch's own give, without going through float32."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.nn.padding import Reflect, ReplicatedConv2d, padded
from decoupe.nn.unet import UNet


def gradients(conv: nn.Conv2d, x: Tensor, bf16: bool) -> tuple[Tensor, ...]:
    """Output, and derivatives of its square by input and weight."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = conv(x)
    y.float().square().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and conv.weight.grad is not None
    return y.detach(), x.grad, conv.weight.grad


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_a_replicated_convolution_is_that_of_pytorch(bf16: bool, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    theirs = nn.Conv2d(3, 8, 3, stride, dilation, dilation, bias=False, padding_mode="replicate")
    ours = ReplicatedConv2d(3, 8, 3, stride, dilation, dilation)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    x = torch.randn(2, 3, 9, 12)
    (y, dx, dw), (y0, dx0, dw0) = gradients(ours, x, bf16), gradients(theirs, x, bf16)
    assert y.dtype == y0.dtype and torch.equal(y, y0)
    torch.testing.assert_close(dx, dx0, rtol=0.02 if bf16 else 1e-5, atol=0.1 if bf16 else 1e-5)
    torch.testing.assert_close(dw, dw0, rtol=0.02 if bf16 else 1e-5, atol=0.2 if bf16 else 1e-5)


def test_reflection_is_that_of_mirrored_borders() -> None:
    x = torch.randn(2, 3, 8, 9)
    found = Reflect(3)(x)
    rows = [3, 2, 1, *range(8), 6, 5, 4]
    columns = [3, 2, 1, *range(9), 7, 6, 5]
    assert torch.equal(found, x[:, :, rows][:, :, :, columns])


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_mixed_precision_stays_narrow(mode: str) -> None:
    x = torch.randn(1, 2, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        found = padded(x, (1, 1, 1, 1), mode)  # type: ignore[arg-type]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, F.pad(x, (1, 1, 1, 1), mode=mode).bfloat16())
    assert padded(x, (1, 1, 1, 1), mode).dtype == torch.float32  # type: ignore[arg-type]


def test_a_u_net_joins_the_image_without_widening_its_maps() -> None:
    """Joined in float32, the last convolution would round to bf16 what is bf16 now: the logits are the same."""
    torch.manual_seed(0)
    network, seen = UNet(3, 4, 3, "none"), []
    last = network.last[0]  # type: ignore[index]
    last.register_forward_pre_hook(lambda module, given: seen.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.rand(1, 3, 32, 32))
    assert seen == [torch.bfloat16]
