"""Where and when products run, retries, and what happens when workers or the scheduler die."""

import asyncio
import logging
import os
import signal
import threading
from collections import Counter
from contextlib import contextmanager

import pytest

from decametre.errors import FleetError
from decametre.fleet import engine
from decametre.fleet.config import FleetConfig
from decametre.fleet.events import read_events
from decametre.fleet.messages import AttemptResult, WorkerSnapshot
from decametre.fleet.options import FleetOptions
from decametre.fleet.run import run
from decametre.fleet.worker import TaskRequest
from decametre.fleet.worker_pools import event_loop, local_pool, scheduler_pool
from decametre.version import __version__
from tests.fleet.light import ALWAYS, Light, entry, marks_of, open_gate, wait_until
from tests.fleet.workers import BYTES, RESOURCES, joined_worker, scheduler_process, thread_pool

SPEC = {"threads": 2, "memory": BYTES, "env": {"OMP_NUM_THREADS": "1"}}


@pytest.fixture(scope="module")
def pool():
    with pytest.MonkeyPatch.context() as monkeypatch, thread_pool(monkeypatch) as pool:
        yield pool


@pytest.fixture(scope="module")
def local():
    """Two workers with two threads each, as processes."""
    with local_pool([SPEC, SPEC], "two local workers", 0) as pool:
        yield pool


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch):
    monkeypatch.setattr(engine, "RETRY_DELAY", 0.05)
    monkeypatch.setattr(engine, "SNAPSHOT_INTERVAL", 0.1)


@pytest.fixture
def work(tmp_path):
    (tmp_path / "marks").mkdir()
    return Light(str(tmp_path / "marks"))


@pytest.fixture
def perform(work, tmp_path):
    """Process entries; returns all attempts."""
    (tmp_path / "out").mkdir()

    def perform(pool, entries, retries=0, meanwhile=lambda message: None):
        requests = [
            TaskRequest(
                work=work,
                settings=work.settings(),
                version=__version__,
                entry=each,
                out=str(tmp_path / "out"),
                scratch=None,
                attempt=1,
            )
            for each in entries
        ]
        attempts = []
        pool.left = len(requests)
        for message in pool.perform(requests, retries):
            meanwhile(message)
            if isinstance(message, AttemptResult):
                attempts.append(message)
        return attempts

    return perform


def workers_of(work, entries):
    """Addresses of the workers that completed the products."""
    return [mark.worker for each in entries for mark in marks_of(work.marks, each.name, "ended")]


def outcomes(attempts, name):
    """Whether each attempt at a product failed, and whether it was final."""
    return [
        (attempt.result.failed, attempt.final)
        for attempt in attempts
        if attempt.request.entry.name == name
    ]


def test_products_run_on_all_slots_in_their_order(pool, work, perform, tmp_path):
    # The first four end only after all of them have begun.
    entries = [entry(f"P{number:02d}", begun=4) for number in range(12)]
    messages = []
    attempts = perform(pool, entries, meanwhile=messages.append)
    assert [outcomes(attempts, each.name) for each in entries] == [[(False, True)]] * 12
    begun = {each.name: marks_of(work.marks, each.name, "begun")[0] for each in entries}
    first = sorted(begun, key=lambda name: begun[name].time)[:4]
    assert sorted(first) == ["P00", "P01", "P02", "P03"]
    assert sorted(Counter(begun[name].worker for name in first).values()) == [2, 2]
    workers = {attempt.result.fields["worker"] for attempt in attempts}
    snapshots = [each for each in messages if isinstance(each, WorkerSnapshot)]
    assert workers == set(pool.workers()) == set(snapshots[0].workers)
    assert {(info.threads, info.slots, info.memory, info.gpus) for info in pool.workers().values()}
    assert pool.left == 0
    assert not list((tmp_path / "out").rglob(".*"))


def overlaps(work, name, others):
    """Products that ran on the same worker as another at the same time."""
    spans = {
        each: (marks_of(work.marks, each, "begun")[0], marks_of(work.marks, each, "ended")[0])
        for each in (name, *others)
    }
    begin, end = spans.pop(name)
    return [
        other
        for other, (begun, ended) in spans.items()
        if begun.worker == begin.worker and begun.time < end.time and begin.time < ended.time
    ]


class Opener:
    """Opens the gate when all products are submitted and the workers had time to start them."""

    def __init__(self, work, submitted):
        self.work, self.submitted, self.snapshots = work, submitted, 0

    def __call__(self, message):
        if isinstance(message, WorkerSnapshot) and message.running == self.submitted:
            self.snapshots += 1
            if self.snapshots == 3:
                open_gate(self.work.marks)


