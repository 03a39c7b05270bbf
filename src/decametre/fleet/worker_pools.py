"""Workers on this machine, and workers of a scheduler that others have started."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, Nanny, Scheduler, Security, SpecCluster
from distributed.system import MEMORY_LIMIT
from tornado.ioloop import IOLoop

from decametre.errors import FleetError
from decametre.fleet.engine import WorkerPool
from decametre.fleet.preload import PRELOAD

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

CONNECT_TIMEOUT = 20
"""Seconds after which a scheduler that does not answer counts as unreachable."""

ALLOWED_FAILURES = 1
"""How many workers may die while they run a product before dask gives the product up. dask counts
a death against all products of the worker, so the engine then retries each of them alone."""


@contextmanager
def local_pool(
    specs: Iterable[Mapping[str, Any]], description: str, left: int
) -> Iterator[WorkerPool]:
    """Start workers on this machine; they end with the block.

    Args:
        specs: For each worker its `threads`, its `memory` in bytes, and `env`, its environment
            variables.
        description: The cluster as text.
        left: How many products there are to process.

    Raises:
        FleetError: A worker does not start.
    """
    # Certificates for this run: on loopback, other users of the machine could run code as this one.
    security = Security.temporary()
    connection = {"host": LOOPBACK, "protocol": "tls", "security": security}
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                "nthreads": spec["threads"],
                "memory_limit": spec["memory"],
                "env": dict(spec["env"]),
                "preload": [PRELOAD],
                "dashboard": False,
                **connection,
                # Also of the worker, which may end after the scheduler and would log that.
                "silence_logs": logging.CRITICAL,
            },
        }
        for number, spec in enumerate(specs)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {**connection, "dashboard_address": f"{LOOPBACK}:0"},
    }
    # A lost worker is not replaced by another: its nanny restarts it.
    with dask_settings(lost_worker="1 day"), event_loop() as loop:
        try:
            cluster = SpecCluster(
                workers=workers,
                scheduler=scheduler,
                security=security,
                silence_logs=logging.ERROR,
                loop=loop,
            )
        except RuntimeError as error:  # of a nanny
            raise FleetError(
                f"{description}: a worker did not start ({error}); see its output above"
            ) from error
        with cluster, Client(cluster, loop=loop) as client:
            yield WorkerPool(client, description, left)


@contextmanager
def scheduler_pool(address: str, left: int) -> Iterator[WorkerPool]:
    """Use the workers of a running scheduler; they keep running.

    Args:
        address: Of the scheduler.
        left: How many products there are to process.

    Raises:
        FleetError: No scheduler answers at the address.
    """
    with dask_settings(lost_worker="1 day"), event_loop() as loop:
        try:
            client = _TimedClient(address, timeout=CONNECT_TIMEOUT, loop=loop)
        except (OSError, ValueError, TypeError) as error:  # TypeError: tls without certificates
            reason = str(error) or "the connection timed out"
            raise FleetError(
                f"no dask scheduler answers at {address} ({reason}); start one by `dask scheduler`"
            ) from error
        with client:
            if not address.startswith("tls://"):
                log.warning(
                    "connections to %s are not encrypted, and whoever can reach it can run code as "
                    "you; start scheduler and workers with --tls-* options, and give tls://",
                    address,
                )
            yield WorkerPool(client, f"the scheduler at {address}", left)


class _TimedClient(Client):
    """A client that gives up on an address whose listener accepts a connection but never answers.

    dask's own timeout does not cover that.
    """

    def start(self, **options: Any) -> None:
        """Connect.

        Raises:
            TimeoutError: The scheduler did not answer.
        """
        try:
            super().start(callback_timeout=CONNECT_TIMEOUT + 1, **options)
        except BaseException:
            self.close()
            raise


@contextmanager
def event_loop() -> Iterator[IOLoop]:
    """An event loop that runs in a thread until the block ends.

    dask would start one itself, but fails if the thread has not started after 10 seconds, which
    happens on a busy machine.
    """
    runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    loop, stop = runner.get_loop(), asyncio.Event()

    def serve() -> None:
        with runner:
            runner.run(stop.wait())

    async def current() -> IOLoop:
        return IOLoop.current()

    thread = threading.Thread(target=serve, name="dask event loop", daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(current(), loop).result()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextmanager
def dask_settings(lost_worker: str) -> Iterator[None]:
    """Change dask's settings and log levels while a fleet runs.

    Args:
        lost_worker: How long dask waits for a lost worker to return before it starts another.
    """
    # The engine reports that the scheduler is gone; the client would log a traceback as well.
    quiet = {"distributed": logging.ERROR, "distributed.client": logging.CRITICAL}
    before = {name: logging.getLogger(name).level for name in quiet}
    ours = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.deploy.lost-worker-timeout": lost_worker,
        "distributed.worker.profile.enabled": False,  # it inspects the threads every 10 ms
    }
    with dask.config.set(ours):
        for name, level in quiet.items():
            logging.getLogger(name).setLevel(level)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


def machine() -> tuple[int, int]:
    """Cores and bytes of memory that this process may use, by its affinity and control group."""
    return CPU_COUNT, MEMORY_LIMIT
