import csv
import json
import os
import time

import pytest
from click.testing import CliRunner

from decametre.bench.balance import (
    WARM_UP,
    WARM_UP_FIXED,
    Bench,
    Change,
    Measurement,
    RunningRank,
    busy_seconds,
    check_measurable,
    choose_cores,
    competitor,
    costs,
    others_on,
    rate,
    rates_at_once,
    wait_for,
)
from decametre.bench.balance_output import write_report
from decametre.bench.balance_rank import Step, Work, check_parent, read_steps
from decametre.bench.balance_report import SOON, Report, allowed, response
from decametre.cli.bench import bench
from decametre.errors import DeviceError, OutputError, TrainingError
from decametre.recipes.reading import read_recipe

SMALL = {
    "network.config": {"width": 8, "blocks": 1},
    "data.patch": 8,
    "optimization.batch": 4,
}

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def step(number, ended, shares=(4, 4), drawing=0.0, exchange=0.0, balancing=0.0):
    return Step(number, ended, drawing, exchange, balancing, shares, (0.1, 0.1))


def measured(ratio, turn, auto, shares=(12, 4), cost=0.004, equal=None):
    alone = (100.0, 100.0 / ratio)
    return Measurement(
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


CHANGE = Change(
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
    return Report("native_2x", "a processor", 20, found, CHANGE, "decametre bench balance x")


def test_throughput_counts_whole_steps():
    assert rate([step(n, 10 + 0.5 * n) for n in range(5)], 8) == pytest.approx(16)


def test_throughput_alone_is_that_of_the_time_in_which_both_train():
    # Rank 0 becomes twice as fast when rank 1 has ended, which does not count.
    fast = [step(n, 0.1 * n) for n in range(41)] + [step(40 + n, 4 + 0.05 * n) for n in range(9)]
    slow = [step(n, 1 + 0.4 * n) for n in range(8)]
    begun = 1 + 0.4 * WARM_UP_FIXED
    assert begun > 0.1 * WARM_UP_FIXED
    assert rates_at_once([fast, slow], 8) == (pytest.approx(80), pytest.approx(20))


def test_the_exchange_costs_what_it_takes_the_rank_that_waits_for_nobody():
    waits = [step(n, n, exchange=0.4) for n in range(11)]
    last = [step(n, n, exchange=0.01) for n in range(11)]
    assert costs([waits, last]) == (pytest.approx(0.01), 0)


def test_reckoning_and_drawing_anew_cost_what_they_take_the_slowest_rank():
    def rank(balancing, again):
        shares = [(4, 4)] * 6 + [(5, 3)] * 5
        drawing = [0.02] * 6 + [0.02 + again] + [0.02] * 4
        return [
            step(n, n, shares[n], drawing=drawing[n], balancing=balancing if n else 99.0)
            for n in range(11)
        ]

    exchange, balancing = costs([rank(0.001, 0.0), rank(0.002, 0.5)])
    assert exchange == 0
    assert balancing == pytest.approx((10 * 0.002 + 0.5) / 10)  # the trials of step 0 are apart


def test_rows_are_medians_of_measurements_and_say_whether_targets_are_met(report):
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


def test_whole_samples_bound_what_can_be_reached():
    assert allowed((8, 8), (100, 100)) == pytest.approx(1)
    assert allowed((8, 8), (100, 25)) == pytest.approx(0.4)
    assert allowed((13, 3), (100, 25)) == pytest.approx(16 / 0.13 / 125)


def test_steps_until_shares_follow_are_counted_from_the_event(report):
    slowed, recovered = report.responses
    assert (slowed.before, slowed.first, slowed.followed) == (8, 3, 6)
    assert (recovered.before, recovered.first, recovered.followed) == (3, 3, 5)
    assert slowed.soon
    assert recovered.soon


def test_what_does_not_follow_is_not_met():
    late = response("becomes slow", [8] * (SOON + 1) + [3], 3.2)
    assert (late.first, late.followed, late.soon) == (SOON + 1, SOON + 1, False)
    wrong = response("becomes slow", [8, 9, 9], 3.2)
    assert (wrong.first, wrong.followed, wrong.soon) == (None, None, False)
    nothing_lost = response("recovers", [8, 8, 8], 8)
    assert (nothing_lost.followed, nothing_lost.soon) == (None, False)


def test_files_hold_what_the_table_says(report, tmp_path):
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


def test_half_a_line_is_no_step(tmp_path):
    path = tmp_path / "notes"
    assert read_steps(path) == []
    whole = '{"step": 1, "ended": 2.0, "drawing": 0, "exchange": 0, "balancing": 0, '
    whole += '"shares": [3, 1], "computing": [0.1, 0.2]}\n'
    path.write_text(whole + whole[:40])
    (found,) = read_steps(path)
    assert (found.step, found.shares, found.computing) == (1, (3, 1), (0.1, 0.2))


def test_what_cannot_be_measured_is_refused(monkeypatch):
    assert choose_cores([7, 3, 5]) == (3, 5)
    with pytest.raises(DeviceError, match="1 processor core"):
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


def test_a_rank_does_not_outlive_who_started_it():
    check_parent(os.getppid())
    with pytest.raises(KeyboardInterrupt):
        check_parent(os.getpid())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ratios", "1,0"], "'1,0' is not a list of numbers"),
        (["--ratios", "two"], "'two' is not a list of numbers"),
        (["--steps", "1"], "--steps"),
        (["--device", "cuda"], "slowed on processors"),
    ],
)
def test_options_that_say_nothing_are_refused(sample_item, words, said):
    done = command(sample_item, *words)
    assert done.exit_code == 2
    assert said in done.output


