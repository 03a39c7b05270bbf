"""Complete runs of a fleet with a worker pool in this process."""

import errno
import json
import resource
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pystac
import pytest

from decametre.errors import BusyError, FleetError, OutputError
from decametre.fleet import catalog, recorder
from decametre.fleet.completion import item_path
from decametre.fleet.config import FleetConfig
from decametre.fleet.events import events_path, read_events
from decametre.fleet.history import read_history
from decametre.fleet.messages import AttemptResult, WorkerInfo, WorkerSnapshot
from decametre.fleet.options import FleetOptions
from decametre.fleet.recorder import FAILURES, LOG, NO_WORKER_WARNING_SECONDS
from decametre.fleet.run import run
from decametre.fleet.worker import run_task
from tests.fleet.light import ALWAYS, Light, entry, marks_of

WORKERS = {
    "tcp://1": WorkerInfo("0", "here", 1, 1000, 0, 1),
    "tcp://2": WorkerInfo("1", "here", 1, 1000, 0, 1),
}


def do_nothing():
    pass


@dataclass
class FakePool:
    """A worker pool that processes products in this process, one by one.

    Attributes:
        stop: Errors to raise, by the number of attempts before.
        before_attempt: Called before each attempt.
        started: Names of the products in the order of their attempts.
        sizes: Numbers of products that the pool was opened for.
    """

    stop: dict[int, BaseException] = field(default_factory=dict)
    before_attempt: Callable[[], None] = do_nothing
    started: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    description = "two simulated workers"
    dashboard = "http://nowhere"

    @contextmanager
    def __call__(self, size: int) -> Iterator["FakePool"]:
        self.sizes.append(size)
        yield self

    def perform(self, requests, retries):
        yield WorkerSnapshot(WORKERS, 0)
        repeated = deque()
        while request := next(requests, None) or (repeated.popleft() if repeated else None):
            self.before_attempt()
            if len(self.started) in self.stop:
                raise self.stop[len(self.started)]
            self.started.append(request.entry.name)
            result = run_task(request)
            final = not result.failed or request.attempt > retries
            if not final:
                repeated.append(replace(request, attempt=request.attempt + 1))
            yield AttemptResult(request, result, final)
        yield WorkerSnapshot({"tcp://2": WORKERS["tcp://2"]}, 0)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "marks").mkdir()
    return FleetConfig(
        work=Light(str(tmp_path / "marks")),
        entries=[entry("A", 1), entry("B", 3), entry("C", None), entry("D", 2)],
        out=tmp_path / "out",
        options=FleetOptions(retries=1),
        command="decametre fleet sharpen list.txt out",
    )


def start(config, pool=None, notify=lambda progress: None):
    return run(config, pool or FakePool(), notify)


def latest(config):
    """The latest run in the journal."""
    return read_history(config.out).latest


def attempts(config):
    names = [each.name for each in config.entries]
    return {name: len(marks_of(config.work.marks, name, "begun")) for name in names}


def in_catalog(out):
    """Names of the items that a reader finds by following all links."""
    root = pystac.Catalog.from_file(out / "catalog.json")
    return sorted(item.id for item in root.get_items(recursive=True))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def last_run(out):
    events = list(read_events(out))
    begin = max(number for number, event in enumerate(events) if event["event"] == "run")
    return events[begin:]


def test_all_products_are_processed_largest_first(config):
    pool, seen = FakePool(), []
    result = start(config, pool, lambda progress: seen.append(progress.done))
    assert (result.done, result.done_before, list(result.failures)) == (4, 0, [])
    assert pool.started == ["C", "B", "D", "A"]  # an unknown size is assumed to be large
    assert pool.sizes == [4]
    assert in_catalog(config.out) == ["A", "B", "C", "D"]
    events = list(read_events(config.out))
    assert [event["event"] for event in events] == [
        *("run", "worker", "worker", "beat", "done", "done", "done", "done"),
        *("worker", "beat", "ended"),  # a worker left
    ]
    assert seen == sorted(seen)
    assert seen[-1] == 4
    begin = events[0]
    assert (begin["verb"], begin["products"], begin["done_before"]) == ("sharpen", 4, 0)
    assert (begin["cluster"], begin["dashboard"]) == ("two simulated workers", "http://nowhere")
    assert begin["command"] == config.command
    assert begin["settings"] == {"kind": "light"}
    assert (events[-3]["worker"], events[-3]["joined"]) == ("tcp://1", False)
    assert events[-1]["status"] == "complete"
    assert (config.out / FAILURES).read_text() == ""
    assert latest(config).state == "complete"
    log = (config.out / LOG).read_text()
    assert "4 of 4 completed" in log.splitlines()[-1]
    assert config.command in log