def test_large_products_share_no_worker(pool, work, perform):
    entries = [entry(f"L{number}", size=0.6 * BYTES, gate=1) for number in range(4)]
    assert len(perform(pool, entries, meanwhile=Opener(work, 4))) == 4
    names = [each.name for each in entries]
    for name in names:
        assert not overlaps(work, name, set(names) - {name})


def test_product_above_all_memory_gets_a_worker_alone(pool, work, perform):
    large = entry("L", size=50 * BYTES, gate=1)
    small = [entry(f"S{number}", gate=1) for number in range(3)]
    assert len(perform(pool, [large, *small], meanwhile=Opener(work, 4))) == 4
    assert not overlaps(work, "L", [each.name for each in small])


def test_failed_product_is_retried_last_on_another_worker(pool, work, perform, monkeypatch):
    submitted = []
    submit = engine.WorkerPool._submit

    def record(self, placement):
        submitted.append(placement.request.entry.name)
        return submit(self, placement)

    monkeypatch.setattr(engine.WorkerPool, "_submit", record)
    attempts = perform(pool, [entry("F", fail=1), *(entry(f"S{n}") for n in range(8))], retries=2)
    assert outcomes(attempts, "F") == [(True, False), (False, True)]
    first, second = marks_of(work.marks, "F", "begun")
    assert first.worker != second.worker
    assert submitted == ["F", *(f"S{n}" for n in range(8)), "F"]


def test_product_that_always_fails_is_given_up(pool, work, perform):
    attempts = perform(pool, [entry("F", fail=ALWAYS), entry("S")], retries=2)
    assert outcomes(attempts, "F") == [(True, False), (True, False), (True, True)]
    assert [a.request.attempt for a in attempts if a.request.entry.name == "F"] == [1, 2, 3]
    assert len(marks_of(work.marks, "F", "begun")) == 3


def test_what_is_no_product_is_not_retried(pool, work, perform):
    attempts = perform(pool, [entry("F", absent=1), entry("S")], retries=2)
    assert outcomes(attempts, "F") == [(True, True)]


def test_late_results_are_awaited(pool, work, perform, monkeypatch):
    """As after this machine was suspended."""
    monkeypatch.setattr(engine, "RESULT_TIMEOUT", 0.2)
    turns, late = pool._client._gather_semaphore, threading.Event()
    held = threading.Event()
    attempt_result = engine.WorkerPool._attempt_result

    def record(self, *arguments):
        found = attempt_result(self, *arguments)
        if found is None:
            late.set()
        return found

    async def hold():
        taken = [await turns.acquire() for _ in range(turns._value)]
        held.set()
        await asyncio.to_thread(late.wait)
        for _ in taken:
            turns.release()

    monkeypatch.setattr(engine.WorkerPool, "_attempt_result", record)
    pool._client.loop.add_callback(hold)
    held.wait()
    entries = [entry(f"P{number}") for number in range(6)]
    attempts = perform(pool, entries)
    assert late.is_set()
    assert [outcomes(attempts, each.name) for each in entries] == [[(False, True)]] * 6
    assert {len(marks_of(work.marks, each.name, "begun")) for each in entries} == {1}


def test_worker_without_preload_is_excluded_with_one_warning(pool, work, perform, caplog):
    address = pool._client.scheduler.address
    entries = [entry(f"P{number}", gate=1) for number in range(8)]
    with joined_worker(pool._client.loop, address, name="bare", nthreads=9) as bare:
        snapshots = []

        def watch(message):
            if isinstance(message, WorkerSnapshot):
                snapshots.append(message.workers)
                if len(snapshots) == 3:
                    open_gate(work.marks)

        attempts = perform(pool, entries, meanwhile=watch)
    assert not any(attempt.result.failed for attempt in attempts)
    assert bare.address not in workers_of(work, entries)
    assert {len(workers) for workers in snapshots} == {2}
    [warning] = [record.message for record in caplog.records if record.name == engine.log.name]
    assert warning == (
        f"worker bare at {bare.address} is not used: it was started without the preload module; "
        "start workers by `dask worker ... --preload decametre.fleet.preload`"
    )


def test_worker_whose_name_is_its_address_is_named_once(caplog):
    engine.WorkerPool(None, "", 1)._warn_excluded("tcp://node7:4321", "tcp://node7:4321")
    assert caplog.messages[0].count("tcp://node7:4321") == 1


