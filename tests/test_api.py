"""Every public name is there, described, and costs only the imports that it needs."""

import inspect
import multiprocessing
import subprocess
import sys

import pytest

import decametre
from decametre import api
from decametre.errors import FleetError
from tests.support import stub


@pytest.mark.parametrize("name", decametre.PUBLIC)
def test_a_name_is_listed_and_documented(name):
    value = getattr(decametre, name)
    assert value.__name__ == name
    assert inspect.getdoc(value)
    assert name in dir(decametre)


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'sharpn'"):
        _ = decametre.sharpn
    with pytest.raises(AttributeError, match="no attribute 'sharpn'"):
        _ = api.sharpn


def test_api_has_the_same_functions():
    assert api.sharpen is decametre.sharpen


def test_the_stub_for_type_checkers_is_up_to_date():
    current = stub.STUB.read_text(encoding="utf-8")
    assert current == stub.stub_text(), "run `python -m tests.support.stub`"


def test_only_what_is_needed_is_imported():
    code = """
import sys
import decametre

def without(*names):
    assert not set(names) & set(sys.modules), set(names) & set(sys.modules)

models = "torch", "torchmetrics", "matplotlib"
without("numpy", "h5py", "rasterio", "pydantic", *models)
decametre.SharpenOptions, decametre.ExtractOptions, decametre.PredictOptions
decametre.EvaluateOptions, decametre.TrainOptions, decametre.FleetOptions
without("numpy", "h5py", "rasterio", *models)
decametre.sharpen, decametre.predict_land_cover, decametre.evaluate, decametre.train
without("numpy", "h5py", "rasterio", *models)
decametre.merge_patches
without("rasterio", *models)
decametre.open, decametre.plan_patches, decametre.import_patches, decametre.extract_patches
decametre.label_product
without(*models)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_output_that_cannot_be_written_is_refused_before_torch_is_imported(tmp_path):
    code = """
import sys
import decametre

for function in (decametre.sharpen, decametre.predict_land_cover):
    keywords = {"model": "model"} if function is decametre.predict_land_cover else {}
    try:
        function("product", sys.argv[1], **keywords)
    except decametre.DecametreError as error:
        assert "exists already" in str(error)
    assert not {"torch", "rasterio"} & set(sys.modules)
"""
    (tmp_path / "x.tif").touch()
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.tif"], check=True)


def test_workers_that_read_a_script_do_not_start_fleets(monkeypatch, tmp_path):
    monkeypatch.setattr(multiprocessing.current_process(), "name", "SpawnProcess-1")
    with pytest.raises(FleetError, match=r"below `if __name__ == .__main__.:`"):
        api.fleet_sharpen("list.txt", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
