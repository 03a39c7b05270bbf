"""Bands of datasets as they are found, and what is refused."""

import numpy as np
import pytest
import xarray

import decametre
from decametre.errors import DecametreError
from decametre.xarray.reading import band_of, product_of
from tests.xarray.conftest import grouped


@pytest.mark.parametrize(
    ("path", "band"),
    [
        ("B02", "B02"),
        ("b8a", "B8A"),
        ("B1", "B01"),
        ("B05_20m", "B05"),
        ("nir08", "B8A"),
        ("rededge1", "B05"),
        ("red", "B04"),
        ("measurements/reflectance/r60m/b09", "B09"),
        ("measurements_reflectance_r20m_b11", "B11"),
        ("B10", None),
        ("SCL", None),
        ("tribal02", None),
    ],
)
def test_bands_are_recognised_by_name(path, band):
    assert band_of(path) == band


def test_a_tree_is_read_without_pixels(tree, sample):
    product = product_of(tree)
    assert product.grid == sample.grid
    assert list(product.bands) == list(sample.bands)
    assert product.offset_reason == "stated with the arrays: 0 in reflectance"


def test_an_eopf_tree_has_masks_and_coarser_copies_of_bands(images, sample):
    """Groups as in ESA's EOPF products, with the CRS in the attributes only."""
    bare = {name: image.copy().drop_vars("spatial_ref") for name, image in images.items()}
    for image in bare.values():
        image.encoding.pop("grid_mapping", None)
        image.attrs = image.attrs | {"proj:epsg": 32633}
    groups = grouped(bare, rename=str.lower)
    groups["r20m"]["b02"] = bare["B02"].coarsen(y=2, x=2).mean().astype("u2")
    nodes = {f"measurements/reflectance/{key}": group for key, group in groups.items()}
    nodes["quality/mask/r10m"] = xarray.Dataset({"b02": bare["B02"].astype("u1")})
    item = {"id": "S2A", "properties": {"datetime": "2017-05-27T10:20:30Z"}}
    tree = xarray.DataTree.from_dict(nodes)
    tree.attrs = {"stac_discovery": item}
    product = product_of(tree)
    assert product.grid == sample.grid
    assert product.datetime == "2017-05-27T10:20:30Z"


def test_a_grid_may_be_stored_from_south_to_north(images):
    turned = {name: image.isel(y=slice(None, None, -1)) for name, image in images.items()}
    product = product_of(xarray.DataTree.from_dict(grouped(turned)))
    window = decametre.Window(6, 12, 60, 30)
    np.testing.assert_array_equal(
        product.bands["B02"].image.read(window), images["B02"].values[window.slices]
    )


def with_attributes(images, **attributes):
    found = {}
    for name, image in images.items():
        found[name] = image.copy()
        found[name].attrs = attributes
    return found


def times(images):
    return {name: image.expand_dims(time=2) for name, image in images.items()}


def on_one_grid(images):
    return {name: images[name] if name != "B05" else images["B04"] for name in ("B04", "B05")}


def without_crs(images):
    found = {name: image.copy().drop_vars("spatial_ref") for name, image in images.items()}
    for image in found.values():
        image.encoding.pop("grid_mapping", None)
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: with_attributes(i), "integers without a stated offset are ambiguous; give off"),
        (lambda i: with_attributes(i, scale_factor=1e-4), "has scale_factor 0.0001 but no add_off"),
        (lambda i: with_attributes(i, scale_factor=1, add_offset=0), "scale 1; expected reflect"),
        (lambda i: with_attributes(i, add_offset=-1000), "offset -1000; expected reflectance such"),
        (lambda i: with_attributes(i, add_offset=0, nodata=-9999), "nodata -9999 is no DN; give"),
        (lambda i: with_attributes(i, add_offset="x"), "attribute add_offset is 'x', expected a"),
        (lambda i: {n: x.astype("f4") for n, x in i.items()}, "scale and offset are ambiguous"),
        (lambda i: {"B02": i["B02"] > 0}, "has bool; give DN as integers, or reflectance as"),
        (times, "has 2 along time; select one, such as dataset.isel(time=0)"),
        (on_one_grid, "band B05 has pixels of 10 m; give it on its native grid of 20 m"),
        (without_crs, "states no CRS; set it with dataset.rio.write_crs("),
        (lambda i: {"ndvi": i["B02"]}, "has no Sentinel-2 band such as B02, blue or B8A; its vari"),
        (
            lambda i: {"red": i["B04"], "B04": i["B04"]},
            "is there more than once (r10m/red, r10m/B0",
        ),
    ],
)
def test_what_is_ambiguous_is_one_line(images, change, message):
    tree = xarray.DataTree.from_dict(grouped(change(images)))
    with pytest.raises(DecametreError) as caught:
        product_of(tree)
    assert message in str(caught.value)


def test_an_offset_of_the_user_replaces_that_of_the_attributes(images):
    tree = xarray.DataTree.from_dict(grouped(with_attributes(images, scale_factor=1e-4)))
    product = product_of(tree, -1000.0)
    assert product.bands["B02"].radiometry.offset == pytest.approx(-0.1)
    assert product.offset_reason == "given by the user: -1000 DN"
