import json

import pytest
from click.testing import CliRunner

from decametre.cli.fleet.plan import plan
from decametre.errors import FleetError
from decametre.fleet.plan import EDGE, CapacityPlan, ProductCost, measured_plans
from tests.fleet.journals import Written

TILE = EDGE**2


def measured(out) -> Written:
    """Two products of half a tile on one worker of four threads; the second overlaps the first."""
    journal = Written(out)
    journal.run(2)
    journal.worker("0", threads=4)
    begun = journal.now
    common = {"pixels": TILE // 2, "bytes_in": 400_000_000, "bytes_out": 1_500_000_000}
    stages = {"open": 10.0, "wait": 30.0, "compute": 100.0, "encode": 40.0}
    journal.done("A", start=begun, after=180, stages=stages, **common)
    journal.done("B", start=begun + 100, after=100, stages=stages, **common)
    journal.ended()
    return journal


def test_times_are_brought_to_a_full_product(tmp_path):
    measured(tmp_path)
    (found,) = measured_plans(1000, 1.0, tmp_path)
    cost = found.cost
    assert cost.stages == pytest.approx({"open": 20, "compute": 200, "encode": 80})
    assert cost.waiting == pytest.approx(60)
    assert cost.busy == pytest.approx(280)  # from 0 to 280 s a worker was busy, for one tile
    assert cost.bytes_in == pytest.approx(800e6)
    assert cost.bottleneck == "compute"
    assert (cost.device, cost.threads, cost.gpus) == ("cpu", 4, 0)


def test_the_arithmetic_by_hand(tmp_path):
    measured(tmp_path)
    (found,) = measured_plans(1000, 0.8, tmp_path)
    needs = {need.overlap: need for need in found.needs}
    # 1000 x 200 s / 69,120 s = 2.89; 1000 x 300 / 69,120 = 4.34; 1000 x 280 / 69,120 = 4.05.
    assert {name: need.workers for name, need in needs.items()} == {
        "all at once": 3,
        "one after another": 5,
        "as measured": 5,
    }
    assert needs["as measured"].exactly == pytest.approx(280_000 / 69_120)
    assert needs["as measured"].cores == 20
    assert found.needs[-1].overlap == "as measured"
    assert found.bandwidth(cost := 800e6) == pytest.approx(1000 * cost / 69_120)


def test_a_whole_number_of_workers_is_not_rounded_up():
    found = CapacityPlan(864, 0.1, ProductCost(None, 1, 0, {"compute": 10.0}), "given")
    assert {need.workers for need in found.needs} == {1}


def test_each_kind_of_worker_has_its_plan(tmp_path):
    journal = measured(tmp_path)
    journal.run(4, before=2)
    journal.worker("gpu", threads=8, gpus=1)
    journal.worker("0", threads=4)
    journal.done("C", worker="gpu", device="cuda:0", pixels=TILE, stages={"compute": 5.0}, after=5)
    journal.done("D", worker="0", pixels=TILE, stages={"compute": 500.0}, after=500)
    cpu, gpu = measured_plans(100, 1.0, tmp_path)
    assert (cpu.cost.device, cpu.cost.products) == ("cpu", 3)
    assert (gpu.cost.device, gpu.cost.threads, gpu.cost.gpus) == ("cuda", 8, 1)
    assert cpu.cost.stages["compute"] == pytest.approx((200 + 500) / 2)
    assert gpu.cost.busy == pytest.approx(5)


def test_runs_with_other_settings_are_not_mixed_in(tmp_path):
    journal = measured(tmp_path)
    journal.run(3, before=2, settings={"model": "slow"})
    journal.worker("0", threads=4)
    journal.done("C", pixels=TILE, stages={"compute": 500.0}, after=500)
    journal.ended()
    journal.run(3, before=3)  # has nothing to do, so it tells nothing
    journal.ended()
    (found,) = measured_plans(1, 1.0, tmp_path)
    assert found.cost.products == 1
    assert found.cost.stages == pytest.approx({"compute": 500})


def test_the_text_shows_how_every_figure_comes_about(tmp_path):
    measured(tmp_path)
    result = CliRunner().invoke(plan, ["28750", "--measured", str(tmp_path)])
    lines = result.stdout.splitlines()
    assert "| compute |       200 | 67 % |" in lines
    assert "bottleneck: compute; besides 60.0 s of waiting for the device" in lines
    assert "workers = 28,750 x 280 s / (86,400 s x 0.8) = 116, so 117" in lines
    assert "cores   = 117 x 4 = 468" in lines
    assert (
        "in      = 28,750 x 800 MB / (86,400 s x 0.8) = 333 MB/s (2.66 Gbit/s), 23.0 TB a day"
        in lines
    )
    assert lines[-1].startswith("Input is 100 % of the 23.0 TB")
    assert not any("whatever its size" in line for line in lines)


def test_small_products_are_said_to_mislead(tmp_path):
    journal = Written(tmp_path)
    journal.run(1)
    journal.worker("0")
    journal.done("A")
    shown = CliRunner().invoke(plan, ["10", "--measured", str(tmp_path)]).stdout
    assert "measured on 1 products of 0.299 % of a full one's pixels on average" in shown
    assert "Measure on full ones." in shown


def test_products_of_unknown_size_do_not_make_the_others_smaller(tmp_path):
    journal = measured(tmp_path)
    journal.run(3, before=2)
    journal.worker("0", threads=4)
    journal.done("C", pixels=TILE, bytes_in=0)
    (found,) = measured_plans(1, 1.0, tmp_path)
    assert found.cost.products == 3
    assert found.cost.bytes_in == pytest.approx(800e6)


def test_sizes_overrule_what_was_measured(tmp_path):
    measured(tmp_path)
    options = ["10", "--measured", str(tmp_path), "--input-gb", "0.5", "--json"]
    (found,) = json.loads(CliRunner().invoke(plan, options).stdout)
    assert found["bandwidth"]["in"]["bytes_per_day"] == 5e9
    assert found["bandwidth"]["out"]["bytes_per_day"] == pytest.approx(30e9)
    assert found["bottleneck"] == "compute"
    assert found["needs"][-1]["overlap"] == "as measured"


def test_times_can_be_given(tmp_path):
    options = ["864", "--seconds", "compute=240", "--seconds", "encode=60", "--threads", "2"]
    (found,) = json.loads(
        CliRunner().invoke(plan, [*options, "--gpus", "1", "--utilisation", "1", "--json"]).stdout
    )
    assert [need["workers"] for need in found["needs"]] == [3, 3]
    assert found["needs"][-1] == {
        "overlap": "one after another",
        "seconds": 300,
        "exactly": 3,
        "workers": 3,
        "cores": 6,
        "gpus": 3,
    }
    assert found["bandwidth"] == {}
    assert "not known; --input-gb says it" in CliRunner().invoke(plan, options).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["5"], "nothing says how long a product takes; run `decametre fleet sharpen"),
        (["0", "--seconds", "a=1"], "0 is not in the range"),
        (["5", "--seconds", "compute"], "'compute' is not a stage and its seconds"),
        (["5", "--seconds", "compute=nan"], "'compute=nan' is not a stage"),
        (["5", "--seconds", "compute=0"], "'compute=0' is not a stage"),
        (["5", "--measured", ".", "--threads", "2"], "leave out --seconds, --threads, --gpus"),
        (["5", "--seconds", "compute=inf"], "'compute=inf' is not a stage"),
        (
            ["5", "--seconds", "a=1", "--seconds", "b=2", "--seconds", "a=3"],
            "is given twice",
        ),
        (["5", "--seconds", "a=1", "--utilisation", "0"], "0.0 is not in the range"),
        (["5", "--seconds", "a=1", "--utilisation", "nan"], "nan is not a finite number"),
        (["5", "--seconds", "a=1", "--input-gb", "nan"], "nan is not a finite number"),
        (["5", "--seconds", "a=1", "--output-gb", "inf"], "inf is not a finite number"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    result = CliRunner().invoke(plan, options)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert message in " ".join(result.output.split())


def test_a_fleet_that_computed_nothing_measures_nothing(tmp_path):
    with pytest.raises(FleetError, match="no fleet has been at work there"):
        measured_plans(1, 1.0, tmp_path)
    journal = Written(tmp_path)
    journal.run(1)
    journal.done("A", already=True)
    with pytest.raises(FleetError, match="no product was computed there"):
        measured_plans(1, 1.0, tmp_path)
