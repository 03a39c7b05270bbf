"""The STAC item of a result. It is written last: where it stands, the product is complete."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac
from rasterio.warp import transform_bounds, transform_geom

from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.grid import Grid
from decametre.sentinel2.product import Product
from decametre.sentinel2.radiometry import Radiometry
from decametre.version import __version__

STAC_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/view/v1.0.0/schema.json",
]

DERIVED_FROM = "derived_from"
"""The link of an item to the product that its result was made from."""

SETTINGS = "decametre:settings"
"""The property of an item that says how its result was made."""

MISSION_SPAN = {"start_datetime": "2015-06-23T00:00:00Z", "end_datetime": "2099-12-31T00:00:00Z"}
"""STAC wants a time. Where a source states none: since the launch of Sentinel-2A."""


def result_item(
    product: Product,
    grid: Grid,
    output: Path,
    radiometry: Mapping[str, Radiometry],
    statistics: Mapping[str, Mapping[str, str]],
    quality: Mapping[str, Any],
    settings: Mapping[str, Any],
    files: Mapping[str, str],
    dtype: str,
) -> pystac.Item:
    """Describe a result.

    Args:
        product: What it was made from.
        grid: Its 10 m grid.
        output: Where the COG will stand.
        radiometry: Of each output band, in the order of the file.
        statistics: GDAL's `STATISTICS_*` of each band.
        quality: The quality card, embedded as `decametre:quality`.
        settings: How it was made, as `decametre:settings`.
        files: File names of the assets beside the COG: `quality`, and `thumbnail` if there is one.
        dtype: `uint16` (DN) or `float32` (reflectance).
    """
    item = item_of(
        product,
        output,
        grid.crs,
        grid.shape(),
        grid.transform(),
        {
            "gsd": FINEST_GSD,
            "processing:lineage": "Sentinel-2 bands of 20 m and 60 m brought to 10 m by decametre",
            SETTINGS: dict(settings),
            "decametre:quality": dict(quality),
        },
        STAC_EXTENSIONS,
    )
    item.add_asset(
        "data",
        pystac.Asset(
            href=f"./{output.name}",
            media_type=pystac.MediaType.COG,
            roles=["data", "reflectance"],
            extra_fields={
                "bands": [
                    _band(name, radiometry[name], statistics[name], dtype) for name in radiometry
                ]
            },
        ),
    )
    item.add_asset(
        "quality",
        pystac.Asset(
            href=f"./{files['quality']}",
            media_type=pystac.MediaType.JSON,
            roles=["metadata"],
            title="Quality card",
        ),
    )
    if "thumbnail" in files:
        item.add_asset(
            "thumbnail",
            pystac.Asset(
                href=f"./{files['thumbnail']}",
                media_type=pystac.MediaType.PNG,
                roles=["thumbnail"],
                title="As measured (left) and at 10 m (right)",
            ),
        )
    return item


def item_of(
    product: Product,
    output: Path,
    crs: str,
    shape: tuple[int, int],
    transform: Sequence[float],
    properties: Mapping[str, Any],
    extensions: Sequence[str],
) -> pystac.Item:
    """An item without assets, of something that was made from a product.

    Args:
        product: What it was made from.
        output: The file that the item is named after, where it will stand.
        crs: Of the image.
        shape: Its rows and columns.
        transform: Its six affine coefficients (a, b, c, d, e, f), north up.
        properties: What is to be said beside what the product says.
        extensions: Of STAC.
    """
    west, north = transform[2], transform[5]
    east, south = west + shape[1] * transform[0], north + shape[0] * transform[4]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    geometry = transform_geom(
        crs, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]}, precision=7
    )
    bounds = transform_bounds(crs, "EPSG:4326", west, south, east, north)
    said = {
        **product.properties,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "processing:level": product.level,
        "processing:software": {"decametre": __version__},
        "proj:shape": list(shape),
        "proj:transform": list(transform),
        **properties,
    }
    if crs.startswith("EPSG:"):
        said["proj:code"] = crs
    else:
        said |= {"proj:code": None, "proj:wkt2": crs}
    if product.platform:
        said["platform"] = product.platform
    if product.tile:
        said["s2:mgrs_tile"] = product.tile
    if product.baseline:
        said["s2:processing_baseline"] = product.baseline
    when = datetime.fromisoformat(product.datetime) if product.datetime else None
    if when is None:
        said = MISSION_SPAN | said
    item = pystac.Item(
        id=output.name.removesuffix(output.suffix),
        geometry=dict(geometry),
        bbox=[round(value, 7) for value in bounds],
        datetime=when,
        properties=said,
        stac_extensions=list(extensions),
    )
    item.add_link(pystac.Link(DERIVED_FROM, source_href(product.source, output.parent)))
    return item


def _band(
    name: str, radiometry: Radiometry, statistics: Mapping[str, str], dtype: str
) -> dict[str, Any]:
    band = ALL_BANDS[name]
    described: dict[str, Any] = {
        "name": name,
        "eo:common_name": band.common_name,
        "eo:center_wavelength": band.wavelength,
        "eo:full_width_half_max": band.bandwidth,
        "data_type": dtype,
        "nodata": radiometry.nodata if dtype == "uint16" else "nan",
    }
    if dtype == "uint16":
        described |= {"raster:scale": radiometry.scale, "raster:offset": radiometry.offset}
    return described | plain_statistics(statistics)


def plain_statistics(tags: Mapping[str, str]) -> dict[str, Any]:
    """GDAL's `STATISTICS_*` of a band as STAC has them; empty without a pixel."""
    keys = {
        "minimum": "MINIMUM",
        "maximum": "MAXIMUM",
        "mean": "MEAN",
        "stddev": "STDDEV",
        "valid_percent": "VALID_PERCENT",
    }
    if not tags:
        return {}
    return {"statistics": {key: float(tags[f"STATISTICS_{tag}"]) for key, tag in keys.items()}}


def source_href(source: str, folder: Path) -> str:
    """The source as the item links to it: a URL as it is, a path relative to the item."""
    if "://" in source:
        return source
    return os.path.relpath(Path(source).resolve(), folder.resolve())
