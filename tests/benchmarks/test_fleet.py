"""The benchmark of fleets at small scale; its speed is not tested.

It covers all guarantees of a fleet: faulty products, a killed worker, an interruption.
"""

import json

import pytest

from benchmarks import fleet

pytestmark = pytest.mark.benchmark

COUNT = 12


@pytest.fixture(scope="module")
def report(sample_item, tmp_path_factory):
    return fleet.run([sample_item], tmp_path_factory.mktemp("fleet"), COUNT, 180, "float32")


def test_a_fleet_writes_the_same_files_as_one_process(report):
    assert report.speed.products == COUNT
    same, files = report.speed.same_bytes
    assert same == files == 3 * COUNT
    for times in (report.speed.one_core, report.speed.prefetching, report.speed.fleet):
        assert times.total > times.working > 0


def test_faults_only_affect_the_faulty_products(report):
    faults = report.faults
    assert (faults.done, faults.done_twice, faults.left_over) == (COUNT - 2, 0, 0)
    assert faults.same_bytes == (3 * (COUNT - 2), 3 * (COUNT - 2))
    assert 0 < faults.killed_at <= faults.interrupted_at < COUNT - 2
    assert faults.statuses == (130, 2)
    incomplete, truncated = sorted(faults.failed.values())
    assert truncated.startswith("read: band B05: cannot read")
    assert "band B05 is missing" in incomplete


def test_the_report_has_all_figures(report):
    assert json.loads(json.dumps(report.to_dict()))["speed"]["products"] == COUNT
    assert f"{COUNT} products of 180 x 180 pixels" in report.table()
