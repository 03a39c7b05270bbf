"""A small fleet is run, interrupted and resumed; the figures of the benchmark are checked."""

import json
import sys
from collections import Counter
from itertools import pairwise

import pytest

from benchmarks import bookkeeping
from benchmarks.bookkeeping_driver import ResourceLog
from benchmarks.bookkeeping_work import CONSISTENCY, Bookkeeping, entries
from decametre.errors import DecametreError
from decametre.fleet.catalog import PAGE
from decametre.fleet.completion import item_path, result_state
from decametre.fleet.progress import RunProgress
from decametre.fleet.worker import TaskRequest, run_task
from decametre.version import __version__

COUNT = 60


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bookkeeping")
    found = bookkeeping.run(COUNT, folder)
    assert not list(folder.iterdir())
    return found


@pytest.mark.benchmark
def test_all_is_done_once(report):
    interrupted, resumed, idle = report.starts
    assert (interrupted.done_before, idle.done_before, idle.done) == (0, COUNT, 0)
    assert 0.9 * COUNT <= interrupted.done < COUNT
    # Products that were being processed at the interruption may be completed without an entry in
    # the journal: for each worker one, and one that it received before the first was recorded.
    most = interrupted.done + 2 * bookkeeping.WORKERS
    assert interrupted.done <= resumed.done_before <= most
    assert resumed.done_before + resumed.done == COUNT
    assert report.done_twice == 0
    assert report.linked == COUNT


@pytest.mark.benchmark
def test_every_start_is_timed(report):
    for start in report.starts[:2]:
        assert 0 < start.ready < start.begun < start.seconds
        assert start.cpu_seconds > 0
    assert report.starts[2].begun is None
    assert 0 < report.starts[2].ready < report.starts[2].seconds


@pytest.mark.benchmark
def test_the_driver_is_sampled_at_every_tenth(report):
    assert [sample.done for sample in report.samples[:10]] == [
        COUNT * tenth // 10 for tenth in range(10)
    ]
    before, *samples = report.samples
    assert before.catalog_mb == before.journal_mb == before.seconds == 0
    for one, next_one in pairwise(samples):
        assert one.seconds < next_one.seconds
        assert one.catalog_mb < next_one.catalog_mb
        assert one.journal_mb < next_one.journal_mb
    assert 50 < before.memory_mb < 4000
    # An event has about 1.5 kB. A page is rewritten for each product, so the first page has on
    # average n / 2 links of about 0.3 kB, and other pages have at most as many as a full first one.
    last = samples[-1]
    assert 1 < 1000 * last.journal_mb / last.done < 3
    assert COUNT < PAGE
    assert 0.1 < 1000 * last.catalog_mb / last.done / (last.done / 2) < 0.5


@pytest.mark.benchmark
def test_the_table_has_the_figures(report):
    assert json.loads(json.dumps(report.to_dict()))["products"] == COUNT
    table = report.table()
    assert "| 6 done | 30 done | 54 done |" in table
    assert f"linked in the catalog: {COUNT}" in table
    assert report.between_ms[0] <= report.between_ms[1]


def test_a_failed_driver_is_an_error():
    command = [sys.executable, "-c", "import sys; sys.exit('no more')"]
    with pytest.raises(DecametreError, match="status 1: no more"):
        bookkeeping.run_driver(command)


def test_results_have_the_form_and_size_of_real_ones(tmp_path):
    work = Bookkeeping()
    (entry,) = entries(tmp_path / "products", 1)
    settings = json.loads(json.dumps(work.settings()))
    request = TaskRequest(work, settings, __version__, entry, str(tmp_path), None, 1)
    assert not result_state(tmp_path, entry, settings).complete
    result = run_task(request)
    assert not result.failed
    assert result.fields["consistency"] == CONSISTENCY
    assert result_state(tmp_path, entry, settings).complete
    assert run_task(request).fields["already"]
    path = item_path(tmp_path, entry)
    assert 10_000 < path.stat().st_size < 20_000
    item = json.loads(path.read_text())
    assert item["id"] == entry.name
    assert item["links"][0]["href"] == f"../products/{entry.name}.SAFE"
    assert "@" not in path.read_text()
    assert len(list(path.parent.iterdir())) == 3


def test_products_that_were_done_twice_are_counted():
    names = ["a", "b", "a", "c", "c"]
    events = [{"event": "done", "name": name, "already": False} for name in names]
    events[-1]["already"] = True  # it was completed before
    assert bookkeeping.done_twice(events) == 1


def test_names_are_unique_and_as_long_as_real_ones(tmp_path):
    names = Counter(entry.name for entry in entries(tmp_path, 1000))
    assert len(names) == 1000
    assert {len(name) for name in names} == {60}


def test_samples_are_relative_to_the_first_one(tmp_path):
    journal, samples = tmp_path / "journal", tmp_path / "samples"
    journal.write_text("begun\n")
    progress = RunProgress({"event": "run", "time": 0.0, "products": 100, "done_before": 0})
    with samples.open("w") as file:
        resource_log = ResourceLog(file, 100, journal)
        for done in range(31):
            progress.done = done
            (tmp_path / "page").write_text("x" * 1000)
            with journal.open("a") as appended:
                appended.write("y" * 100)
            resource_log(progress)
    read = bookkeeping.read_samples(samples)
    assert [sample.done for sample in read] == [0, 10, 20, 30]
    assert read[-1].journal_mb == pytest.approx(30 * 100 / 1e6)
    # The samples themselves are written, too.
    assert 30 * 1000 <= read[-1].catalog_mb * 1e6 < 30 * 1000 + 3 * 400
