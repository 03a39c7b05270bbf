"""The workers, by dask.distributed: the only module that knows it.

Scheduling, transport, supervision and placing are dask's. Here is said what a product needs, how
many are handed out at a time, and what counts as the last word on one.
"""

from __future__ import annotations

import importlib
import logging
import queue
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
from distributed import Adaptive, Client, Future, KilledWorker, Nanny, Scheduler, SpecCluster
from distributed.deploy.cluster import Cluster

from decametre.errors import FleetError
from decametre.fleet.cluster_file import ClusterFile, job_options
from decametre.fleet.preload import GPU, MEMORY, PRELOAD, SLOT
from decametre.fleet.worker import Order, Outcome, do

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks at who is there."""

LOOPBACK = "127.0.0.1"

CONNECT_TIMEOUT = 20
"""Seconds without an answer after which a scheduler counts as out of reach."""

DEATHS = 3
"""Workers that a product may take with it before it counts as failed."""


@dataclass(frozen=True)
class WorkerInfo:
    """A worker, as the journal has it.

    Attributes:
        name: What dask calls it.
        host: Where it runs.
        threads: Of its own.
        memory: Bytes that its products may take.
        gpus: GPUs that torch sees there.
        slots: Products that it takes at a time.
    """

    name: str
    host: str
    threads: int
    memory: int
    gpus: int
    slots: int


@dataclass(frozen=True)
class Look:
    """What is to be seen at a moment.

    Attributes:
        workers: Who is there, by address.
        running: How many products are at work.
    """

    workers: Mapping[str, WorkerInfo]
    running: int


@dataclass(frozen=True)
class Answer:
    """What came of one attempt at a product.

    Attributes:
        order: What was to be done.
        outcome: What came of it.
        final: No other attempt follows.
    """

    order: Order
    outcome: Outcome
    final: bool


class Crew:
    """Workers behind a scheduler of dask.

    Args:
        client: Connected to the scheduler.
        described: The cluster, in words for log and journal.
        left: Products that are neither done nor given up; how many workers there is work for.
    """

    def __init__(self, client: Client, described: str, left: int) -> None:
        self._client, self.described, self.left = client, described, left

    @property
    def dashboard(self) -> str | None:
        """Address of dask's dashboard, or None where there is none."""
        link: str | None = self._client.dashboard_link
        return link

    def workers(self) -> dict[str, WorkerInfo]:
        """Those that are there now, by address.

        Raises:
            FleetError: The scheduler is gone, or a worker does not say what it has.
        """
        try:
            said = self._client.scheduler_info(n_workers=-1)["workers"]
        except OSError as error:
            raise self._gone() from error
        found = {}
        for address, worker in said.items():
            has = worker["resources"]
            if SLOT not in has:
                raise FleetError(
                    f"worker {worker['name']} at {address} does not say what it has; start workers "
                    f"by `dask worker ... --preload {PRELOAD}`"
                )
            found[address] = WorkerInfo(
                name=str(worker["name"]),
                host=worker["host"],
                threads=worker["nthreads"],
                memory=int(has[MEMORY]),
                gpus=int(has[GPU]),
                slots=int(has[SLOT]),
            )
        return found

    def perform(self, orders: Iterable[Order], retries: int) -> Iterator[Answer | Look]:
        """Have all orders done, begun in their order.

        As many are handed out as the workers have slots. What fails is tried again by another
        worker when all else has begun; what loses its worker, at once, by dask.

        Args:
            orders: May be long: no more are taken than can be begun.
            retries: Attempts that may follow a first one that failed.

        Yields:
            Every attempt that ended, and every `LOOK_EVERY` seconds who is there.

        Raises:
            FleetError: The scheduler is gone, or a worker does not say what it has.
        """
        ended: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        at_work: dict[Future[Outcome], Order] = {}
        again: deque[Order] = deque()
        shunned: dict[str, tuple[str, ...]] = {}
        waiting = iter(orders)
        workers: dict[str, WorkerInfo] = {}
        next_look = time.monotonic()

        def hand_out() -> None:
            while len(at_work) < sum(worker.slots for worker in workers.values()):
                order = next(waiting, None) or (again.popleft() if again else None)
                if order is None:
                    return
                future = self._submit(order, workers, shunned.get(order.entry.name, ()))
                at_work[future] = order
                future.add_done_callback(ended.put)

        try:
            while True:
                if time.monotonic() >= next_look:
                    workers = self.workers()
                    next_look = time.monotonic() + LOOK_EVERY
                    yield Look(workers, len(at_work))
                hand_out()
                if workers and not at_work:
                    return
                try:
                    future = ended.get(timeout=max(0.0, next_look - time.monotonic()))
                except queue.Empty:
                    continue
                order = at_work.pop(future)
                if not future.cancelled():  # while the answer is fetched and written down
                    hand_out()
                answer = self._answer(order, future, retries)
                if answer.final:
                    self.left -= 1
                else:
                    name, worker = answer.order.entry.name, answer.outcome.fields["worker"]
                    shunned[name] = (*shunned.get(name, ()), worker)
                    again.append(replace(answer.order, attempt=answer.order.attempt + 1))
                yield answer
        finally:
            if at_work and self._client.status == "running":
                self._client.cancel(list(at_work))

    def _submit(
        self, order: Order, workers: Mapping[str, WorkerInfo], shunned: tuple[str, ...]
    ) -> Future[Outcome]:
        others = [address for address in workers if address not in shunned]
        # An estimate that no worker can meet would wait for ever: the largest gets it, alone.
        largest = max(worker.memory for worker in workers.values())
        needs = {SLOT: 1, MEMORY: min(order.work.memory(order.entry.size), largest)}
        return self._client.submit(
            do,
            order,
            key=(order.work.verb, order.entry.name, order.attempt),
            pure=False,
            resources=needs,
            workers=others if shunned and others else None,
            allow_other_workers=bool(shunned and others),  # those may go, too
        )

    def _answer(self, order: Order, future: Future[Outcome], retries: int) -> Answer:
        """What a future that has ended says."""
        if future.cancelled():
            raise self._gone()
        try:
            outcome: Outcome = future.result()
        except KilledWorker:
            reason = (
                f"{DEATHS + 1} workers died while they did it: killed, or out of memory; their "
                "own logs say more"
            )
            return Answer(order, lost(order, reason), final=True)
        except OSError as error:
            raise self._gone() from error
        return Answer(order, outcome, not outcome.failed or order.attempt > retries)

    def _gone(self) -> FleetError:
        return FleetError(
            f"{self.described}: the scheduler is gone; what is done is kept, and the same command "
            "goes on with the rest"
        )


