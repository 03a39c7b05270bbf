"""Opening a product in ESA's EOPF Zarr format, which replaces SAFE.

The pixels lie in `measurements/reflectance/r10m/b02` and so on. In `r20m` and `r60m`, Level-2A also
has the finer bands made coarse; only the arrays on the bands' native grids are used. Scale, offset
and nodata are attributes of each array. The attribute `stac_discovery` of the root is nearly a STAC
item. Products in Zarr format 3 state the grid by coordinates instead of `proj:transform`.

Source: EOPF Product Structure and Format Definition, and products of the EOPF sample service.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac

from decametre.errors import (
    CorruptDataError,
    GridError,
    MissingBandError,
    NotAProductError,
)
from decametre.sentinel2.bands import ALL_BANDS, Band
from decametre.sentinel2.product import BandFile, Product
from decametre.sentinel2.raster import BandGrid, common_grid, stated_crs_text
from decametre.sentinel2.stac_metadata import (
    DeclaredRadiometry,
    facts_of,
    find_baseline,
    radiometry_of,
    resolve_offsets,
)
from decametre.sentinel2.zarr_store import (
    MAX_CHUNK_BYTES,
    ZarrImage,
    attributes_of,
    describe_error,
    find_array,
    open_hierarchy,
)

if TYPE_CHECKING:
    import zarr

log = logging.getLogger(__name__)

REFLECTANCE = "measurements/reflectance"
MASK_ARRAYS = {
    "scl": "conditions/mask/l2a_classification/r20m/scl",
    "cloud_probability": "quality/probability/r20m/cld",
    "snow_probability": "quality/probability/r20m/snw",
    "detectors": "conditions/mask/detector_footprint/r10m/b02",
}
"""Arrays of the rasters in `masks.MASKS`."""

GEOMETRY = "conditions/geometry"

_CARRIED = re.compile(r"eo:(cloud|snow)_cover|sat:(relative_orbit|orbit_state)")
_SAFE_ENDS = (".SAFE", ".zarr.zip", ".zarr", ".zip")


def open_eopf(source: str, offset: float | None = None, id: str | None = None) -> Product:
    """Open a Sentinel-2 product in the EOPF Zarr format, L1C or L2A; no pixel is read.

    Args:
        source: Path of the folder or zip, or URL of the root group.
        offset: Radiometric offset in DN for all bands; None: from the metadata.
        id: The product's name; by default as its metadata state.

    Raises:
        MissingExtraError: The package `zarr` is not installed.
        NotAProductError: It is not a Sentinel-2 product.
        MissingBandError: It has no band.
        CorruptDataError: Metadata are damaged, or an array is not a band image.
        GridError: The grids of the bands are inconsistent.
        RadiometryError: A scale or offset is not usable.
    """
    root = open_hierarchy(source)
    item = _discovery(root, source, id)
    arrays = {name: _array(root, band, source) for name, band in ALL_BANDS.items()}
    images = {name: array for name, array in arrays.items() if array is not None}
    if not images:
        raise MissingBandError(
            f"{source}: no band in {REFLECTANCE}/r10m, r20m or r60m; give a complete product of "
            "Sentinel-2 Level-1C or Level-2A"
        )
    declared = {name: _declared(image) for name, image in images.items()}
    baseline = find_baseline(item)
    offsets, reason = resolve_offsets({}, declared, baseline, offset)
    crs = _crs(attributes_of(root), item)
    return Product(
        **facts_of(item),
        source=source,
        datetime=_utc(item.properties.get("start_datetime")),
        grid=common_grid(source, {name: _grid(root, image, crs) for name, image in images.items()}),
        bands={
            name: BandFile(
                ALL_BANDS[name],
                image.where,
                radiometry_of(declared[name], offsets[name]),
                image=image,
            )
            for name, image in images.items()
        },
        missing={
            name: f"searched for {_path(band)} in {source}"
            for name, band in ALL_BANDS.items()
            if name not in images
        },
        offset_reason=reason,
        user_offset_dn=offset,
        properties={**_properties(item), **_angles(root, source)},
        masks=_masks(root, source),
    )


def _masks(root: zarr.Group, source: str) -> dict[str, ZarrImage]:
    """The rasters that `sentinel2.masks` describes."""
    found = {name: find_array(root, path) for name, path in MASK_ARRAYS.items()}
    return {
        name: ZarrImage(name, array, f"{source}/{MASK_ARRAYS[name]}")
        for name, array in found.items()
        if array is not None
    }


# Metadata ---------------------------------------------------------------------------------------


def _discovery(root: zarr.Group, source: str, id: str | None) -> pystac.Item:
    """The attribute `stac_discovery` as an item; its geometry and assets are not used."""
    stated = attributes_of(root).get("stac_discovery")
    if not isinstance(stated, Mapping) or not isinstance(stated.get("properties"), Mapping):
        log.warning(
            "%s: has no stac_discovery; its metadata follow from its name, and the offset from its "
            "arrays",
            source,
        )
        stated = {"properties": {}}
    name = id or str(stated.get("id") or PurePosixPath(source).name)
    for end in _SAFE_ENDS:
        name = name.removesuffix(end)
    properties = {str(key): value for key, value in stated["properties"].items()}
    names = [str(properties.get(key) or "") for key in ("constellation", "platform")]
    if any(names) and not any(re.match("sentinel-?2", each, re.IGNORECASE) for each in names):
        raise NotAProductError(f"{source}: a product of {' '.join(names)}, not of Sentinel-2")
    return pystac.Item(name, None, None, datetime.min.replace(tzinfo=UTC), properties)


def _properties(item: pystac.Item) -> dict[str, float | int | str]:
    found = {
        key: value
        for key, value in item.properties.items()
        if _CARRIED.fullmatch(key) and isinstance(value, int | float | str)
    }
    return {
        key: round(value, 6) if isinstance(value, float) else value for key, value in found.items()
    }


def _utc(text: Any) -> str | None:
    """A time as in SAFE metadata, such as `2023-08-17T10:50:31.024Z`; None if it is not one."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    precision = "microseconds" if time.microsecond % 1000 else "milliseconds"
    return time.isoformat(timespec=precision).replace("+00:00", "Z")


