"""Generations of the members of a run: where they meet, and who belongs to them.

A generation is a file in the run's folder, numbered and created by a hard link, so exactly one
process opens it. The file holds the address of a `TCPStore` in that process. Members register there
until the opener closes the list.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from decametre.errors import TrainingError

Result = TypeVar("Result")

POLL_SECONDS = 0.05
"""Pause between two looks at files or the store while members meet."""

STORE_TIMEOUT = 10.0
"""A store without an answer for so many seconds is lost."""

REACH_TIMEOUT = 60.0
"""How long a member tries to reach a generation behind a broken link before it gives up."""


class MembersLostError(TrainingError):
    """The other members of the run ended or cannot be reached; a restart resumes the run."""


class RunFinishedError(Exception):
    """The run was finished without this process."""


class GenerationLostError(Exception):
    """The store of a generation no longer answers, or a newer generation replaces this one."""


@dataclass(frozen=True)
class Member:
    """A process of a run.

    Attributes:
        launch_rank: Its rank when the launcher started it.
        host: Name of its host.
        pid: Process id there.
    """

    launch_rank: int
    host: str
    pid: int

    def __str__(self) -> str:
        return f"rank {self.launch_rank} on {self.host} (process {self.pid})"

    def has_ended(self) -> bool:
        """Whether it is known to have ended; processes of other hosts cannot be checked."""
        if self.host != socket.gethostname():
            return False
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True


def in_rank_order(arrived: Sequence[Member], previous: Sequence[Member]) -> tuple[Member, ...]:
    """Members of the previous generation in their order, then newcomers by launch rank."""

    def position(member: Member) -> tuple[int, int, str, int]:
        index = previous.index(member) if member in previous else len(previous)
        return index, member.launch_rank, member.host, member.pid

    return tuple(sorted(set(arrived), key=position))


@dataclass(frozen=True)
class Generation:
    """A set of members that train together.

    Attributes:
        number: Number of the generation.
        address: Host and port of its store.
        opener: The member that has the store.
        store: This process's connection to the store.
        members: By rank; empty until the list is closed.
    """

    number: int
    address: tuple[str, int]
    opener: Member
    store: Any
    members: tuple[Member, ...] = ()

    def register(self, member: Member) -> None:
        """Add a member to the open list.

        Raises:
            GenerationLostError: The store does not answer.
        """
        self.beat(member, "")
        self._append("arrivals", member)

    def apply(self, member: Member) -> None:
        """Announce a process that will be a member of the next generation.

        Raises:
            GenerationLostError: The store does not answer.
        """
        self._append("newcomers", member)

    def _append(self, key: str, member: Member) -> None:
        line = json.dumps(astuple(member)) + "\n"
        ask(lambda: self.store.append(key, line))

    def arrived(self) -> list[Member]:
        """The members in the open list that are not known to have ended.

        Raises:
            GenerationLostError: The store does not answer.
        """
        lines = ask(lambda: self.store.get("arrivals")).splitlines()
        members = [Member(*json.loads(line)) for line in lines]
        return [member for member in members if not member.has_ended()]

    def close(self, members: Sequence[Member]) -> Generation:
        """Close the list: this generation with its members.

        Raises:
            GenerationLostError: The store does not answer.
        """
        text = json.dumps([astuple(member) for member in members])
        ask(lambda: self.store.set("members", text))
        return replace(self, members=tuple(members))

    def is_closed(self) -> bool:
        """Whether the list is closed.

        Raises:
            GenerationLostError: The store does not answer.
        """
        return ask(lambda: bool(self.store.check(["members"])))

    def with_members(self) -> Generation:
        """This generation with the members of its closed list.

        Raises:
            GenerationLostError: The store does not answer.
        """
        found = json.loads(ask(lambda: self.store.get("members")))
        return replace(self, members=tuple(Member(*values) for values in found))

    def beat(self, member: Member, value: str) -> None:
        """Set the heartbeat of a member.

        Raises:
            GenerationLostError: The store does not answer.
        """
        ask(lambda: self.store.set(_beat_key(member), value))

    def read(self) -> tuple[list[bytes], int]:
        """The heartbeats of the members, by rank, and the number of newcomers.

        Raises:
            GenerationLostError: The store does not answer.
        """
        keys = [_beat_key(member) for member in self.members]
        *beats, newcomers = ask(lambda: self.store.multi_get([*keys, "newcomers"]))
        return beats, len(newcomers.splitlines())


class GenerationFolder:
    """The files of the generations.

    Args:
        path: The folder, the same for all members.
        me: This process.
        host: Address of this host that the other members can reach.
    """

    def __init__(self, path: Path, me: Member, host: str) -> None:
        self.path, self.me, self.host = path, me, host

    def clear(self) -> None:
        """Create the folder, or remove all files from it."""
        self.path.mkdir(exist_ok=True)
        for path in self.path.iterdir():
            path.unlink()

    def newest(self) -> tuple[int, dict[str, Any]]:
        """Number and content of the newest generation; 0 and nothing if there is none."""
        number = max((int(path.stem) for path in self.path.glob("*.json")), default=0)
        with suppress(FileNotFoundError):  # removed since
            text = (self.path / f"{number}.json").read_text(encoding="utf-8")
            return number, json.loads(text)
        return 0, {}

    def open(self, number: int, *, first: bool) -> Generation | None:
        """Open a generation, and register this process; None if another process was faster.

        Args:
            number: Number of the generation.
            first: Whether its members are ranks that have just started.
        """
        limit = timedelta(seconds=STORE_TIMEOUT)
        store = TCPStore(self.host, 0, is_master=True, wait_for_workers=False, timeout=limit)
        opened = Generation(number, (self.host, store.port), self.me, store)
        for key in ("arrivals", "newcomers"):
            store.set(key, "")
        opened.register(self.me)
        partial = self.path / f"{self.me.launch_rank}-{self.me.host}-{self.me.pid}"
        content = {"address": opened.address, "opener": astuple(self.me), "first": first}
        partial.write_text(json.dumps(content), encoding="utf-8")
        try:
            os.link(partial, self.path / f"{number}.json")
        except FileExistsError:
            return None
        finally:
            partial.unlink()
        return opened

    def enter(self, number: int, content: dict[str, Any]) -> Generation:
        """Connect to a generation's store.

        Raises:
            GenerationLostError: Its process ended or hangs.
            MembersLostError: Its host cannot be reached.
        """
        if not content:
            raise GenerationLostError
        host, port = content["address"]
        deadline = time.monotonic() + REACH_TIMEOUT
        while True:
            try:
                socket.create_connection((host, port), STORE_TIMEOUT).close()
                store = connect_store((host, port))
                return Generation(number, (host, port), Member(*content["opener"]), store)
            except ConnectionRefusedError as error:
                raise GenerationLostError from error
            except OSError as error:
                # Another generation behind the broken link is no reason to train apart from it.
                if time.monotonic() > deadline:
                    raise MembersLostError(
                        f"the other ranks cannot be reached at {host}:{port} "
                        f"({error.strerror or error}); repair the network and repeat the command"
                    ) from error
                time.sleep(POLL_SECONDS)


def connect_store(address: tuple[str, int]) -> Any:
    """Connect to a store.

    Raises:
        GenerationLostError: It does not answer.
    """
    limit = timedelta(seconds=STORE_TIMEOUT)
    return ask(lambda: TCPStore(*address, wait_for_workers=False, timeout=limit))


def ask(request: Callable[[], Result]) -> Result:
    """The store's answer to a request.

    A store whose process is stopped accepts requests and does not answer, and torch then waits for
    ever. Therefore another thread waits for the answer.

    Raises:
        GenerationLostError: There is no answer, or the connection broke.
    """
    results: list[Result] = []

    def run() -> None:
        with suppress(RuntimeError):
            results.append(request())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(STORE_TIMEOUT)
    if not results:
        raise GenerationLostError
    return results[0]


def _beat_key(member: Member) -> str:
    return f"beat/{member.launch_rank}/{member.host}/{member.pid}"
