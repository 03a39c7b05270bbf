import pytest

from decametre.errors import TrainingError
from decametre.model_folder import ATTRIBUTION
from decametre.superres.training.degraded_data import attribution_of, expand_patterns


def test_attribution_includes_the_years_of_an_earlier_model(sample):
    assert attribution_of([sample], f"{ATTRIBUTION} 2019-2021") == f"{ATTRIBUTION} 2017-2021"
    assert attribution_of([]) == ATTRIBUTION


def test_products_are_paths_urls_and_patterns(tmp_path):
    for name in "ba":
        (tmp_path / f"{name}.json").touch()
    found = expand_patterns([f"{tmp_path}/*.json", "https://example.org/?x=1", "plain"], "train")
    assert found == [
        f"{tmp_path}/a.json",
        f"{tmp_path}/b.json",
        "https://example.org/?x=1",
        "plain",
    ]
    with pytest.raises(TrainingError, match=r"data\.train: no file matches"):
        expand_patterns([f"{tmp_path}/*.safe"], "train")
    with pytest.raises(TrainingError, match=r"data\.validation names no product"):
        expand_patterns([], "validation")
