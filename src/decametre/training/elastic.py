"""Ranks of a run that continues when some of them end, hang or join."""

from __future__ import annotations

import gc
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import torch.distributed as dist

from decametre.device import choose_devices
from decametre.errors import TrainingError
from decametre.files import write_file
from decametre.training.checkpoint import RunInputs, TrainingState, restore_state, snapshot
from decametre.training.connections import Connections
from decametre.training.generations import (
    POLL_SECONDS,
    Generation,
    GenerationLostError,
    MembersLostError,
    RunFinishedError,
    connect_store,
)
from decametre.training.launcher import RankInfo
from decametre.training.membership import Membership
from decametre.training.ranks import (
    PROCESS_GROUP_TIMEOUT,
    Ranks,
    Result,
    form_groups,
    is_connection_error,
)
from decametre.training.stopping import HangWatchdog
from decametre.training.supervisor import RESTART_STATUS, end_with_parent, restart_count

log = logging.getLogger(__name__)

LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID")
"""Variables in which torchrun and srun number the ranks of a host."""

GENERATION_FOLDER = ".ranks"
"""Folder in the run's folder in which the ranks meet."""


class ElasticRanks(Ranks):
    """The ranks of the present generation. `regroup` changes rank, size and groups in place.

    Args:
        membership: This process's membership.
        info: Rank and size as the launcher started it.
        device: See `ranks.join_ranks`.
    """

    def __init__(self, membership: Membership, info: RankInfo, device: str) -> None:
        super().__init__(RankInfo(), torch.device("cpu"), None, ["cpu"])
        self.membership, self.launched, self.requested = membership, info, device
        self.generation: Generation | None = None

    elastic = True

    @property
    def newcomers(self) -> int:
        """How many processes wait to join at the end of this step; asked for in each step."""
        self.membership.record_progress()
        return self.membership.newcomers

    @property
    def launch_ranks(self) -> tuple[int, ...]:
        """See `Ranks`."""
        if self.generation is None:
            return (self.launched.rank,)
        return tuple(member.launch_rank for member in self.generation.members)

    def attempt(self, function: Callable[[], Result]) -> Result:
        """See `Ranks`: here it is called again if ranks were lost."""
        while True:
            try:
                return function()
            except RuntimeError as error:
                if not self.survive(error):
                    raise
            self.regroup()

    def agree(self, name: str, choose: Callable[[], str]) -> str:
        """See `Ranks`; the value is in a file in the run's folder."""
        path = self.membership.folder.path / name
        if self.joins_late:
            while not path.is_file():
                time.sleep(POLL_SECONDS)
            return path.read_text(encoding="utf-8")
        value = self.attempt(choose)
        if self.is_first:
            write_file(path, value)
        return value

    def survive(self, error: Exception) -> bool:
        """See `Ranks`."""
        return is_connection_error(error)

    def regroup(self) -> None:
        """Leave the present generation, and form groups with the members of the next one.

        Raises:
            MembersLostError: The other members cannot be reached.
        """
        begun = time.monotonic()
        before = self.generation
        self.disconnect()
        if before is None:
            self.connect(self.membership.join())
        else:
            self.connect(self.membership.advance(before.number))
        assert self.generation is not None
        lost = [m for m in before.members if m not in self.generation.members] if before else []
        if self.is_first:
            # The one that is first now may have been silent so far.
            logging.getLogger("decametre").setLevel(logging.INFO)
            log.warning(
                "%d ranks continue after %.1f s%s",
                self.size,
                time.monotonic() - begun,
                f"; lost: {', '.join(map(str, lost))}" if lost else "",
            )

    def connect(self, generation: Generation) -> None:
        """Form the groups of a generation, or of a later one if it ends meanwhile."""
        while True:
            self.generation = generation
            try:
                self._form(generation)
                return
            except GenerationLostError:
                pass
            except RuntimeError as error:
                if not self.survive(error):
                    raise
            self.disconnect()
            generation = self.membership.advance(generation.number)

    def _form(self, generation: Generation) -> None:
        size = len(generation.members)
        rank = generation.members.index(self.membership.me)
        self.info = RankInfo(rank, size, self.launched.address if size > 1 else "")
        connections = Connections()
        self.membership.guard(connections, generation)
        store = None
        if size > 1:
            store = connect_store(generation.address)
            store.set_timeout(PROCESS_GROUP_TIMEOUT)
        formed = form_groups(self.info, self.requested, store)
        self.requested = str(formed.device)  # the weights stay on this device
        self.device, self.devices = formed.device, formed.devices
        self.gradient_group = formed.gradient_group
        if formed.gradient_group is not None and self.device.type == "cuda":
            abort = getattr(formed.gradient_group, "abort", None)
            connections.aborts += [abort] if abort else []
        connections.complete()

    def leave(self) -> None:
        """See `Ranks`."""
        self.membership.finish()
        # All ranks are here only when each has finished the run. So if this exchange fails,
        # nothing is missing.
        with suppress(RuntimeError):
            self.sum([0.0])

    def disconnect(self) -> None:
        """Leave the groups."""
        if self.generation is not None:
            self.membership.guard(None, self.generation)
        self.gradient_group = None
        # DDP holds the group in reference cycles.
        gc.collect()
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def join_elastic_ranks(
    info: RankInfo, device: str, folder: Path, lock: Path, *, together: bool = False
) -> Iterator[ElasticRanks]:
    """Connect to the other ranks of a run that continues when ranks are lost.

    If the run has begun already, this process has no groups yet: `joins_late` is true, and
    `regroup` waits until the run accepts it. If this process must start again because others were
    lost, it exits with the status that its supervisor expects; with 0 if they finished the run.

    Args:
        info: Rank and world size of this process.
        device: See `ranks.join_ranks`.
        folder: The run's folder, which all ranks share.
        lock: Its lock file.
        together: Whether all ranks end when one is lost, and start together again.

    Raises:
        DeviceError: See `ranks.join_ranks`.
        TrainingError: Some ranks have not started.
        BusyError: Another run uses the folder.
    """
    membership = Membership(
        folder / GENERATION_FOLDER,
        lock,
        info.rank,
        info.size,
        own_address(info.address),
        together=together,
        restarted=restart_count() > 0,
    )
    end_with_parent()
    ranks = ElasticRanks(membership, info, device)
    with HangWatchdog(str(info)), membership:
        try:
            if membership.start():
                assert membership.generation is not None
                ranks.connect(membership.generation)
            else:
                ranks.joins_late = True
                ranks.device = late_device(device)
                ranks.requested = str(ranks.device)
            yield ranks
        except MembersLostError as error:
            log.error("%s: %s", info, error)
            raise SystemExit(RESTART_STATUS) from error
        except RunFinishedError as error:
            raise SystemExit(0) from error
        finally:
            ranks.disconnect()


