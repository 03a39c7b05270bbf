"""The gradient of a step, computed by any number of ranks with unequal shares.

The gradient must be that of the mean loss over *all* samples (pixels, labels) of the global batch
that count: (1 / N) sum of grad l_i. DDP averages the gradients of W ranks, each of which has the
sum over its own share only. Therefore each rank multiplies its sum of losses by W / N before
back-propagation; DDP's average is then the mean over the global batch, whatever the shares. This is
the balanced gradient of Moreno-Alvarez et al. 2022 (https://doi.org/10.1109/LGRS.2022.3222138) in
its exact form. Weighting the gradients afterwards would give the same result only if no layer
exchanges data between ranks.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from decametre.training import batch_norm
from decametre.training.ranks import Ranks
from decametre.training.recipe import Compression
from decametre.training.running_statistics import RunningStatistics
from decametre.training.task import Batch, Task

BUCKET_COUNT = 8
"""DDP sums the gradient in about so many buckets, each as soon as it is complete. The last one is
complete when back-propagation ends, so all ranks wait for it: with torch's 25 MB a bucket, it would
hold most of the gradient of a small network."""

MIN_BUCKET_MIB, MAX_BUCKET_MIB = 0.25, 25.0
"""Limits of a bucket's size: each bucket adds a latency, and buckets above torch's size are no
faster."""

COMPRESSION_HOOKS: dict[Compression, Callable[[Any, Any], Any]] = {
    "fp16": default_hooks.fp16_compress_hook,
    "bf16": default_hooks.bf16_compress_hook,
}


class Gradient(Generic[Batch]):
    """Computes the gradient of a step together with the other ranks.

    Args:
        task: Computes sums of losses.
        network: The task's network; its weights receive the gradient.
        ranks: The ranks that train together.
        compression: Number format in which gradients travel: `none` (as they are), `fp16` or
            `bf16`.
        clock: Seconds of a running clock, for measurements on the CPU.
    """

    def __init__(
        self,
        task: Task[Batch],
        network: nn.Module,
        ranks: Ranks,
        compression: Compression = "none",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.ranks, self.task, self.network = ranks, task, network
        self.statistics = RunningStatistics(network, ranks)
        for norm in batch_norm.synchronised_norms(network):
            norm.group = ranks.gradient_group
        self.loss: nn.Module = _LossModule(task, network)
        self.timer = ComputeTimer(network, ranks.device, clock)
        if ranks.size > 1:
            with warnings.catch_warnings():
                # Newer versions of torch deprecate a parameter name that older ones require.
                warnings.simplefilter("ignore", FutureWarning)
                ddp = DistributedDataParallel(
                    self.loss,
                    process_group=ranks.gradient_group,
                    broadcast_buffers=False,
                    gradient_as_bucket_view=True,
                    bucket_cap_mb=bucket_size(network),
                )
            if compression != "none":
                ddp.register_comm_hook(ranks.gradient_group, COMPRESSION_HOOKS[compression])
            self.loss = ddp

    def close(self) -> None:
        """Release the ranks' process group, so that the network can be used with other ranks."""
        for norm in batch_norm.synchronised_norms(self.network):
            norm.group = None
        self.loss = _LossModule(self.task, self.network)
        self.timer.close()

    def __call__(self, batches: Sequence[Batch], global_count: Callable[[], float]) -> Tensor:
        """Add the gradient of the mean loss over the global batch to the weights' gradients.

        Args:
            batches: This rank's micro-batches; empty if it has no samples.
            global_count: Waits for the number of losses of the global batch and returns it. It is
                called after the first forward pass. If the number is 0, the gradient is 0.

        Returns:
            The sum of this rank's losses, a scalar on the device.
        """

        def scale() -> float:
            with self.timer.paused():
                return max(global_count(), 1.0) / self.ranks.size

        total = torch.zeros((), device=self.ranks.device)
        self.timer.start()
        # A rank without samples takes part, too, because DDP sums over all ranks.
        parts: list[Batch | None] = [*batches]
        *before, last = parts or [None]
        with self.statistics.collecting():
            with self._without_sync():
                for batch in before:
                    total += self._backward(batch, scale)
                    self._collect(batch)
            total += self._backward(last, scale)
            self._collect(last)
        self.timer.end()
        return total

    def update_statistics(self, count: float) -> None:
        """Update the running statistics of batch norms after a step.

        Args:
            count: Number of losses of the global batch.
        """
        self.statistics.update(count)

    def compute_alone(self, batches: Sequence[Batch]) -> None:
        """Compute as in a step, but without the other ranks; for speed measurements."""
        with self._without_sync(), batch_norm.without_exchange(self.network):
            for batch in batches:
                self._backward(batch, lambda: 1.0)
        if self.ranks.device.type == "cuda":
            torch.cuda.synchronize(self.ranks.device)

    def _backward(self, batch: Batch | None, scale: Callable[[], float]) -> Tensor:
        loss_sum: Tensor = self.loss(batch)
        (loss_sum / scale()).backward()  # type: ignore[no-untyped-call]
        return loss_sum.detach()

    def _collect(self, batch: Batch | None) -> None:
        if batch is not None and self.statistics.norms:
            self.statistics.add(self.task.count(batch))

    def _without_sync(self) -> AbstractContextManager[None]:
        if isinstance(self.loss, DistributedDataParallel):
            return self.loss.no_sync()
        return nullcontext()


