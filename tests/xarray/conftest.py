"""The sample as Dataset, DataTree and arrays."""

import numpy as np
import pytest
import rioxarray
import xarray


@pytest.fixture(scope="session")
def images(sample):
    """Each band as a DataArray of DN, with coordinates, CRS, scale and offset."""
    found = {}
    for name, file in sample.bands.items():
        image = rioxarray.open_rasterio(file.path).isel(band=0, drop=True).load()
        image.attrs = {"scale_factor": 1e-4, "add_offset": 0.0, "_FillValue": 0}
        found[name] = image
    return found


def grouped(images, rename=str, chunks=None):
    """One Dataset for each resolution."""
    groups = {}
    for name, image in images.items():
        gsd = round(abs(float(image.x[1] - image.x[0])))
        groups.setdefault(f"r{gsd}m", {})[rename(name)] = image
    sets = {key: xarray.Dataset(group) for key, group in groups.items()}
    return {key: each.chunk(chunks) if chunks else each for key, each in sets.items()}


@pytest.fixture(scope="session")
def tree(images):
    """A DataTree with one group for each resolution."""
    return xarray.DataTree.from_dict(grouped(images))


@pytest.fixture(scope="session")
def flat(images):
    """One Dataset in which each resolution has its own dimensions."""
    groups = grouped(images)
    return xarray.merge(
        [group.rename({"y": f"{key}_y", "x": f"{key}_x"}) for key, group in groups.items()]
    )


@pytest.fixture(scope="session")
def reflectance(images):
    """The images as float32 reflectance, without attributes of units."""
    found = {name: image * np.float32(1e-4) for name, image in images.items()}
    for image in found.values():
        image.attrs = {}
    return found
