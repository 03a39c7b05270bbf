"""The bands of an xarray Dataset or DataTree as a product."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  # registers `.rio`
import xarray
from rasterio.errors import CRSError

from decametre.errors import GridError, NotAProductError, RadiometryError
from decametre.sentinel2.array_product import OFFSET_REMEDY, BandArray, array_product
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandGrid
from decametre.sentinel2.stac_metadata import EARTH_SEARCH_NAMES

_NAME = re.compile(r"(?:^|[/_])(b\d\d?a?)(?:[-_]\d\dm)?$")
_OTHER_NAMES = {name: band for band, name in EARTH_SEARCH_NAMES.items()} | {
    band.common_name: band.name for band in ALL_BANDS.values()
}
_REFLECTANCE = "reflectance"
"""EOPF products have masks with the names of bands; the bands are in groups of this name."""


@dataclass(frozen=True)
class LazyPixels:
    """The pixels of a variable, which are loaded when a part is read.

    Attributes:
        variable: Two-dimensional.
    """

    variable: xarray.Variable

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return self.variable.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type."""
        return self.variable.dtype

    def __getitem__(self, at: Any) -> np.ndarray:
        """A part of the pixels in memory.

        Parts of dask arrays are computed by the current thread: the reader may itself run in dask.
        """
        data = self.variable[at].data
        if hasattr(data, "dask"):
            data = data.compute(scheduler="synchronous")
        return np.asarray(data)


def find_bands(dataset: xarray.Dataset | xarray.DataTree) -> dict[str, xarray.DataArray]:
    """The variables that are Sentinel-2 bands on their native grid, with dimensions y and x.

    Raises:
        NotAProductError: There is none, or one has several dates.
        GridError: A band is only there at another resolution than its own.
    """
    candidates: dict[str, list[xarray.DataArray]] = {}
    arrays = {path: array for path, array in _variables(dataset) if array.ndim >= 2}
    inside = {path: array for path, array in arrays.items() if _REFLECTANCE in path.lower()}
    for path, array in (inside or arrays).items():
        if name := band_of(path):
            candidates.setdefault(name, []).append(_image(path, array))
    if not candidates:
        names = ", ".join(arrays) or "none"
        raise NotAProductError(
            f"the dataset has no Sentinel-2 band such as B02, blue or B8A; its variables: {names}"
        )
    found = {}
    for name in (name for name in ALL_BANDS if name in candidates):
        gsd = ALL_BANDS[name].gsd
        sizes = [abs(transform_of(array)[0]) for array in candidates[name]]
        native = [a for a, size in zip(candidates[name], sizes, strict=True) if size == gsd]
        if not native:
            raise GridError(
                f"band {name} has pixels of {sizes[0]:g} m; give it on its native grid of {gsd} m, "
                "not resampled"
            )
        if len(native) > 1:
            names = ", ".join(str(array.name) for array in native)
            raise NotAProductError(f"band {name} is there more than once ({names}); drop one")
        found[name] = native[0]
    return found


def band_of(path: str) -> str | None:
    """The band that a variable is, from its name; None if it is no band."""
    text = path.lower()
    if match := _NAME.search(text):
        name = f"B{match[1][1:].upper().zfill(2)}"
        return name if name in ALL_BANDS else None
    return _OTHER_NAMES.get(text.rpartition("/")[2])


def _variables(
    dataset: xarray.Dataset | xarray.DataTree,
) -> Iterator[tuple[str, xarray.DataArray]]:
    """All data variables with their path."""
    if isinstance(dataset, xarray.Dataset):
        yield from ((str(name), array) for name, array in dataset.data_vars.items())
        return
    for node in dataset.subtree:
        for name, array in node.to_dataset().data_vars.items():
            yield f"{node.path.rstrip('/')}/{name}".lstrip("/"), array


def _image(path: str, array: xarray.DataArray) -> xarray.DataArray:
    """The array with its dimensions y, x only, north up."""
    long = [f"{size} along {dim}" for dim, size in list(array.sizes.items())[:-2] if size != 1]
    if long:
        raise NotAProductError(
            f"{path}: has {', '.join(long)}; select one, such as dataset.isel(time=0)"
        )
    image = array.isel(dict.fromkeys(list(array.dims)[:-2], 0)).rename(path)
    y, x = image.dims
    if str(y).lower().endswith("x") or str(x).lower().endswith("y"):
        image, y, x = image.transpose(x, y), x, y
    if y in image.coords and image.sizes[y] > 1 and image[y][0] < image[y][-1]:
        image = image.isel({y: slice(None, None, -1)})
    return image


