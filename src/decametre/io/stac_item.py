"""The STAC item of a result. It is written last, so its presence marks a complete result."""

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
from decametre.sentinel2.masks import MASKS, SCENE_CLASSES
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

CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"

DERIVED_FROM = "derived_from"
"""Relation of the link from a result's item to its input product."""

SETTINGS = "decametre:settings"
"""The property of an item that holds the settings of the run."""

MISSION_SPAN = {"start_datetime": "2015-06-23T00:00:00Z", "end_datetime": "2099-12-31T00:00:00Z"}
"""Times of inputs without a sensing time, since STAC requires times."""


def sharpened_item(
    product: Product,
    grid: Grid,
    output: Path,
    images: Mapping[str, str],
    radiometry: Mapping[str, Radiometry],
    statistics: Mapping[str, Mapping[str, str]],
    quality: Mapping[str, Any],
    settings: Mapping[str, Any],
    files: Mapping[str, str],
    dtype: str,
    deviations: Mapping[str, Radiometry],
) -> pystac.Item:
    """The item of a sharpened product.

    Args:
        product: The input product.
        grid: The 10 m grid of the result.
        output: Final path of the COG, after which the item is named.
        images: File name of each band: the same for all, or all different.
        radiometry: Radiometry of each output band, in the order of the file.
        statistics: GDAL's `STATISTICS_*` tags of each band.
        quality: The quality card, embedded as `decametre:quality`.
        settings: Settings of the run, embedded as `decametre:settings`.
        files: File names of the other assets: `quality`; `uncertainty`, `overview` and `thumbnail`
            if there are any; and those of `masks.MASKS` that were copied.
        dtype: `uint16` (DN) or `float32` (reflectance).
        deviations: Radiometry of each band of the file `uncertainty`, in its order.
    """
    item = derived_item(
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
    roles = ["data", "reflectance"]
    bands = {name: _band(name, radiometry[name], statistics[name], dtype) for name in radiometry}
    if set(images.values()) == {output.name}:
        add_asset(item, "data", output.name, "COG", roles, bands=list(bands.values()))
    else:
        for name, band in bands.items():
            add_asset(item, name, images[name], "COG", roles, bands=[band])
    add_asset(item, "quality", files["quality"], "JSON", ["metadata"], "Quality card")
    if "uncertainty" in files:
        made = [_band(name, radiometry, {}, dtype) for name, radiometry in deviations.items()]
        title = "Standard deviation of the error, calibrated at degraded scale"
        add_asset(item, "uncertainty", files["uncertainty"], "COG", ["data"], title, bands=made)
    if "overview" in files:
        title = "As measured (left) and at 10 m (right)"
        add_asset(item, "overview", files["overview"], "PNG", ["overview"], title)
        add_asset(item, "thumbnail", files["thumbnail"], "JPEG", ["thumbnail"], "Thumbnail")
    for name in filter(files.__contains__, MASKS):
        _add_mask(item, name, files[name])
    return item


def _add_mask(item: pystac.Item, name: str, file: str) -> None:
    """Add the copy of a scene classification or mask as an asset."""
    mask = MASKS[name]
    title = mask.title[0].upper() + mask.title[1:]
    bands = [{"name": plane, "data_type": "uint8"} for plane in mask.planes]
    fields: dict[str, Any] = {"bands": bands}
    if name == "scl":
        fields["classification:classes"] = [
            {"value": value, "name": class_name, "color_hint": colour.upper()}
            for value, (class_name, colour) in enumerate(SCENE_CLASSES)
        ]
        item.stac_extensions.append(CLASSIFICATION)
    add_asset(item, name, file, "COG", list(mask.roles), title, **fields)


def add_asset(
    item: pystac.Item,
    key: str,
    name: str,
    media_type: str,
    roles: list[str],
    title: str | None = None,
    **fields: Any,
) -> None:
    """Add a file in the item's folder as an asset.

    Args:
        item: The item.
        key: Key of the asset.
        name: File name.
        media_type: Name of a `pystac.MediaType`, such as `COG`.
        roles: Roles of the asset.
        title: Human-readable title.
        fields: Further fields of the asset.
    """
    kind = pystac.MediaType[media_type]
    asset = pystac.Asset(f"./{name}", title, media_type=kind, roles=roles, extra_fields=fields)
    item.add_asset(key, asset)


def derived_item(
    product: Product,
    output: Path,
    crs: str,
    shape: tuple[int, int],
    transform: Sequence[float],
    properties: Mapping[str, Any],
    extensions: Sequence[str],
) -> pystac.Item:
    """The item, without assets, of a result that was derived from a product.

    Args:
        product: The input product.
        output: Final path of the file that the item is named after.
        crs: CRS of the image.
        shape: Rows and columns of the image.
        transform: The image's six affine coefficients (a, b, c, d, e, f), north up.
        properties: Properties in addition to those of the product.
        extensions: URLs of the STAC extensions in use.
    """
    west, north = transform[2], transform[5]
    east, south = west + shape[1] * transform[0], north + shape[0] * transform[4]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    geometry = transform_geom(
        crs, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]}, precision=7
    )
    bounds = transform_bounds(crs, "EPSG:4326", west, south, east, north)
    all_properties = {
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
        all_properties["proj:code"] = crs
    else:
        all_properties |= {"proj:code": None, "proj:wkt2": crs}
    if product.platform:
        all_properties["platform"] = product.platform
    if product.tile:
        all_properties["s2:mgrs_tile"] = product.tile
    if product.baseline:
        all_properties["s2:processing_baseline"] = product.baseline
    when = datetime.fromisoformat(product.datetime) if product.datetime else None
    if when is None:
        all_properties = MISSION_SPAN | all_properties
    item = pystac.Item(
        id=output.name.removesuffix(output.suffix),
        geometry=dict(geometry),
        bbox=[round(value, 7) for value in bounds],
        datetime=when,
        properties=all_properties,
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
    """GDAL's `STATISTICS_*` tags of a band as STAC statistics; empty if no pixel has data."""
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
