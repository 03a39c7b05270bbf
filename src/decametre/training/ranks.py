"""The processes that train together (ranks), and all communication between them.

The launcher starts the processes and numbers them (`launcher.py`). All data moves through
`torch.distributed`, in two process groups: counts, times and decisions are a few numbers on the CPU
and always use gloo; gradients use nccl if every rank has its own GPU, and gloo otherwise.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from decametre.device import choose_devices
from decametre.errors import DeviceError, TrainingError
from decametre.training.launcher import RankInfo
from decametre.training.stopping import HangWatchdog

log = logging.getLogger(__name__)

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


class Gpu(NamedTuple):
    """A GPU as one rank sees it.

    Attributes:
        number: Its index among the GPUs that are visible to the rank.
        uuid: Its globally unique identifier.
    """

    number: int
    uuid: str


@dataclass(frozen=True)
class HostResources:
    """What a rank may use on its host.

    Attributes:
        host: Host name.
        gpus: Visible GPUs, in the order of their indices.
        cores: Indices of the CPU cores that the process may run on.
    """

    host: str
    gpus: tuple[Gpu, ...]
    cores: tuple[int, ...]


def find_host_resources(device: str) -> HostResources:
    """The resources of this process.

    Args:
        device: See `decametre.device.choose_devices`; `auto` means all GPUs.

    Raises:
        DeviceError: The device does not exist.
    """
    gpus = [found for found in choose_devices(device) if found.type == "cuda"]
    return HostResources(
        socket.gethostname(),
        tuple(Gpu(gpu.index, str(torch.cuda.get_device_properties(gpu).uuid)) for gpu in gpus),
        cores_of_process(),
    )


def cores_of_process() -> tuple[int, ...]:
    """Numbers of the CPU cores that this process may use; macOS and Windows do not restrict it."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def assign_gpu(resources: Sequence[HostResources], rank: int) -> int | None:
    """The index of a rank's GPU: the first visible one that no lower rank has taken.

    GPUs are compared by their identifiers, because launchers differ: some show all GPUs of the host
    to every rank, others show each rank one GPU, always with index 0.
    """
    taken: set[str] = set()
    assigned = None
    for visible in resources[: rank + 1]:
        assigned = next((gpu for gpu in visible.gpus if gpu.uuid not in taken), None)
        if assigned is not None:
            taken.add(assigned.uuid)
    return None if assigned is None else assigned.number


def count_threads(resources: Sequence[HostResources], rank: int) -> int:
    """Threads of a rank: its cores, divided by the number of ranks that use the same cores."""
    mine = resources[rank]
    users = sum((other.host, other.cores) == (mine.host, mine.cores) for other in resources)
    return max(1, len(mine.cores) // users)


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
    """

    def __init__(
        self,
        info: RankInfo,
        device: torch.device,
        gradient_group: dist.ProcessGroup | None,
        devices: Sequence[str],
    ) -> None:
        self.info, self.device = info, device
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

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0, on every rank."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
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
        dist.init_process_group(
            "gloo",
            store=open_store(info),
            rank=info.rank,
            world_size=info.size,
            timeout=PROCESS_GROUP_TIMEOUT,
        )
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"rank 0 cannot be reached at {info.address} ({error})") from error
    try:
        resources: list[Any] = [None] * info.size
        dist.all_gather_object(resources, find_host_resources(device))
        gpus = [assign_gpu(resources, rank) for rank in range(info.size)]
        ranks = _choose_rank_device(info, device, resources, gpus)
        try:
            yield ranks
        finally:
            ranks.gradient_group = None
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in CONNECTION_ERROR_SIGNS):
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


def _choose_rank_device(
    info: RankInfo, device: str, resources: Sequence[HostResources], gpus: Sequence[int | None]
) -> Ranks:
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
