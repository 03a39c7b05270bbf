"""What a worker has, told to dask before it takes work.

Every worker of a fleet loads this module: `dask worker ADDRESS --preload decametre.fleet.preload`.
dask then knows how many bytes of memory and how many GPUs a worker has, and places products by it.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

PRELOAD = __name__
"""What workers of dask are told to load."""

SLOT, MEMORY, GPU = "slot", "memory", "GPU"
"""Resources of dask: products that a worker takes at a time, bytes, and GPUs that torch sees."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

PRODUCTS_PER_WORKER = 2
"""Products that a worker takes at a time: while one is computed, another is read or written."""


@dataclass(frozen=True)
class WorkerIdentity:
    """The worker in whose process this runs.

    Attributes:
        name: What dask calls it.
        address: Where dask reaches it.
        threads: Of torch and of GDAL.
    """

    name: str
    address: str
    threads: int


here: WorkerIdentity | None = None
"""None in a process that is no worker."""


def dask_setup(worker: Any) -> None:
    """Called by dask in every worker, before the scheduler hears of it."""
    global here
    import torch

    _keep_freed_memory()
    threads: int = worker.state.nthreads
    torch.set_num_threads(threads)
    os.environ["GDAL_NUM_THREADS"] = str(threads)  # a job has some of its node's cores only
    here = WorkerIdentity(str(worker.name), worker.address, threads)
    # One thread can do one thing at a time.
    slots = min(PRODUCTS_PER_WORKER, threads)
    memory = worker.memory_manager.memory_limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf(
        "SC_PHYS_PAGES"
    )
    has = {SLOT: slots, MEMORY: memory, GPU: torch.cuda.device_count()}
    said = worker.state.total_resources  # by --resources: that counts
    new = {name: amount for name, amount in has.items() if name not in said}
    worker.state.total_resources.update(new)
    worker.state.available_resources.update(new)


def _keep_freed_memory() -> None:
    """Let the C library behave as in any other process.

    dask has workers return every freed 64 kB to the system. Arrays of a window are larger than
    that, and fetching their pages anew costs a third of a worker's time. These are the values to
    which glibc itself moves as large arrays come and go; other libraries have no such call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 64 << 20)
