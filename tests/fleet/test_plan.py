import json

import pytest
from click.testing import CliRunner

from decametre.cli.fleet.plan import plan
from decametre.errors import FleetError
from decametre.fleet.plan import EDGE, CapacityPlan, ProductCost, measured_plans
from tests.fleet.journals import JournalWriter

TILE = EDGE**2


def measured(out) -> JournalWriter:
    """Two overlapping products of half a tile on one worker with four threads."""
    journal = JournalWriter(out)
    journal.run(2)
    journal.worker("0", threads=4)
    start = journal.now
    common = {"pixels": TILE // 2, "bytes_in": 400_000_000, "bytes_out": 1_500_000_000}
    stages = {"open": 10.0, "wait": 30.0, "compute": 100.0, "encode": 40.0}
    journal.done("A", start=start, after=180, stages=stages, **common)
    journal.done("B", start=start + 100, after=100, stages=stages, **common)
    journal.ended()
    return journal


def test_times_are_scaled_to_a_full_product(tmp_path):
    measured(tmp_path)
    (found,) = measured_plans(1000, 1.0, tmp_path)
    cost = found.cost
    assert cost.stages == pytest.approx({"open": 20, "compute": 200, "encode": 80})
    assert cost.waiting == pytest.approx(60)
    assert cost.busy == pytest.approx(
        280
    )  # the worker was busy from 0 to 280 s for one full product
    assert cost.bytes_in == pytest.approx(800e6)
    assert cost.bottleneck == "compute"
    assert (cost.device, cost.threads, cost.gpus) == ("cpu", 4, 0)


def test_workers_as_calculated_by_hand(tmp_path):
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


def test_each_kind_of_worker_has_a_plan(tmp_path):
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


def test_runs_with_other_settings_are_excluded(tmp_path):
    journal = measured(tmp_path)
    journal.run(3, before=2, settings={"model": "slow"})
    journal.worker("0", threads=4)
    journal.done("C", pixels=TILE, stages={"compute": 500.0}, after=500)
    journal.ended()
    journal.run(3, before=3)  # computes nothing
    journal.ended()
    (found,) = measured_plans(1, 1.0, tmp_path)
    assert found.cost.products == 1
    assert found.cost.stages == pytest.approx({"compute": 500})


def test_text_shows_the_calculation(tmp_path):
    measured(tmp_path)
    result = CliRunner().invoke(plan, ["28750", "--measured", str(tmp_path)])
    lines = result.stdout.splitlines()
    assert "| compute |       200 |  67 % |" in lines
    assert "Waiting for the device, in addition: 60.0 s/product" in lines
    assert "workers = 28,750 x 280 s / (86,400 s x 0.8) = 116, rounded up to 117" in lines
    assert "cores   = 117 x 4 = 468" in lines
    assert (
        "read    = 28,750 x 800 MB / (86,400 s x 0.8) = 333 MB/s (2.66 Gbit/s), 23.0 TB per day"
        in lines
    )
    assert lines[-1].startswith("The input is 100 % of the approximately 23.0 TB")
    assert not any("overestimates" in line for line in lines)


def test_plan_from_small_products_warns(tmp_path):
    journal = JournalWriter(tmp_path)
    journal.run(1)
    journal.worker("0")
    journal.done("A")
    shown = CliRunner().invoke(plan, ["10", "--measured", str(tmp_path)]).stdout
    assert "Measured on 1 product(s) with on average 0.299 % of the pixels" in shown
    assert "This overestimates" in shown


def test_products_of_unknown_size_are_excluded_from_the_mean_size(tmp_path):
    journal = measured(tmp_path)
    journal.run(3, before=2)
    journal.worker("0", threads=4)
    journal.done("C", pixels=TILE, bytes_in=0)
    (found,) = measured_plans(1, 1.0, tmp_path)
    assert found.cost.products == 3
    assert found.cost.bytes_in == pytest.approx(800e6)


def test_given_sizes_replace_the_measured_ones(tmp_path):
    measured(tmp_path)
    options = ["10", "--measured", str(tmp_path), "--input-gb", "0.5", "--json"]
    (found,) = json.loads(CliRunner().invoke(plan, options).stdout)
    assert found["bandwidth"]["in"]["bytes_per_day"] == 5e9
    assert found["bandwidth"]["out"]["bytes_per_day"] == pytest.approx(30e9)
    assert found["bottleneck"] == "compute"
    assert found["needs"][-1]["overlap"] == "as measured"


def test_plan_from_given_times(tmp_path):
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
    assert "unknown; set --input-gb" in CliRunner().invoke(plan, options).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["5"], "the time per product is missing; run `decametre fleet sharpen"),
        (["0", "--seconds", "a=1"], "0 is not in the range"),
        (["5", "--seconds", "compute"], "'compute' is not STAGE=SECONDS, such as compute=240"),
        (["5", "--seconds", "compute=nan"], "'compute=nan' is not STAGE=SECONDS"),
        (["5", "--seconds", "compute=0"], "'compute=0' is not STAGE=SECONDS"),
        (["5", "--measured", ".", "--threads", "2"], "omit --seconds, --threads, --gpus"),
        (["5", "--seconds", "compute=inf"], "'compute=inf' is not STAGE=SECONDS"),
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
def test_invalid_options(options, message):
    result = CliRunner().invoke(plan, options)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert message in " ".join(result.output.split())


def test_fleet_without_a_computed_product_is_an_error(tmp_path):
    with pytest.raises(FleetError, match="no fleet has run there"):
        measured_plans(1, 1.0, tmp_path)
    journal = JournalWriter(tmp_path)
    journal.run(1)
    journal.done("A", already=True)
    with pytest.raises(FleetError, match="no product was computed there"):
        measured_plans(1, 1.0, tmp_path)
