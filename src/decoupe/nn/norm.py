"""Normalisation that gives the same result whatever the number of processes."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from decoupe.errors import Fault


class _Sum(torch.autograd.Function):
    """all_reduce, whose derivative is an all_reduce too, as often as it is taken (R1 differentiates twice)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum_over_processes(gradients[0])


def _sum_over_processes(values: Tensor) -> Tensor:
    """Elementwise sum over all processes, differentiable."""
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose statistics are those of the global batch (also on the CPU, unlike SyncBatchNorm).

    mean and variance over (B, H, W) of all processes; differentiable through the sum over processes.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> same shape and dtype."""
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        x = input.float()
        count = x.numel() / x.shape[1] * dist.get_world_size()
        mean = _sum_over_processes(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            if self.running_mean is not None and self.running_var is not None:
                momentum = self.momentum or 0.1
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * count / (count - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scaled = centred * (variance + self.eps).rsqrt()[:, None, None]
        result: Tensor = scaled * self.weight[:, None, None] + self.bias[:, None, None]
        return result.to(input.dtype)


def normalise(kind: str, channels: int) -> nn.Module:
    """ "batch" (synchronised), "group" (gcd(channels, 8) groups: a map of single images), or "none"."""
    if kind == "batch":
        return BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(channels, 8), channels)
    if kind == "none":
        return nn.Identity()
    raise Fault("norm to be batch, group or none", repr(kind), "choose one of these")


def global_sum(values: Tensor) -> Tensor:
    """Elementwise sum over all processes (equal shapes), differentiable; one process: `values`."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return _sum_over_processes(values)
    return values


def gathered(rows: Tensor) -> Tensor:
    """The rows (N, ...) of all processes (equal shapes) in the order of their ranks, differentiable."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows
    places = torch.arange(dist.get_world_size(), device=rows.device) == dist.get_rank()
    spread = rows[None] * places.view(-1, *(1 for _ in rows.shape)).to(rows.dtype)
    return _sum_over_processes(spread).flatten(0, 1)


def global_mean(values: Tensor) -> Tensor:
    """Mean over all elements of all processes (equal shapes), differentiable."""
    mean = values.mean()
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return _sum_over_processes(mean) / dist.get_world_size()
    return mean


@torch.no_grad()
def fold(network: nn.Module) -> None:
    """Put every batch normalisation that follows a convolution into it, in place, with its stored statistics.

    For networks whose statistics shall not change any more. The result in evaluation mode stays the same: with
    s = gamma / sqrt(variance + eps), weights become s w and the bias beta + s (bias - mean).
    """
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (_, conv), (name, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold_one(conv, norm)
                setattr(parent, name, nn.Identity())


def _fold_one(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    if norm.running_mean is None or norm.running_var is None:
        raise Fault("batch normalisation with stored statistics", "one without", "leave it as it is")
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    before = torch.zeros_like(norm.bias) if conv.bias is None else conv.bias
    conv.weight.mul_(scale[:, None, None, None])
    conv.bias = nn.Parameter(norm.bias + scale * (before - norm.running_mean))
