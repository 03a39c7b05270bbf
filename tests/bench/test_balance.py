import csv
import json
import os
from multiprocessing import Pipe

import psutil
import pytest
from click.testing import CliRunner

from decametre.bench import cpu_load
from decametre.bench.balance import (
    BalanceBench,
    check_measurable,
    choose_cores,
    wait_for,
)
from decametre.bench.balance_measurement import (
    WARM_UP,
    WARM_UP_FIXED,
    BalanceMeasurement,
    SpeedChange,
    balancing_costs,
    samples_per_second,
    simultaneous_rates,
)
from decametre.bench.balance_output import write_report
from decametre.bench.balance_rank import RankJob, RankProcess, StepReporter
from decametre.bench.balance_report import (
    STEPS_TO_FOLLOW,
    BalanceReport,
    allowed_fraction,
    find_response,
)
from decametre.bench.cpu_load import busy_seconds, competitor, measure_other_programs
from decametre.cli.bench import bench
from decametre.errors import DeviceError, OutputError, TrainingError
from decametre.recipes.reading import read_recipe
from decametre.training.observer import StepTimes

SMALL = {
    "network.architecture": "native",
    "network.config": {"width": 8, "blocks": 1},
    "data.patch": 8,
    "optimization.batch": 4,
}

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def step(number, ended, shares=(4, 4), waiting=0.0, exchange=0.0, balancing=0.0):
    return StepTimes(number, ended, waiting, exchange, balancing, shares, (0.1, 0.1))


def measured(ratio, turn, auto, shares=(12, 4), cost=0.004, equal=None):
    alone = (100.0, 100.0 / ratio)
    return BalanceMeasurement(
        ratio=ratio,
        turn=turn,
        batch=16,
        alone=alone,
        equal=2 * alone[1] if equal is None else equal,
        auto=auto * sum(alone),
        shares=shares,
        trials=3.0,
        exchange=cost,
        balancing=0.001,
        computing=(0.9, 0.8),
        others=0.01,
    )


CHANGE = SpeedChange(
    ratio=4,
    slowed=4,
    recovered=10,
    shares=(8, 8, 8, 8, 8, 8, 5, 5, 4, 3, 3, 3, 6, 7, 8),
    fitting=3.2,
    others=0.0,
)


@pytest.fixture
def report():
    found = [measured(1, turn, auto, (8, 8)) for turn, auto in enumerate((0.95, 0.93, 0.97))]
    found += [measured(4, turn, auto, cost=0.02) for turn, auto in enumerate((0.8, 0.99, 0.9))]
    return BalanceReport("native_2x", "a CPU", 20, found, CHANGE, "decametre bench balance x")


def test_throughput_counts_complete_steps():
    assert samples_per_second([step(n, 10 + 0.5 * n) for n in range(5)], 8) == pytest.approx(16)


def test_throughput_alone_counts_the_time_in_which_both_train():
    # Rank 0 becomes twice as fast when rank 1 has ended, which does not count.
    fast = [step(n, 0.1 * n) for n in range(41)] + [step(40 + n, 4 + 0.05 * n) for n in range(9)]
    slow = [step(n, 1 + 0.4 * n) for n in range(8)]
    begun = 1 + 0.4 * WARM_UP_FIXED
    assert begun > 0.1 * WARM_UP_FIXED
    assert simultaneous_rates([fast, slow], 8) == (pytest.approx(80), pytest.approx(20))


def test_the_cost_of_the_exchange_is_that_of_the_rank_that_does_not_wait():
    waits = [step(n, n, exchange=0.4) for n in range(11)]
    last = [step(n, n, exchange=0.01) for n in range(11)]
    assert balancing_costs([waits, last]) == (pytest.approx(0.01), 0)


def test_the_cost_of_new_shares_is_that_of_the_slowest_rank():
    def rank(balancing, again):
        shares = [(4, 4)] * 6 + [(5, 3)] * 5
        waiting = [0.02] * 6 + [0.02 + again] + [0.02] * 4
        return [
            step(n, n, shares[n], waiting=waiting[n], balancing=balancing if n else 99.0)
            for n in range(11)
        ]

    exchange, balancing = balancing_costs([rank(0.001, 0.0), rank(0.002, 0.5)])
    assert exchange == 0
    assert balancing == pytest.approx((10 * 0.002 + 0.5) / 10)  # the trials of step 0 are apart