def transform_of(image: xarray.DataArray) -> tuple[float, ...]:
    """The six affine coefficients (a, b, c, d, e, f) of an image with dimensions y, x.

    Raises:
        GridError: It has no coordinates, or they are not evenly spaced.
    """
    y, x = image.dims
    coefficients = []
    for dim in (x, y):
        if dim not in image.coords or image.sizes[dim] < 2:
            matrix = image.rio.set_spatial_dims(x, y).rio.transform()
            if matrix.is_identity:
                raise GridError(f"{image.name}: has no coordinates along {dim}")
            return tuple(matrix)[:6]
        values = image[dim].values.astype(float)
        step = (values[-1] - values[0]) / (len(values) - 1)
        if not np.allclose(np.diff(values), step, rtol=0, atol=1e-3):
            raise GridError(f"{image.name}: its coordinates along {dim} are not evenly spaced")
        coefficients += [step, values[0] - step / 2]
    (width, left), (height, top) = coefficients[:2], coefficients[2:]
    return (width, 0.0, left, 0.0, height, top)


def crs_of(image: xarray.DataArray, attributes: Mapping[Any, Any]) -> str:
    """The CRS of an image: from its grid mapping, or from attributes of STAC and EOPF.

    Raises:
        GridError: None is stated, or it cannot be read.
    """
    y, x = image.dims
    try:
        crs = image.rio.set_spatial_dims(x, y).rio.crs
    except CRSError as error:
        raise GridError(f"{image.name}: its CRS cannot be read ({error})") from error
    if crs is not None:
        epsg = crs.to_epsg()
        return f"EPSG:{epsg}" if epsg else str(crs.to_wkt())
    for fields in (image.attrs, stac_properties(attributes), attributes):
        if fields.get("proj:code"):
            return str(fields["proj:code"])
        if fields.get("proj:epsg"):
            return f"EPSG:{int(fields['proj:epsg'])}"
    raise GridError(
        f"{image.name}: states no CRS; set it with dataset.rio.write_crs('EPSG:32631') of rioxarray"
    )


def stac_properties(attributes: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The STAC properties among the attributes of an EOPF product; empty if there are none."""
    item = attributes.get("stac_discovery")
    properties = item.get("properties") if isinstance(item, dict) else None
    return properties if isinstance(properties, dict) else {}


def product_of(
    dataset: xarray.Dataset | xarray.DataTree, user_offset_dn: float | None = None
) -> Product:
    """Open the product in a dataset; no pixel is read.

    Args:
        dataset: Bands on their native grids, one grid for each resolution.
        user_offset_dn: Radiometric offset of integers in DN, from the user; None: as stated.

    Raises:
        NotAProductError: There is no band, or a band has several dates.
        GridError: A band is not on its native grid, or has no CRS or coordinates.
        RadiometryError: The units are ambiguous.
    """
    images = find_bands(dataset)
    bands = {
        name: _band(image, crs_of(image, dataset.attrs), user_offset_dn is not None)
        for name, image in images.items()
    }
    properties = stac_properties(dataset.attrs)
    first = next(iter(images.values()))
    when = properties.get("datetime") or _time(first)
    level = str(dataset.attrs.get("processing:level") or properties.get("processing:level") or "")
    return array_product(
        bands,
        "dataset",
        user_offset_dn,
        datetime=when,
        level=match[0] if (match := re.search(r"L(1C|2A)", level)) else "unknown",
        id=str(dataset.attrs.get("id") or "dataset"),
    )


def _time(image: xarray.DataArray) -> str | None:
    """The time coordinate of an image, ISO 8601 in UTC."""
    time = image.coords.get("time")
    if time is None or time.ndim or time.dtype.kind != "M" or np.isnat(time.values):
        return None
    return f"{np.datetime_as_string(time.values, unit='s')}+00:00"


def _band(image: xarray.DataArray, crs: str, offset_is_given: bool) -> BandArray:
    scale, offset = _number(image, "scale_factor"), _number(image, "add_offset")
    if scale is not None and offset is None and image.dtype.kind in "iu" and not offset_is_given:
        raise RadiometryError(
            f"{image.name}: has scale_factor {scale:g} but no add_offset; set that attribute, or "
            f"give {OFFSET_REMEDY}"
        )
    rows, columns = image.shape
    return BandArray(
        LazyPixels(image.variable),
        scale,
        offset,
        _number(image, "_FillValue", "nodata"),
        BandGrid(crs, transform_of(image), columns, rows),
        image.chunks[0][0] if image.chunks else 512,
    )


def _number(image: xarray.DataArray, *keys: str) -> float | None:
    """The first of these attributes that is there, as a number.

    Raises:
        RadiometryError: It is no number.
    """
    for key in keys:
        value = image.attrs.get(key)
        if value is not None:
            try:
                return float(value)
            except (TypeError, ValueError):
                raise RadiometryError(
                    f"{image.name}: attribute {key} is {value!r}, expected a number"
                ) from None
    return None
