"""A whole run, with workers that are none: what is done, written down, refused, gone on with."""

import errno
import json
import resource
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pystac
import pytest

from decametre.errors import BusyError, FleetError, OutputError
from decametre.fleet import catalog
from decametre.fleet.completion import item_path
from decametre.fleet.events import events_path, read_events
from decametre.fleet.messages import AttemptResult, WorkerInfo, WorkerSnapshot
from decametre.fleet.progress import status_of
from decametre.fleet.run import FAILURES, LOG, FleetConfig, run
from decametre.fleet.worker import run_task
from tests.fleet.light import ALWAYS, Light, entry, marks_of

WORKERS = {
    "tcp://1": WorkerInfo("0", "here", 1, 1000, 0, 1),
    "tcp://2": WorkerInfo("1", "here", 1, 1000, 0, 1),
}


def nothing():
    """Happens."""


@dataclass
class FakePool:
    """As `engine.WorkerPool`, in this process.

    Attributes:
        stop: Raised after so many attempts.
        orders: Names in the order in which they were begun.
        meanwhile: Called before every attempt.
    """

    stop: dict[int, BaseException] = field(default_factory=dict)
    meanwhile: Callable[[], None] = nothing
    orders: list[str] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    description = "two that are none"
    dashboard = "http://nowhere"

    @contextmanager
    def __call__(self, left: int) -> Iterator["FakePool"]:
        self.left.append(left)
        yield self

    def perform(self, orders, retries):
        yield WorkerSnapshot(WORKERS, 0)
        waiting, again = iter(orders), deque()
        while order := next(waiting, None) or (again.popleft() if again else None):
            self.meanwhile()
            if len(self.orders) in self.stop:
                raise self.stop[len(self.orders)]
            self.orders.append(order.entry.name)
            outcome = run_task(order)
            answer = AttemptResult(order, outcome, not outcome.failed or order.attempt > retries)
            if not answer.final:
                again.append(replace(order, attempt=order.attempt + 1))
            yield answer
        yield WorkerSnapshot({"tcp://2": WORKERS["tcp://2"]}, 0)


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "marks").mkdir()
    return FleetConfig(
        work=Light(str(tmp_path / "marks")),
        entries=[entry("A", 1), entry("B", 3), entry("C", None), entry("D", 2)],
        out=tmp_path / "out",
        redo=False,
        retries=1,
        scratch=None,
        interval=30.0,
        command="decametre fleet sharpen list.txt out",
    )


def go(plan, crew=None, notify=lambda progress: None):
    return run(plan, crew or FakePool(), notify)


def attempts(plan):
    names = [each.name for each in plan.entries]
    return {name: len(marks_of(plan.work.marks, name, "begun")) for name in names}


def in_catalog(out):
    """Names of the items that a reader finds, every link followed."""
    root = pystac.Catalog.from_file(out / "catalog.json")
    return sorted(item.id for item in root.get_items(recursive=True))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def last_run(out):
    events = list(read_events(out))
    begin = max(number for number, event in enumerate(events) if event["event"] == "run")
    return events[begin:]


def test_all_is_done_longest_first(plan):
    crew, seen = FakePool(), []
    result = go(plan, crew, lambda progress: seen.append(progress.done))
    assert (result.done, result.done_before, list(result.failures)) == (4, 0, [])
    assert crew.orders == ["C", "B", "D", "A"]  # unknown is assumed to be long
    assert crew.left == [4]
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]
    events = list(read_events(plan.out))
    assert [event["event"] for event in events] == [
        *("run", "worker", "worker", "beat", "done", "done", "done", "done"),
        *("worker", "beat", "ended"),  # a worker has gone
    ]
    assert seen == sorted(seen)
    assert seen[-1] == 4
    begin = events[0]
    assert (begin["verb"], begin["products"], begin["done_before"]) == ("sharpen", 4, 0)
    assert (begin["cluster"], begin["dashboard"]) == ("two that are none", "http://nowhere")
    assert begin["command"] == plan.command
    assert begin["settings"] == {"kind": "light"}
    assert (events[-3]["worker"], events[-3]["joined"]) == ("tcp://1", False)
    assert events[-1]["status"] == "complete"
    assert (plan.out / FAILURES).read_text() == ""
    assert status_of(plan.out).state == "complete"
    log = (plan.out / LOG).read_text()
    assert "4 of 4 done" in log.splitlines()[-1]
    assert plan.command in log


