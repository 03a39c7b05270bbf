"""Copies of a product's scene classification and masks on the 10 m grid, as COGs."""

from __future__ import annotations

import logging
from pathlib import Path

import rasterio

from decametre.errors import MissingBandError
from decametre.io.cog import CogFile
from decametre.sentinel2.grid import Window
from decametre.sentinel2.masks import MASKS, SCENE_CLASSES, read_mask
from decametre.sentinel2.product import Product
from decametre.sentinel2.tiling import split
from decametre.superres.sharpening.options import SharpenOptions
from decametre.version import __version__

log = logging.getLogger(__name__)

EDGE = 2040
"""Edge of the squares that are written at a time, in 10 m pixels."""


def available_masks(product: Product, options: SharpenOptions) -> tuple[str, ...]:
    """The rasters to copy: those requested; by default those that the product has.

    Raises:
        MissingBandError: The user requested one that the product lacks.
    """
    missing = [name for name in options.masks if name not in product.masks]
    if missing and "masks" in options.model_fields_set:
        raise MissingBandError(
            f"{product.id}: has no {missing[0]} ({MASKS[missing[0]].title}); give --masks "
            f"{','.join(product.masks) or 'none'}"
        )
    return tuple(name for name in options.masks if name in product.masks)


def write_mask(path: Path, product: Product, name: str, window: Window) -> None:
    """Write a window of a raster, each 10 m pixel with the value of the pixel that contains it.

    Args:
        path: The COG.
        product: The product.
        name: One of `masks.MASKS`.
        window: In 10 m pixels.

    Raises:
        DecametreError: The raster cannot be read, or the file cannot be written.
    """
    mask, grid = MASKS[name], product.grid.crop(window)
    pixels = read_mask(product, name, window)
    profile = {
        "width": grid.width,
        "height": grid.height,
        "count": len(mask.planes),
        "dtype": "uint8",
        "crs": grid.crs,
        "transform": rasterio.Affine(*grid.transform()),
    }
    if name == "scl":
        profile |= {"photometric": "palette", "nodata": 0}
    options = {"COMPRESS": "DEFLATE", "OVERVIEW_RESAMPLING": "NEAREST"}
    with CogFile(path, profile, options) as file:
        for part in split(window, EDGE, 1):
            planes = pixels.at(part)
            for band in range(len(mask.planes)):
                file.write_window(part.relative_to(window), band + 1, planes[band])
        file.complete(lambda dataset: _describe(dataset, name, product.id))


def _describe(dataset: rasterio.io.DatasetWriter, name: str, product_id: str) -> None:
    dataset.descriptions = MASKS[name].planes
    dataset.update_tags(SOFTWARE=f"decametre {__version__}", SOURCE=product_id)
    if name == "scl":
        colours = [tuple(bytes.fromhex(colour)) for _, colour in SCENE_CLASSES]
        table = {value: (*colour, 255) for value, colour in enumerate(colours)}
        dataset.write_colormap(1, table | {0: (0, 0, 0, 0)})