def _angles(root: zarr.Group, source: str) -> dict[str, float]:
    """Sun and view angles in degrees, averaged over the bands."""

    def mean(name: str, column: int) -> float | None:
        array = find_array(root, f"{GEOMETRY}/{name}")
        if array is None or array.shape[-1:] != (2,) or array.size > 1000:
            return None
        values = np.asarray(array[...], dtype=float)[..., column]
        values = values[np.isfinite(values)]
        return float(values.mean()) if values.size else None

    try:
        zenith = mean("mean_sun_angles", 0)
        angles = {
            "view:sun_azimuth": mean("mean_sun_angles", 1),
            "view:sun_elevation": None if zenith is None else 90 - zenith,
            "view:incidence_angle": mean("mean_viewing_incidence_angles", 0),
        }
    except Exception as error:  # zarr and file systems raise many types; angles are not essential
        log.warning("sun and view angles are unknown: %s (%s)", source, describe_error(error))
        return {}
    return {key: round(angle, 6) for key, angle in angles.items() if angle is not None}


# Arrays -----------------------------------------------------------------------------------------


def _path(band: Band) -> str:
    return f"{REFLECTANCE}/r{band.gsd}m/{band.name.lower()}"


def _array(root: zarr.Group, band: Band, source: str) -> ZarrImage | None:
    """The pixels of a band; None if the product lacks it."""
    path = _path(band)
    where = f"{source}/{path}"
    array = find_array(root, path)
    if array is None:
        return None
    if array.ndim != 2 or not all(array.shape) or array.dtype != np.uint16:
        raise CorruptDataError(
            f"band {band.name}: {where} is {array.dtype} of shape {array.shape}, expected rows and "
            "columns of uint16 DN as published by ESA"
        )
    if math.prod(array.chunks) * 2 > MAX_CHUNK_BYTES:
        raise CorruptDataError(
            f"band {band.name}: {where} has chunks of {array.chunks} pixels, more than "
            f"{MAX_CHUNK_BYTES >> 20} MB; write it with smaller chunks"
        )
    return ZarrImage(band.name, array, where)


