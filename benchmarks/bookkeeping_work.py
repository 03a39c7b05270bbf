"""The work of a fleet whose overhead is measured: it writes results without pixels.

A result has the files of a sharpened tile. The image is empty; item and quality card have the form
and size of real ones.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import ProductSummary
from decametre.io.stac_item import DERIVED_FROM, sharpened_item, source_href
from decametre.io.staging import Staging
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES, FINEST_GSD
from decametre.sentinel2.grid import Grid
from decametre.sentinel2.product import Product
from decametre.sentinel2.radiometry import Radiometry
from decametre.superres.sharpening.sharpened_product import Stages

PIXELS = 10980
"""Rows and columns of the tiles that the items describe."""

ID = "@id@"
"""Placeholder of the product's id in the texts."""

LINK = '"@link@"'
"""Placeholder of the link to the product in an item."""

MODELS = {name: digit * 64 for name, digit in (("native_2x", "2"), ("native_6x", "6"))}
"""Made-up checksums of models."""

CONSISTENCY = {
    name: {"rmse_dn": 12.345, "relative": 0.012345, "pixels": (PIXELS * 10 // band.gsd) ** 2}
    for name, band in ALL_BANDS.items()
    if name in BAND_NAMES and band.gsd > FINEST_GSD
}


@dataclass(frozen=True)
class Bookkeeping:
    """Writes results without pixels; a `fleet.jobs.Work`."""

    verb = "sharpen"
    suffix = ".tif"

    def check(self) -> None:
        """Do nothing: there are no options."""

    def settings(self) -> dict[str, Any]:
        """Settings of the same size as those of sharpening."""
        return {
            "models": MODELS,
            "bands": list(BAND_NAMES),
            "offset_dn": None,
            "precision": "auto",
            "consistent": False,
            "self_check": True,
            "encoding": "dn",
            "compression": "deflate",
            "quicklook": False,
            "window": None,
        }

    def memory(self, size: int | None) -> int:
        """Required memory in bytes."""
        return 1_000_000

    def do(self, source: str, output: Path, stages: Stages, scratch: Path | None) -> ProductSummary:
        """Write one result, all or nothing."""
        item, card = _texts()
        link = {"rel": DERIVED_FROM, "href": source_href(source, output.parent)}
        files = {
            output.name: "",
            f"{output.stem}.quality.json": card.replace(ID, output.stem),
            f"{output.stem}.json": item.replace(ID, output.stem).replace(LINK, json.dumps(link)),
        }
        with Staging(output, overwrite=True, needed=0) as staging:
            for name, text in files.items():
                staging.path(name).write_text(text, encoding="utf-8")
            staging.commit(*files)
        return ProductSummary(output.stem, PIXELS**2, "cpu", CONSISTENCY)


def entries(folder: Path, count: int) -> Iterator[ProductEntry]:
    """Products that do not exist, with names in the form of ESA.

    Args:
        folder: The folder in their paths.
        count: Number of products.
    """
    for number in range(count):
        name = f"S2B_MSIL1C_20250601T103629_N0511_R008_T33UUB_20250601T{number:06d}"
        yield ProductEntry(name, str(folder / f"{name}.SAFE"), 600_000_000 + number % 1000)


@functools.cache
def _texts() -> tuple[str, str]:
    """Item and quality card of the product `ID`. Made once: only writing is measured."""
    radiometry = dict.fromkeys(BAND_NAMES, Radiometry(offset=-0.1))
    product = Product(
        id=ID,
        source=f"/{ID}.SAFE",
        level="L1C",
        baseline="05.11",
        platform="sentinel-2b",
        datetime="2025-06-01T10:36:29.024000Z",
        tile="33UUB",
        grid=Grid("EPSG:32633", 300000.0, 5800020.0, PIXELS, PIXELS),
        bands={},
        missing={},
        offset_reason="",
        properties={"eo:cloud_cover": 12.3456, "view:sun_elevation": 58.1234},
    )
    values = {"MINIMUM": 1026, "MAXIMUM": 25710, "MEAN": 1258.868556, "STDDEV": 133.7249215}
    tags = {f"STATISTICS_{key}": str(value) for key, value in values.items()}
    tags["STATISTICS_VALID_PERCENT"] = "100"
    card = {
        "version": "1",
        "product": {"id": ID, "level": "L1C", "processing_baseline": "05.11"},
        "window": [0, 0, PIXELS, PIXELS],
        "device": "cpu",
        "precision": "bfloat16",
        "models": {
            name: {
                "checksum_sha256": checksum,
                "parameters": 2678482,
                "attribution": "contains modified Copernicus Sentinel data 2015-2022",
                "scores_at_degraded_scale": {"protocol": "Wald", "rmse_ratio_to_bicubic": 0.3},
            }
            for name, checksum in MODELS.items()
        },
        "bands": {
            name: {
                "native_gsd": ALL_BANDS[name].gsd,
                "scale": 0.0001,
                "offset_dn": -1000,
                "valid_percent": 100.0,
                "consistency": CONSISTENCY.get(name),
            }
            for name in BAND_NAMES
        },
    }
    item = sharpened_item(
        product,
        product.grid,
        Path(f"/{ID}/{ID}.tif"),
        dict.fromkeys(BAND_NAMES, f"{ID}.tif"),
        radiometry,
        dict.fromkeys(BAND_NAMES, tags),
        card,
        Bookkeeping().settings(),
        {"quality": f"{ID}.quality.json"},
        "uint16",
        {},
    )
    content = item.to_dict(include_self_link=False) | {"links": [json.loads(LINK)]}
    return json.dumps(content, indent=2), json.dumps(card, indent=2)
