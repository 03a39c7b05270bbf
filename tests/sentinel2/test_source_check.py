import pytest

from decametre.errors import NotAProductError
from decametre.sentinel2.source_check import check_source


def test_existing_paths_and_urls_pass(tmp_path):
    check_source(tmp_path)
    check_source(tmp_path.as_uri())
    check_source("https://server.example/item.json")


def test_a_missing_path_proposes_a_near_name(tmp_path):
    (tmp_path / "S2A_scene.SAFE").mkdir()
    with pytest.raises(NotAProductError, match=r"did you mean .*S2A_scene\.SAFE\?"):
        check_source(tmp_path / "S2A_scen.SAFE")
    with pytest.raises(NotAProductError, match="nor a folder"):
        check_source(tmp_path / "elsewhere" / "x.SAFE")
