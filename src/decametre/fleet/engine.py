"""The workers, by dask.distributed: the only module that knows it.

Dask schedules, transports and supervises tasks. This module states what a task needs, how many
tasks are submitted at a time, and which result of a task is final.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import queue
import shlex
import shutil
import signal
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import (
    Adaptive,
    CancelledError,
    Client,
    Future,
    KilledWorker,
    Nanny,
    Scheduler,
    SpecCluster,
    Status,
)
from distributed.deploy.spec import ProcessInterface
from distributed.system import MEMORY_LIMIT
from tornado.ioloop import IOLoop

from decametre.errors import FleetError
from decametre.fleet.cluster_file import ClusterFile, job_options
from decametre.fleet.job_resubmission import JobResubmitter
from decametre.fleet.messages import AttemptResult, WorkerInfo, WorkerSnapshot, lost
from decametre.fleet.preload import GPU, MEMORY, PRELOAD, SLOT
from decametre.fleet.worker import TaskRequest, TaskResult, run_task

log = logging.getLogger(__name__)

SNAPSHOT_INTERVAL = 2.0
"""Seconds between two looks at who is there."""

LOOPBACK = "127.0.0.1"

CONNECT_TIMEOUT = 20
"""Seconds without an answer after which a scheduler counts as out of reach."""

RETRY_DELAY = 2.0
"""Seconds before a second attempt; twice as many before a third, and so on."""

ALLOWED_FAILURES = 1
"""Workers that may die over a product and be followed by another. dask blames all products that
a worker had, so one over which more die is tried alone, and fails only if that ends likewise."""

RESULT_TIMEOUT = 10.0
"""Seconds in which an answer comes from its worker. If it does not, the worker died with it."""


@dataclass(frozen=True)
class Placement:
    """A submitted task, and what its worker must have.

    Attributes:
        request: The task.
        memory: Bytes that it needs.
        workers: Addresses of the workers that may run it; None allows any.
    """

    request: TaskRequest
    memory: int
    workers: frozenset[str] | None

    def fits(self, workers: Mapping[str, WorkerInfo]) -> bool:
        """Whether one of these workers can take it."""
        return any(
            worker.memory >= self.memory and (self.workers is None or address in self.workers)
            for address, worker in workers.items()
        )


class WorkerPool:
    """Workers behind a scheduler of dask.

    Args:
        client: Connected to the scheduler.
        description: The cluster, in words for log and journal.
        left: Products that are neither done nor given up; how many workers there is work for.
    """

    def __init__(self, client: Client, description: str, left: int) -> None:
        self._client, self.description, self.left = client, description, left
        self._id = uuid.uuid4().hex  # others may use the same scheduler
        self._submitted = 0
        self._left_out: set[str] = set()
        self.fault: str | None = None  # why no worker will come

    @property
    def dashboard(self) -> str | None:
        """Address of dask's dashboard, or None where there is none."""
        link: str | None = self._client.dashboard_link
        return link

    def workers(self) -> dict[str, WorkerInfo]:
        """Those that are there now, by address.

        A worker that does not say what it has is left out, with a warning: dask places nothing on
        it, since it has no slot.

        Raises:
            FleetError: The scheduler is gone, or no worker will come.
        """
        if self.fault is not None:
            raise FleetError(self.fault)
        said: Any = None
        if self._client.status == "running":  # else dask would try to reach it for long
            said = self._client.scheduler_info(n_workers=-1)
        if self._client.status != "running":  # what was said is of before, or nothing
            raise self._gone()
        found = {}
        for address, worker in said["workers"].items():
            has = worker["resources"]
            if not {SLOT, MEMORY, GPU} <= has.keys():
                self._leave_out(address, str(worker["name"]))
                continue
            found[address] = WorkerInfo(
                name=str(worker["name"]),
                host=worker["host"],
                threads=worker["nthreads"],
                memory=int(has[MEMORY]),
                gpus=int(has[GPU]),
                slots=int(has[SLOT]),
            )
        return found

    def _leave_out(self, address: str, name: str) -> None:
        """Say once that a worker gets nothing to do."""
        if address in self._left_out:
            return
        self._left_out.add(address)
        log.warning(
            "worker %s does not say what it has, and gets nothing to do; start workers by "
            "`dask worker ... --preload %s`",
            address if name == address else f"{name} at {address}",
            PRELOAD,
        )

    def perform(
        self, orders: Iterable[TaskRequest], retries: int
    ) -> Iterator[AttemptResult | WorkerSnapshot]:
        """Have all orders done, begun in their order.

        As many are handed out as the workers have slots. What fails is tried again by another
        worker when all else has begun; what loses its worker, at once, by dask; what loses more
        than one, alone in a worker, when all else has begun.

        Args:
            orders: May be long: no more are taken than can be begun.
            retries: Attempts that may follow a first one that failed.

        Yields:
            Every attempt that ended, and every `SNAPSHOT_INTERVAL` seconds who is there.

        Raises:
            FleetError: The scheduler is gone, or no worker will come.
        """
        ended: queue.SimpleQueue[Future[TaskResult]] = queue.SimpleQueue()
        at_work: dict[Future[TaskResult], Placement] = {}
        again: deque[tuple[float, TaskRequest]] = deque()  # with the time from which on
        shunned: dict[str, tuple[str, ...]] = {}
        alone: set[str] = set()
        rest = iter(orders)
        waiting = deque(islice(rest, 1))  # the next one, as long as there is one
        workers: dict[str, WorkerInfo] = {}
        next_look = time.monotonic()

        def begin(order: TaskRequest) -> None:
            name = order.entry.name
            placed = self._place(order, workers, shunned.get(name, ()), name in alone)
            await_end(self._submit(placed), placed)

        def await_end(future: Future[TaskResult], placed: Placement) -> None:
            at_work[future] = placed
            future.add_done_callback(ended.put)

        def hand_out() -> None:
            while len(at_work) < sum(worker.slots for worker in workers.values()):
                if waiting:
                    begin(waiting.popleft())
                    waiting.extend(islice(rest, 1))
                elif again and again[0][0] <= time.monotonic() and not blamed(again[0][1]):
                    begin(again.popleft()[1])
                else:
                    return

        def blamed(order: TaskRequest) -> bool:
            """Whether it would be, for the deaths of another that is tried alone now."""
            tried = (placed.request.entry.name for placed in at_work.values())
            return order.entry.name in alone and not alone.isdisjoint(tried)

        def replace_lost() -> None:
            """Hand out anew, for any worker, what waits for workers that are gone."""
            lost = [each for each, placed in at_work.items() if not placed.fits(workers)]
            for future in lost if workers else ():
                order = at_work.pop(future).request
                future.cancel()
                shunned.pop(order.entry.name, None)  # or dask would count its deaths from 0 again
                begin(order)

        try:
            while True:
                if time.monotonic() >= next_look:
                    workers = self.workers()
                    next_look = time.monotonic() + SNAPSHOT_INTERVAL
                    replace_lost()
                    hand_out()
                    yield WorkerSnapshot(workers, len(at_work))
                hand_out()
                if not (waiting or again or at_work):
                    return
                try:
                    future = ended.get(timeout=max(0.0, next_look - time.monotonic()))
                except queue.Empty:
                    continue
                placed = at_work.pop(future, None)
                if placed is None:  # handed out anew
                    continue
                if not future.cancelled():  # while the answer is fetched and written down
                    hand_out()
                order = placed.request
                name = order.entry.name
                answer = self._answer(order, future, retries, name in alone)
                if answer is None:
                    await_end(future, placed)
                    continue
                worker = answer.result.fields["worker"]
                if answer.final:
                    self.left -= 1
                elif worker is None:
                    alone.add(name)
                else:
                    shunned[name] = (*shunned.get(name, ()), worker)
                if not answer.final:
                    ready = time.monotonic() + RETRY_DELAY * order.attempt
                    again.append((ready, replace(order, attempt=order.attempt + 1)))
                yield answer
        finally:
            if at_work and self._client.status == "running":
                self._client.cancel(list(at_work))

    def _place(
        self,
        order: TaskRequest,
        workers: Mapping[str, WorkerInfo],
        shunned: tuple[str, ...],
        alone: bool,
    ) -> Placement:
        """Which workers may take a product: of those that failed with it, none if others can."""
        # An estimate that no worker can meet would wait for ever: the largest gets it, alone.
        largest = max(worker.memory for worker in workers.values())
        memory = largest if alone else min(order.work.memory(order.entry.size), largest)
        others = {
            address
            for address, worker in workers.items()
            if address not in shunned and worker.memory >= memory
        }
        return Placement(order, memory, frozenset(others) if shunned and others else None)

    def _submit(self, placed: Placement) -> Future[TaskResult]:
        order = placed.request
        self._submitted += 1  # a key that dask has known is never used again
        return self._client.submit(
            run_task,
            order,
            key=(order.work.verb, order.entry.name, self._submitted, self._id),
            pure=False,
            resources={SLOT: 1, MEMORY: placed.memory},
            workers=None if placed.workers is None else sorted(placed.workers),
        )

    def _answer(
        self, order: TaskRequest, future: Future[TaskResult], retries: int, alone: bool
    ) -> AttemptResult | None:
        """What a future that has ended says; None where that is lost, and dask does it again."""
        last = order.attempt > retries
        try:
            if future.status != "error":
                outcome = self._fetched(future)
                return AttemptResult(order, outcome, not outcome.failed or last)
            fault = future.exception(timeout=RESULT_TIMEOUT)
        except TimeoutError:
            return None
        except (CancelledError, OSError) as error:
            raise self._gone() from error
        if not isinstance(fault, KilledWorker):  # such as of a worker that cannot read the order
            return AttemptResult(order, lost(order, f"{type(fault).__name__}: {fault}"), final=last)
        reason = (
            f"{fault.allowed_failures + 1} workers died while they did it"
            f"{' and nothing else' * alone}: killed, or out of memory; their own logs say more"
        )
        return AttemptResult(order, lost(order, reason), final=alone or last)

    def _fetched(self, future: Future[TaskResult]) -> TaskResult:
        """What a worker answered.

        Raises:
            TimeoutError: It does not come.
        """

        async def fetch() -> TaskResult:
            # Where dask is to cancel a fetching that waits for its turn, all later ones fail.
            return await asyncio.shield(future)

        return self._client.sync(fetch, callback_timeout=RESULT_TIMEOUT)

    def _gone(self) -> FleetError:
        return FleetError(
            f"{self.description}: the scheduler is gone; completed products are kept, and the same "
            "command resumes with the rest"
        )


