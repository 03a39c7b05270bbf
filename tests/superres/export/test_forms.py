import json

import numpy as np
import pytest
import torch
import yaml
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT

from decametre.errors import ModelError
from decametre.superres.export.forms import INVERSE_REACH, DeepnessTile, EvolandStack, form_of
from tests.superres.export.tiny_models import tiny_model


def scene(bands_in, rows, cols, scale):
    """Smooth reflectance for each GSD."""
    random = torch.Generator().manual_seed(1)
    return {
        gsd: torch.rand(1, len(names), rows * factor, cols * factor, generator=random)
        for gsd, names in bands_in.items()
        for factor in [scale * 10 // gsd]
    }


def repeated(images):
    """All bands on the 10 m grid, nearest neighbour, finest GSD first."""
    planes = [
        image.repeat_interleave(gsd // 10, 2).repeat_interleave(gsd // 10, 3)
        for gsd, image in sorted(images.items())
    ]
    return torch.cat(planes, dim=1)


def interpolated_by_gdal(image):
    """A float32 image (bands, rows, columns) on a grid twice as fine, as sensorsio reads it."""
    bands, rows, cols = image.shape
    profile = {"driver": "GTiff", "count": bands, "height": rows, "width": cols}
    grid = {"dtype": "float32", "crs": "EPSG:32631", "transform": from_origin(0, 0, 20, 20)}
    with MemoryFile() as memory:
        with memory.open(**profile, **grid) as file:
            file.write(image)
        with (
            memory.open() as file,
            WarpedVRT(
                file,
                transform=from_origin(0, 0, 10, 10),
                width=2 * cols,
                height=2 * rows,
                resampling=Resampling.cubic,
            ) as fine,
        ):
            return fine.read()


def test_evoland_recovers_what_gdal_interpolated():
    images = scene({20: "abcdef"}, 24, 26, 2)
    measured = images[20][0].numpy() * 10000
    fine = torch.from_numpy(interpolated_by_gdal(measured))[None]
    form = EvolandStack(tiny_model("native"))
    found = form.coarse(fine, 20)[0].numpy()
    inside = (..., slice(INVERSE_REACH, -INVERSE_REACH), slice(INVERSE_REACH, -INVERSE_REACH))
    assert np.abs(found - measured)[inside].max() < 0.1
    assert np.abs(fine[0, :, ::2, ::2].numpy() - measured).max() > 100


def test_evoland_returns_all_bands_in_dn():
    model = tiny_model("native")
    form = EvolandStack(model)
    images = scene(model.card.bands_in, 24, 24, 2)
    coarse = interpolated_by_gdal(images[20][0].numpy() * 10000)
    stack = torch.cat([images[10] * 10000, torch.from_numpy(coarse)[None]], dim=1)
    with torch.no_grad():
        found, expected = form(stack), model.network(images)
    assert torch.equal(found[:, :4], stack[:, :4])
    margin = (model.card.margin + INVERSE_REACH) * 2
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    torch.testing.assert_close(found[:, 4:][inside] / 10000, expected[inside], rtol=0, atol=2e-5)


def test_evoland_has_a_file_that_its_program_reads():
    model = tiny_model("native")
    described = yaml.safe_load(EvolandStack(model).companions()["yaml"])
    assert described == {
        "model": "native_2x.onnx",
        "bands": ["B2", "B3", "B4", "B8", "B5", "B6", "B7", "B8A", "B11", "B12"],
        "margin": (model.card.margin + INVERSE_REACH) * 2,
        "factor": 1.0,
    }


@pytest.mark.parametrize("scale", [2, 6])
def test_deepness_gives_the_network_reflectance(scale):
    """DN / 255, then mean and deviation of the metadata, as the plugin does it."""
    model = tiny_model("native", scale)
    form = DeepnessTile(model, offset=-1000)
    images = scene(model.card.bands_in, 6, 6, scale)
    metadata = {key: json.loads(value) for key, value in form.metadata().items()}
    dn = repeated(images).numpy() * 10000 + 1000
    mean, deviation = (
        np.array(metadata[f"standardization_{key}"])[:, None, None] for key in ("mean", "std")
    )
    given = torch.from_numpy(np.float32((dn / 255 - mean) / deviation))
    with torch.no_grad():
        found, expected = form(given), model.network(images)
    torch.testing.assert_close(torch.cat(found, dim=1), expected, rtol=0, atol=1e-5)
    assert [names["0"] for names in metadata["class_names"]] == list(model.card.bands_out)


@pytest.mark.parametrize("scale", [2, 6])
def test_deepness_overlaps_tiles_by_the_margin_and_starts_them_at_coarse_pixels(scale):
    form = DeepnessTile(tiny_model("native", scale))
    pixels = int(form.fixed * form.overlap / 100 * 2) // 2  # as the plugin computes it
    assert pixels // 2 >= form.card.margin * scale
    assert (form.fixed - pixels) % scale == 0
    assert form.fixed % scale == 0


@pytest.mark.parametrize("name", ["deepness", "evoland"])
def test_attention_has_no_place_in_free_tiles(name):
    with pytest.raises(ModelError, match=r"windows of 4 pixels.*--form grids"):
        form_of(tiny_model("attention"), name)


def test_evoland_reads_no_60_m_bands():
    with pytest.raises(ModelError, match=r"reads no 60 m bands.*native_2x"):
        form_of(tiny_model("native", 6), "evoland")


def test_grids_have_an_input_for_each_grid_and_for_what_was_measured():
    form = form_of(tiny_model("guided", 6), "grids")
    assert form.inputs == ("reflectance_10m", "reflectance_20m", "reflectance_60m", "measured")
    assert [image.shape[2:] for image in form.example(0, 3, 5)] == [
        (18, 30),
        (9, 15),
        (3, 5),
        (3, 5),
    ]
    form.without({"measured"})
    assert form.inputs == ("reflectance_10m", "reflectance_20m", "reflectance_60m")
