"""Replace jobs of a batch system that were refused, or that ended before their worker connected.

dask-jobqueue submits a job once and never checks it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

RESUBMIT_INTERVAL = 30.0
"""Seconds between two submissions in place of failed jobs."""

WORKER_GRACE_SECONDS = 10.0
"""Seconds after the end of a job during which its worker may still appear. If the worker was
connected before, dask requests another job earlier than that."""

MAX_FAILED_JOBS = 20
"""The fleet ends after so many failed jobs in a row while no worker is connected."""


class JobResubmitter:
    """Removes failed jobs from a cluster, so that dask submits others.

    Args:
        cluster: Of dask-jobqueue; its jobs have the `mark` and `refusal` of `job_pool`.
        logs: Folder of the jobs' output, where each job's mark exists until its script ends.

    Attributes:
        fault: Why no worker can be expected any more; None in normal operation.
    """

    def __init__(self, cluster: Any, logs: Path) -> None:
        self._cluster, self._logs = cluster, logs
        self.fault: str | None = None
        self._failed = 0
        self._next = 0.0
        self._refused = 0
        self._ended: dict[Any, float] = {}  # when a job was first found to have ended
        self._logged: set[str] = set()

    async def __call__(self) -> None:
        """Remove jobs that were refused, or that ended without a worker."""
        jobs: dict[str, Any] = self._cluster.workers
        refused = [name for name, job in jobs.items() if job.refusal]
        for name in refused:
            self._warn_once(f"the batch system refused a job: {jobs[name].refusal}")
        # Refused jobs are resubmitted one at a time, because the queue may have a limit. When one
        # is accepted, the next follows at once.
        if time.monotonic() < self._next and len(refused) >= self._refused:
            return
        self._next, self._refused = time.monotonic() + RESUBMIT_INTERVAL, len(refused)
        ended = await self._ended_without_worker()
        self._failed = 0 if self._cluster.observed else self._failed + len(ended)
        for name in ended:
            folder = jobs[name].log_directory
            self._warn_once(f"a job ended before its worker connected; see its output in {folder}")
            if self._failed >= MAX_FAILED_JOBS:
                self.fault = (
                    f"{self._failed} jobs ended before their workers connected, and no worker is "
                    f"left; see their output in {folder}"
                )
        for name in (*refused[:1], *ended):
            if job := jobs.pop(name, None):  # dask may have removed it in the meantime
                await job.close()

    async def _ended_without_worker(self) -> list[str]:
        """Names of the jobs to replace: all if a worker is connected, otherwise one at a time."""
        marks = await asyncio.to_thread(os.listdir, self._logs)
        connected = self._cluster.observed
        now = time.monotonic()
        jobs = {
            name: job
            for name, job in self._cluster.workers.items()
            if name not in connected and not job.refusal and job.mark not in marks
        }
        self._ended = {job: self._ended.get(job, now) for job in jobs.values()}
        ended = [
            name for name, job in jobs.items() if now - self._ended[job] >= WORKER_GRACE_SECONDS
        ]
        return ended if connected else ended[:1]

    def _warn_once(self, message: str) -> None:
        if message not in self._logged:
            self._logged.add(message)
            log.warning("%s; it is resubmitted every %.0f seconds", message, RESUBMIT_INTERVAL)