def test_what_is_done_is_left_out_and_counted(plan):
    go(replace(plan, entries=plan.entries[:2]))
    crew = FakePool()
    result = go(plan, crew)
    assert (result.done, result.done_before) == (2, 2)
    assert sorted(crew.orders) == ["C", "D"]
    assert set(attempts(plan).values()) == {1}
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]
    # With all done, nobody is asked for.
    third = FakePool()
    assert go(plan, third).done_before == 4
    assert third.left == []
    assert [event["event"] for event in last_run(plan.out)] == ["run", "ended"]
    assert status_of(plan.out).progress.done == 4


def test_results_of_other_settings_are_refused_or_made_again(plan, tmp_path):
    go(replace(plan, entries=plan.entries[:2]))
    before = {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()}
    other = replace(plan, work=replace(plan.work, kind="heavy"))
    with pytest.raises(FleetError, match=r"A.json: made with kind light, not heavy; 2 of 4") as no:
        go(other)
    assert "\n" not in str(no.value)
    assert {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()} == before
    result = go(replace(other, redo=True))
    assert (result.done, result.done_before) == (4, 0)
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]
    with pytest.raises(FleetError, match="made with kind heavy, not light; 4 of 4"):
        go(plan)


def test_failures_are_tried_again_told_and_listed(plan):
    entries = [entry("A", 4), entry("B", 3, fail=1), entry("C", 2, fail=ALWAYS)]
    plan = replace(plan, entries=[*entries, entry("D", 1, **{"raise": ALWAYS})], retries=2)
    crew = FakePool()
    result = go(plan, crew)
    assert (result.done, len(result.failures)) == (2, 2)
    assert crew.orders == [*"ABCD", *"BCD", *"CD"]
    assert attempts(plan) == {"A": 1, "B": 2, "C": 3, "D": 3}
    listed = {each["name"]: each for each in lines(plan.out / FAILURES)}
    assert set(listed) == {"C", "D"}
    assert list(listed.values()) == list(result.failures)
    assert listed["C"]["reason"] == "C is spoiled"
    assert listed["C"]["stage"] == "read"
    assert listed["C"]["attempt"] == 3
    assert listed["C"]["source"] == entries[2].source
    assert listed["D"]["reason"] == "ZeroDivisionError: D"
    assert "Traceback" in listed["D"]["traceback"]
    failed = [event for event in read_events(plan.out) if event["event"] == "failed"]
    told = Counter((event["name"], event["final"]) for event in failed)
    assert told == {
        ("B", False): 1,
        ("C", False): 2,
        ("C", True): 1,
        ("D", False): 2,
        ("D", True): 1,
    }
    assert last_run(plan.out)[-1]["status"] == "failures"
    assert in_catalog(plan.out) == ["A", "B"]
    assert not (plan.out / "C").exists()
    assert "2 failed" in (plan.out / LOG).read_text().splitlines()[-1]


def test_what_failed_is_tried_by_the_next_run_and_no_longer_listed(plan):
    broken = replace(plan, entries=[entry("A", fail=2), entry("B")], retries=0)
    assert len(go(broken).failures) == 1
    assert len(go(broken).failures) == 1
    result = go(broken)
    assert (result.done, result.done_before, list(result.failures)) == (1, 1, [])
    assert (plan.out / FAILURES).read_text() == ""
    assert in_catalog(plan.out) == ["A", "B"]
    assert status_of(plan.out).state == "complete"


