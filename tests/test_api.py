"""Every public name is there, under its name, and costs only its own imports."""

import ast
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from decametre import api
from decametre.errors import FleetError


def test_checkers_see_the_names_of_the_table():
    tree = ast.parse(Path(api.__file__).read_text())
    seen = {
        alias.asname: node.module.removeprefix("decametre.api.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("decametre.api.")
        for alias in node.names
    }
    assert seen == api.MODULES


@pytest.mark.parametrize("name", api.MODULES)
def test_a_name_is_a_documented_function(name):
    function = getattr(api, name)
    assert function.__name__ == name
    assert function.__module__.startswith("decametre.api.")
    assert function.__doc__
    assert name in dir(api)


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'sharpn'"):
        _ = api.sharpn


def test_only_what_is_asked_for_is_imported():
    code = """
import sys, decametre.api as api

def without(*names):
    assert not set(names) & set(sys.modules), set(names) & set(sys.modules)

models = "torch", "torchmetrics", "matplotlib", "pydantic"
without("numpy", "h5py", "rasterio", *models)
api.merge_patches
without("rasterio", *models)
api.open, api.plan_patches, api.import_patches, api.extract_patches, api.label_product
without(*models)
api.sharpen, api.predict_land_cover
without("torchmetrics", "matplotlib", "pydantic")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_workers_that_read_a_script_do_not_start_fleets(monkeypatch, tmp_path):
    monkeypatch.setattr(multiprocessing.current_process(), "name", "SpawnProcess-1")
    with pytest.raises(FleetError, match=r"below `if __name__ == .__main__.:`"):
        api.fleet_sharpen("list.txt", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
