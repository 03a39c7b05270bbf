import itertools

import pytest

from decametre.fleet.events import read_events
from decametre.fleet.progress import RECENT_SECONDS, RunProgress
from tests.fleet.journals import JournalWriter, done


@pytest.fixture
def journal(tmp_path):
    return JournalWriter(tmp_path)


def progress_of(journal: JournalWriter, later: float = 0.0) -> RunProgress:
    """The progress of the only run, some seconds after the latest event."""
    first, *others = read_events(journal.out)
    progress = RunProgress(first, clock=lambda: journal.now + later)
    for event in others:
        progress.add(event)
    return progress


def test_each_product_is_completed_failed_or_left(journal):
    journal.run(10, before=2)
    journal.done("A")
    journal.failed("B", final=False)
    journal.failed("C", stage="compute")
    journal.done("B", attempt=2)
    journal.done("D", already=True)
    progress = progress_of(journal)
    assert (progress.all, progress.done, progress.failed, progress.left) == (10, 5, 1, 4)
    assert (progress.done_before, progress.repeated, progress.computed) == (2, 1, 2)
    assert [failure.name for failure in progress.failures_by_stage()["compute"]] == ["C"]


def test_workers_that_left_are_not_present(journal):
    journal.run(3)
    journal.worker("a", threads=4)
    journal.worker("b", gpus=1)
    journal.worker("a", joined=False, after=5)
    progress = progress_of(journal)
    assert [worker.address for worker in progress.present_workers] == ["b"]
    assert progress.present_workers[0].gpus == 1
    assert progress.workers["a"].end == journal.now


def test_rates_start_with_the_first_worker(journal):
    """The job of the first worker may wait in a queue for hours."""
    journal.run(100)
    journal.worker("0", after=7200)
    for name in "ABCD":
        journal.done(name, after=15)
    rates = progress_of(journal).rates
    assert rates.per_hour == pytest.approx(4 * 60)
    assert rates.read == pytest.approx(4e6 / 60)
    assert rates.written == pytest.approx(8e6 / 60)


def test_remaining_time_follows_the_recent_rate(journal):
    journal.run(1000)
    journal.worker("0")
    for number in range(40):  # 40 in 40 minutes
        journal.done(f"slow{number}", after=60)
    for number in range(400):  # 400 in 20 minutes
        journal.done(f"fast{number}", after=3)
    progress = progress_of(journal)
    assert progress.rates.per_hour == pytest.approx(440)
    assert progress.recent_rates.per_hour == pytest.approx(1200, rel=0.02)
    assert progress.seconds_left == pytest.approx(560 * 3, rel=0.02)
    # Two hours without a product: the mean rate remains.
    later = progress_of(journal, later=7200)
    assert later.recent_rates.products == 0
    assert later.seconds_left == pytest.approx(560 * (3 * 3600 / 440))


def test_remaining_time_is_unknown_at_the_start(journal):
    journal.run(5)
    progress = progress_of(journal, later=1)
    assert progress.seconds_left is None
    assert progress.line().startswith("0 of 5 completed, 0 failed, 0 running, 5 left; 0 products/h")


def test_line_of_a_run(journal):
    journal.run(1234, before=34)
    journal.worker("0")
    for number in range(100):
        journal.done(str(number), after=6)
    journal.failed("X", after=0)
    journal.beat(2)
    assert progress_of(journal).line() == (
        "134 of 1,234 completed (34 before), 1 failed, 2 running, 1,099 left; 600 products/h, "
        "recently 600; in 167 kB/s, out 333 kB/s; 1 worker; 1 h 50 min left"
    )
    journal.ended()
    assert progress_of(journal, later=1000).line() == (
        "134 of 1,234 completed (34 before), 1 failed, 0 running, 1,099 left; 600 products/h; "
        "in 167 kB/s, out 333 kB/s"
    )


def test_number_of_running_products(journal):
    def running():
        return progress_of(journal).running

    journal.run(5)
    assert running() == 0  # there is no worker
    journal.worker("0")
    assert running() is None
    journal.beat(0)  # before the first products are submitted
    assert running() is None
    assert "running" not in progress_of(journal).line()
    journal.beat(2)
    assert running() == 2
    journal.done("A")
    journal.done("B")
    assert running() == 2  # the next products follow
    journal.done("C")
    journal.failed("D")
    assert running() == 1  # only one is left
    journal.worker("1")
    assert running() is None  # it may have started some
    journal.beat(1)
    journal.done("E")
    assert running() == 0
    journal.ended()
    assert running() == 0


def test_without_workers_no_remaining_time_is_estimated(journal):
    journal.run(9)
    journal.worker("0")
    journal.done("A")
    journal.beat(2)
    assert progress_of(journal).seconds_left == pytest.approx(160)
    journal.worker("0", joined=False)
    progress = progress_of(journal)
    assert (progress.running, progress.left) == (0, 8)
    assert progress.seconds_left is None
    assert progress.line().endswith("; 0 workers")


def test_memory_is_bounded_by_the_recent_period(journal):
    """Products are not stored one by one; only those of the last 15 minutes, for the rates."""
    journal.run(1000)
    progress = progress_of(journal)
    for number in range(1000):
        progress.add(done(str(number), journal.now + 10 * number))
    assert progress.computed == 1000
    assert len(progress._recent) == RECENT_SECONDS / 10 + 1
    stored = (value for value in vars(progress).values() if isinstance(value, list | dict))
    assert set(itertools.chain(*stored)) <= set(progress.run)