def lost(order: Order, reason: str) -> Outcome:
    """What the journal says of a product whose workers cannot say it themselves."""
    fields = {"name": order.entry.name, "source": order.entry.source, "attempt": order.attempt}
    nobody = dict.fromkeys(("worker", "host", "start", "end", "traceback"))
    known = {"stages": {}, "warnings": [], "stage": "worker", "reason": reason}
    return Outcome(True, fields | nobody | known)


# Clusters ---------------------------------------------------------------------------------------


@contextmanager
def local_crew(specs: Iterable[Mapping[str, Any]], described: str, left: int) -> Iterator[Crew]:
    """Workers on this machine, which end with this process.

    Args:
        specs: One a worker: its `threads`, its `memory` in bytes, and `env`, variables of its
            environment.
        described: The cluster, in words.
        left: How many products there are to do.
    """
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                "nthreads": spec["threads"],
                "memory_limit": spec["memory"],
                "env": dict(spec["env"]),
                "preload": [PRELOAD],
                "dashboard": False,
                "host": LOOPBACK,
                "silence_logs": logging.ERROR,
            },
        }
        for number, spec in enumerate(specs)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0"},
    }
    with (
        _settings(),
        SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.ERROR) as cluster,
        Client(cluster) as client,
    ):
        yield Crew(client, described, left)


@contextmanager
def job_crew(file: ClusterFile, logs: Path, left: int) -> Iterator[Crew]:
    """Workers in jobs of a batch system, which end with this process.

    As many as there are products left, within the limits of the file.

    Args:
        file: The cluster.
        logs: Folder for what the batch system keeps of the jobs' output.
        left: How many products there are to do.

    Raises:
        FleetError: Jobs cannot be submitted here.
    """
    least, most = file.workers.minimum, file.workers.maximum
    number = str(most) if least == most else f"{least} to {most}"
    with _settings(), job_cluster(file, logs) as cluster, Client(cluster) as client:
        crew = Crew(client, f"{number} workers in jobs of {file.system}", left)

        class Wanted(Adaptive):
            """Dask's own guess knows only what is handed out.

            A fixed number would not be kept up when jobs end with their walltime.
            """

            async def target(self) -> int:
                return max(least, min(most, crew.left))

        cluster.adapt(Adaptive=Wanted, minimum=least, maximum=most)
        yield crew


def job_cluster(file: ClusterFile, logs: Path) -> Cluster:
    """The cluster of dask-jobqueue that a file describes; no job is submitted yet.

    Args:
        file: The cluster.
        logs: See `job_crew`.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        jobqueue = importlib.import_module("dask_jobqueue")
    finally:  # it takes the signals for itself as it is imported
        for number, handler in before.items():
            signal.signal(number, handler)
    return getattr(jobqueue, file.cluster_class)(**{"log_directory": str(logs)} | job_options(file))


@contextmanager
def joined_crew(address: str, left: int) -> Iterator[Crew]:
    """Workers of a scheduler that others have started; they stay.

    Args:
        address: Of the scheduler.
        left: How many products there are to do.

    Raises:
        FleetError: Nobody answers there.
    """
    with _settings():
        try:
            client = Client(address, timeout=CONNECT_TIMEOUT)
        except (OSError, ValueError) as error:
            raise FleetError(
                f"no scheduler of dask answers at {address} ({error}); `dask scheduler` starts one"
            ) from error
        with client:
            yield Crew(client, f"the scheduler at {address}", left)


@contextmanager
def _settings() -> Iterator[None]:
    """Dask's own settings while a fleet is at work."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    ours = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.deploy.lost-worker-timeout": "2s",  # how long a new job waits for a lost one
    }
    with dask.config.set(ours):
        yield