def _declared(image: ZarrImage) -> DeclaredRadiometry:
    attributes = attributes_of(image.array)
    fills = (attributes.get("_FillValue"), attributes.get("fill_value"), image.array.fill_value)
    numbers = (each for each in fills if isinstance(each, int | float | np.number))
    return DeclaredRadiometry.checked(
        _path(ALL_BANDS[image.name]),
        attributes.get("scale_factor"),
        attributes.get("add_offset"),
        next((float(each) for each in numbers), None),
        names=("scale_factor", "add_offset"),
    )


def _grid(root: zarr.Group, image: ZarrImage, product_crs: str | None) -> BandGrid:
    """The grid of an array: its `proj:transform`, or else the coordinates of its pixel centres.

    Args:
        root: The product.
        image: The array.
        product_crs: For arrays that state no CRS.
    """
    attributes, (height, width) = attributes_of(image.array), image.array.shape
    transform, shape = attributes.get("proj:transform"), attributes.get("proj:shape")
    numbers = transform[:6] if isinstance(transform, list) else []
    stated = len(numbers) == 6 and all(isinstance(value, int | float) for value in numbers)
    # A part cut out of a product may still have the attributes of the complete product.
    if stated and (shape in (None, [height, width])):
        found = tuple(float(value) for value in numbers)
    else:
        gsd = float(ALL_BANDS[image.name].gsd)
        group = _path(ALL_BANDS[image.name]).rpartition("/")[0]
        left = _first_edge(root, f"{group}/x", width, gsd, image)
        top = _first_edge(root, f"{group}/y", height, -gsd, image)
        found = gsd, 0.0, left, 0.0, -gsd, top
    crs = next(_crs_of(attributes), product_crs)
    return BandGrid(crs and stated_crs_text(image.where, crs), found, width, height)


def _first_edge(root: zarr.Group, path: str, count: int, step: float, image: ZarrImage) -> float:
    """The edge of the first pixel, from the coordinates of the pixels' centres along an axis."""
    array = find_array(root, path)
    if array is None or array.shape != (count,) or math.prod(array.chunks) > MAX_CHUNK_BYTES // 8:
        raise GridError(
            f"band {image.name}: {image.where} has no proj:transform and no coordinates {path} of "
            f"{count} pixels; give the complete product"
        )
    try:
        first, last = (float(np.asarray(array[index])) for index in (0, -1))
    except Exception as error:  # zarr and file systems raise many types
        raise CorruptDataError(
            f"coordinates {path} cannot be read ({describe_error(error)}); download it again"
        ) from error
    if abs(last - first - (count - 1) * step) > 0.5:
        raise GridError(
            f"band {image.name}: coordinates {path} run from {first:g} to {last:g} over {count} "
            f"pixels, expected steps of {step:g} m"
        )
    return first - step / 2


def _crs_of(attributes: Mapping[str, Any]) -> Iterator[str]:
    for key in ("proj:code", "proj:epsg", "proj:wkt2"):
        if value := attributes.get(key):
            yield f"EPSG:{value}" if key == "proj:epsg" else str(value)


def _crs(attributes: Mapping[str, Any], item: pystac.Item) -> str | None:
    """The CRS in the attributes of the root, for arrays that do not state it; None if absent."""
    other = attributes.get("other_metadata")
    codes = other if isinstance(other, Mapping) else {}
    stated = (str(v) for k, v in codes.items() if k.lower() == "horizontal_crs_code" and v)
    return next(_crs_of(item.properties), None) or next(stated, None)
