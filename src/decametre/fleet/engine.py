"""Run products as tasks on dask workers: how many at a time, where, and which result is final.

dask schedules, transports and supervises the tasks. The clusters that they run on are made in
`worker_pools` and `job_pool`.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import queue
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from distributed import CancelledError, Client, Future, KilledWorker

from decametre.errors import FleetError
from decametre.fleet.messages import AttemptResult, WorkerInfo, WorkerSnapshot, lost_result
from decametre.fleet.preload import GPU, MEMORY, PRELOAD, SLOT
from decametre.fleet.worker import TaskRequest, TaskResult, run_task

log = logging.getLogger(__name__)

SNAPSHOT_INTERVAL = 2.0
"""Seconds between two snapshots of the workers."""

RETRY_DELAY = 2.0
"""Seconds before the second attempt; twice as many before the third, and so on."""

MAX_RETRY_DELAY = 3600.0
"""Longest wait in seconds before another attempt that a server may request."""

RESULT_TIMEOUT = 10.0
"""Seconds in which a result must arrive from its worker; then dask decides whether it is lost."""


@dataclass(frozen=True)
class Placement:
    """A submitted task and what it requires of a worker.

    Attributes:
        request: The task.
        memory: Bytes that it needs.
        workers: Addresses of the workers that may run it; None allows all.
    """

    request: TaskRequest
    memory: int
    workers: frozenset[str] | None

    def fits(self, workers: Mapping[str, WorkerInfo]) -> bool:
        """Whether at least one of these workers can run it."""
        return any(
            worker.memory >= self.memory and (self.workers is None or address in self.workers)
            for address, worker in workers.items()
        )


class WorkerPool:
    """The workers of a dask scheduler.

    Args:
        client: Connected to the scheduler.
        description: The cluster as text, for the log and the journal.
        left: How many products have no final result yet; sets how many workers are requested.

    Attributes:
        fault: Why no worker can be expected any more; None in normal operation.
    """

    def __init__(self, client: Client, description: str, left: int) -> None:
        self._client, self.description, self.left = client, description, left
        self._id = uuid.uuid4().hex  # other fleets may use the same scheduler
        self._submitted = 0
        self._excluded: set[str] = set()
        self.fault: str | None = None

    @property
    def dashboard(self) -> str | None:
        """Address of dask's dashboard; None if there is none."""
        link: str | None = self._client.dashboard_link
        return link

    def workers(self) -> dict[str, WorkerInfo]:
        """The workers that are connected now, by address.

        Workers started without the preload module have no slots, so dask gives them no product.
        They are excluded with a warning.

        Raises:
            FleetError: The scheduler is gone, or no worker can be expected any more.
        """
        if self.fault is not None:
            raise FleetError(self.fault)
        info: Any = None
        if self._client.status == "running":  # otherwise dask would try to reconnect for long
            info = self._client.scheduler_info(n_workers=-1)
        if self._client.status != "running":  # then the answer is outdated, or there is none
            raise self._scheduler_gone()
        found = {}
        for address, worker in info["workers"].items():
            resources = worker["resources"]
            if not {SLOT, MEMORY, GPU} <= resources.keys():
                self._warn_excluded(address, str(worker["name"]))
                continue
            found[address] = WorkerInfo(
                name=str(worker["name"]),
                host=worker["host"],
                threads=worker["nthreads"],
                memory=int(resources[MEMORY]),
                gpus=int(resources[GPU]),
                slots=int(resources[SLOT]),
            )
        return found

    def _warn_excluded(self, address: str, name: str) -> None:
        """Log once that a worker cannot be used."""
        if address in self._excluded:
            return
        self._excluded.add(address)
        log.warning(
            "worker %s is not used: it was started without the preload module; start workers by "
            "`dask worker ... --preload %s`",
            address if name == address else f"{name} at {address}",
            PRELOAD,
        )

    def perform(
        self, requests: Iterable[TaskRequest], retries: int
    ) -> Iterator[AttemptResult | WorkerSnapshot]:
        """Run all requests, started in their order.

        As many are submitted as the workers have slots. A failed product is retried on another
        worker after all others have started. If a worker dies, dask runs its products on another
        one at once. A product that loses several workers is retried after all others have started,
        alone on its worker, so that products that ran next to it are not blamed.

        Args:
            requests: Read only as far as they can be started, so there may be many.
            retries: How many more attempts a failed product gets.

        Yields:
            The result of every attempt, and a snapshot every `SNAPSHOT_INTERVAL` seconds.

        Raises:
            FleetError: The scheduler is gone, or no worker can be expected any more.
        """
        finished: queue.SimpleQueue[Future[TaskResult]] = queue.SimpleQueue()
        running: dict[Future[TaskResult], Placement] = {}
        retry: list[tuple[float, int, TaskRequest]] = []  # a heap, with the earliest time to start
        avoided: dict[str, tuple[str, ...]] = {}  # workers on which a product failed
        alone: set[str] = set()
        requests = iter(requests)
        upcoming = next(requests, None)
        workers: dict[str, WorkerInfo] = {}
        next_snapshot = time.monotonic()

        def start(request: TaskRequest) -> None:
            name = request.entry.name
            placement = _place(request, workers, avoided.get(name, ()), name in alone)
            await_result(self._submit(placement), placement)

        def await_result(future: Future[TaskResult], placement: Placement) -> None:
            running[future] = placement
            future.add_done_callback(finished.put)

        def fill_slots() -> None:
            nonlocal upcoming
            while len(running) < sum(worker.slots for worker in workers.values()):
                if upcoming:
                    start(upcoming)
                    upcoming = next(requests, None)
                elif retry and retry[0][0] <= time.monotonic() and may_start(retry[0][2]):
                    start(heapq.heappop(retry)[2])
                else:
                    return

        def may_start(request: TaskRequest) -> bool:
            """One suspect at a time: dask counts a worker's death against all of its products."""
            names = (placement.request.entry.name for placement in running.values())
            return request.entry.name not in alone or alone.isdisjoint(names)

        def replace_unplaceable() -> None:
            """Submit products again whose only allowed workers are gone, for any worker."""
            stuck = [future for future, placement in running.items() if not placement.fits(workers)]
            for future in stuck if workers else ():
                request = running.pop(future).request
                future.cancel()
                # Allow all workers from now on: each submission resets dask's count of lost ones.
                avoided.pop(request.entry.name, None)
                start(request)

        try:
            while True:
                if time.monotonic() >= next_snapshot:
                    workers = self.workers()
                    next_snapshot = time.monotonic() + SNAPSHOT_INTERVAL
                    replace_unplaceable()
                    fill_slots()
                    yield WorkerSnapshot(workers, len(running))
                fill_slots()
                if not (upcoming or retry or running):
                    return
                try:
                    future = finished.get(timeout=max(0.0, next_snapshot - time.monotonic()))
                except queue.Empty:
                    continue
                placement = running.pop(future, None)
                if placement is None:  # it was submitted again
                    continue
                if not future.cancelled():  # workers need not wait until the result is processed
                    fill_slots()
                request = placement.request
                name = request.entry.name
                attempt = self._attempt_result(request, future, retries, name in alone)
                if attempt is None:
                    await_result(future, placement)
                    continue
                worker = attempt.result.fields["worker"]
                if attempt.final:
                    self.left -= 1
                elif worker is None:
                    alone.add(name)
                else:
                    avoided[name] = (*avoided.get(name, ()), worker)
                if not attempt.final:
                    delay = max(RETRY_DELAY * request.attempt, attempt.result.retry_after or 0)
                    ready = time.monotonic() + min(delay, MAX_RETRY_DELAY)
                    again = replace(request, attempt=request.attempt + 1)
                    heapq.heappush(retry, (ready, self._submitted, again))
                yield attempt
        finally:
            if running and self._client.status == "running":
                self._client.cancel(list(running))

    def _submit(self, placement: Placement) -> Future[TaskResult]:
        request, allowed = placement.request, placement.workers
        self._submitted += 1  # dask must never get the same key twice
        return self._client.submit(
            run_task,
            request,
            key=(request.work.verb, request.entry.name, self._submitted, self._id),
            pure=False,
            resources={SLOT: 1, MEMORY: placement.memory},
            workers=None if allowed is None else sorted(allowed),
        )

    def _attempt_result(
        self, request: TaskRequest, future: Future[TaskResult], retries: int, alone: bool
    ) -> AttemptResult | None:
        """The result of a finished future; None if it was lost and dask runs the task again."""
        last = request.attempt > retries
        try:
            if future.status != "error":
                result = self._fetch(future)
                final = not result.failed or result.permanent or last
                return AttemptResult(request, result, final)
            error = future.exception(timeout=RESULT_TIMEOUT)
        except TimeoutError:
            return None
        except (CancelledError, OSError) as lost_scheduler:
            raise self._scheduler_gone() from lost_scheduler
        if isinstance(error, KilledWorker):
            reason = (
                f"{error.allowed_failures + 1} workers died while they ran it"
                f"{' and nothing else' * alone}: killed, or out of memory; see the workers' logs"
            )
            last = last or alone
        else:  # for example, a worker that cannot unpickle the request
            reason = f"{type(error).__name__}: {error}"
        return AttemptResult(request, lost_result(request, reason), last)

    def _fetch(self, future: Future[TaskResult]) -> TaskResult:
        """The result that a worker holds.

        Raises:
            TimeoutError: It does not arrive.
        """

        async def fetch() -> TaskResult:
            # If a fetch that waits for its turn is cancelled, dask fails all later ones.
            return await asyncio.shield(future)

        return self._client.sync(fetch, callback_timeout=RESULT_TIMEOUT)

    def _scheduler_gone(self) -> FleetError:
        return FleetError(
            f"{self.description}: the scheduler is gone; completed products are kept, and the same "
            "command resumes with the rest"
        )


def _place(
    request: TaskRequest, workers: Mapping[str, WorkerInfo], avoided: tuple[str, ...], alone: bool
) -> Placement:
    """Choose the workers that may run a product: if possible, none on which it failed."""
    # An estimate above the memory of every worker would wait forever: such a product gets all
    # memory of the largest worker.
    largest = max(worker.memory for worker in workers.values())
    memory = largest if alone else min(request.work.memory(request.entry.size), largest)
    others = {
        address
        for address, worker in workers.items()
        if address not in avoided and worker.memory >= memory
    }
    return Placement(request, memory, frozenset(others) if avoided and others else None)