def test_complete_products_are_skipped(config):
    start(replace(config, entries=config.entries[:2]))
    pool = FakePool()
    result = start(config, pool)
    assert (result.done, result.done_before) == (2, 2)
    assert sorted(pool.started) == ["C", "D"]
    assert set(attempts(config).values()) == {1}
    assert in_catalog(config.out) == ["A", "B", "C", "D"]
    # If all products are complete, no worker pool is opened.
    third = FakePool()
    assert start(config, third).done_before == 4
    assert third.sizes == []
    assert [event["event"] for event in last_run(config.out)] == ["run", "ended"]
    assert latest(config).done == 4


def test_results_with_other_settings_are_an_error_or_recomputed(config):
    start(replace(config, entries=config.entries[:2]))
    before = {path: path.read_bytes() for path in config.out.rglob("*") if path.is_file()}
    other = replace(config, work=replace(config.work, kind="heavy"))
    with pytest.raises(
        FleetError, match=r"A.json: made with kind light, not heavy; 2 of 4"
    ) as caught:
        start(other)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in config.out.rglob("*") if path.is_file()} == before
    result = start(replace(other, options=FleetOptions(redo=True)))
    assert (result.done, result.done_before) == (4, 0)
    assert in_catalog(config.out) == ["A", "B", "C", "D"]
    with pytest.raises(FleetError, match="made with kind heavy, not light; 4 of 4"):
        start(config)


def test_failed_products_are_retried_and_listed(config):
    entries = [entry("A", 4), entry("B", 3, fail=1), entry("C", 2, fail=ALWAYS)]
    config = replace(
        config,
        entries=[*entries, entry("D", 1, **{"raise": ALWAYS})],
        options=FleetOptions(retries=2),
    )
    pool = FakePool()
    result = start(config, pool)
    assert (result.done, len(result.failures)) == (2, 2)
    assert pool.started == [*"ABCD", *"BCD", *"CD"]
    assert attempts(config) == {"A": 1, "B": 2, "C": 3, "D": 3}
    listed = {each["name"]: each for each in lines(config.out / FAILURES)}
    assert set(listed) == {"C", "D"}
    assert list(listed.values()) == list(result.failures)
    assert listed["C"]["reason"] == "C is spoiled"
    assert listed["C"]["stage"] == "read"
    assert listed["C"]["attempt"] == 3
    assert listed["C"]["source"] == entries[2].source
    assert listed["D"]["reason"] == "ZeroDivisionError: D"
    assert "Traceback" in listed["D"]["traceback"]
    failed = [event for event in read_events(config.out) if event["event"] == "failed"]
    recorded = Counter((event["name"], event["final"]) for event in failed)
    assert recorded == {
        ("B", False): 1,
        ("C", False): 2,
        ("C", True): 1,
        ("D", False): 2,
        ("D", True): 1,
    }
    assert last_run(config.out)[-1]["status"] == "failures"
    assert in_catalog(config.out) == ["A", "B"]
    assert not (config.out / "C").exists()
    assert "2 failed" in (config.out / LOG).read_text().splitlines()[-1]


def test_next_run_retries_failed_products(config):
    broken = replace(
        config, entries=[entry("A", fail=2), entry("B")], options=FleetOptions(retries=0)
    )
    assert len(start(broken).failures) == 1
    assert len(start(broken).failures) == 1
    result = start(broken)
    assert (result.done, result.done_before, list(result.failures)) == (1, 1, [])
    assert (config.out / FAILURES).read_text() == ""
    assert in_catalog(config.out) == ["A", "B"]
    assert latest(config).state == "complete"


@pytest.mark.parametrize("retries", [0, 3])
def test_number_of_retries(config, retries):
    config = replace(
        config, entries=[entry("A", fail=ALWAYS)], options=FleetOptions(retries=retries)
    )
    [failure] = start(config).failures
    assert failure["attempt"] == attempts(config)["A"] == retries + 1


