"""Sharpening a Dataset or DataTree into a Dataset at 10 m."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  # registers `.rio`
import xarray

from decametre.device import choose_devices, choose_precision, precision_name
from decametre.errors import OptionError
from decametre.progress import Progress, silent
from decametre.sentinel2.array_product import ArrayImage
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import Model
from decametre.superres.sharpening.array_job import run_in_memory
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.output_images import dtype_of
from decametre.superres.sharpening.quality_card import quality_card
from decametre.version import __version__
from decametre.xarray.reading import LazyPixels

QUALITY = "decametre:quality"
"""The attribute of a result that holds the quality card, as JSON."""


def is_lazy(product: Product) -> bool:
    """Whether a band of a dataset's product is a dask array."""
    images = (file.image for file in product.bands.values())
    return any(
        isinstance(image, ArrayImage)
        and isinstance(image.pixels, LazyPixels)
        and image.pixels.variable.chunks is not None
        for image in images
    )


def sharpened_dataset(
    product: Product,
    models: Sequence[Model],
    window: Window,
    options: SharpenOptions,
    progress: Progress = silent,
) -> xarray.Dataset:
    """Sharpen a window of a dataset's product.

    Args:
        product: From `reading.product_of`.
        models: From `registry.models_for`, for the bands of the options.
        window: In 10 m pixels, a multiple of every band's pixels.
        options: How.
        progress: Called after each window that is computed; never if the input is lazy.

    Raises:
        DecametreError: See `decametre.sharpen`.
    """
    bands: Mapping[str, Any]
    deviations: Mapping[str, np.ndarray] = {}
    if is_lazy(product):
        from decametre.xarray.lazy import lazy_bands

        if options.uncertainty:
            raise OptionError(
                "uncertainty", "needs pixels in memory, and the dataset is lazy; use dataset.load()"
            )
        bands = lazy_bands(product, models, window, options)
        devices = choose_devices(options.device)
        quality: Mapping[str, Any] = quality_card(
            product,
            window,
            options,
            [model.card for model in models],
            None,
            device=", ".join(map(str, devices)),
            precision=precision_name(choose_precision(options.precision, devices[0])),
        )
    else:
        arrays = run_in_memory(product, models, window, options, progress)
        bands, quality, deviations = arrays.bands, arrays.quality, arrays.deviations
    return _dataset(product, product.grid.crop(window), bands, deviations, quality, options)


def _dataset(
    product: Product,
    grid: Grid,
    bands: Mapping[str, Any],
    deviations: Mapping[str, np.ndarray],
    quality: Mapping[str, Any],
    options: SharpenOptions,
) -> xarray.Dataset:
    """The result with coordinates, CRS and attributes."""
    half, step = FINEST_GSD / 2, float(FINEST_GSD)
    coordinates: dict[str, Any] = {
        "y": grid.top - half - step * np.arange(grid.height),
        "x": grid.left + half + step * np.arange(grid.width),
    }
    if product.datetime:
        coordinates["time"] = np.datetime64(product.datetime.partition("+")[0].rstrip("Z"), "ns")
    radiometry = {name: product.bands[name].radiometry for name in options.bands}
    variables = {}
    for name, pixels in bands.items():
        band = ALL_BANDS[name]
        attributes: dict[str, Any] = {
            "long_name": f"Sentinel-2 {name} at {FINEST_GSD} m",
            "units": "1",
            "common_name": band.common_name,
            "center_wavelength": band.wavelength,
            "full_width_half_max": band.bandwidth,
        }
        if dtype_of(radiometry, options) == "uint16":
            attributes |= {
                "scale_factor": radiometry[name].scale,
                "add_offset": radiometry[name].offset,
                "_FillValue": int(radiometry[name].nodata),
            }
        else:
            attributes["_FillValue"] = np.float32(np.nan)
        variables[name] = xarray.Variable(("y", "x"), pixels, attributes)
        if name in deviations:
            described: dict[str, Any] = {"long_name": f"standard deviation of the error of {name}"}
            if "add_offset" in attributes:
                described["add_offset"] = 0.0
            variables[f"{name}_standard_deviation"] = xarray.Variable(
                ("y", "x"), deviations[name], attributes | described
            )
    settings = {
        "id": product.id,
        "processing:level": product.level,
        "history": f"20 m and 60 m bands brought to 10 m by decametre {__version__}",
        QUALITY: json.dumps(quality),
    }
    dataset = xarray.Dataset(variables, coordinates, settings)
    result: xarray.Dataset = dataset.rio.write_crs(grid.crs).rio.write_transform()
    return result
