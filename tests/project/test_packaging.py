"""Recipes for containers, conda, CWL and openEO, checked without their tools."""

import importlib.util
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from decametre.cli.examples import examples

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"

CONDA_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch"}


def test_the_conda_recipe_has_the_dependencies_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = yaml.safe_load((PACKAGING / "conda/recipe.yaml").read_text())
    found = {each.split()[0]: each.split()[1] for each in recipe["requirements"]["run"]}
    expected = {"python": project["requires-python"]}
    for each in project["dependencies"]:
        name, bound = re.match(r"([\w-]+)\s*(.*)", each).groups()
        expected[CONDA_NAMES.get(name, name)] = bound
    assert found == expected
    version = (ROOT / "src/decametre/version.py").read_text()
    assert recipe["context"]["version"] in version


def test_the_container_runs_as_an_ordinary_user():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert lines.index("USER decametre") < lines.index('ENTRYPOINT ["decametre"]')
    copied = [line.split()[1:-1] for line in lines if re.match(r"COPY (?!--from)", line)]
    for name in [name for names in copied for name in names]:
        assert (ROOT / name).exists(), name
    ignored = (ROOT / ".dockerignore").read_text()
    assert all(f"!{name}" in ignored for names in copied for name in names)


def test_the_cwl_workflow_passes_its_inputs_to_options_of_sharpen():
    document = yaml.safe_load((PACKAGING / "cwl/sharpen.cwl").read_text())
    workflow, tool = document["$graph"]
    assert (workflow["class"], tool["class"]) == ("Workflow", "CommandLineTool")
    assert set(workflow["inputs"]) == set(tool["inputs"])
    [step] = workflow["steps"].values()
    assert step["run"] == f"#{tool['id']}"
    flags = {name: each["inputBinding"].get("prefix") for name, each in tool["inputs"].items()}
    assert flags == {
        "product": None,
        "bbox": "--bbox=",
        "bands": "--bands",
        "consistent": "--consistent",
    }


def test_the_cwl_document_is_valid():
    loading = pytest.importorskip("cwltool.load_tool")
    tool, _ = loading.resolve_and_validate_document(
        *loading.fetch_document(str(PACKAGING / "cwl/sharpen.cwl"))[:2],
    )[:2]
    assert tool


def test_the_openeo_function_sharpens_the_coarse_bands_only():
    xarray = pytest.importorskip("xarray")
    spec = importlib.util.spec_from_file_location("udf", PACKAGING / "openeo/udf.py")
    udf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(udf)
    values = np.random.default_rng(0).integers(500, 3000, (2, 10, 40, 60)).astype(np.float32)
    values[:, 4:] = values[:, 4:, ::2, ::2].repeat(2, 2).repeat(2, 3)
    values[0, :, :4, :4] = np.nan
    cube = xarray.DataArray(values, dims=("t", "bands", "y", "x"), coords={"bands": udf.BANDS})
    found = udf.apply_datacube(cube, {"offset": -100})
    assert found.dims == cube.dims
    np.testing.assert_array_equal(found.values[:, :4], values[:, :4])
    assert np.isnan(found.values[0, :, :4, :4]).all()
    assert np.isfinite(found.values[1]).all()
    assert np.abs(found.values[1, 4:] - values[1, 4:]).max() > 1
    with pytest.raises(ValueError, match="the cube has no B11"):
        udf.apply_datacube(cube.isel(bands=slice(0, 8)), {})


def test_examples_are_listed_and_copied(tmp_path):
    listed = CliRunner().invoke(examples, [])
    assert "slurm/train.sh" in listed.output.splitlines()
    copied = CliRunner().invoke(examples, [str(tmp_path / "mine")])
    assert copied.exit_code == 0
    assert (tmp_path / "mine/fleet/slurm_gpu.yaml").is_file()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert wheel["targets"]["wheel"]["force-include"] == {"examples": "decametre/examples"}
