"""The STAC item of a land-cover map, which is written last and marks the map as complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pystac

from decametre.io.stac_item import SETTINGS, add_asset, derived_item, plain_statistics
from decametre.landcover.mapping.geotiff import (
    ENCODINGS,
    NO_CLASS,
    ClassWriter,
    MapGrid,
    ProbabilityWriter,
)
from decametre.sentinel2.product import Product

STAC_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
]


def land_cover_item(
    product: Product,
    grid: MapGrid,
    output: Path,
    probabilities: ProbabilityWriter,
    classes: ClassWriter,
    features: str | None,
    about: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> pystac.Item:
    """Describe a map.

    Args:
        product: The mapped product.
        grid: Grid of the map.
        output: Path of the probabilities.
        probabilities: Their writer, after it has finished.
        classes: The writer of the classes, after it has finished.
        features: File name of the patches as GeoJSON, or None.
        about: Model, patches and thresholds of the map.
        settings: Settings of the run.
    """
    item = derived_item(
        product,
        output,
        grid.crs,
        grid.shape,
        grid.transform,
        {
            "gsd": grid.gsd,
            "processing:lineage": f"Land cover of patches by {about['model']['name']}, decametre",
            SETTINGS: dict(settings),
            "decametre:land_cover": dict(about),
        },
        STAC_EXTENSIONS,
    )
    dtype = ENCODINGS[probabilities.encoding]
    described = {
        "data_type": dtype,
        "nodata": "nan" if dtype == "float32" else NO_CLASS,
        **({} if dtype == "float32" else {"raster:scale": 0.01}),
    }
    bands = [
        {"name": name, **described, **plain_statistics(statistics.tags)}
        for name, statistics in probabilities.statistics.items()
    ]
    title = "Probability of each class"
    add_asset(item, "data", output.name, "COG", ["data"], title, bands=bands)
    legend = [
        {
            "value": value,
            "name": name,
            "color_hint": "".join(f"{part:02X}" for part in colour),
            "count": int(count),
        }
        for value, (name, colour, count) in enumerate(
            zip(classes.classes, classes.colours, classes.counts, strict=True)
        )
    ]
    about_classes = {
        "data_type": "uint8",
        "nodata": NO_CLASS,
        "classification:classes": legend,
    }
    roles, title = ["data", "classification"], "Most probable class"
    add_asset(item, "classes", classes.path.name, "COG", roles, title, **about_classes)
    if features:
        add_asset(item, "patches", features, "GEOJSON", ["data"], "Classified patches")
    return item
