from decametre.bench.train import run
from decametre.recipes.reading import read_recipe


def test_all_three_are_measured(sample_item):
    settings = {
        "network.architecture": "native",
        "network.config": {"width": 8, "blocks": 1},
        "data.patch": 8,
        "optimization.batch": 2,
    }
    recipe = read_recipe("native_2x", settings, [sample_item], [sample_item])
    report = run(recipe, steps=2, precision="float32")
    assert min(report.data_alone, report.step_alone, report.together) > 0
    assert report.to_dict()["data_over_step"] == report.data_alone / report.step_alone
    assert "| data alone |" in report.table()
    assert "native_2x, batches of 2, cpu" in report.table()
