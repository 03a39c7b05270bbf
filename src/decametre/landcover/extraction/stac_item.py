"""The STAC item of a store of patches, which is written last and marks the store as complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decametre.io.stac_item import SETTINGS, add_asset, derived_item
from decametre.sentinel2.product import Product

STAC_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
]


def store_item(
    product: Product,
    output: Path,
    patches: int,
    left_out: Mapping[str, int],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe the patches of a product.

    Args:
        product: The product that they were cut from.
        output: Path of the store.
        patches: Number of patches; if 0, there is no store.
        left_out: Number of excluded patches, by reason.
        settings: Settings of the run.

    Returns:
        The item as JSON.
    """
    item = derived_item(
        product,
        output,
        product.grid.crs,
        product.grid.shape(),
        product.grid.transform(),
        {
            "processing:lineage": "Patches of 1200 m cut by decametre",
            SETTINGS: dict(settings),
            "decametre:patches": {"patches": patches, "left_out": dict(left_out)},
        },
        STAC_EXTENSIONS,
    )
    if patches:
        add_asset(item, "data", output.name, "HDF5", ["data"], "Patches")
    return item.to_dict(include_self_link=False)
