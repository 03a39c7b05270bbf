"""What each rank may use on its host: GPUs and CPU cores, and how the ranks divide them."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from decametre.device import choose_devices


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
