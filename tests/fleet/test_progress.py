import fcntl
import json
import time
import tracemalloc

import pytest
from click.testing import CliRunner

from decametre.cli.fleet.status import status
from decametre.errors import FleetError
from decametre.fleet.events import Journal, read_events
from decametre.fleet.progress import RunProgress, lock_path, status_of
from tests.fleet.journals import START, Written, busy


def folded(journal: Written) -> RunProgress:
    progress = RunProgress()
    for event in read_events(journal.out):
        progress.add(event)
    return progress


def test_every_product_is_done_failed_or_left(tmp_path):
    journal = Written(tmp_path)
    journal.run(10, before=2)
    journal.done("A")
    journal.failed("B", final=False)
    journal.failed("C", stage="compute")
    journal.done("B", attempt=2)
    journal.done("D", already=True)
    progress = folded(journal)
    assert (progress.all, progress.done, progress.failed, progress.left) == (10, 5, 1, 4)
    assert progress.done_before == 2
    assert progress.repeated == 1
    assert progress.computed == 2


def test_a_second_run_is_folded_by_itself(tmp_path):
    journal = Written(tmp_path)
    journal.run(3)
    journal.worker("0")
    journal.done("A")
    journal.failed("B")
    journal.ended("interrupted")
    journal.run(3, before=1, after=3600)
    journal.done("B", after=10)
    progress = folded(journal)
    assert (progress.done, progress.failed, progress.left) == (2, 0, 1)
    assert progress.workers == {}
    assert progress.failures == {}
    assert progress.ended is None
    assert progress.rates(journal.now).seconds == pytest.approx(10)


def test_workers_come_and_go(tmp_path):
    journal = Written(tmp_path)
    journal.run(3)
    journal.worker("a", threads=4)
    journal.worker("b", gpus=1)
    journal.worker("a", joined=False)
    assert list(folded(journal).workers) == ["b"]
    assert folded(journal).workers["b"].gpus == 1


def test_rates_count_from_the_first_worker_on(tmp_path):
    """A queue of a cluster may have let the run wait for hours."""
    journal = Written(tmp_path)
    journal.run(100)
    journal.worker("0", after=7200)
    for name in "ABCD":
        journal.done(name, after=15)
    rates = folded(journal).rates(journal.now)
    assert rates.per_hour == pytest.approx(4 * 60)
    assert rates.read == pytest.approx(4e6 / 60)
    assert rates.written == pytest.approx(8e6 / 60)


def test_the_time_left_follows_the_last_quarter_of_an_hour(tmp_path):
    journal = Written(tmp_path)
    journal.run(1000)
    journal.worker("0")
    for number in range(40):  # 40 in 40 minutes
        journal.done(f"slow{number}", after=60)
    for number in range(400):  # 400 in 20 minutes
        journal.done(f"fast{number}", after=3)
    progress = folded(journal)
    assert progress.rates(journal.now).per_hour == pytest.approx(440)
    assert progress.recent_rates(journal.now).per_hour == pytest.approx(1200, rel=0.02)
    assert progress.seconds_left(journal.now) == pytest.approx(560 * 3, rel=0.02)
    # As nothing more comes, the recent rate falls to zero, and that over all is left to go by.
    later = journal.now + 7200
    assert progress.recent_rates(later).products == 0
    assert progress.seconds_left(later) == pytest.approx(560 * (3 * 3600 / 440))


def test_a_young_run_has_no_time_left_to_tell(tmp_path):
    journal = Written(tmp_path)
    journal.run(5)
    assert folded(journal).seconds_left(START + 1) is None
    assert folded(journal).line(START + 1).startswith("0 of 5 done, 0 failed, 0 running, 5 ")


def test_one_line_says_it_all(tmp_path):
    journal = Written(tmp_path)
    journal.run(1234, before=34)
    journal.worker("0")
    for number in range(100):
        journal.done(str(number), after=6)
    journal.failed("X", after=0)
    journal.add({"event": "beat", "time": journal.now, "running": 2})
    assert folded(journal).line(journal.now) == (
        "134 of 1,234 done (34 before), 1 failed, 2 running, 1,099 left; 600 products/h, 600 of "
        "late; in 167 kB/s, out 333 kB/s; 1 worker; 1 h 50 min left"
    )
    journal.ended()
    assert folded(journal).line() == (
        "134 of 1,234 done (34 before), 1 failed, 0 running, 1,099 left; 600 products/h; in 167 "
        "kB/s, out 333 kB/s"
    )


def test_what_runs_is_told_as_far_as_it_is_known(tmp_path):
    journal = Written(tmp_path)

    def beat(running):
        journal.add({"event": "beat", "time": journal.now + 1, "running": running})

    journal.run(5)
    assert folded(journal).running == 0  # there is no worker
    journal.worker("0")
    assert folded(journal).running is None
    beat(0)  # before the first are handed out
    assert folded(journal).running is None
    assert "running" not in folded(journal).line(journal.now)
    beat(2)
    assert folded(journal).running == 2
    journal.done("A")
    journal.done("B")
    assert folded(journal).running == 2  # others follow
    journal.done("C")
    journal.failed("D")
    assert folded(journal).running == 1  # no more are left
    journal.worker("1")
    assert folded(journal).running is None  # it takes some, too, or may have
    beat(1)
    journal.done("E")
    assert folded(journal).running == 0
    journal.ended()
    assert folded(journal).running == 0