@pytest.mark.parametrize("retries", [0, 3])
def test_retries_are_bounded(plan, retries):
    plan = replace(plan, entries=[entry("A", fail=ALWAYS)], retries=retries)
    [failure] = go(plan).failures
    assert failure["attempt"] == attempts(plan)["A"] == retries + 1


def test_an_interrupted_run_is_gone_on_with(plan):
    with pytest.raises(KeyboardInterrupt):
        go(plan, FakePool(stop={2: KeyboardInterrupt()}))
    assert last_run(plan.out)[-1]["status"] == "interrupted"
    assert status_of(plan.out).state == "interrupted"
    assert in_catalog(plan.out) == ["B", "C"]
    result = go(plan)
    assert (result.done, result.done_before) == (2, 2)
    assert set(attempts(plan).values()) == {1}
    done = Counter(event["name"] for event in read_events(plan.out) if event["event"] == "done")
    assert done == dict.fromkeys("ABCD", 1)
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]


def test_a_lost_cluster(plan):
    with pytest.raises(FleetError, match="gone"):
        go(plan, FakePool(stop={1: FleetError("it is gone")}))
    assert status_of(plan.out).state == "lost"
    assert go(plan).done == 3


def test_a_cluster_that_never_was(plan):
    @contextmanager
    def nobody(left):
        raise FleetError("nobody answers")
        yield

    with pytest.raises(FleetError, match="nobody answers"):
        go(plan, nobody)
    assert go(plan).done == 4


def test_a_killed_driver(plan):
    """It could not write what it meant to: half a line, an item without a link, no end."""

    class Killed(BaseException):
        pass

    go(replace(plan, entries=plan.entries[:1]))
    with pytest.raises(Killed):
        go(plan, FakePool(stop={2: Killed()}))
    journal = events_path(plan.out)
    journal.write_text(journal.read_text().rpartition('{"event": "ended"')[0] + '{"event": "do')
    page = plan.out / "fleet" / "pages" / "00001.json"
    content = json.loads(page.read_text())
    content["links"] = [link for link in content["links"] if link["title"] != "C"]
    page.write_text(json.dumps(content))
    assert in_catalog(plan.out) == ["A", "B"]
    assert status_of(plan.out).state == "killed"
    result = go(plan)
    assert (result.done, result.done_before) == (1, 3)
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]
    assert set(attempts(plan).values()) == {1}


def test_a_result_that_was_deleted_is_made_again(plan):
    go(plan)
    for path in (plan.out / "B").iterdir():
        path.unlink()
    (plan.out / "B").rmdir()
    result = go(plan)
    assert (result.done, result.done_before) == (1, 3)
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]


def test_a_product_that_left_the_list_stays_in_the_catalog(plan):
    go(plan)
    assert go(replace(plan, entries=plan.entries[:1])).done_before == 1
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]


def test_a_worker_that_finished_before_it_was_lost(plan):
    """Its product is found done, which is not done twice."""
    crew = FakePool()

    def another():
        if not crew.orders:
            go_alone = replace(plan, out=plan.out.parent / "side", entries=[plan.entries[2]])
            go(go_alone)
            (go_alone.out / "C").rename(plan.out / "C")

    crew.meanwhile = another
    assert go(plan, crew).done == 4
    [event] = [e for e in read_events(plan.out) if e["event"] == "done" and e["already"]]
    assert event["name"] == "C"
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]
    assert status_of(plan.out).progress.computed == 3


def test_another_driver_is_refused(plan):
    refused = []

    def another():
        with pytest.raises(BusyError, match="another run is writing it"):
            go(plan)
        refused.append(True)

    crew = FakePool(meanwhile=another)
    assert go(replace(plan, entries=plan.entries[:1]), crew).done == 1
    assert refused == [True]
    assert go(plan).done == 3  # the lock is gone


def test_settings_that_make_no_sense_leave_nothing(plan):
    class Senseless(Light):
        def check(self):
            raise FleetError("senseless")

    with pytest.raises(FleetError, match="senseless"):
        go(replace(plan, work=Senseless("")))
    assert not plan.out.exists()


