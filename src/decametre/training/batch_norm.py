"""Norms of a network that is trained on several devices.

Batch norm makes a sample's result depend on those it is computed with, so on how a global batch is
divided, unless one of two things is done: all ranks use the statistics of the global batch
(`SynchronisedBatchNorm`), or the samples that are computed together are the same whatever the
division (micro-batches of one size, `training/running_statistics.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from decametre.choices import Norm

GROUPS = 32
"""Groups of channels of a group norm (Wu & He 2018), or as many as divide the channels."""


def with_norm(network: nn.Module, norm: Norm) -> nn.Module:
    """A network with another norm in the place of its batch norms.

    Args:
        network: Is changed; weights, biases and statistics of its norms are kept where the new norm
            has them.
        norm: `merged`: as it is; `synchronised`: see `SynchronisedBatchNorm`; `group`: group norm;
            `frozen`: running statistics, weights and biases stay as they are.
    """
    if norm == "merged":
        return network
    from timm.layers import freeze_batch_norm_2d  # with torchvision, seconds to import

    if norm == "frozen":
        frozen: nn.Module = freeze_batch_norm_2d(network)
        return frozen
    return _replaced(network, SynchronisedBatchNorm.like if norm == "synchronised" else _groups)


def _replaced(module: nn.Module, other: Any) -> nn.Module:
    if isinstance(module, nn.BatchNorm2d):
        new: nn.Module = other(module)
        new.train(module.training)
        # timm's norms have dropout and activation in them.
        parts = [getattr(module, name) for name in ("drop", "act") if hasattr(module, name)]
        return nn.Sequential(new, *parts) if parts else new
    for name, child in module.named_children():
        setattr(module, name, _replaced(child, other))
    return module


def _groups(norm: nn.BatchNorm2d) -> nn.GroupNorm:
    channels = norm.num_features
    new = nn.GroupNorm(math.gcd(GROUPS, channels), channels, norm.eps, norm.affine)
    if norm.affine:
        new.weight, new.bias = norm.weight, norm.bias
    return new


class _Sum(torch.autograd.Function):
    """The sum over ranks. The gradients that the ranks' losses send back are summed likewise."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        values = values.clone()
        dist.all_reduce(values, group=group)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient, group=ctx.group)
        return gradient, None


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch norm by the mean and variance of the global batch, on any device.

    torch's own wants a GPU on every rank. Ranks count by their samples, and one without any takes
    part with an empty batch: all ranks must run the same layers in the same order.

    Attributes:
        group: The ranks; None: this process alone.
    """

    group: dist.ProcessGroup | None = None

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> SynchronisedBatchNorm:
        """One with the weights and statistics of a batch norm."""
        new = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        new.load_state_dict(norm.state_dict())
        return new

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x`, (samples, channels, rows, columns)."""
        if self.group is None or not self.training:
            return super().forward(x)
        precise = x if x.dtype == torch.float64 else x.float()
        on_rank = precise.new_full((1,), x.numel() // x.shape[1])
        sums = _Sum.apply(torch.cat([precise.sum((0, 2, 3)), on_rank]), self.group)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = precise - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3)), self.group) / count
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        result = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            result = result * self.weight[:, None, None] + self.bias[:, None, None]
        return result.to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        share = self.momentum
        if share is None:  # torch's word for a plain mean over all batches
            share = 1 / float(self.num_batches_tracked)  # type: ignore[arg-type]
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)  # type: ignore[union-attr]
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)  # type: ignore[union-attr]


def synchronised(network: nn.Module) -> list[SynchronisedBatchNorm]:
    """The norms of a network that look at all ranks."""
    return [module for module in network.modules() if isinstance(module, SynchronisedBatchNorm)]


@contextmanager
def alone(network: nn.Module) -> Iterator[None]:
    """A context in which no norm looks at other ranks."""
    norms = synchronised(network)
    groups = [norm.group for norm in norms]
    for norm in norms:
        norm.group = None
    try:
        yield
    finally:
        for norm, group in zip(norms, groups, strict=True):
            norm.group = group
