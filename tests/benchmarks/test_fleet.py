"""The bench of fleets at small scale: all that it says but the speed is checked.

This is a fleet's whole promise in one go: faulty products, a killed worker, an interruption.
"""

import json

import pytest

from benchmarks import fleet

pytestmark = pytest.mark.benchmark

COUNT = 12


@pytest.fixture(scope="module")
def report(sample_item, tmp_path_factory):
    return fleet.run([sample_item], tmp_path_factory.mktemp("fleet"), COUNT, 180, "float32")


def test_a_fleet_makes_what_one_process_makes(report):
    assert report.speed.products == COUNT
    same, files = report.speed.same_bytes
    assert same == files == 3 * COUNT
    assert min(*report.speed.alone, *report.speed.alone_free, *report.speed.fleet) > 0


def test_faults_cost_the_faulty_products_alone(report):
    faults = report.faults
    assert (faults.done, faults.done_twice, faults.left_over) == (COUNT - 2, 0, 0)
    assert faults.same_bytes == (3 * (COUNT - 2), 3 * (COUNT - 2))
    assert 0 < faults.killed_at <= faults.interrupted_at < COUNT - 2
    assert faults.statuses == (130, 2)
    lacking, corrupt = sorted(faults.failed.values())
    assert corrupt.startswith("read: band B05: cannot read")
    assert "band B05 is missing" in lacking


def test_the_report_can_be_read(report):
    assert json.loads(json.dumps(report.to_dict()))["speed"]["products"] == COUNT
    assert f"{COUNT} products of 180 x 180 pixels" in report.table()
