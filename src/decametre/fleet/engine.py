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
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
from distributed import (
    Adaptive,
    CancelledError,
    Client,
    Future,
    KilledWorker,
    Nanny,
    Scheduler,
    SpecCluster,
)
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

DEATHS = 1
"""Workers that may die over a product and be followed by another. dask blames all products that
a worker had, so one over which more die is tried alone, and fails only if that ends likewise."""

FETCHED_WITHIN = 10.0
"""Seconds in which an answer comes from its worker. If it does not, the worker died with it."""


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
        self._id = uuid.uuid4().hex  # others may use the same scheduler

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
        said = self._client.scheduler_info(n_workers=-1)["workers"]
        if self._client.status != "running":  # what was said is of before
            raise self._gone()
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
        worker when all else has begun; what loses its worker, at once, by dask; what loses more
        than one, alone in a worker, when all else has begun.

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
        alone: set[str] = set()
        waiting = iter(orders)
        workers: dict[str, WorkerInfo] = {}
        next_look = time.monotonic()

        def await_end(future: Future[Outcome], order: Order) -> None:
            at_work[future] = order
            future.add_done_callback(ended.put)

        def hand_out() -> None:
            while len(at_work) < sum(worker.slots for worker in workers.values()):
                order = next(waiting, None) or (again.popleft() if again else None)
                if order is None:
                    return
                name = order.entry.name
                future = self._submit(order, workers, shunned.get(name, ()), name in alone)
                await_end(future, order)

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
                name = order.entry.name
                answer = self._answer(order, future, retries, name in alone)
                if answer is None:
                    await_end(future, order)
                    continue
                worker = answer.outcome.fields["worker"]
                if answer.final:
                    self.left -= 1
                elif worker is None:
                    alone.add(name)
                else:
                    shunned[name] = (*shunned.get(name, ()), worker)
                if not answer.final:
                    again.append(replace(order, attempt=order.attempt + 1))
                yield answer
        finally:
            if at_work and self._client.status == "running":
                self._client.cancel(list(at_work))

    def _submit(
        self,
        order: Order,
        workers: Mapping[str, WorkerInfo],
        shunned: tuple[str, ...],
        alone: bool,
    ) -> Future[Outcome]:
        others = [address for address in workers if address not in shunned]
        # An estimate that no worker can meet would wait for ever: the largest gets it, alone.
        largest = max(worker.memory for worker in workers.values())
        memory = largest if alone else min(order.work.memory(order.entry.size), largest)
        return self._client.submit(
            do,
            order,
            key=(order.work.verb, order.entry.name, order.attempt, self._id),
            pure=False,
            resources={SLOT: 1, MEMORY: memory},
            workers=others if shunned and others else None,
            allow_other_workers=bool(shunned and others),  # those may go, too
        )

    def _answer(
        self, order: Order, future: Future[Outcome], retries: int, alone: bool
    ) -> Answer | None:
        """What a future that has ended says; None where that is lost, and dask does it again."""
        last = order.attempt > retries
        try:
            outcome: Outcome = future.result(timeout=FETCHED_WITHIN)
        except TimeoutError:
            return None
        except (CancelledError, OSError) as error:
            raise self._gone() from error
        except KilledWorker as error:
            reason = (
                f"{error.allowed_failures + 1} workers died while they did it"
                f"{' and nothing else' * alone}: killed, or out of memory; their own "
                "logs say more"
            )
            return Answer(order, lost(order, reason), final=alone or last)
        except Exception as error:  # such as of a worker that cannot read the order
            reason = f"{type(error).__name__}: {error}"
            return Answer(order, lost(order, reason), final=last)
        return Answer(order, outcome, not outcome.failed or last)

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
        _settings(lost_worker="1 day"),  # a nanny starts its worker again
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
    with _settings(lost_worker="2s"), job_cluster(file, logs) as cluster, Client(cluster) as client:
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
    with _settings(lost_worker="1 day"):
        try:
            client = Client(address, timeout=CONNECT_TIMEOUT)
        except (OSError, ValueError) as error:
            raise FleetError(
                f"no scheduler of dask answers at {address} ({error}); `dask scheduler` starts one"
            ) from error
        with client:
            yield Crew(client, f"the scheduler at {address}", left)


@contextmanager
def _settings(lost_worker: str) -> Iterator[None]:
    """Dask's own settings while a fleet is at work.

    Args:
        lost_worker: How long one that is gone may come back, before it is given up for another.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    ours = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.deploy.lost-worker-timeout": lost_worker,
    }
    with dask.config.set(ours):
        yield