def test_interrupted_run_is_resumed(config):
    with pytest.raises(KeyboardInterrupt):
        start(config, FakePool(stop={2: KeyboardInterrupt()}))
    assert last_run(config.out)[-1]["status"] == "interrupted"
    assert latest(config).state == "interrupted"
    assert in_catalog(config.out) == ["B", "C"]
    result = start(config)
    assert (result.done, result.done_before) == (2, 2)
    assert set(attempts(config).values()) == {1}
    done = Counter(event["name"] for event in read_events(config.out) if event["event"] == "done")
    assert done == dict.fromkeys("ABCD", 1)
    assert in_catalog(config.out) == ["A", "B", "C", "D"]


def test_lost_scheduler(config):
    with pytest.raises(FleetError, match="lost"):
        start(config, FakePool(stop={1: FleetError("scheduler lost")}))
    assert latest(config).state == "lost"
    assert start(config).done == 3


def test_pool_that_cannot_be_opened(config):
    @contextmanager
    def unavailable(size):
        raise FleetError("no scheduler")
        yield

    with pytest.raises(FleetError, match="no scheduler"):
        start(config, unavailable)
    assert start(config).done == 4


def test_killed_driver(config):
    """It leaves an incomplete line, an item without a link and a run without an end."""

    class Killed(BaseException):
        pass

    start(replace(config, entries=config.entries[:1]))
    with pytest.raises(Killed):
        start(config, FakePool(stop={2: Killed()}))
    journal = events_path(config.out)
    journal.write_text(journal.read_text().rpartition('{"event": "ended"')[0] + '{"event": "do')
    page = config.out / "fleet" / "pages" / "00001.json"
    content = json.loads(page.read_text())
    content["links"] = [link for link in content["links"] if link["title"] != "C"]
    page.write_text(json.dumps(content))
    assert in_catalog(config.out) == ["A", "B"]
    assert latest(config).state == "killed"
    result = start(config)
    assert (result.done, result.done_before) == (1, 3)
    assert in_catalog(config.out) == ["A", "B", "C", "D"]
    assert set(attempts(config).values()) == {1}


def test_deleted_result_is_recomputed(config):
    start(config)
    for path in (config.out / "B").iterdir():
        path.unlink()
    (config.out / "B").rmdir()
    result = start(config)
    assert (result.done, result.done_before) == (1, 3)
    assert in_catalog(config.out) == ["A", "B", "C", "D"]


def test_product_removed_from_the_list_stays_in_the_catalog(config):
    start(config)
    assert start(replace(config, entries=config.entries[:1])).done_before == 1
    assert in_catalog(config.out) == ["A", "B", "C", "D"]


def test_result_of_a_lost_worker_is_used(config):
    """The worker completed its product before it was lost."""
    pool = FakePool()

    def another():
        if not pool.started:
            other = replace(config, out=config.out.parent / "side", entries=[config.entries[2]])
            start(other)
            (other.out / "C").rename(config.out / "C")

    pool.before_attempt = another
    assert start(config, pool).done == 4
    [event] = [e for e in read_events(config.out) if e["event"] == "done" and e["already"]]
    assert event["name"] == "C"
    assert in_catalog(config.out) == ["A", "B", "C", "D"]
    assert latest(config).computed == 3


def test_second_driver_is_an_error(config):
    errors = []

    def another():
        with pytest.raises(BusyError, match="another run is writing it"):
            start(config)
        errors.append(True)

    pool = FakePool(before_attempt=another)
    assert start(replace(config, entries=config.entries[:1]), pool).done == 1
    assert errors == [True]
    assert start(config).done == 3  # the lock is released


def test_invalid_settings_leave_no_files(config):
    class Invalid(Light):
        def check(self):
            raise FleetError("invalid")

    with pytest.raises(FleetError, match="invalid"):
        start(replace(config, work=Invalid("")))
    assert not config.out.exists()