# Clusters ---------------------------------------------------------------------------------------


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
def local_pool(
    specs: Iterable[Mapping[str, Any]], description: str, left: int
) -> Iterator[WorkerPool]:
    """Workers on this machine, which end with this process.

    Args:
        specs: One a worker: its `threads`, its `memory` in bytes, and `env`, variables of its
            environment.
        description: The cluster, in words.
        left: How many products there are to do.

    Raises:
        FleetError: A worker does not start.
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
                # Of the worker, too, which as it ends may find the scheduler gone before it.
                "silence_logs": logging.CRITICAL,
            },
        }
        for number, spec in enumerate(specs)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0"},
    }
    # A nanny restarts its worker.
    with _settings(lost_worker="1 day"), event_loop() as loop:
        try:
            cluster = SpecCluster(
                workers=workers, scheduler=scheduler, silence_logs=logging.ERROR, loop=loop
            )
        except RuntimeError as error:  # of a nanny
            raise FleetError(
                f"{description}: one does not start ({error}); what it says itself stands above"
            ) from error
        with cluster, Client(cluster, loop=loop) as client:
            yield WorkerPool(client, description, left)


@contextmanager
def job_pool(file: ClusterFile, logs: Path, left: int) -> Iterator[WorkerPool]:
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
    with (
        _settings(lost_worker="2s"),
        event_loop() as loop,
        _jobs(file, logs, loop) as cluster,
        Client(cluster, loop=loop) as client,
    ):
        crew = WorkerPool(client, f"{number} workers in jobs of {file.system}", left)
        look_after = JobResubmitter(cluster, logs)

        class DemandAdaptive(Adaptive):
            """Dask's own guess knows only what is handed out.

            A fixed number would not be kept up when jobs end with their walltime.
            """

            async def target(self) -> int:
                await look_after()
                crew.fault = look_after.fault
                return max(least, min(most, crew.left))

        cluster.adapt(Adaptive=DemandAdaptive, minimum=least, maximum=most)
        yield crew


@contextmanager
def _jobs(file: ClusterFile, logs: Path, loop: IOLoop) -> Iterator[Any]:
    """A cluster whose first jobs have been submitted; they end with it."""
    cluster = job_cluster(file, logs, loop)
    try:
        command = cluster.job_cls.submit_command.split()[0]
        if shutil.which(command) is None:
            raise FleetError(
                f"{command}: no such command on this machine; start the fleet where jobs of "
                f"{file.system} are submitted"
            )
        cluster.scale(max(1, file.workers.minimum))
        cluster.sync(cluster._correct_state)  # `scale` does not wait for the submission
        refusals = [job.refusal for job in cluster.workers.values()]
        if all(refusals):
            raise FleetError(f"{command} takes no job of the cluster file: {refusals[0]}")
        yield cluster
    finally:
        cluster.close()


class _Job(ProcessInterface):
    """Additions to a job of dask-jobqueue, which submits a job once and never checks it.

    Attributes:
        marks: Folder that is the same on all nodes.
        mark: Name of a file there, which the job's script removes as it ends.
        refusal: Why the batch system did not take it.
    """

    marks: Path
    mark: str
    refusal: str | None = None
    _job_script_prologue: list[str]

    async def start(self) -> None:
        """Submit it; a refusal is kept, since what is raised here is logged and forgotten."""
        self.mark = f".job-{uuid.uuid4().hex}"
        path = self.marks / self.mark
        end = shlex.quote(f"rm -f {shlex.quote(str(path))}")
        self._job_script_prologue = [f"trap {end} EXIT", *self._job_script_prologue]
        try:
            path.touch()
            await super().start()
        except (OSError, RuntimeError, ValueError) as error:
            self.refusal = _said(error)
            self.status = Status.running

    async def close(self) -> None:
        """Take it out of the queue, or end it."""
        await super().close()
        (self.marks / self.mark).unlink(missing_ok=True)
        self.status = Status.closed


def _said(error: Exception) -> str:
    """The last line that a batch system's command said, out of what dask-jobqueue makes of it."""
    text = str(error).partition("stdout:")[2] or str(error)
    lines = [line for line in map(str.strip, text.splitlines()) if line not in ("", "stderr:")]
    return lines[-1] if lines else "it does not say why"