def log_levels():
    return {handler.level for handler in logging.getLogger("distributed").handlers}


@pytest.mark.slow
def test_products_of_a_killed_worker_run_on_others_at_once(local, work, perform):
    # Otherwise workers log an error whenever the scheduler ends before them.
    assert list(local._client.run(log_levels).values()) == [{logging.CRITICAL}] * 2
    for address, info in local.workers().items():  # set by the preload module
        assert address.startswith("tls://127.0.0.1")
        assert (info.threads, info.slots, info.memory) == (2, 2, BYTES)
    assert local.dashboard.startswith("http://127.0.0.1:")
    entries = [entry(f"P{number:02d}", **{"gate": 1} if number > 1 else {}) for number in range(12)]
    killed = []

    def running():
        """Processes of products that have begun and wait at the gate."""
        begun = [each for each in entries[2:] if marks_of(work.marks, each.name, "begun")]
        return [marks_of(work.marks, each.name, "begun")[0].process for each in begun]

    def kill(message):
        if isinstance(message, AttemptResult) and not killed:
            wait_until(running)
            killed.append(running()[0])
            os.kill(killed[0], signal.SIGKILL)
            open_gate(work.marks)

    attempts = perform(local, entries, meanwhile=kill)
    assert [outcomes(attempts, each.name) for each in entries] == [[(False, True)]] * 12
    assert {len(marks_of(work.marks, each.name, "ended")) for each in entries} == {1}
    begun = Counter(len(marks_of(work.marks, each.name, "begun")) for each in entries)
    assert set(begun) == {1, 2}
    assert begun[2] <= 2  # as many as it had slots


@pytest.mark.slow
def test_product_that_kills_its_workers_is_given_up(local, work, perform, monkeypatch):
    # As if `ALLOWED_FAILURES` were 0: to restart a worker takes seconds.
    monkeypatch.setattr(local._client.cluster.scheduler, "allowed_failures", 0)
    entries = [entry("K", kill=ALWAYS, begun=2), *(entry(f"S{n}", gate=1) for n in range(6))]

    def watch(message):
        if isinstance(message, AttemptResult) and message.request.entry.name == "K":
            open_gate(work.marks)

    attempts = perform(local, entries, retries=2, meanwhile=watch)
    final = {attempt.request.entry.name: attempt for attempt in attempts if attempt.final}
    assert set(final) == {each.name for each in entries}
    lost = final.pop("K").result
    assert lost.failed
    assert lost.fields["stage"] == "worker"
    assert "1 workers died while they ran it and nothing else" in lost.fields["reason"]
    assert len(marks_of(work.marks, "K", "begun")) == 2
    # dask also blamed the products that ran next to it.
    assert not [name for name, attempt in final.items() if attempt.result.failed]
    assert {len(marks_of(work.marks, name, "ended")) for name in final} == {1}


@pytest.mark.slow
def test_fleet_ends_with_its_scheduler_and_resumes_elsewhere(pool, work, tmp_path, caplog):
    entries = [entry(f"P{n}", 10 - n, **{"gate": 1} if n > 1 else {}) for n in range(6)]
    out = tmp_path / "out"
    plan = FleetConfig(work, entries, out, FleetOptions(), "decametre fleet")
    client_log = logging.getLogger("distributed.client")
    client_log.addHandler(caplog.handler)

    def kill(progress):
        if progress.done == 2:
            wait_until(lambda: marks_of(work.marks, "P2", "begun"))
            process.kill()

    with scheduler_process() as (process, address), event_loop() as loop:
        options = {"resources": RESOURCES | {"slot": 1}, "nthreads": 1}
        with joined_worker(loop, address, **options):
            with pytest.raises(FleetError, match=f"scheduler at {address}: the scheduler is gone"):
                run(plan, lambda left: scheduler_pool(address, left), kill)
            open_gate(work.marks)  # the third product is completed, but no one records that
            wait_until(lambda: marks_of(work.marks, "P2", "ended"))
    assert list(read_events(out))[-1]["status"] == "lost"
    client_log.removeHandler(caplog.handler)
    assert client_log.name not in {record.name for record in caplog.records}

    @contextmanager
    def another_pool(left):
        pool.left = left
        yield pool

    result = run(plan, another_pool, lambda progress: None)
    assert list(result.failures) == []
    assert (result.done, result.done_before) == (3, 3)
    done = Counter(event["name"] for event in read_events(out) if event["event"] == "done")
    assert done == {each.name: 1 for each in entries if each.name != "P2"}
