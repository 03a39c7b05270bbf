"""Sharpen a product."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from decametre.api.keywords import takes
from decametre.api.notebook import notebook_bar
from decametre.errors import DecametreError, OptionError, OutputError, SharpeningError
from decametre.extras import check_extra
from decametre.options import PathLike
from decametre.progress import Progress
from decametre.sentinel2.options import parse_offset
from decametre.sentinel2.source_check import check_source
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.output_files import SharpenedFiles
from decametre.text import counted

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

    from decametre.sentinel2.product import Product
    from decametre.superres.sharpening.sharpening_job import Result

log = logging.getLogger(__name__)


@overload
def sharpen(
    product: Product | PathLike,
    output: PathLike,
    *,
    options: SharpenOptions,
    progress: Progress | None = None,
) -> Result: ...


@overload
def sharpen(
    product: list[Product | PathLike] | tuple[Product | PathLike, ...],
    output: PathLike,
    *,
    options: SharpenOptions,
    progress: Progress | None = None,
) -> list[Result]: ...


@overload
def sharpen(
    product: Dataset | DataTree,
    output: None = None,
    *,
    options: SharpenOptions,
    progress: Progress | None = None,
) -> Dataset: ...


@takes(SharpenOptions)
def sharpen(
    product: Product
    | PathLike
    | list[Product | PathLike]
    | tuple[Product | PathLike, ...]
    | Dataset
    | DataTree,
    output: PathLike | None = None,
    *,
    options: SharpenOptions,
    progress: Progress | None = None,
) -> Result | list[Result] | Dataset:
    """Bring the bands of a Sentinel-2 product to a resolution of 10 m.

    Writes a Cloud-Optimized GeoTIFF and, next to it, a STAC item and a quality card. The 10 m bands
    and the grid are those of the input, bit for bit.

    An xarray Dataset or DataTree is sharpened into a Dataset, and no file is written: see
    docs/arrays.md.

    Args:
        product: An open product, or anything that `open` accepts; or a Dataset or DataTree with
            each band on its native grid, as DN (integers with the attributes `scale_factor` and
            `add_offset`, or `offset` here) or as reflectance (floats). Or a list of products.
        output: The GeoTIFF. The item is `NAME.json`, the card `NAME.quality.json`. For a list of
            products an existing folder, in which each result is named after its product. None for
            a Dataset or DataTree.
        progress: Called with the windows completed, all windows, and the 10 m pixels computed.
            By default, a notebook shows a bar.

    Returns:
        The paths written, and the quality card (`Result`); a list of results for a list of
        products. For a Dataset or DataTree: a Dataset at 10 m, whose pixels are computed by dask
        when they are used, if the input is lazy.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    if not isinstance(product, str | os.PathLike) and is_xarray(product):
        return _sharpened_dataset(product, output, options, progress)
    if output is None:
        raise OptionError("output", "is required; give the path of the GeoTIFF")
    if isinstance(product, list | tuple):
        return _sharpened_into_folder(product, Path(output), options, progress)
    SharpenedFiles(Path(output)).check(overwrite=options.overwrite)
    if isinstance(product, str | os.PathLike):
        check_source(product)
    # Imported here: rasterio and torch take seconds, which a wrong argument should not cost.
    from decametre.api.opening import opened
    from decametre.sentinel2.parts import choose_window

    product = opened(cast("Product | PathLike", product), options.offset)
    log.info("offset: %s", product.offset_reason)
    window = choose_window(product, options.window, options.bbox, options.aoi)
    from decametre.superres.models.registry import models_for
    from decametre.superres.sharpening.sharpening_job import run

    models = models_for(options.bands, options.model)
    with notebook_bar(progress) as shown:
        return run(product, Path(output), models, window, options, shown)


def _sharpened_into_folder(
    products: list[Product | PathLike] | tuple[Product | PathLike, ...],
    folder: Path,
    options: SharpenOptions,
    progress: Progress | None,
) -> list[Result]:
    """Sharpen several products; one that fails does not end the others.

    Raises:
        OutputError: The folder does not exist, or a result does.
        DecametreError: A product cannot be opened; or, at the end, some products failed.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder, in which the results are to be written")
    for source in products:
        if isinstance(source, str | os.PathLike):
            check_source(source)
    from decametre.api.opening import opened

    found = [opened(product, options.offset) for product in products]
    names = [product.id for product in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OutputError(f"{folder}: two of the products are named {twice}; sharpen them apart")
    outputs = [folder / f"{name}.tif" for name in names]
    for output in outputs:
        SharpenedFiles(output).check(overwrite=options.overwrite)
    results, failed = [], []
    for product, output in zip(found, outputs, strict=True):
        try:
            results.append(sharpen(product, output, options=options, progress=progress))
        except DecametreError as error:
            if len(found) == 1:
                raise
            log.error("%s: %s", product.id, error)
            failed.append(product.id)
    if failed:
        raise SharpeningError(
            f"{len(failed)} of {counted(len(found), 'product')} failed: {', '.join(failed)}; the "
            f"others are in {folder}"
        )
    return results


def is_xarray(value: object) -> bool:
    """Whether a value is a Dataset or DataTree; xarray is not imported for that."""
    names = {(each.__module__.partition(".")[0], each.__name__) for each in type(value).__mro__}
    return bool(names & {("xarray", "Dataset"), ("xarray", "DataTree")})


def _sharpened_dataset(
    dataset: Any, output: PathLike | None, options: SharpenOptions, progress: Progress | None
) -> Dataset:
    """Sharpen a Dataset or DataTree; see `sharpen`."""
    if output is not None:
        raise OptionError(
            "output", "must be None for a dataset; write the result with .rio or .to_zarr()"
        )
    for name in (
        *("compression", "crop", "split_bands", "quicklook", "masks", "mask_clouds", "overwrite"),
    ):
        if getattr(options, name) != SharpenOptions.model_fields[name].default:
            raise OptionError(name, "cannot be used for a dataset, as no file is written")
    check_extra("xarray")
    from decametre.sentinel2.parts import choose_window
    from decametre.superres.models.registry import models_for
    from decametre.xarray.reading import product_of
    from decametre.xarray.sharpening import sharpened_dataset

    product = product_of(dataset, parse_offset(options.offset))
    log.info("offset: %s", product.offset_reason)
    window = choose_window(product, options.window, options.bbox, options.aoi)
    models = models_for(options.bands, options.model)
    with notebook_bar(progress) as shown:
        return sharpened_dataset(product, models, window, options, shown)