def job_cluster(file: ClusterFile, logs: Path, loop: IOLoop) -> Any:
    """The cluster of dask-jobqueue that a file describes; no job is submitted yet.

    Args:
        file: The cluster.
        logs: See `job_pool`.
        loop: Runs the scheduler.

    Raises:
        FleetError: It cannot be made.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    jobqueue = importlib.import_module("dask_jobqueue")
    # It takes the signals for itself as it is imported.
    for number, handler in before.items() if _in_main_thread() else ():
        signal.signal(number, handler or signal.SIG_DFL)
    logs.mkdir(parents=True, exist_ok=True)
    kind = getattr(jobqueue, file.cluster_class)
    job = type("Job", (_Job, kind.job_cls), {"marks": logs.absolute()})
    options = {"log_directory": str(logs)} | job_options(file)
    try:
        with warnings.catch_warnings():  # such as of a dashboard's port that another fleet has
            warnings.simplefilter("ignore", UserWarning)
            return kind(job_cls=job, loop=loop, **options)
    except Exception as error:  # of dask, of dask-jobqueue, and of what they call
        said = " ".join(str(error).split()) or type(error).__name__
        raise FleetError(f"cluster file: dask-jobqueue does not take it: {said}") from error


@contextmanager
def scheduler_pool(address: str, left: int) -> Iterator[WorkerPool]:
    """Workers of a scheduler that others have started; they stay.

    Args:
        address: Of the scheduler.
        left: How many products there are to do.

    Raises:
        FleetError: Nobody answers there.
    """
    with _settings(lost_worker="1 day"), event_loop() as loop:
        try:
            client = _TimedClient(address, timeout=CONNECT_TIMEOUT, loop=loop)
        except (OSError, ValueError, TypeError) as error:  # TypeError: tls without certificates
            reason = str(error) or "the connection timed out"
            raise FleetError(
                f"no dask scheduler answers at {address} ({reason}); start one by `dask scheduler`"
            ) from error
        with client:
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
def _settings(lost_worker: str) -> Iterator[None]:
    """Dask's own settings while a fleet is at work.

    Args:
        lost_worker: How long one that is gone may come back, before it is given up for another.
    """
    # That the scheduler is gone is said by us; the client would say it again, with a traceback.
    quiet = {"distributed": logging.ERROR, "distributed.client": logging.CRITICAL}
    before = {name: logging.getLogger(name).level for name in quiet}
    ours = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.deploy.lost-worker-timeout": lost_worker,
        "distributed.worker.profile.enabled": False,  # it would look at the threads every 10 ms
    }
    with dask.config.set(ours):
        for name, level in quiet.items():
            logging.getLogger(name).setLevel(level)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def machine() -> tuple[int, int]:
    """Cores and bytes of memory that this process may use, by its affinity and control group."""
    return CPU_COUNT, MEMORY_LIMIT
