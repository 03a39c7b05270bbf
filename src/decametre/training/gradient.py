"""The one place where losses become a gradient, on any number of ranks.

Of a global batch every rank has a share, and no two need be equal. The gradient must be that of
the mean loss over *all* samples (pixels, labels) that count: (1 / N) sum of grad l_i. DDP averages
the gradients of W ranks, each of which knows its own sum only; so each rank's sum is weighted
beforehand by W / N, and DDP's average is the mean over the global batch, whatever the shares
(the balanced gradient of Moreno-Alvarez et al. 2022, https://doi.org/10.1109/LGRS.2022.3222138, in
its exact form). To weight gradients afterwards would be the same only while no layer mixes ranks.
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

BUCKETS = 8
"""In about so many parts the gradient travels, each as soon as it is there. The last one is full
when back-propagation ends, and all wait for it: by torch's 25 MB a part, it would be most of the
gradient of a small network."""

LEAST_BUCKET, LARGEST_BUCKET = 0.25, 25.0
"""MiB: each part costs a latency too, and larger ones than torch's are no faster."""


COMPRESSION_HOOKS: dict[Compression, Callable[[Any, Any], Any]] = {
    "fp16": default_hooks.fp16_compress_hook,
    "bf16": default_hooks.bf16_compress_hook,
}


class Gradient(Generic[Batch]):
    """Makes the gradient of a step, together with the other ranks.

    Args:
        task: Sums losses.
        network: The task's network, which gets the gradients.
        ranks: Those who train together.
        compression: Number format in which gradients travel: `none` (as they are), `fp16` or
            `bf16`.
    """

    def __init__(
        self,
        task: Task[Batch],
        network: nn.Module,
        ranks: Ranks,
        compression: Compression = "none",
    ) -> None:
        self.ranks, self.task, self.network = ranks, task, network
        self.statistics = RunningStatistics(network, ranks)
        for norm in batch_norm.synchronised(network):
            norm.group = ranks.gradients
        self.loss: nn.Module = _Loss(task, network)
        self.clock = Clock(network, ranks.device)
        if ranks.size > 1:
            with warnings.catch_warnings():
                # Newer versions of torch ask for a name that older ones do not know.
                warnings.simplefilter("ignore", FutureWarning)
                ddp = DistributedDataParallel(
                    self.loss,
                    process_group=ranks.gradients,
                    broadcast_buffers=False,
                    gradient_as_bucket_view=True,
                    bucket_cap_mb=bucket_size(network),
                )
            if compression != "none":
                ddp.register_comm_hook(ranks.gradients, COMPRESSION_HOOKS[compression])
            self.loss = ddp

    def taken(self, count: float) -> None:
        """The step is taken: running statistics of norms move by what its batches left.

        Args:
            count: How many losses the global batch sums.
        """
        self.statistics.merge(count)

    def __call__(self, batches: Sequence[Batch], counted: Callable[[], float]) -> Tensor:
        """Add to every weight the gradient of the mean loss over the global batch.

        Args:
            batches: This rank's micro-batches; none where it has no share.
            counted: Says how many losses the global batch sums, over all ranks, as soon as all have
                said so; asked for when the first loss is there. A batch without any has gradient 0.

        Returns:
            The sum of this rank's losses, a scalar on the device.
        """

        def scale() -> float:
            with self.clock.paused():
                return max(counted(), 1.0) / self.ranks.size

        total = torch.zeros((), device=self.ranks.device)
        self.clock.start()
        # A rank without a share still takes part: the others' gradients go through it.
        taken: list[Batch | None] = [*batches]
        *before, last = taken or [None]
        with self.statistics.of_micro_batches():
            with self._unsynced():
                for batch in before:
                    total += self._backward(batch, scale)
                    self._note(batch)
            total += self._backward(last, scale)
            self._note(last)
        self.clock.end()
        return total

    def alone(self, batches: Sequence[Batch]) -> None:
        """Compute as in a step, without the other ranks: to be timed."""
        with self._unsynced(), batch_norm.alone(self.network):
            for batch in batches:
                self._backward(batch, lambda: 1.0)
        if self.ranks.device.type == "cuda":
            torch.cuda.synchronize(self.ranks.device)

    def _backward(self, batch: Batch | None, scale: Callable[[], float]) -> Tensor:
        loss_sum: Tensor = self.loss(batch)
        (loss_sum / scale()).backward()  # type: ignore[no-untyped-call]
        return loss_sum.detach()

    def _note(self, batch: Batch | None) -> None:
        if batch is not None and self.statistics.norms:
            self.statistics.note(self.task.count(batch))

    def _unsynced(self) -> AbstractContextManager[None]:
        if isinstance(self.loss, DistributedDataParallel):
            return self.loss.no_sync()
        return nullcontext()


def bucket_size(network: nn.Module) -> float:
    """How much of a network's gradient travels at once, in MiB."""
    trained = (weights for weights in network.parameters() if weights.requires_grad)
    size = sum(weights.numel() * weights.element_size() for weights in trained)
    return min(max(size / BUCKETS / 2**20, LEAST_BUCKET), LARGEST_BUCKET)


class _Loss(nn.Module):
    """The loss as a module: DDP must see forward and backward of every rank in every step."""

    def __init__(self, task: Task[Any], network: nn.Module) -> None:
        super().__init__()
        self.task, self.network = task, network

    def forward(self, batch: Any) -> Tensor:
        """Sum of a batch's losses; 0, with a gradient of 0, of none."""
        if batch is None:
            every = [
                weights.sum() for weights in self.network.parameters() if weights.requires_grad
            ]
            return torch.stack(every).sum() * 0
        return self.task.loss(self.network, batch)


class Clock:
    """Seconds that this rank is busy with a step, and not those in which it waits for others.

    On the processor it runs from the end of the exchange of gradients, with the optimizer's step
    and the drawing of the next samples, until the gradient of the last weight is there, but not
    while the count of the global batch is waited for. What one rank does in that time, the others
    wait for. On a GPU, which computes on its own, it is the time from the first forward pass to the
    last gradient, by events that are put into its queue and read when they have passed, so nothing
    waits for them.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.device, self.on_gpu = device, device.type == "cuda"
        self.begun: Any = None
        self.ended: Any = None
        self.free: float | None = None
        self.seconds = self.waited = 0.0
        for weights in network.parameters():
            if weights.requires_grad:
                weights.register_post_accumulate_grad_hook(self._note)  # type: ignore[no-untyped-call]

    def rest(self) -> None:
        """What is done between two steps now and then, such as validating, does not count."""
        self.free = None

    def start(self) -> None:
        """A step's first forward pass begins; `read` what the one before took first."""
        self.begun = self.ended = self._now() if self.on_gpu or self.free is None else self.free
        self.waited = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A context in which this rank waits for others."""
        begun = time.perf_counter()
        yield
        self.waited += time.perf_counter() - begun

    def _note(self, weights: Tensor) -> None:
        self.ended = self._now()

    def end(self) -> None:
        """The gradients of all ranks are there."""
        if not self.on_gpu:
            self.free = time.perf_counter()

    def _now(self) -> Any:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def read(self) -> float:
        """Seconds of the last step that is known to have ended; 0 before the first."""
        if self.begun is None:
            return 0.0
        if not self.on_gpu:
            self.seconds = self.ended - self.begun - self.waited
        elif self.ended.query():
            self.seconds = self.begun.elapsed_time(self.ended) / 1000
        return self.seconds
