"""Synthetic products in ESA's EOPF Zarr format: arrays written in its layout.

Tests need products of known content and any size. A synthetic product has the groups, attributes,
chunks and codecs of ESA's products (those of CPM 2 in Zarr format 2, those of CPM 3 in format 3),
and the given pixels. It lacks what readers of the bands do not need: detectors, meteorology,
previews and B10. Sensing time, orbit, angles and cloud cover are invented, and are those of
`synthetic_safe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from decametre.sentinel2.bands import ALL_BANDS

_CHUNKS = {10: 1830, 20: 915, 60: 305}
"""Edge of the chunks in pixels, by ground sampling distance in metres."""


def make_eopf(
    folder: Path,
    bands: Mapping[str, np.ndarray],
    *,
    level: str = "L1C",
    baseline: str = "05.09",
    offset_dn: int | None = -1000,
    epsg: int = 32631,
    left: float = 300000,
    top: float = 4900020,
    platform: str = "sentinel-2a",
    tile: str = "31TCJ",
    zarr_format: int = 2,
    chunks: Mapping[int, int] = _CHUNKS,
) -> Path:
    """Write arrays as an EOPF Zarr product.

    Args:
        folder: Folder in which the product's folder is created.
        bands: DN by band name, uint16, (rows, columns) on the band's native grid; and optionally
            `SCL`, the scene classification, uint8 at 20 m.
        level: `L1C` or `L2A`.
        baseline: Processing baseline.
        offset_dn: Radiometric offset in DN of all bands; None: attributes without an offset.
        epsg: Code of the coordinate reference system.
        left: Easting of the western edge, in metres.
        top: Northing of the northern edge, in metres.
        platform: `sentinel-2a` and so on.
        tile: MGRS tile.
        zarr_format: 2 or 3.
        chunks: Edge of the chunks in pixels by ground sampling distance.

    Returns:
        The product's folder, whose name ends in `.zarr`.
    """
    import zarr

    name = (
        f"S{platform[-2:].upper()}_MSI{level}_20230817T105031_N{baseline.replace('.', '')}_R051_"
        f"T{tile}_20230817T170411"
    )
    path = folder / f"{name}.zarr"
    root = zarr.open_group(path, mode="w-", zarr_format=2 if zarr_format == 2 else 3)
    root.attrs.update(_root_attributes(name, level, baseline, epsg, platform))
    for band, pixels in bands.items():
        gsd = 20 if band == "SCL" else ALL_BANDS[band].gsd
        group = (
            "conditions/mask/l2a_classification/r20m"
            if band == "SCL"
            else f"measurements/reflectance/r{gsd}m"
        )
        attributes = {} if band == "SCL" else _band_attributes(band, offset_dn)
        if zarr_format == 2:
            attributes |= _projection(pixels.shape, gsd, epsg, left, top)
        _write(root, f"{group}/{band.lower()}", pixels, ("y", "x"), chunks[gsd], attributes)
        if f"{group}/x" not in root:
            _write_axes(root, group, pixels.shape, gsd, left, top)
    _write_angles(root)
    zarr.consolidate_metadata(path)
    return path


def _root_attributes(
    name: str, level: str, baseline: str, epsg: int, platform: str
) -> dict[str, Any]:
    time = "2023-08-17T10:50:31.024000+00:00"
    return {
        "stac_discovery": {
            "type": "Feature",
            "id": f"{name}.SAFE",
            "stac_version": "1.0.0",
            "properties": {
                "constellation": "sentinel-2",
                "datetime": "null",
                "start_datetime": time,
                "end_datetime": time,
                "platform": platform,
                "instrument": "msi",
                "eo:cloud_cover": 12.5,
                "eopf:baseline": baseline,
                "processing:level": level,
                "processing:version": "",
                "product:type": f"S02MSI{level}",
                "proj:epsg": epsg,
                "sat:orbit_state": "descending",
                "sat:relative_orbit": 51,
            },
        },
        "other_metadata": {"horizontal_CRS_code": f"EPSG:{epsg}"},
    }


def _band_attributes(band: str, offset_dn: int | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "long_name": f"reflectance from MSI acquisition at spectral band {band.lower()}",
        "units": "digital_counts",
        "dtype": "<u2",
        "fill_value": 0,
        "scale_factor": 0.0001,
        "valid_min": 1,
        "valid_max": 65535,
    }
    return attributes if offset_dn is None else attributes | {"add_offset": offset_dn / 10000}


def _projection(
    shape: tuple[int, ...], gsd: int, epsg: int, left: float, top: float
) -> dict[str, Any]:
    rows, columns = shape
    return {
        "proj:epsg": epsg,
        "proj:shape": [rows, columns],
        "proj:bbox": [left, top - rows * gsd, left + columns * gsd, top],
        "proj:transform": [float(gsd), 0.0, left, 0.0, -float(gsd), top, 0.0, 0.0, 1.0],
    }


def _write_axes(
    root: Any, group: str, shape: tuple[int, ...], gsd: int, left: float, top: float
) -> None:
    kind = np.int64 if root.metadata.zarr_format == 2 else np.float32
    y = (top - gsd / 2 - gsd * np.arange(shape[0])).astype(kind)
    x = (left + gsd / 2 + gsd * np.arange(shape[1])).astype(kind)
    _write(root, f"{group}/y", y, ("y",), len(y), {"units": "m"})
    _write(root, f"{group}/x", x, ("x",), len(x), {"units": "m"})


def _write_angles(root: Any) -> None:
    """The angles of `synthetic_safe`."""
    sun = np.array([31.5, 152.25])
    views = np.array([[3 + band.band_id / 4, 200.0] for band in ALL_BANDS.values()])
    group = "conditions/geometry"
    _write(root, f"{group}/mean_sun_angles", sun, ("angle",), 2, {})
    _write(root, f"{group}/mean_viewing_incidence_angles", views, ("band", "angle"), len(views), {})


def _write(
    root: Any,
    path: str,
    values: np.ndarray,
    dimensions: tuple[str, ...],
    chunk: int,
    attributes: dict[str, Any],
) -> None:
    from numcodecs import Blosc
    from zarr.codecs import ZstdCodec

    old = root.metadata.zarr_format == 2
    array = root.create_array(
        path,
        shape=values.shape,
        dtype=values.dtype,
        chunks=tuple(min(chunk, edge) for edge in values.shape),
        fill_value=0,
        compressors=Blosc("zstd", 3, 2) if old else ZstdCodec(),
        dimension_names=None if old else dimensions,
        attributes=attributes | ({"_ARRAY_DIMENSIONS": list(dimensions)} if old else {}),
    )
    array[...] = values
