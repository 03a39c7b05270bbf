"""dask workers for tests: in threads of this process, which start at once, and a scheduler."""

import asyncio
import re
import subprocess
import sys
from contextlib import contextmanager

from distributed import Client, Scheduler, SpecCluster, Worker, get_worker

from decametre.fleet import preload
from decametre.fleet.engine import WorkerPool
from decametre.fleet.preload import GPU, MEMORY, SLOT
from decametre.fleet.worker_pools import event_loop

BYTES = 2_000_000_000

RESOURCES = {SLOT: 2, MEMORY: BYTES, GPU: 0}

OPTIONS = {"nthreads": 2, "memory_limit": None, "host": "127.0.0.1", "dashboard": False}


class Here:
    """Stands in for `preload.here`, for several workers in one process."""

    threads = 1

    @property
    def address(self):
        return get_worker().address


@contextmanager
def thread_pool(monkeypatch):
    """A pool of two workers, each with two slots, in threads of this process."""
    monkeypatch.setattr(preload, "here", Here())
    worker = {"cls": Worker, "options": OPTIONS | {"resources": RESOURCES}}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": ":0"}}
    with (
        event_loop() as loop,
        SpecCluster({0: worker, 1: worker}, scheduler=scheduler, loop=loop) as cluster,
        Client(cluster, loop=loop) as client,
    ):
        yield WorkerPool(client, "two workers in threads", 0)


@contextmanager
def joined_worker(loop, address, **options):
    """Connect a worker in threads of this process to a scheduler."""

    async def start():
        return await Worker(address, **OPTIONS | options)

    worker = asyncio.run_coroutine_threadsafe(start(), loop.asyncio_loop).result()
    try:
        yield worker
    finally:
        asyncio.run_coroutine_threadsafe(worker.close(), loop.asyncio_loop).result()


@contextmanager
def scheduler_process():
    """A scheduler in a process that can be killed; yields the process and the address."""
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = (re.search(r"Scheduler at: +(tcp://\S+)", line) for line in process.stderr)
        yield process, next(line[1] for line in lines if line)
    finally:
        process.kill()
        process.communicate()