def share_state(state: TrainingState, ranks: Ranks, inputs: RunInputs) -> None:
    """Give the state of the rank that is furthest to all ranks.

    A lost rank may have taken part in the last exchange of a step with some of the others only.
    These have completed the step, and no rank is more than one step behind. A rank that joins is at
    step 0.
    """
    positions = ranks.gather((state.step, len(state.scores)))
    latest = max(positions)
    if min(positions) == latest:
        return
    source = positions.index(latest)
    log.info("rank %d gives its state at step %d to the others", source, latest[0])
    checkpoint = ranks.broadcast(snapshot(state, inputs) if ranks.rank == source else None, source)
    if positions[ranks.rank] != latest:
        restore_state(state, checkpoint)


def own_address(first: str) -> str:
    """The address of this host that the host of the first rank can reach.

    Args:
        first: Host and port of the first rank.
    """
    host, _, port = first.rpartition(":")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # of a datagram socket: only chooses a route
            return str(probe.getsockname()[0])
    except OSError as error:
        raise TrainingError(
            f"rank 0 at {first} is not reachable ({error.strerror or error}); set MASTER_ADDR to "
            "a host name or address that all hosts know"
        ) from error


def late_device(device: str) -> torch.device:
    """The device of a rank that joins a running job: that of its index on its host.

    Args:
        device: See `ranks.join_ranks`.
    """
    devices = choose_devices(device)
    local = next((os.environ[name] for name in LOCAL_RANKS if name in os.environ), "0")
    return devices[int(local) % len(devices)]