def test_workers_with_too_little_memory_get_a_warning(config, caplog):
    class Hungry(Light):
        def memory(self, size):
            return 900

    start(config)
    assert "memory" not in caplog.text
    start(replace(config, work=Hungry(config.work.marks), out=config.out.with_name("other")))
    warnings = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert len(warnings) == len(WORKERS)
    assert warnings[0].startswith(
        "worker 0 on here has 0.0 GB of memory, but a small product needs"
    )


def test_warning_without_workers_comes_once(config, caplog, monkeypatch):
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now, strftime=time.strftime)
    monkeypatch.setattr(recorder, "time", clock)

    class NoWorkers(FakePool):
        def perform(self, requests, retries):
            nonlocal now
            for seconds in (0, NO_WORKER_WARNING_SECONDS - 1, 2, 2):
                now += seconds
                yield WorkerSnapshot({}, 0)
                warnings.append(caplog.text.count("no worker for 5 minutes"))

    warnings = []
    start(config, NoWorkers())
    assert warnings == [0, 0, 1, 1]


@pytest.mark.parametrize("redo", [False, True])
def test_results_of_another_verb_are_an_error(config, redo):
    start(config)

    class Other(Light):
        verb = "extract"

    with pytest.raises(FleetError, match="holds the results of `fleet sharpen`; give `fleet ext"):
        start(replace(config, work=Other(config.work.marks), options=FleetOptions(redo=redo)))
    assert start(config).done_before == 4


def test_folder_that_cannot_be_created(config):
    nowhere = config.out / "deep" / "out"
    with pytest.raises(OutputError, match="does not exist; make it first"):
        start(replace(config, out=nowhere))
    config.out.write_text("a file")
    with pytest.raises(OutputError, match="out: cannot be written"):
        start(config)
    assert config.out.read_text() == "a file"


def test_catalog_of_another_program_is_not_changed(config):
    config.out.mkdir()
    (config.out / "catalog.json").write_text("mine")
    with pytest.raises(OutputError, match="was not written by a fleet"):
        start(config)
    assert (config.out / "catalog.json").read_text() == "mine"


@contextmanager
def files_up_to(size):
    """Limit the size of files, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_journal_that_cannot_be_written_is_an_error(config):
    old = json.dumps({"event": "other", "time": 0, "text": "x" * 100_000}) + "\n"
    events_path(config.out).parent.mkdir(parents=True)
    events_path(config.out).write_text(old)

    def limit():
        size = events_path(config.out).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(1)[1]))

    with (
        files_up_to(resource.RLIM_INFINITY),
        pytest.raises(OutputError, match=r"journal cannot be written \(File too large\)") as caught,
    ):
        start(config, FakePool(before_attempt=limit))
    assert "\n" not in str(caught.value)
    assert "resume by the same command" in str(caught.value)
    # C is complete, but not in the journal.
    assert item_path(config.out, config.entries[2]).exists()
    result = start(config)
    assert (result.done, result.done_before) == (3, 1)
    assert set(attempts(config).values()) == {1}
    assert in_catalog(config.out) == ["A", "B", "C", "D"]


def test_log_that_cannot_be_written_is_an_error(config):
    config.out.mkdir()
    (config.out / LOG).symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        start(config)


def test_network_error_is_not_reported_as_a_journal_error(config):
    with pytest.raises(OSError, match="no route") as caught:
        start(config, FakePool(stop={1: OSError(errno.EHOSTUNREACH, "no route to host")}))
    assert not isinstance(caught.value, OutputError)


def test_catalog_is_complete_after_each_event(config, monkeypatch):
    monkeypatch.setattr(catalog, "PAGE", 2)
    seen = []

    def check(progress):
        found = in_catalog(config.out)
        items = sorted(path.stem for path in config.out.glob("?/?.json"))
        assert found == items
        seen.append(len(found))

    start(config, notify=check)
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2, 3, 4}


def test_result_missing_in_the_catalog_is_added_by_the_next_run(config, monkeypatch):
    """The item was written, but the catalog could not be."""

    def fail(self, name, item):
        raise OutputError("full")

    with monkeypatch.context() as patched:
        patched.setattr(catalog.Catalog, "add", fail)
        with pytest.raises(OutputError, match="full"):
            start(config)
    result = start(config)
    assert (result.done, result.done_before) == (3, 1)
    assert in_catalog(config.out) == ["A", "B", "C", "D"]
    assert set(attempts(config).values()) == {1}