def test_rows_have_medians_and_whether_targets_are_met(report):
    even, uneven = report.rows
    assert (even.auto.median, even.auto.least, even.auto.most) == pytest.approx((0.95, 0.93, 0.97))
    assert (even.efficient, even.cheap) == (True, True)
    assert uneven.auto.median == pytest.approx(0.9)
    assert (uneven.efficient, uneven.cheap) == (False, False)
    assert uneven.measured_ratio.median == 4
    assert uneven.held_back.median == 1
    assert uneven.equal.median == pytest.approx(0.4)
    assert uneven.cost.median == pytest.approx(0.021)
    assert uneven.command == "decametre bench balance x --ratios 4"


def test_shares_of_complete_samples_limit_the_throughput():
    assert allowed_fraction((8, 8), (100, 100)) == pytest.approx(1)
    assert allowed_fraction((8, 8), (100, 25)) == pytest.approx(0.4)
    assert allowed_fraction((13, 3), (100, 25)) == pytest.approx(16 / 0.13 / 125)


def test_steps_until_shares_follow_are_counted_from_the_event(report):
    slowed, recovered = report.responses
    assert (slowed.before, slowed.first, slowed.followed) == (8, 3, 6)
    assert (recovered.before, recovered.first, recovered.followed) == (3, 3, 5)
    assert slowed.soon
    assert recovered.soon


def test_shares_that_do_not_follow_miss_the_target():
    late = find_response("becomes slow", [8] * (STEPS_TO_FOLLOW + 1) + [3], 3.2)
    assert (late.first, late.followed, late.soon) == (
        STEPS_TO_FOLLOW + 1,
        STEPS_TO_FOLLOW + 1,
        False,
    )
    wrong = find_response("becomes slow", [8, 9, 9], 3.2)
    assert (wrong.first, wrong.followed, wrong.soon) == (None, None, False)
    nothing_lost = find_response("recovers", [8, 8, 8], 8)
    assert (nothing_lost.followed, nothing_lost.soon) == (None, False)


def test_files_contain_the_values_of_the_table(report, tmp_path):
    write_report(report, tmp_path)
    text = report.table()
    assert (tmp_path / "balance.md").read_text() == text + "\n"
    assert "**95.0%** (93.0% to 97.0%) | 8 + 8 | 100.0% | met |" in text
    assert "**90.0%** (80.0% to 99.0%) | 12 + 4 | 80.0% | **not met** |" in text
    assert "| becomes slow | 8 | 3.2 | 3 steps | 6 steps | met |" in text
    rows = list(csv.DictReader((tmp_path / "balance.csv").open()))
    assert [(row["ratio"], row["shares"], row["efficient"]) for row in rows] == [
        ("1", "8 8", "True"),
        ("4", "12 4", "False"),
    ]
    document = json.loads((tmp_path / "balance.json").read_text())
    assert len(document["measurements"]) == 6
    assert document["change"]["shares"] == list(CHANGE.shares)
    assert (tmp_path / "balance.png").read_bytes().startswith(b"\x89PNG")


def test_jobs_that_cannot_be_measured_are_refused(monkeypatch):
    assert choose_cores([7, 3, 5]) == (3, 5)
    with pytest.raises(DeviceError, match="1 CPU core"):
        choose_cores([3])
    recipe = read_recipe("native_2x", {"optimization.batch": 8})
    check_measurable(recipe)
    with pytest.raises(TrainingError, match="cannot share"):
        check_measurable(read_recipe("native_2x", {"optimization.batch": 1}))
    with pytest.raises(TrainingError, match="cannot share"):
        check_measurable(
            read_recipe("native_2x", {"optimization.batch": 8, "optimization.micro_batch": 8})
        )
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match="without torchrun"):
        check_measurable(recipe)