def test_without_workers_nothing_runs_and_no_end_is_in_sight(tmp_path):
    journal = Written(tmp_path)
    journal.run(9)
    journal.worker("0")
    journal.done("A")
    journal.add({"event": "beat", "time": journal.now, "running": 2})
    assert folded(journal).seconds_left(journal.now) == pytest.approx(160)
    journal.worker("0", joined=False)
    progress = folded(journal)
    assert (progress.running, progress.left) == (0, 8)
    assert progress.seconds_left(journal.now) is None
    assert progress.line(journal.now).endswith("; 0 workers")


def test_after_a_kill_nothing_runs(tmp_path):
    journal = Written(tmp_path)
    journal.run(9)
    journal.worker("0")
    journal.done("A")
    journal.add({"event": "beat", "time": journal.now, "running": 2})
    found = status_of(tmp_path)
    assert found.state == "killed"
    assert found.to_dict()["products"]["running"] == 0
    assert "1 of 9 done, 0 failed, 0 running, 8 left" in found.progress.line()


def test_many_products_take_no_more_memory_than_few(tmp_path):
    events = list(read_events(busy(tmp_path, 10_000, workers=50).out))
    held = []
    for number in (1_000, 10_000):
        tracemalloc.start()
        progress = RunProgress()
        for event in events[:number]:
            progress.add(event)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert progress.done > 9_900
    assert held[1] < held[0] + 5_000
    begun = time.process_time()
    for event in events:
        progress.add(event)
    assert time.process_time() - begun < 0.5  # some 0.02 s on an idle machine


def test_the_state_is_running_as_long_as_the_driver_holds_its_lock(tmp_path):
    with Journal(tmp_path) as journal, lock_path(tmp_path).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = {"products": 1, "done_before": 0, "verb": "sharpen", "command": "c", "version": "1"}
        journal.write("run", **run, settings={}, cluster="none", dashboard=None)
        assert status_of(tmp_path).state == "running"
    assert status_of(tmp_path).state == "killed"
    with Journal(tmp_path) as journal:
        journal.write("ended", status="interrupted")
    assert status_of(tmp_path).state == "interrupted"


def test_a_line_that_was_cut_short_is_ignored(tmp_path):
    journal = Written(tmp_path)
    journal.run(2)
    journal.done("A")
    with journal.path.open("a") as file:
        file.write('{"event": "done", "ti')
    assert status_of(tmp_path).progress.done == 1


def test_a_damaged_journal_is_one_line(tmp_path):
    journal = Written(tmp_path)
    journal.run(2)
    with journal.path.open("a") as file:
        file.write("\0\0\0\n")
    with pytest.raises(FleetError, match=r"events\.jsonl, line 2: not an event"):
        status_of(tmp_path)


def test_a_folder_without_a_fleet_is_one_line(tmp_path):
    with pytest.raises(FleetError, match="no fleet has been at work there"):
        status_of(tmp_path)
    with pytest.raises(FleetError, match="no fleet has been at work there"):
        status_of(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_status_for_people_names_failures_and_says_how_it_ended(tmp_path):
    journal = Written(tmp_path)
    journal.run(9)
    journal.worker("0")
    journal.done("A")
    for name in "BCDEF":
        journal.failed(name, stage="open")
    journal.failed("G", stage="compute", final=False)
    journal.failed("G", stage="encode", reason="no space left")
    result = CliRunner().invoke(status, [str(tmp_path)], catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("state        killed before its end; the same command goes on")
    assert "products     1 of 9 done, 6 failed, 0 running, 2 left" in lines
    assert "failed       5 in stage 'open'" in lines
    assert "               D: D is broken" in lines
    assert "               and 2 more" in lines
    assert "               G: no space left" in lines
    assert "repeated     failed attempts that were followed by another: 1" in lines
    assert not any("dashboard" in line for line in lines)  # nobody answers there any more


def test_status_of_a_running_fleet_has_workers_and_dashboard(tmp_path):
    journal = Written(tmp_path)
    journal.run(9)
    journal.worker("0", threads=2, gpus=1)
    journal.worker("1", threads=2, gpus=1, host="node2")
    journal.done("A")
    with lock_path(tmp_path).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shown = CliRunner().invoke(status, [str(tmp_path)], catch_exceptions=False).stdout
        found = json.loads(CliRunner().invoke(status, [str(tmp_path), "--json"]).stdout)
    assert "workers      2 with 4 threads and 2 GPUs in all, on node1, node2" in shown
    assert "dashboard    http://127.0.0.1:8787/status" in shown
    assert found["state"] == "running"
    assert found["products"] == {
        "all": 9,
        "done": 1,
        "done_before": 0,
        "failed": 0,
        "running": None,
        "left": 8,
    }
    assert found["workers"]["1"]["host"] == "node2"
    assert found["seconds_left"] > 0
