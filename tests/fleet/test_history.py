import pytest

from decametre.errors import FleetError
from decametre.files import locked
from decametre.fleet.events import lock_path
from decametre.fleet.history import read_history
from decametre.fleet.records import OTHER
from tests.fleet.journals import JournalWriter


def test_state_of_each_run(tmp_path):
    """A run without an end was killed, unless a driver still holds the lock."""
    journal = JournalWriter(tmp_path)
    journal.run()
    journal.run(after=10)
    journal.ended("interrupted")
    journal.run(after=10)
    with locked(lock_path(tmp_path), tmp_path):
        runs = read_history(tmp_path).runs
        assert [run.state for run in runs] == ["killed", "interrupted", "running"]
    assert [run.state for run in read_history(tmp_path).runs] == ["killed", "interrupted", "killed"]
    journal.ended("complete")
    assert read_history(tmp_path).latest.state == "complete"


def test_runs_are_counted_separately(tmp_path):
    journal = JournalWriter(tmp_path)
    journal.run(3)
    journal.worker("0")
    journal.done("A")
    journal.failed("B")
    journal.ended("interrupted")
    journal.run(3, before=1, after=3600)
    journal.done("B", after=10)
    progress = read_history(tmp_path).latest
    assert (progress.done, progress.failed, progress.left) == (2, 0, 1)
    assert progress.workers == {}
    assert progress.rates.seconds == pytest.approx(10)


def test_killed_run_processes_nothing(tmp_path):
    journal = JournalWriter(tmp_path)
    journal.run(9)
    journal.worker("0")
    journal.done("A")
    journal.beat(2)
    progress = read_history(tmp_path).latest
    assert progress.to_dict()["products"]["running"] == 0
    assert "1 of 9 completed, 0 failed, 0 running, 8 left" in progress.line()


def test_folder_without_a_run_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FleetError, match="no fleet has run there"):
            read_history(folder)
    assert list(tmp_path.iterdir()) == []


def test_recomputed_product_has_its_latest_result(tmp_path):
    journal = JournalWriter(tmp_path)
    journal.run(1)
    journal.done("A", bytes_out=1)
    journal.ended()
    journal.run(1)
    journal.done("A", bytes_out=2)
    journal.done("A", bytes_out=0, already=True)
    history = read_history(tmp_path, keep_products=True)
    assert [product.bytes_out for product in history.results] == [2]
    assert len(history.completed) == 2


def test_stages_of_a_product_add_up_to_its_time(tmp_path):
    journal = JournalWriter(tmp_path)
    journal.run(2)
    journal.worker("0")
    journal.done("A", stages={"open": 1.0, "compute": 5.0}, start=journal.now, after=10)
    journal.done("B", stages={"open": 1.0, "new": 2.0, "compute": 7.0}, after=10)
    history = read_history(tmp_path, keep_products=True)
    assert history.stages == ["open", "new", "compute", OTHER]
    assert history.completed[0].stages[OTHER] == pytest.approx(4)


def test_products_are_kept_on_request_only(tmp_path):
    journal = JournalWriter(tmp_path)
    journal.run(2)
    journal.done("A")
    journal.failed("B", final=False)
    latest = read_history(tmp_path).latest
    assert (latest.computed, latest.repeated) == (1, 1)
    assert (latest.completed, latest.failed_attempts) == ([], [])
    kept = read_history(tmp_path, keep_products=True).latest
    assert (len(kept.completed), len(kept.failed_attempts)) == (1, 1)