def command(sample_item, *more):
    words = ["balance", "native_2x", "--train", sample_item, "--validation", sample_item]
    return CliRunner().invoke(bench, [*words, "--precision", "float32", *more])


def test_a_rank_ends_when_the_other_end_of_its_connection_is_closed():
    here, there = Pipe()
    here.close()
    with pytest.raises(BrokenPipeError):
        StepReporter(there).step_ended(step(1, 1.0))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ratios", "1,0"], "'1,0' is not a list of numbers"),
        (["--ratios", "two"], "'two' is not a list of numbers"),
        (["--steps", "1"], "--steps"),
        (["--device", "cuda"], "slowed down on CPUs"),
    ],
)
def test_invalid_options_are_refused(sample_item, words, message):
    done = command(sample_item, *words)
    assert done.exit_code == 2
    assert message in done.output


def test_the_folder_is_checked_before_measuring(sample_item, tmp_path):
    done = command(sample_item, "--out", str(tmp_path / "absent" / "out"))
    assert isinstance(done.exception, OutputError)


@pytest.mark.slow
def test_a_rank_reports_in_one_line_why_it_failed(tmp_path):
    recipe = read_recipe("native_2x", SMALL, ["none.json"], ["none.json"]).model_dump(mode="json")
    job = RankJob(recipe, "float32", tmp_path / "run", min(os.sched_getaffinity(0)), {})
    with RankProcess(0, job) as rank, pytest.raises(TrainingError, match=r"none\.json"):
        wait_for([rank], 1)


def test_a_competitor_computes_on_its_core_and_ends():
    core = min(os.sched_getaffinity(0))
    before = set(psutil.Process().children())
    with competitor(core):
        (process,) = set(psutil.Process().children()) - before
        assert process.cpu_affinity() == [core]
        while process.cpu_times().user < 0.02:
            pass
    assert not process.is_running()


def test_the_time_of_other_programs_excludes_our_own(monkeypatch):
    # In 10 seconds two cores compute for 12 seconds, 5 of them for our own processes.
    busy, own, clock = iter([100.0, 112.0]), iter([20.0, 25.0]), iter([0.0, 10.0])
    monkeypatch.setattr(cpu_load, "busy_seconds", lambda cores: next(busy))
    monkeypatch.setattr(cpu_load, "own_seconds", lambda: next(own))
    monkeypatch.setattr(cpu_load, "perf_counter", lambda: next(clock))
    with measure_other_programs([0, 1]) as fraction:
        pass
    assert fraction == [pytest.approx(7 / 10 / 2)]


def test_the_busy_time_of_cores_never_falls():
    cores = sorted(os.sched_getaffinity(0))
    before = busy_seconds(cores)
    assert 0 < before <= busy_seconds(cores)


@pytest.mark.slow
@two_cores
def test_two_ranks_train_and_their_steps_make_a_measurement(sample_item, tmp_path, monkeypatch):
    recipe = read_recipe("native_2x", SMALL, [sample_item], [sample_item])
    measuring = BalanceBench(recipe, "float32", choose_cores([*os.sched_getaffinity(0)]), tmp_path)
    times = measuring.take_steps("auto", 2, WARM_UP + 4)
    assert list(tmp_path.iterdir()) == []  # temporary files are removed
    for steps in times:
        assert [found.step for found in steps] == list(range(len(steps)))
        assert len(steps) > WARM_UP + 4
        assert all(sum(found.shares) == 4 for found in steps)
        assert all(found.exchange > 0 and found.balancing > 0 for found in steps[1:])
    # One run instead of three, because starting ranks takes most of the time.
    monkeypatch.setattr(BalanceBench, "take_steps", lambda *_: times)
    found = measuring.measure(2, 0, 4)
    assert min(*found.alone, found.equal, found.auto) > 0
    assert found.trials == times[0][0].balancing > 0
    assert min(found.exchange, found.balancing, *found.computing) > 0
    text = BalanceReport("native_2x", "here", 4, [found], None, "x").table()
    assert "no ratio is above 1" in text
