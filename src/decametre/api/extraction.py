"""Cut patches from products."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.api.arguments import PathLike, Progress, located
from decametre.landcover.extraction.extraction_job import Extraction, extract
from decametre.landcover.extraction.planning import Request
from decametre.landcover.extraction.worker_pool import available_cores
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product

if TYPE_CHECKING:
    from decametre.superres.sharpening.sharpening_job import Result


def extract_patches(
    products: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    patches: PathLike | None = None,
    stride: int = 1200,
    label_column: str = "labels",
    labels: PathLike | None = None,
    label_names: PathLike | None = None,
    label_share: float = 0.0,
    classes: int | None = None,
    sharpened: Sequence[PathLike] = (),
    sharpen: bool = False,
    model: str | Sequence[str] = (),
    device: str = "auto",
    native: bool = True,
    exclude: Sequence[PathLike] = (),
    no_cloud: bool = False,
    no_shadow: bool = False,
    no_snow: bool = False,
    limit: float = 0.05,
    skip_misfits: bool = False,
    workers: int | None = None,
    offset: str | float = "auto",
    overwrite: bool = False,
    progress: Progress = lambda done, total, count: None,
) -> Extraction:
    """Cut patches of 1200 m from products, or go on where a run for the same output was ended.

    Args:
        products: What `open` takes, one or several.
        output: The HDF5 file to make. With several workers it presents the files of a folder
            `NAME.shards` beside it.
        patches: Which patches: BigEarthNet's `metadata.parquet`, an unpacked BigEarthNet v1, names
            in a text file, or a grid as GeoJSON or GeoParquet. The whole grid of each product
            without.
        stride: Of the whole grid: metres from one patch to the next; with less than 1200 they
            overlap.
        label_column: Of a grid: its column of labels.
        labels: A raster of classes to take labels from, in place of the list's.
        label_names: Names of the raster's classes, JSON or CSV. Without, those that the raster
            holds (`label_product`), else CORINE's.
        label_share: A patch has the classes that cover at least this share of it, and a pixel; of
            its pixels, those count for which the raster has data.
        classes: 43 or 19; those of the labels without. 43 can become 19.
        sharpened: Results of `sharpen`, of all bands in DN, each of one of the products; for
            `data_super`.
        sharpen: Sharpen those products of which no such result is given.
        model: As in `sharpen`, for those.
        device: Likewise.
        native: Also keep the bands as measured, on their native grids.
        exclude: Lists of patches to leave out, as published with BigEarthNet.
        no_cloud: Leave out patches that the product's scene classification shows under cloud.
        no_shadow: Likewise under the shadow of a cloud.
        no_snow: Likewise under snow.
        limit: Share of a patch that each of these may cover.
        skip_misfits: Leave out patches that lie off the product's pixels or across its edge.
        workers: Processes that cut; the processor's cores without.
        offset: See `open`.
        overwrite: Replace an existing output, or an unfinished run of other settings.
        progress: Called with patches done, all patches, and patches done by this run.

    Returns:
        How many patches the store holds, and how many were left out for which reason.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    models = [model] if isinstance(model, str) else list(model)
    given = [products] if isinstance(products, str | os.PathLike) else list(products)
    request = patch_request(
        given,
        patches=patches,
        stride=stride,
        label_column=label_column,
        labels=labels,
        label_names=label_names,
        label_share=label_share,
        classes=classes,
        sharpened=sharpened,
        sharpen=sharpen,
        models=models,
        native=native,
        exclude=exclude,
        no_cloud=no_cloud,
        no_shadow=no_shadow,
        no_snow=no_snow,
        limit=limit,
        skip_misfits=skip_misfits,
        offset=offset,
    )
    return extract(
        request,
        Path(output),
        workers or available_cores(),
        sharpener(models, device),
        overwrite=overwrite,
        progress=progress,
    )


def patch_request(
    products: Sequence[PathLike],
    *,
    patches: PathLike | None,
    stride: int,
    label_column: str,
    labels: PathLike | None,
    label_names: PathLike | None,
    label_share: float,
    classes: int | None,
    sharpened: Sequence[PathLike],
    sharpen: bool,
    models: Sequence[str],
    native: bool,
    exclude: Sequence[PathLike],
    no_cloud: bool,
    no_shadow: bool,
    no_snow: bool,
    limit: float,
    skip_misfits: bool,
    offset: str | float,
) -> Request:
    """What `extract_patches` is asked for, with paths that hold whatever the working directory."""
    screened = {"cloud": no_cloud, "shadow": no_shadow, "snow": no_snow}
    return Request(
        products=tuple(located(path) for path in products),
        patches=None if patches is None else located(patches),
        stride=stride,
        label_column=label_column,
        labels=None if labels is None else located(labels),
        label_names=None if label_names is None else located(label_names),
        label_share=label_share,
        classes=classes,
        sharpened=tuple(located(path) for path in sharpened),
        sharpen=sharpen,
        models=tuple(models),
        native=native,
        exclude=tuple(located(path) for path in exclude),
        screen=tuple(kind for kind, wanted in screened.items() if wanted),
        limit=limit,
        skip_misfits=skip_misfits,
        offset=offset,
    )


def sharpener(models: Sequence[str], device: str) -> Callable[[Product, Path, Window], Result]:
    """`sharpen` with its settings, for a window of any product."""

    def sharpened(product: Product, output: Path, window: Window) -> Result:
        from decametre.api.sharpening import sharpen  # torch, which most extractions do not need

        return sharpen(product, output, window=window, model=models, device=device)

    return sharpened
