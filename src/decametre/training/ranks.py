"""The processes that train together (ranks), and all communication between them.

The launcher starts the processes and numbers them (`launcher.py`). All data moves through
`torch.distributed`, in two process groups: counts, times and decisions are a few numbers on the CPU
and always use gloo; gradients use nccl if every rank has its own GPU, and gloo otherwise.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from decametre.device import choose_devices
from decametre.errors import DeviceError, TrainingError
from decametre.training.host_resources import assign_gpu, count_threads, find_host_resources
from decametre.training.launcher import RankInfo
from decametre.training.stopping import HangWatchdog

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PROCESS_GROUP_TIMEOUT = timedelta(minutes=10)
"""How long a rank waits for the others, which may be reading data or validating. The end of a
process is noticed at once, because its connections close."""

GRADIENT_TIMEOUT = timedelta(minutes=2)
"""How long a rank waits for the gradients of the others. It is shorter because the ranks exchange
counts immediately before."""

STORE_PORT_KEY = "decametre"
"""Key in torchrun's store under which rank 0 publishes the port of its own store."""

STORE_RETRY_SECONDS = 0.5
"""Pause between attempts to connect to rank 0's store."""

CONNECTION_ERROR_SIGNS = ("gloo", "nccl", "connection", "timed out", "broken pipe")
"""Lower-case text that marks an error of `torch.distributed` as a lost connection. Most of these
errors are plain RuntimeErrors."""


class PendingSums:
    """Sums over ranks that are being computed.

    Args:
        numbers: This rank's numbers, float64; overwritten with the sums.
        work: The running all-reduce; None if there is only one rank.
    """

    def __init__(self, numbers: Tensor, work: dist.Work | None) -> None:
        self.numbers, self.work = numbers, work

    def wait(self) -> list[float]:
        """Wait for the sums. They are identical on every rank, bit for bit."""
        if self.work is not None:
            self.work.wait()
            self.work = None
        return self.numbers.tolist()

    def first(self) -> float:
        """Wait for the sums and return the first of them."""
        return self.wait()[0]


class Ranks:
    """All processes of a job, seen from one of them. A single process has the same interface.

    Args:
        info: Rank and world size of this process.
        device: Device that this process computes on.
        gradient_group: Process group of the gradients; None for a single process.
        devices: Names of the devices of all ranks, by rank.

    Attributes:
        launched: Rank and world size as the launcher started the process.
        elastic: Whether the ranks continue when one of them is lost.
        joins_late: Whether this process joins a run that has begun: call `regroup` to join.
    """

    elastic = False
    joins_late = False

    def __init__(
        self,
        info: RankInfo,
        device: torch.device,
        gradient_group: dist.ProcessGroup | None,
        devices: Sequence[str],
    ) -> None:
        self.info = self.launched = info
        self.device = device
        self.gradient_group, self.devices = gradient_group, tuple(devices)

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return self.info.rank

    @property
    def size(self) -> int:
        """The world size."""
        return self.info.size

    @property
    def launch_ranks(self) -> tuple[int, ...]:
        """The rank that the launcher gave to each of the ranks."""
        return tuple(range(self.size))

    @property
    def newcomers(self) -> int:
        """How many processes wait to join."""
        return 0

    def attempt(self, function: Callable[[], Result]) -> Result:
        """The result of a function in which the ranks communicate."""
        return function()

    def agree(self, name: str, choose: Callable[[], str]) -> str:
        """A value that the ranks choose once for the run; one that joins late gets it."""
        return choose()

    def survive(self, error: Exception) -> bool:
        """Whether the ranks continue after an error: call `regroup`."""
        return False

    def regroup(self) -> None:
        """Continue with the ranks that are left and those that join."""

    def leave(self) -> None:
        """End the run, after an exchange in which all ranks stated that they have finished it."""

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the only one that writes files and logs progress."""
        return self.rank == 0

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Element-wise sums of the ranks' numbers, identical on every rank, bit for bit."""
        return self.start_sum(numbers).wait()

    def start_sum(self, numbers: Sequence[float]) -> PendingSums:
        """Start `sum` without waiting for the result."""
        packed = torch.tensor(numbers, dtype=torch.float64)
        work = dist.all_reduce(packed, async_op=True) if self.size > 1 else None
        return PendingSums(packed, work)

    def sum_tensor(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the ranks in place, in the process group of the gradients.

        Args:
            tensor: On the rank's device; overwritten with the sum.
        """
        if self.size > 1:
            dist.all_reduce(tensor, group=self.gradient_group)
        return tensor

    def at_own_index(self, number: float) -> list[float]:
        """Zeros, one a rank, with `number` at this rank's index.

        Their sum over the ranks is the list of all ranks' numbers.
        """
        return [number if rank == self.rank else 0.0 for rank in range(self.size)]

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, by rank, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """The value of one rank, on every rank."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=source)
        return values[0]


SINGLE_PROCESS = Ranks(RankInfo(), torch.device("cpu"), None, ["cpu"])
"""A single process on the CPU."""


@contextmanager
def join_ranks(info: RankInfo, device: str) -> Iterator[Ranks]:
    """Connect to the other ranks, and disconnect at the end of the context.

    Call this before anything that can fail, so that the other ranks notice the failure. If this
    process is asked to stop while another rank hangs, it ends soon: see `stopping.HangWatchdog`.

    Args:
        info: Rank and world size of this process.
        device: `auto` (a GPU if one is left for this rank, otherwise the CPU), or as in
            `decametre.device.choose_devices`.

    Raises:
        DeviceError: The device does not exist, or there are fewer GPUs than ranks that need one.
        TrainingError: The other ranks cannot be reached, or one of them ended.
    """
    if info.size == 1:
        chosen = choose_devices(device)[0]
        yield Ranks(info, chosen, None, [str(chosen)])
        return
    with HangWatchdog(str(info)), _process_group(info, device) as ranks:
        yield ranks


@contextmanager
def _process_group(info: RankInfo, device: str) -> Iterator[Ranks]:
    try:
        _init_process_group(info, open_store(info))
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"rank 0 cannot be reached at {info.address} ({error})") from error
    try:
        ranks = _choose_rank_device(info, device)
        try:
            yield ranks
        finally:
            ranks.gradient_group = None
    except RuntimeError as error:
        if not is_connection_error(error):
            raise
        raise TrainingError(
            "another rank ended, or the network connection to it broke; repeat the command to "
            f"resume from the newest checkpoint ({error})"
        ) from error
    finally:
        # DDP holds the group in reference cycles. Collected later, it would end the group's threads
        # while the interpreter exits.
        gc.collect()
        dist.destroy_process_group()


