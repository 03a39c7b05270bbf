"""The network connections that a process opens, in order to end operations that wait on them.

gloo cannot abort an operation that waits for a process that hangs or that a cut link has made
unreachable. If the connections to the other processes are shut down, the operation fails at once,
as if those processes had ended. nccl has its own abort.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

DESCRIPTORS = Path("/dev/fd")
"""Lists the open file descriptors of a process, on Linux and macOS."""


def connected_sockets() -> set[int]:
    """File descriptors of this process's connections to other processes over IP."""
    found = set()
    for path in list(DESCRIPTORS.iterdir()) if DESCRIPTORS.is_dir() else ():
        with suppress(OSError), opened_socket(int(path.name)) as opened:
            if opened.family in (socket.AF_INET, socket.AF_INET6):
                opened.getpeername()  # fails for a socket that listens
                found.add(int(path.name))
    return found


def opened_socket(descriptor: int) -> socket.socket:
    """A second handle of an open socket.

    Raises:
        OSError: The descriptor is not a socket.
    """
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    return socket.socket(fileno=os.dup(descriptor))


class Connections:
    """The connections that this process opens from now on, until `complete`."""

    def __init__(self) -> None:
        self.before = connected_sockets()
        self.opened: set[int] | None = None
        self.aborts: list[Callable[[], None]] = []

    def complete(self) -> None:
        """Later connections do not belong to these."""
        self.opened = connected_sockets() - self.before

    def shut_down(self) -> None:
        """Shut them down, so that every operation that waits on them fails."""
        for abort in self.aborts:
            abort()
        present = connected_sockets()
        for number in present - self.before if self.opened is None else present & self.opened:
            with suppress(OSError), opened_socket(number) as opened:
                opened.shutdown(socket.SHUT_RDWR)
