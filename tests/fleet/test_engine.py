"""Real workers of dask on this machine, and what becomes of work when they or their scheduler go.

What is done costs nothing (`light.py`): all that takes time is starting processes.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster

from decametre.errors import FleetError
from decametre.fleet import engine
from decametre.fleet.config import FleetConfig
from decametre.fleet.engine import local_pool, scheduler_pool
from decametre.fleet.events import read_events
from decametre.fleet.messages import AttemptResult, WorkerSnapshot
from decametre.fleet.options import FleetOptions
from decametre.fleet.run import run
from decametre.fleet.worker import TaskRequest
from decametre.version import __version__
from tests.fleet.light import ALWAYS, Light, entry, marks_of

MEMORY = 2_000_000_000
SPEC = {"threads": 2, "memory": MEMORY, "env": {"OMP_NUM_THREADS": "1"}}

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def crew():
    """Two workers, each with two threads, so that it takes two products at a time."""
    before = set(psutil.Process().children(recursive=True))
    with local_pool([SPEC, SPEC], "two local workers", 0) as crew:
        yield crew
    left = {
        process
        for process in set(psutil.Process().children(recursive=True)) - before
        if "spawn_main" in " ".join(process.cmdline())
    }
    assert not psutil.wait_procs(left, timeout=5)[1]


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(engine, "RETRY_DELAY", 0.05)
    monkeypatch.setattr(engine, "SNAPSHOT_INTERVAL", 0.2)


@pytest.fixture
def work(tmp_path):
    (tmp_path / "marks").mkdir()
    return Light(str(tmp_path / "marks"))


@pytest.fixture
def perform(crew, work, tmp_path):
    """Has entries done; returns the answers."""
    (tmp_path / "out").mkdir()

    def go(entries, retries=0, crew=crew, meanwhile=lambda news: None):
        orders = [
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
        answers = []
        crew.left = len(orders)
        for news in crew.perform(orders, retries):
            meanwhile(news)
            if isinstance(news, AttemptResult):
                answers.append(news)
        return answers

    return go


def spans(work, entries):
    """Process, begin and end of each product."""
    found = []
    for each in entries:
        [(process, begin)] = marks_of(work.marks, each.name, "begun")
        [(_, end)] = marks_of(work.marks, each.name, "ended")
        found.append((process, begin, end))
    return found


def side_by_side(spans):
    """Pairs of products that one process had at the same time."""
    return [
        (one, other)
        for number, one in enumerate(spans)
        for other in spans[:number]
        if one[0] == other[0] and one[1] < other[2] and other[1] < one[2]
    ]


def test_all_are_done_by_all_workers(crew, work, perform, tmp_path):
    entries = [entry(f"P{number:02d}", sleep=0.1) for number in range(12)]
    looks = []
    answers = perform(entries, meanwhile=looks.append)
    assert len(answers) == 12
    assert all(answer.final and not answer.result.failed for answer in answers)
    found = spans(work, entries)
    assert len({process for process, *_ in found}) == 2
    assert side_by_side(found)  # small ones are done two at a time
    begun = [entry.name for _, entry in sorted(zip([b for _, b, _ in found], entries, strict=True))]
    assert begun[0] in ("P00", "P01", "P02", "P03")
    first = next(look for look in looks if isinstance(look, WorkerSnapshot))
    assert [(info.threads, info.slots, info.memory, info.gpus) for info in first.workers.values()]
    for address, info in crew.workers().items():
        assert address.startswith("tcp://127.0.0.1")
        assert (info.threads, info.slots, info.memory) == (2, 2, MEMORY)
    workers = {answer.result.fields["worker"] for answer in answers}
    assert workers == set(crew.workers())
    assert crew.dashboard.startswith("http://127.0.0.1:")
    assert not list((tmp_path / "out").rglob(".*"))


def test_large_products_are_not_done_side_by_side(work, perform):
    entries = [entry(f"L{number}", size=0.6 * MEMORY, sleep=0.2) for number in range(4)]
    assert len(perform(entries)) == 4
    assert not side_by_side(spans(work, entries))


def test_a_product_larger_than_any_worker_is_done_alone(work, perform):
    entries = [entry("L", size=50 * MEMORY, sleep=0.3)]
    entries += [entry(f"S{number}", sleep=0.1) for number in range(4)]
    assert len(perform(entries)) == 5
    found = spans(work, entries)
    assert not [pair for pair in side_by_side(found) if found[0] in pair]


def test_a_failure_is_tried_again_by_another_worker_when_all_else_has_begun(work, perform):
    entries = [entry("F", fail=1), *(entry(f"S{n}", sleep=0.05) for n in range(8))]
    answers = perform(entries, retries=2)
    told = [answer for answer in answers if answer.request.entry.name == "F"]
    assert [(answer.result.failed, answer.final) for answer in told] == [
        (True, False),
        (False, True),
    ]
    (one, _), (other, again) = marks_of(work.marks, "F", "begun")
    assert one != other
    assert again > max(begin for _, begin, _ in spans(work, entries[2:]))


def test_what_always_fails_is_given_up(work, perform):
    answers = perform([entry("F", fail=ALWAYS), entry("S")], retries=2)
    told = [answer for answer in answers if answer.request.entry.name == "F"]
    assert [answer.final for answer in told] == [False, False, True]
    assert [answer.request.attempt for answer in told] == [1, 2, 3]
    assert len(marks_of(work.marks, "F", "begun")) == 3


def test_a_killed_worker(work, perform):
    """Its products are done by others, at once; those done are not done again."""
    entries = [entry(f"P{number:02d}", sleep=0.3) for number in range(12)]
    killed = []

    def at_work():
        """Processes of products that have begun and not ended."""
        for each in entries:
            begun = marks_of(work.marks, each.name, "begun")
            if begun and not marks_of(work.marks, each.name, "ended"):
                yield begun[0][0]

    def kill(news):
        if isinstance(news, AttemptResult) and not killed:
            while not (found := list(at_work())):
                time.sleep(0.01)
            killed.append(found[0])
            os.kill(found[0], signal.SIGKILL)

    answers = perform(entries, meanwhile=kill)
    assert killed
    assert sorted(answer.request.entry.name for answer in answers) == [e.name for e in entries]
    assert not any(answer.result.failed for answer in answers)
    ended = {each.name: len(marks_of(work.marks, each.name, "ended")) for each in entries}
    # Killed when an item stood, and before that was told: then it is found done.
    already = {answer.request.entry.name for answer in answers if answer.result.fields["already"]}
    assert {count for name, count in ended.items() if name not in already} == {1}
    assert all(ended[name] <= 1 for name in already)
    begun = Counter(len(marks_of(work.marks, each.name, "begun")) for each in entries)
    assert begun[2] + len(already) in (1, 2, 3)  # what the killed one had, and had not told
    assert set(begun) <= {1, 2}


def test_answers_that_come_late_are_waited_for(crew, work, perform, monkeypatch):
    """As after this machine slept."""
    monkeypatch.setattr(engine, "RESULT_TIMEOUT", 0.2)
    turns = crew._client._gather_semaphore

    async def hold_up():
        taken = [await turns.acquire() for _ in range(turns._value)]
        await asyncio.sleep(1)
        for _ in taken:
            turns.release()

    crew._client.loop.add_callback(hold_up)
    answers = perform([entry(f"P{number}") for number in range(6)])
    assert [answer.result.failed for answer in answers] == [False] * 6
    assert all(len(marks_of(work.marks, f"P{number}", "begun")) == 1 for number in range(6))


def test_a_product_that_kills_its_workers_is_given_up(crew, work, perform, monkeypatch):
    # As if `engine.ALLOWED_FAILURES` were 0: to start a worker again takes seconds.
    monkeypatch.setattr(crew._client.cluster.scheduler, "allowed_failures", 0)
    entries = [entry("K", kill=ALWAYS), *(entry(f"S{n}", sleep=0.3) for n in range(6))]
    answers = perform(entries, retries=2)
    by_name = {answer.request.entry.name: answer for answer in answers if answer.final}
    assert set(by_name) == {each.name for each in entries}
    lost = by_name.pop("K").result
    assert lost.failed
    assert lost.fields["stage"] == "worker"
    assert "1 workers died while they did it and nothing else" in lost.fields["reason"]
    assert len(marks_of(work.marks, "K", "begun")) == 2
    # dask blamed those beside it, too.
    assert not [name for name, answer in by_name.items() if answer.result.failed]
    assert {len(marks_of(work.marks, name, "ended")) for name in by_name} == {1}


def test_a_worker_without_preload_is_left_out_with_one_warning(work, perform, caplog):
    """One that joins in the midst, and has room for all that waits."""
    entries = [entry(f"P{number}", sleep=0.3) for number in range(4)]
    joined, looks = [], []

    def join(news):
        if isinstance(news, WorkerSnapshot):
            looks.append(news.workers)
        elif not joined:
            worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny"]
            joined.append(subprocess.Popen([*worker, "--no-dashboard", "--name", "bare"]))
            client = crew._client
            while len(client.scheduler_info(n_workers=-1)["workers"]) < 2:
                time.sleep(0.05)

    try:
        with other_cluster() as (_, address), scheduler_pool(address, 1) as crew:
            answers = perform(entries, crew=crew, meanwhile=join)
            bare = client_names(crew)["bare"]
    finally:
        for process in joined:
            process.kill()
            process.wait()
    assert not any(answer.result.failed for answer in answers)
    assert len({begun for begun, *_ in spans(work, entries)}) == 1
    assert all(len(workers) == 1 for workers in looks)
    assert len(looks) > 2
    [warning] = caplog.messages
    assert warning == (
        f"worker bare at {bare} does not say what it has, and gets nothing to do; start workers by "
        "`dask worker ... --preload decametre.fleet.preload`"
    )


def client_names(crew):
    """Addresses of all workers of a scheduler, by name."""
    workers = crew._client.scheduler_info(n_workers=-1)["workers"]
    return {worker["name"]: address for address, worker in workers.items()}


def test_workers_that_are_all_without_preload(caplog):
    with (
        engine.event_loop() as loop,
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0", loop=loop) as cluster,
        scheduler_pool(cluster.scheduler_address, 1) as crew,
    ):
        assert crew.workers() == crew.workers() == {}
    assert [record.name for record in caplog.records].count(engine.log.name) == 1


def test_a_worker_whose_name_is_its_address_is_named_once(caplog):
    crew = engine.WorkerPool(None, "", 1)
    crew._leave_out("tcp://node7:4321", "tcp://node7:4321")
    assert caplog.messages[0].count("tcp://node7:4321") == 1


def test_local_workers_keep_to_themselves_that_their_scheduler_went_first(crew):
    def levels():
        return {handler.level for handler in logging.getLogger("distributed").handlers}

    assert list(crew._client.run(levels).values()) == [{logging.CRITICAL}] * 2


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "tcp://127.0.0.1:999999"])
def test_no_listener_at_the_address(address, monkeypatch):
    monkeypatch.setattr(engine, "CONNECT_TIMEOUT", 1)
    with (
        pytest.raises(FleetError, match=f"no dask scheduler answers at {address} "),
        scheduler_pool(address, 1),
    ):
        pass


def test_listener_that_never_answers(monkeypatch):
    before = set(threading.enumerate())
    monkeypatch.setattr(engine, "CONNECT_TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with (
            pytest.raises(
                FleetError, match=rf"(?i)no dask scheduler answers at {address} \(.*timed out"
            ),
            scheduler_pool(address, 1),
        ):
            pass
    new = set(threading.enumerate()) - before
    assert "dask event loop" not in {thread.name for thread in new}


CLUSTER = """
import asyncio, sys
from distributed import Scheduler, Worker

