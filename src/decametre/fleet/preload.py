"""Declare the memory and GPUs of a worker to dask before it gets its first task.

Every worker of a fleet loads this module: `dask worker ADDRESS --preload decametre.fleet.preload`.
dask then places products by the memory and GPUs of the workers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from decametre.allocator import keep_freed_memory

PRELOAD = __name__
"""The module that dask workers must load."""

SLOT, MEMORY, GPU = "slot", "memory", "GPU"
"""Resources in dask: products that a worker processes at a time, bytes, GPUs that torch finds."""

PRODUCTS_PER_WORKER = 2
"""Products that a worker processes at a time: one is computed, the other is read or written."""


@dataclass(frozen=True)
class WorkerIdentity:
    """The worker in whose process this runs.

    Attributes:
        name: Its name in dask.
        address: Its address in dask.
        threads: Number of threads that torch and GDAL use.
    """

    name: str
    address: str
    threads: int


here: WorkerIdentity | None = None
"""The worker of this process; None if this process is no worker."""


def dask_setup(worker: Any) -> None:
    """Set up a worker; dask calls this before the worker registers with the scheduler."""
    global here
    import torch

    keep_freed_memory()
    threads: int = worker.state.nthreads
    torch.set_num_threads(threads)
    os.environ["GDAL_NUM_THREADS"] = str(threads)  # a job may have only some of its node's cores
    here = WorkerIdentity(str(worker.name), worker.address, threads)
    # A thread can process only one product.
    slots = min(PRODUCTS_PER_WORKER, threads)
    memory = worker.memory_manager.memory_limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf(
        "SC_PHYS_PAGES"
    )
    resources = {SLOT: slots, MEMORY: memory, GPU: torch.cuda.device_count()}
    given = worker.state.total_resources  # by --resources, which has priority
    new = {name: amount for name, amount in resources.items() if name not in given}
    worker.state.total_resources.update(new)
    worker.state.available_resources.update(new)
