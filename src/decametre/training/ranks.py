"""This process among those that train together, and what passes between them.

The launcher starts the processes and says who is who (`launcher.py`), and nothing moves data but
`torch.distributed`.

Two process groups. Counts, times and decisions are a few numbers on the processor: gloo, whatever
the devices. Gradients go by nccl where every rank has a GPU of its own, else by gloo as well.
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
from decametre.training.launcher import Place
from decametre.training.stopping import Watch

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others before it gives up: they may read products or validate. A
process that ends is noticed at once, since its connections close."""

GRADIENT_PATIENCE = timedelta(minutes=2)
"""The same for gradients, before which the ranks have just met."""

MEETING = "decametre"
"""The key of torchrun's store under which rank 0 says where it listens."""


class Gpu(NamedTuple):
    """A GPU, as one rank sees it.

    Attributes:
        number: Among those that the rank sees.
        uuid: What tells it apart everywhere.
    """

    number: int
    uuid: str


@dataclass(frozen=True)
class Seat:
    """What a rank finds on its machine.

    Attributes:
        host: The machine.
        gpus: GPUs that it may use, in the order of their numbers.
        cores: Processor cores that it may use, by their numbers.
    """

    host: str
    gpus: tuple[Gpu, ...]
    cores: tuple[int, ...]


def seat_of(device: str) -> Seat:
    """What this process finds.

    Args:
        device: As for `inference.device.choose_devices`; `auto` is all GPUs.

    Raises:
        DeviceError: The device is not there.
    """
    gpus = [found for found in choose_devices(device) if found.type == "cuda"]
    return Seat(
        socket.gethostname(),
        tuple(Gpu(gpu.index, str(torch.cuda.get_device_properties(gpu).uuid)) for gpu in gpus),
        tuple(sorted(os.sched_getaffinity(0))),
    )


def gpu_of(seats: Sequence[Seat], rank: int) -> int | None:
    """The number of a rank's GPU: ranks take turns, each has the first that nobody took.

    Launchers differ: some show every rank all GPUs of the machine, some each its own as number 0.
    """
    taken: set[str] = set()
    mine = None
    for seat in seats[: rank + 1]:
        mine = next((gpu for gpu in seat.gpus if gpu.uuid not in taken), None)
        if mine is not None:
            taken.add(mine.uuid)
    return None if mine is None else mine.number


