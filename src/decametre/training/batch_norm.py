"""Norms of a network that is trained on several devices.

With batch norm, a sample's result depends on the samples it is computed with, and so on how the
global batch is divided. There are two ways out: all ranks use the statistics of the global batch
(`SynchronisedBatchNorm`), or the samples that are computed together do not depend on the division
(micro-batches of one size, `training/running_statistics.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from decametre.options import Norm

MAX_GROUPS = 32
"""Groups of channels of a group norm (Wu & He 2018); fewer if 32 does not divide the channels."""


def replace_norms(network: nn.Module, norm: Norm) -> nn.Module:
    """Replace the batch norms of a network.

    Args:
        network: Is changed. Weights, biases and statistics are kept if the new norm has them.
        norm: `merged`: no change; `synchronised`: see `SynchronisedBatchNorm`; `group`: group norm;
            `frozen`: running statistics, weights and biases never change.
    """
    if norm == "merged":
        return network
    from timm.layers import freeze_batch_norm_2d  # imports torchvision, which takes seconds

    if norm == "frozen":
        frozen: nn.Module = freeze_batch_norm_2d(network)
        return frozen
    return _replace_in(
        network, SynchronisedBatchNorm.from_batch_norm if norm == "synchronised" else _group_norm
    )


def _replace_in(module: nn.Module, convert: Any) -> nn.Module:
    if isinstance(module, nn.BatchNorm2d):
        new: nn.Module = convert(module)
        new.train(module.training)
        # timm's norms contain dropout and activation.
        parts = [getattr(module, name) for name in ("drop", "act") if hasattr(module, name)]
        return nn.Sequential(new, *parts) if parts else new
    for name, child in module.named_children():
        setattr(module, name, _replace_in(child, convert))
    return module


def _group_norm(norm: nn.BatchNorm2d) -> nn.GroupNorm:
    channels = norm.num_features
    new = nn.GroupNorm(math.gcd(MAX_GROUPS, channels), channels, norm.eps, norm.affine)
    if norm.affine:
        new.weight, new.bias = norm.weight, norm.bias
    return new


class _SumOverRanks(torch.autograd.Function):
    """The sum over ranks. In the backward pass, the ranks' gradients are summed, too."""

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
    """Batch norm with the mean and variance of the global batch, on any device.

    `torch.nn.SyncBatchNorm` needs a GPU on every rank. Here each rank is weighted by its samples,
    and a rank without samples uses an empty batch: all ranks must run the same layers in the same
    order.

    Attributes:
        group: Process group of the ranks; None: this process alone.
    """

    group: dist.ProcessGroup | None = None

    @classmethod
    def from_batch_norm(cls, norm: nn.BatchNorm2d) -> SynchronisedBatchNorm:
        """A synchronised norm with the weights and statistics of a batch norm."""
        new = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        new.load_state_dict(norm.state_dict())
        return new

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x`, (samples, channels, rows, columns)."""
        if self.group is None or not self.training:
            return super().forward(x)
        precise = x if x.dtype == torch.float64 else x.float()
        local_count = precise.new_full((1,), x.numel() // x.shape[1])
        sums = _SumOverRanks.apply(torch.cat([precise.sum((0, 2, 3)), local_count]), self.group)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = precise - mean[:, None, None]
        variance = _SumOverRanks.apply(centred.square().sum((0, 2, 3)), self.group) / count
        if self.track_running_stats:
            unbiased = variance.detach() * count / (count - 1).clamp(min=1)
            self._update_running(mean.detach(), unbiased)
        result = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            result = result * self.weight[:, None, None] + self.bias[:, None, None]
        return result.to(x.dtype)

    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        weight = self.momentum
        if weight is None:  # torch: a cumulative average
            weight = 1 / float(self.num_batches_tracked)  # type: ignore[arg-type]
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)  # type: ignore[union-attr]
        self.running_var.lerp_(variance.to(self.running_var.dtype), weight)  # type: ignore[union-attr]


def synchronised_norms(network: nn.Module) -> list[SynchronisedBatchNorm]:
    """All synchronised norms of a network."""
    return [module for module in network.modules() if isinstance(module, SynchronisedBatchNorm)]


@contextmanager
def without_exchange(network: nn.Module) -> Iterator[None]:
    """In this context, synchronised norms use the statistics of this process only."""
    norms = synchronised_norms(network)
    groups = [norm.group for norm in norms]
    for norm in norms:
        norm.group = None
    try:
        yield
    finally:
        for norm, group in zip(norms, groups, strict=True):
            norm.group = group