def test_a_folder_that_cannot_be_written_is_known_before(sample_item, tmp_path):
    done = command(sample_item, "--out", str(tmp_path / "absent" / "out"))
    assert isinstance(done.exception, OutputError)


def test_a_rank_says_in_one_line_why_it_failed(tmp_path):
    recipe = read_recipe("native_2x", SMALL, ["none.json"], ["none.json"]).model_dump(mode="json")
    todo = Work(recipe, "float32", *(str(tmp_path / n) for n in ("run", "notes", "ready", "begin")))
    core = min(os.sched_getaffinity(0))
    with (
        RunningRank(0, todo, core, {}, tmp_path) as rank,
        pytest.raises(TrainingError, match=r"none\.json"),
    ):
        wait_for([rank], 1)


def test_a_competitor_takes_a_core_and_is_none_of_the_others():
    core = min(os.sched_getaffinity(0))
    before = busy_seconds([core])
    with others_on([core]) as others, competitor(core):
        time.sleep(0.5)
    busy = busy_seconds([core]) - before
    assert busy > 0.2
    assert others[0] < busy / 0.5


@two_cores
def test_two_ranks_train_and_what_they_noted_is_a_measurement(sample_item, tmp_path, monkeypatch):
    recipe = read_recipe("native_2x", SMALL, [sample_item], [sample_item])
    measuring = Bench(recipe, "float32", choose_cores([*os.sched_getaffinity(0)]), tmp_path)
    noted = measuring._run("auto", 2, WARM_UP + 4)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
    for steps in noted:
        assert [found.step for found in steps] == list(range(len(steps)))
        assert len(steps) > WARM_UP + 4
        assert all(sum(found.shares) == 4 for found in steps)
        assert all(found.exchange > 0 and found.balancing > 0 for found in steps[1:])
    # One run in place of three: to start ranks takes most of the time.
    monkeypatch.setattr(Bench, "_run", lambda *asked: noted)
    found = measuring.measure(2, 0, 4)
    assert min(*found.alone, found.equal, found.auto) > 0
    assert found.trials == noted[0][0].balancing > 0
    assert 0 < found.exchange < 1
    assert 0 < found.balancing < 1
    assert all(0 < part < 1 for part in found.computing)
    text = Report("native_2x", "here", 4, [found], None, "x").table()
    assert "no ratio is above 1" in text