def bucket_size(network: nn.Module) -> float:
    """Size of DDP's buckets for a network's gradient, in MiB."""
    trained = (weights for weights in network.parameters() if weights.requires_grad)
    size = sum(weights.numel() * weights.element_size() for weights in trained)
    return min(max(size / BUCKET_COUNT / 2**20, MIN_BUCKET_MIB), MAX_BUCKET_MIB)


class _LossModule(nn.Module):
    """The loss as a module, because DDP needs a forward and a backward pass of every rank."""

    def __init__(self, task: Task[Any], network: nn.Module) -> None:
        super().__init__()
        self.task, self.network = task, network

    def forward(self, batch: Any) -> Tensor:
        """Sum of a batch's losses; for None, 0 with a gradient of 0."""
        if batch is None:
            sums = [weights.sum() for weights in self.network.parameters() if weights.requires_grad]
            return torch.stack(sums).sum() * 0
        return self.task.loss(self.network, batch)


class ComputeTimer:
    """Measures how long this rank computes in a step, without the time it waits for other ranks.

    On the CPU the time begins when the previous exchange of gradients ended, so that it includes
    the optimizer's step and the preparation of the next samples. It ends with the gradient of the
    last weight, and excludes the wait for the global count. During this time the other ranks wait
    for this one. On a GPU it is the time from the first forward pass to the last gradient, measured
    by events in the GPU's queue, which are read once they are complete; nothing waits for them.

    Args:
        network: The network that is trained.
        device: Its device.
        clock: Seconds of a running clock, for the CPU.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.device, self.on_gpu, self.clock = device, device.type == "cuda", clock
        self.begun: Any = None
        self.ended: Any = None
        self.exchange_ended: float | None = None
        self.seconds = self.waited = 0.0
        self.hooks = [
            weights.register_post_accumulate_grad_hook(self._record)  # type: ignore[no-untyped-call]
            for weights in network.parameters()
            if weights.requires_grad
        ]

    def close(self) -> None:
        """Remove the hooks from the weights."""
        for hook in self.hooks:
            hook.remove()

    def skip_interval(self) -> None:
        """Exclude the time until the next step, for example that of a validation."""
        self.exchange_ended = None

    def start(self) -> None:
        """Begin a step. Call `read` before, or the time of the previous step is lost."""
        on_cpu = not self.on_gpu and self.exchange_ended is not None
        self.begun = self.ended = self.exchange_ended if on_cpu else self._now()
        self.waited = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time in this context, in which the rank waits for others."""
        begun = self.clock()
        yield
        self.waited += self.clock() - begun

    def _record(self, weights: Tensor) -> None:
        self.ended = self._now()

    def end(self) -> None:
        """End a step: the gradients of all ranks have been summed."""
        if not self.on_gpu:
            self.exchange_ended = self.clock()

    def _now(self) -> Any:
        if not self.on_gpu:
            return self.clock()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def read(self) -> float:
        """Seconds of the latest step that is complete; 0 before the first one."""
        if self.begun is None:
            return 0.0
        if not self.on_gpu:
            self.seconds = self.ended - self.begun - self.waited
        elif self.ended.query():
            self.seconds = self.begun.elapsed_time(self.ended) / 1000
        return self.seconds
