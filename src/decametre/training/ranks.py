"""This process among those that train together: where it stands, and what passes between them.

The launcher starts the processes and says who is who (`launcher.py`), and nothing moves data but
`torch.distributed`.

Two process groups. Counts, times and decisions are a few numbers on the processor: gloo, whatever
the devices. Gradients go by nccl where every rank has a GPU of its own, else by gloo as well.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from decametre.errors import DeviceError, TrainingError
from decametre.inference.device import choose_devices
from decametre.training.launcher import Place

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others before it gives up: rank 0 validates meanwhile. A process
that ends is noticed at once, since its connections close."""


def device_of(place: Place, name: str) -> torch.device:
    """The device of a rank: each GPU of a machine goes to one of its ranks, in their order.

    Args:
        place: Of this process.
        name: `auto` (a GPU while there are any, then the processor), or as for
            `inference.device.choose_devices`.

    Raises:
        DeviceError: There are fewer GPUs than ranks that must have one.
    """
    if name not in ("auto", "cuda") or place.size == 1:
        return choose_devices(name)[0]
    count = torch.cuda.device_count()
    if place.local_rank < count:
        return torch.device("cuda", place.local_rank)
    if name == "cuda":
        raise DeviceError(
            f"torch sees {count} GPUs for {place.local_size} ranks here; start fewer, or give "
            "--device auto: ranks without a GPU then work on the processor"
        )
    return torch.device("cpu")


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
        if self.size == 1:
            return [float(number) for number in numbers]
        packed = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(packed)
        return packed.tolist()

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
def joined(place: Place, device: torch.device) -> Iterator[Ranks]:
    """Meet the other ranks, and leave them at the end.

    Args:
        place: Of this process.
        device: Where it computes.

    Raises:
        TrainingError: They cannot be reached.
    """
    if place.size == 1:
        yield Ranks(place, device, None, [str(device)])
        return
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        # srun gives each task cores of its own, torchrun leaves all of them to all.
        shared = len(os.sched_getaffinity(0)) // place.local_size
        torch.set_num_threads(max(1, int(os.environ.get("SLURM_CPUS_PER_TASK", shared))))
    host, _, port = place.address.rpartition(":")
    for name, value in (("MASTER_ADDR", host), ("MASTER_PORT", port)):
        os.environ.setdefault(name, value)  # where torchrun has not set them
    try:
        store, _, _ = next(rendezvous("env://", place.rank, place.size, timeout=PATIENCE))
        # torchrun's store outlives a restart, and would lead to processes that are gone.
        store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        dist.init_process_group(
            "gloo", store=store, rank=place.rank, world_size=place.size, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"rank 0 cannot be reached at {place.address} ({error})") from error
    try:
        devices: list[Any] = [None] * place.size
        dist.all_gather_object(devices, f"{device} of {socket.gethostname()}")
        alone = len(set(devices)) == place.size and all(d.startswith("cuda") for d in devices)
        backend = "nccl" if alone and dist.is_nccl_available() else "gloo"
        gradients = dist.new_group(backend=backend, timeout=PATIENCE)
        assert isinstance(gradients, dist.ProcessGroup)  # every rank is a member
        yield Ranks(place, device, gradients, devices)
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in SIGNS_OF_A_LOST_RANK):
            raise
        raise TrainingError(
            "another rank ended, which says why, or the network between them broke; the same "
            "command goes on from the newest checkpoint"
        ) from error
    finally:
        dist.destroy_process_group()
