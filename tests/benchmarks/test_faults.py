import pytest

from benchmarks import faults


def test_the_time_that_a_fault_costs_is_that_of_the_longer_steps_until_the_next_fault():
    times = {1: 0.0, 2: 1.0, 3: 2.0, 4: 12.0, 5: 13.0, 6: 14.0, 7: 15.0, 8: 45.0, 9: 46.0}
    assert faults.lost_seconds(times, [2.5, 16.0]) == (9.0, 29.0)


def test_a_step_counts_when_the_first_rank_ends_it(tmp_path):
    folder = tmp_path / "steps"
    folder.mkdir()
    (folder / "0-10.txt").write_text("5.000 1\n6.000 2\n7.0")
    (folder / "1-11.txt").write_text("4.000 1\n8.000 2\n9.000 3\n")
    assert faults.step_times(tmp_path) == {1: 4.0, 2: 6.0, 3: 9.0}


@pytest.mark.benchmark
def test_a_short_run(tmp_path):
    results = faults.measure(tmp_path / "run", 1, 150, 1, "continue", 0)
    assert all(result.is_right for result in results)
    assert "1 of 1 runs right" in faults.table(results)