def threads_of(seats: Sequence[Seat], rank: int) -> int:
    """Threads of a rank: its cores, divided by the ranks that have the very same."""
    mine = seats[rank]
    sharing = sum((seat.host, seat.cores) == (mine.host, mine.cores) for seat in seats)
    return max(1, len(mine.cores) // sharing)


class Exchange:
    """Sums over ranks that are on their way.

    Args:
        numbers: This rank's, which are overwritten.
        work: What is under way; None: nothing.
    """

    def __init__(self, numbers: Tensor, work: dist.Work | None) -> None:
        self.numbers, self.work = numbers, work

    def sums(self) -> list[float]:
        """The sums, place by place, the same bits on every rank; waits for them the first time."""
        if self.work is not None:
            self.work.wait()
            self.work = None
        return self.numbers.tolist()

    def first(self) -> float:
        """The first of the sums."""
        return self.sums()[0]


class Ranks:
    """All processes of a job, as one of them sees them. One process on its own is the same.

    Args:
        place: Of this process.
        device: Where it computes.
        gradients: Process group of the gradients; None for a process on its own.
        devices: Of all ranks, in words, in their order.
    """

    def __init__(
        self,
        place: Place,
        device: torch.device,
        gradients: dist.ProcessGroup | None,
        devices: Sequence[str],
    ) -> None:
        self.place, self.device = place, device
        self.gradients, self.devices = gradients, tuple(devices)

    @property
    def rank(self) -> int:
        """Of this process."""
        return self.place.rank

    @property
    def size(self) -> int:
        """The world size."""
        return self.place.size

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone writes and talks."""
        return self.rank == 0

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sums of the ranks' numbers, place by place, the same bits on every rank."""
        return self.exchange(numbers).sums()

    def exchange(self, numbers: Sequence[float]) -> Exchange:
        """Begin to add up the ranks' numbers; what does not need the sums can be done meanwhile."""
        if self.size == 1:
            return Exchange(torch.tensor(numbers, dtype=torch.float64), None)
        packed = torch.tensor(numbers, dtype=torch.float64)
        return Exchange(packed, dist.all_reduce(packed, async_op=True))

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of the ranks' tensors, which goes the way of gradients.

        Args:
            tensor: On the ranks' devices; is overwritten.
        """
        if self.size > 1:
            dist.all_reduce(tensor, group=self.gradients)
        return tensor

    def placed(self, number: float) -> list[float]:
        """A number at this rank's place among zeros: the sums of them are every rank's number."""
        return [number if rank == self.rank else 0.0 for rank in range(self.size)]

    def gathered(self, mine: Any) -> list[Any]:
        """What every rank has, in their order, on every rank."""
        if self.size == 1:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def from_first(self, mine: Any) -> Any:
        """What rank 0 has, on every rank."""
        if self.size == 1:
            return mine
        held = [mine]
        dist.broadcast_object_list(held, src=0)
        return held[0]


ALONE = Ranks(Place(), torch.device("cpu"), None, ["cpu"])
"""One process on its own, on the processor."""

SIGNS_OF_A_LOST_RANK = ("gloo", "nccl", "connection", "timed out", "broken pipe")
"""What stands in errors of `torch.distributed`, most of which are plain RuntimeErrors."""


@contextmanager
def joined(place: Place, device: str) -> Iterator[Ranks]:
    """Meet the other ranks, and leave them at the end.

    They meet before anything else, so that whatever then goes wrong with one, the others know.
    Asked to stop while another rank hangs, this process ends soon: see `stopping.Watch`.

    Args:
        place: Of this process.
        device: `auto` (a GPU while there are any, then the processor), or as for
            `inference.device.choose_devices`.

    Raises:
        DeviceError: The device is not there, or there are fewer GPUs than ranks that must have one.
        TrainingError: The others cannot be reached, or one of them ended.
    """
    if place.size == 1:
        chosen = choose_devices(device)[0]
        yield Ranks(place, chosen, None, [str(chosen)])
        return
    with Watch(str(place)), _met(place, device) as ranks:
        yield ranks


@contextmanager
def _met(place: Place, device: str) -> Iterator[Ranks]:
    try:
        store = meeting_store(place)
        dist.init_process_group(
            "gloo", store=store, rank=place.rank, world_size=place.size, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"rank 0 cannot be reached at {place.address} ({error})") from error
    try:
        seats: list[Any] = [None] * place.size
        dist.all_gather_object(seats, seat_of(device))
        gpus = [gpu_of(seats, rank) for rank in range(place.size)]
        ranks = _seated(place, device, seats, gpus)
        try:
            yield ranks
        finally:
            ranks.gradients = None
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in SIGNS_OF_A_LOST_RANK):
            raise
        raise TrainingError(
            "another rank ended, or the network to it broke; the same command goes on from the "
            f"newest checkpoint ({error})"
        ) from error
    finally:
        # What still holds a group (DDP does, in cycles) would end its threads amid the exit.
        gc.collect()
        dist.destroy_process_group()


def _seated(place: Place, device: str, seats: Sequence[Seat], gpus: Sequence[int | None]) -> Ranks:
    gpu = gpus[place.rank]
    if gpu is None and device.startswith("cuda"):
        raise DeviceError(
            f"--device {device}: torch sees {len(seats[place.rank].gpus)} GPUs here, and ranks "
            "before this one have them; start fewer, or give --device auto: ranks without a GPU "
            "then work on the processor"
        )
    if gpu is not None:
        torch.cuda.set_device(gpu)
    elif os.environ.get("OMP_NUM_THREADS", "") == "" or "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun sets one thread a rank, whatever the machine has.
        torch.set_num_threads(threads_of(seats, place.rank))
    names = [
        f"{'cpu' if gpu is None else f'cuda:{gpu}'} of {seat.host}"
        for seat, gpu in zip(seats, gpus, strict=True)
    ]
    backend = "gloo" if None in gpus or not dist.is_nccl_available() else "nccl"
    gradients = dist.new_group(backend=backend, timeout=GRADIENT_PATIENCE)
    assert isinstance(gradients, dist.ProcessGroup)  # every rank is a member
    if place.rank == 0:
        log.info("%d ranks, gradients by %s", place.size, backend)
    chosen = torch.device("cpu") if gpu is None else torch.device("cuda", gpu)
    return Ranks(place, chosen, gradients, names)


def meeting_store(place: Place) -> Any:
    """Where the ranks find one another.

    torchrun's own store outlives a restart, with the addresses of processes that are gone; so rank
    0 opens a new one each time, and says there where it is.
    """
    host, _, port = place.address.rpartition(":")
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        os.environ.update(MASTER_ADDR=host, MASTER_PORT=port)
        store, _, _ = next(rendezvous("env://", place.rank, place.size, timeout=PATIENCE))
        return store
    agent = TCPStore(host, int(port), is_master=False, timeout=PATIENCE)
    if place.rank == 0:
        opened = TCPStore(host, 0, is_master=True, timeout=PATIENCE, wait_for_workers=False)
        agent.set(MEETING, str(opened.port))
        return opened
    last = time.monotonic() + PATIENCE.total_seconds()
    while True:
        try:
            listening = int(agent.get(MEETING))
            found = TCPStore(host, listening, is_master=False, timeout=timedelta(seconds=5))
        except dist.DistNetworkError:  # of the attempt before
            if time.monotonic() > last:
                raise
            time.sleep(0.5)
        else:
            found.set_timeout(PATIENCE)
            return found
