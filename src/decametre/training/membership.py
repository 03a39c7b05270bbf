"""Which ranks of a run take part, while ranks end, hang and join.

The members of a run meet in generations (`generations.py`). A thread of each member sends
heartbeats through the generation's store and reads those of the others. A generation ends when a
heartbeat fails to come, when the store does not answer, or when a newer generation exists. Its
members then meet in the next one, whichever of them opens it. Therefore no rank is essential.

A process that starts while the members of a run are alive applies to the present generation, and
is a member of the next one. Living members hold a shared lock, so a process that can lock the file
exclusively is the first one, and opens a generation in which all ranks start together.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from decametre.errors import BusyError, TrainingError
from decametre.files import take_lock
from decametre.training.connections import Connections
from decametre.training.generations import (
    POLL_SECONDS,
    Generation,
    GenerationFolder,
    GenerationLostError,
    Member,
    MembersLostError,
    RunFinishedError,
    in_rank_order,
)

HEARTBEAT_SECONDS = 0.5
"""Seconds between two heartbeats of a member."""

HEARTBEAT_TIMEOUT = 10.0
"""A member without a heartbeat for so many seconds is lost."""

FINISHED = "finished"
"""Content of the lock file when a run is finished."""

PROGRESS_TIMEOUT = 600.0
"""A process that neither begins a step nor meets others for so many seconds sends no heartbeats,
since its main thread may hang."""

MEETING_SECONDS = 4.0
"""How long a new generation waits for members of the previous one. Each of them looks for a new
generation every `HEARTBEAT_SECONDS`; one that is late applies for the next."""

START_TIMEOUT = 600.0
"""How long the first generation waits for all ranks."""

RETURN_SECONDS = 60.0
"""How long ranks that were all lost and started again wait for each other."""


def all_arrived(
    arrived: Sequence[Member], expected: Sequence[Member], newcomers: int, waited: float
) -> bool:
    """Whether the list of a generation's members can be closed.

    Args:
        arrived: The members that have registered.
        expected: Members of the previous generation.
        newcomers: How many other processes are expected.
        waited: Seconds since the generation was opened.
    """
    if waited > MEETING_SECONDS:
        return True
    missing = [member for member in expected if member not in arrived and not member.has_ended()]
    return not missing and sum(member not in expected for member in arrived) >= newcomers


class Heartbeats:
    """Finds members whose heartbeats have stopped.

    Args:
        count: Number of members.
        now: Seconds of a running clock.
    """

    def __init__(self, count: int, now: float) -> None:
        self.values: list[Any] = [None] * count
        self.changed = [now] * count

    def lost(self, values: Sequence[Any], now: float) -> list[int]:
        """Record the latest heartbeat of each member; returns the indices of lost members."""
        for index, value in enumerate(values):
            if value != self.values[index]:
                self.values[index], self.changed[index] = value, now
        return [index for index, at in enumerate(self.changed) if now - at > HEARTBEAT_TIMEOUT]


class Membership:
    """This process's membership in a run.

    Args:
        folder: Folder of the generations' files, the same for all members; created if needed.
        lock: The run's lock file.
        launch_rank: Rank of this process when the launcher started it.
        size: How many processes the launcher starts.
        host: Address of this host that the other members can reach.
        together: Whether all members end when one is lost, and start together again.
        restarted: Whether this process was started after a failure.

    Attributes:
        me: This process.
        newcomers: How many processes have applied to the present generation.
    """

    def __init__(
        self,
        folder: Path,
        lock: Path,
        launch_rank: int,
        size: int,
        host: str,
        *,
        together: bool = False,
        restarted: bool = False,
    ) -> None:
        self.me = Member(launch_rank, socket.gethostname(), os.getpid())
        self.folder = GenerationFolder(folder, self.me, host)
        self.lock_path, self.size = lock, size
        self.together, self.restarted = together, restarted
        self.newcomers, self.wanted = 0, 0
        self.progressed = time.monotonic()
        self.generation: Generation | None = None
        self.connections: Connections | None = None
        self.failure: Exception | None = None
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.lock = self.lock_path.open("a+")
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        if self.thread is not None:
            self.thread.join(HEARTBEAT_TIMEOUT)
        with self.lock, suppress(OSError):
            take_lock(self.lock)  # no other member is alive
            self.folder.clear()
            self.folder.path.rmdir()

    def start(self) -> bool:
        """Start together with all other ranks.

        Returns:
            False if the members of the run have started already: then call `join`.

        Raises:
            TrainingError: Some ranks have not started within `START_TIMEOUT`.
            BusyError: A process that is no member holds the lock.
            RunFinishedError: The run was finished before this process started again.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with suppress(GenerationLostError, FileNotFoundError):  # its opener or a run ended
                if self._try_lock(shared=False):
                    if self.restarted and self._is_finished():
                        raise RunFinishedError
                    self._set_finished("")
                    self.folder.clear()  # of a run that was killed
                    opened = self.folder.open(1, first=True)
                    assert opened is not None  # the lock excludes others
                    self._take_shared_lock()
                    self._begin(self._lead_start(opened))
                    return True
                number, content = self.folder.newest()
                if content.get("first"):
                    entered = self.folder.enter(number, content)
                    if not entered.is_closed():
                        entered.register(self.me)
                        self._begin(self._await_list(entered))
                        return True
                if content and not self.together:
                    return False
            if time.monotonic() > deadline:
                raise BusyError(f"{self.lock_path.parent}: another run is writing it; wait for it")
            time.sleep(POLL_SECONDS)

    def join(self) -> Generation:
        """Apply to the present generation, and wait for the next one.

        Raises:
            MembersLostError: The members of the run have ended.
            RunFinishedError: They have finished it.
        """
        while True:
            if self._try_lock(shared=False):
                raise RunFinishedError if self._is_finished() else members_lost()
            with suppress(GenerationLostError):
                return self._begin(self._apply(self.folder.enter(*self.folder.newest())))
            time.sleep(POLL_SECONDS)

    def advance(self, after: int) -> Generation:
        """Leave the generation `after`, and wait until a newer one has closed its list.

        Raises:
            MembersLostError: The other members cannot be reached, or start again.
        """
        self.record_progress()
        with self.changed:
            self.wanted = max(self.wanted, after + 1)
            self.changed.notify_all()
            while self.failure is None:
                if self.generation is not None and self.generation.number > after:
                    return self.generation
                # Waiting in short turns lets Python run signal handlers.
                self.changed.wait(HEARTBEAT_SECONDS)
            raise self.failure

    def guard(self, connections: Connections | None, generation: Generation) -> None:
        """Shut these connections down when the generation ends; None: no connections any more.

        Raises:
            GenerationLostError: It has ended.
        """
        with self.changed:
            self.connections = connections
            if connections is not None and self.generation is not generation:
                raise GenerationLostError

    def record_progress(self) -> None:
        """Call this in each step, so that the other members know that this one does not hang."""
        self.progressed = time.monotonic()

    def finish(self) -> None:
        """The run is finished: ignore the end of other members, and let nobody start it again."""
        self.ended.set()
        self._set_finished(FINISHED)

    # The list of members

    def _begin(self, generation: Generation) -> Generation:
        """Become a member, and start to send heartbeats."""
        self._take_shared_lock()
        self.generation = generation
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return generation

    def _lead_start(self, opened: Generation) -> Generation:
        """Wait for all ranks, and close the list of the first generation."""
        fewer = self.restarted and not self.together
        deadline = time.monotonic() + (RETURN_SECONDS if fewer else START_TIMEOUT)
        while True:
            arrived = opened.arrived()
            late = time.monotonic() > deadline
            if len(arrived) >= self.size or (late and fewer):
                return opened.close(in_rank_order(arrived, ()))
            if late:
                raise TrainingError(
                    f"only {len(arrived)} of {self.size} ranks have started in "
                    f"{self.lock_path.parent}; distribution.on_failure needs a folder that all "
                    "ranks share"
                )
            time.sleep(POLL_SECONDS)

    def _lead(self, opened: Generation, expected: Sequence[Member], newcomers: int) -> Generation:
        """Wait for the members of a generation that this process opened, and close the list."""
        begun = time.monotonic()
        while True:
            arrived = opened.arrived()
            complete = all_arrived(arrived, expected, newcomers, time.monotonic() - begun)
            if complete or self.ended.is_set():
                return opened.close(in_rank_order(arrived, expected))
            time.sleep(POLL_SECONDS)

    def _await_list(self, entered: Generation) -> Generation:
        """Wait until the opener of a generation closes the list of its members.

        Raises:
            GenerationLostError: The opener ended or hangs.
        """
        while not entered.is_closed():
            if self.folder.newest()[0] > entered.number:
                raise GenerationLostError
            time.sleep(POLL_SECONDS)
        return entered.with_members()

    def _apply(self, entered: Generation) -> Generation:
        """Apply to a generation as a newcomer, and become a member of the next one.

        Raises:
            GenerationLostError: The generation was lost first.
        """
        entered.apply(self.me)
        while (newest := self.folder.newest())[0] <= entered.number:
            entered.is_closed()  # whether its store answers
            time.sleep(HEARTBEAT_SECONDS)
        return self._register_and_await(self.folder.enter(*newest))

    def _register_and_await(self, entered: Generation) -> Generation:
        """Become a member of a generation, or of a later one if its list is closed already."""
        entered.register(self.me)
        closed = self._await_list(entered)
        return closed if self.me in closed.members else self._apply(closed)

    def _meet(self, previous: Generation, missing: Sequence[Member]) -> Generation:
        """Meet the other members in the next generation; whoever is first opens it."""
        expected = [member for member in previous.members if member not in missing]
        number = previous.number
        while True:
            newest, content = self.folder.newest()
            with suppress(GenerationLostError):
                if newest > number:
                    number = newest
                    return self._register_and_await(self.folder.enter(newest, content))
                opened = self.folder.open(number + 1, first=False)
                if opened is not None:
                    return self._lead(opened, expected, self.newcomers)

    # The thread that sends heartbeats

    def _run(self) -> None:
        try:
            while True:
                assert self.generation is not None
                present = self.generation
                try:
                    missing = self._watch(present)
                except GenerationLostError:
                    missing = [present.opener]
                if self.ended.is_set():
                    return
                with self.changed:
                    if self.connections is not None:
                        self.connections.shut_down()
                if self.together:
                    raise members_lost()
                following = self._meet(present, missing)
                with self.changed:
                    self.generation, self.connections, self.newcomers = following, None, 0
                    self.changed.notify_all()
        except Exception as error:
            with self.changed:
                self.failure = error
                self.changed.notify_all()

    def _watch(self, generation: Generation) -> list[Member]:
        """Wait for the end of a generation; returns the members whose heartbeats have stopped.

        Raises:
            GenerationLostError: Its store does not answer.
        """
        heartbeats, count = Heartbeats(len(generation.members), time.monotonic()), 0
        while not self.ended.is_set() and self.wanted <= generation.number:
            if self.folder.newest()[0] > generation.number:
                break
            count += time.monotonic() - self.progressed < PROGRESS_TIMEOUT
            generation.beat(self.me, str(count))
            values, self.newcomers = generation.read()
            if lost := heartbeats.lost(values, time.monotonic()):
                return [generation.members[index] for index in lost]
            with self.changed:
                if self.wanted <= generation.number:
                    self.changed.wait(HEARTBEAT_SECONDS)
        return []

    # The lock

    def _is_finished(self) -> bool:
        self.lock.seek(0)
        return self.lock.read() == FINISHED

    def _set_finished(self, content: str) -> None:
        self.lock.truncate(0)
        self.lock.write(content)
        self.lock.flush()

    def _try_lock(self, *, shared: bool) -> bool:
        try:
            take_lock(self.lock, shared=shared)
        except BlockingIOError:
            return False
        return True

    def _take_shared_lock(self) -> None:
        deadline = time.monotonic() + HEARTBEAT_TIMEOUT
        while not self._try_lock(shared=True):  # another process tests whether it is the first one
            if time.monotonic() > deadline:
                raise BusyError(f"{self.lock_path.parent}: another run is writing it; wait for it")
            time.sleep(POLL_SECONDS)


def members_lost() -> MembersLostError:
    """The error of a rank that has to start again."""
    return MembersLostError(
        "other ranks ended; repeat the command to resume from the newest checkpoint"
    )
