"""Jobs of a batch system that come to nothing: refused, or ended before their workers came.

dask-jobqueue submits a job once, and believes in it from then on.
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
"""Seconds after which a batch system is asked again for a job that came to nothing."""

WORKER_GRACE_SECONDS = 10.0
"""Seconds without its worker after which a job that has ended has come to nothing. Where the worker
was there and has gone, dask asks for another job before that."""

MAX_FAILED_JOBS = 20
"""Jobs that come to nothing, while no worker is there, after which a fleet ends."""


class JobResubmitter:
    """Has dask ask for other jobs in place of those that came to nothing.

    Args:
        cluster: Of dask-jobqueue; its jobs are those of `engine`, with `mark` and `refusal`.
        logs: Folder of the jobs' output, where each has its mark until its script ends.

    Attributes:
        fault: Why no worker will come; None as long as one may.
    """

    def __init__(self, cluster: Any, logs: Path) -> None:
        self._cluster, self._logs = cluster, logs
        self.fault: str | None = None
        self._in_vain = 0
        self._next = 0.0
        self._refused = 0
        self._ended: dict[Any, float] = {}  # with the time since when
        self._journal_fields: set[str] = set()

    async def __call__(self) -> None:
        """Drop jobs that were refused or ended without workers; dask then submits others."""
        jobs: dict[str, Any] = self._cluster.workers
        refused = [name for name, job in jobs.items() if job.refusal]
        for name in refused:
            self._tell(f"a job is refused by the batch system: {jobs[name].refusal}")
        # One at a time, so that a limit of the queue is not run against; the next when it is taken.
        if time.monotonic() < self._next and len(refused) >= self._refused:
            return
        self._next, self._refused = time.monotonic() + RESUBMIT_INTERVAL, len(refused)
        ended = await self._ended_without_worker()
        self._in_vain = 0 if self._cluster.observed else self._in_vain + len(ended)
        for name in ended:
            where = jobs[name].log_directory
            self._tell(f"a job ended before its worker came; its output in {where} may say why")
            if self._in_vain >= MAX_FAILED_JOBS:
                self.fault = (
                    f"{self._in_vain} jobs have ended before their workers came, and no worker is "
                    f"there; their output in {where} may say why"
                )
        for name in (*refused[:1], *ended):
            if job := jobs.pop(name, None):  # others may have dropped it meanwhile
                await job.close()

    async def _ended_without_worker(self) -> list[str]:
        """Names of jobs; but for one, only if others fare better."""
        marks = await asyncio.to_thread(os.listdir, self._logs)
        here = self._cluster.observed
        now = time.monotonic()
        jobs = {
            name: job
            for name, job in self._cluster.workers.items()
            if name not in here and not job.refusal and job.mark not in marks
        }
        self._ended = {job: self._ended.get(job, now) for job in jobs.values()}
        ended = [
            name for name, job in jobs.items() if now - self._ended[job] >= WORKER_GRACE_SECONDS
        ]
        return ended if here else ended[:1]

    def _tell(self, what: str) -> None:
        """Once."""
        if what not in self._journal_fields:
            self._journal_fields.add(what)
            log.warning("%s; it is asked for again every %.0f seconds", what, RESUBMIT_INTERVAL)