def form_groups(info: RankInfo, device: str, store: Any) -> Ranks:
    """Form the process groups of ranks that have met.

    Args:
        info: Rank and world size of this process.
        device: See `join_ranks`.
        store: Store of these ranks only; unused for a single rank.
    """
    if info.size == 1:
        chosen = choose_devices(device)[0]
        return Ranks(info, chosen, None, [str(chosen)])
    _init_process_group(info, store)
    return _choose_rank_device(info, device)


def is_connection_error(error: Exception) -> bool:
    """Whether an error of `torch.distributed` is a lost connection to another rank."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in CONNECTION_ERROR_SIGNS)


def _init_process_group(info: RankInfo, store: Any) -> None:
    dist.init_process_group(
        "gloo",
        store=store,
        rank=info.rank,
        world_size=info.size,
        timeout=PROCESS_GROUP_TIMEOUT,
    )


def _choose_rank_device(info: RankInfo, device: str) -> Ranks:
    resources: list[Any] = [None] * info.size
    dist.all_gather_object(resources, find_host_resources(device))
    gpus = [assign_gpu(resources, rank) for rank in range(info.size)]
    gpu = gpus[info.rank]
    if gpu is None and device.startswith("cuda"):
        raise DeviceError(
            f"--device {device}: this host has {len(resources[info.rank].gpus)} visible GPUs, all "
            "used by lower ranks; start fewer ranks, or use --device auto, so that ranks without a "
            "GPU use the CPU"
        )
    if gpu is not None:
        torch.cuda.set_device(gpu)
    elif os.environ.get("OMP_NUM_THREADS", "") == "" or "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun sets OMP_NUM_THREADS=1 whatever the number of cores.
        torch.set_num_threads(count_threads(resources, info.rank))
    names = [
        f"{'cpu' if gpu is None else f'cuda:{gpu}'} of {host.host}"
        for host, gpu in zip(resources, gpus, strict=True)
    ]
    backend = "gloo" if None in gpus or not dist.is_nccl_available() else "nccl"
    gradient_group = dist.new_group(backend=backend, timeout=GRADIENT_TIMEOUT)
    assert isinstance(gradient_group, dist.ProcessGroup)  # every rank is a member
    if info.rank == 0:
        log.info("%d ranks, gradients by %s", info.size, backend)
    chosen = torch.device("cpu") if gpu is None else torch.device("cuda", gpu)
    return Ranks(info, chosen, gradient_group, names)


def open_store(info: RankInfo) -> Any:
    """The key-value store through which the ranks connect to each other.

    torchrun's own store outlives a restart and then still holds the addresses of ended processes.
    Therefore rank 0 opens a new store for each attempt, and publishes its port in torchrun's.
    """
    host, _, port = info.address.rpartition(":")
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        os.environ.update(MASTER_ADDR=host, MASTER_PORT=port)
        store, _, _ = next(
            rendezvous("env://", info.rank, info.size, timeout=PROCESS_GROUP_TIMEOUT)
        )
        return store
    agent = TCPStore(host, int(port), is_master=False, timeout=PROCESS_GROUP_TIMEOUT)
    if info.rank == 0:
        opened = TCPStore(
            host, 0, is_master=True, timeout=PROCESS_GROUP_TIMEOUT, wait_for_workers=False
        )
        agent.set(STORE_PORT_KEY, str(opened.port))
        return opened
    deadline = time.monotonic() + PROCESS_GROUP_TIMEOUT.total_seconds()
    while True:
        try:
            published = int(agent.get(STORE_PORT_KEY))
            found = TCPStore(host, published, is_master=False, timeout=timedelta(seconds=5))
        except dist.DistNetworkError:  # the port is still that of the previous attempt
            if time.monotonic() > deadline:
                raise
            time.sleep(STORE_RETRY_SECONDS)
        else:
            found.set_timeout(PROCESS_GROUP_TIMEOUT)
            return found
