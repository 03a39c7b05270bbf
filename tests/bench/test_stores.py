from decametre.bench.stores import run


def test_all_ways_of_reading_are_timed_and_give_the_same(tmp_path):
    report = run(tmp_path, patches=10, batch=4, batches=2)
    assert len(report.rates) == 4
    assert min(report.rates.values()) > 0
    assert report.table().count("\n") == 5
    assert report.to_dict()["patches"] == 10