async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        options = {"preload": ["decametre.fleet.preload"], "nthreads": 1}
        async with Worker(scheduler.address, **options):
            print(scheduler.address, flush=True)
            await asyncio.sleep(600)

asyncio.run(main())
"""


@contextmanager
def other_cluster():
    """A scheduler and a worker in a process of their own; yields it and the address."""
    command = [sys.executable, "-c", CLUSTER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_scheduler_that_goes_away(crew, work, tmp_path, caplog):
    """The fleet ends in seconds, and goes on elsewhere."""
    entries = [entry(f"P{number}", 10 - number, sleep=0.5) for number in range(6)]
    out = tmp_path / "out"
    plan = FleetConfig(work, entries, out, FleetOptions(), "decametre fleet")
    killed = []
    client_log = logging.getLogger("distributed.client")
    client_log.addHandler(caplog.handler)

    def kill(progress):
        if progress.done == 2 and not killed:
            killed.append(time.monotonic())
            process.kill()

    with other_cluster() as (process, address):
        with pytest.raises(FleetError, match=f"the scheduler at {address}: the scheduler is gone"):
            run(plan, lambda left: scheduler_pool(address, left), kill)
        assert time.monotonic() - killed[0] < 10
    assert list(read_events(out))[-1]["status"] == "lost"
    assert threading.active_count() < 50
    client_log.removeHandler(caplog.handler)
    assert client_log.name not in {record.name for record in caplog.records}

    @contextmanager
    def same(left):
        crew.left = left
        yield crew

    result = run(plan, same, lambda progress: None)
    assert (result.done, result.done_before, list(result.failures)) == (4, 2, [])
    done = Counter(event["name"] for event in read_events(out) if event["event"] == "done")
    assert done == {each.name: 1 for each in entries}