def test_workers_with_too_little_memory_are_named(plan, caplog):
    class Hungry(Light):
        def memory(self, size):
            return 900

    go(plan)
    assert "memory" not in caplog.text
    go(replace(plan, work=Hungry(plan.work.marks), out=plan.out.with_name("other")))
    said = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert len(said) == len(WORKERS)
    assert said[0].startswith("worker 0 on here has 0.0 GB of memory; at 80 % of that dask")


@pytest.mark.parametrize("redo", [False, True])
def test_results_of_another_verb_are_left_alone(plan, redo):
    go(plan)

    class Other(Light):
        verb = "extract"

    with pytest.raises(FleetError, match="holds the results of `fleet sharpen`; give `fleet ext"):
        go(replace(plan, work=Other(plan.work.marks), redo=redo))
    assert go(plan).done_before == 4


def test_a_folder_that_cannot_be(plan):
    nowhere = plan.out / "deep" / "out"
    with pytest.raises(OutputError, match="does not exist; make it first"):
        go(replace(plan, out=nowhere))
    plan.out.write_text("in the way")
    with pytest.raises(OutputError, match="out: cannot be written"):
        go(plan)
    assert plan.out.read_text() == "in the way"


def test_a_foreign_catalog_is_left_alone(plan):
    plan.out.mkdir()
    (plan.out / "catalog.json").write_text("mine")
    with pytest.raises(OutputError, match="no fleet made it"):
        go(plan)
    assert (plan.out / "catalog.json").read_text() == "mine"


@contextmanager
def files_up_to(size):
    """No file may grow beyond, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_journal_that_cannot_be_written_is_one_line(plan):
    old = json.dumps({"event": "run", "time": 0, "products": 1, "text": "x" * 100_000}) + "\n"
    events_path(plan.out).parent.mkdir(parents=True)
    events_path(plan.out).write_text(old)

    def limit():
        size = events_path(plan.out).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(1)[1]))

    with (
        files_up_to(resource.RLIM_INFINITY),
        pytest.raises(OutputError, match=r"journal cannot be written \(File too large\)") as no,
    ):
        go(plan, FakePool(meanwhile=limit))
    assert "\n" not in str(no.value)
    assert "same command goes on" in str(no.value)
    # C was made, only not told of.
    assert item_path(plan.out, plan.entries[2]).exists()
    result = go(plan)
    assert (result.done, result.done_before) == (3, 1)
    assert set(attempts(plan).values()) == {1}
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]


def test_a_log_that_cannot_be_written_is_one_line(plan):
    plan.out.mkdir()
    (plan.out / LOG).symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        go(plan)


def test_a_fault_of_the_network_is_not_taken_for_one_of_the_disk(plan):
    with pytest.raises(OSError, match="no route") as caught:
        go(plan, FakePool(stop={1: OSError(errno.EHOSTUNREACH, "no route to host")}))
    assert not isinstance(caught.value, OutputError)


def test_the_catalog_is_whole_at_every_moment(plan, monkeypatch):
    monkeypatch.setattr(catalog, "PAGE", 2)
    seen = []

    def look(progress):
        found = in_catalog(plan.out)
        items = sorted(path.stem for path in plan.out.glob("?/?.json"))
        assert found == items
        seen.append(len(found))

    go(plan, notify=look)
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2, 3, 4}


def test_an_answer_lost_with_the_catalog_is_made_up_for(plan, monkeypatch):
    """The item stands, but the catalog could not be written."""

    def full(self, name, item):
        raise OutputError("full")

    with monkeypatch.context() as patched:
        patched.setattr(catalog.Catalog, "add", full)
        with pytest.raises(OutputError, match="full"):
            go(plan)
    result = go(plan)
    assert (result.done, result.done_before) == (3, 1)
    assert in_catalog(plan.out) == ["A", "B", "C", "D"]
    assert set(attempts(plan).values()) == {1}
