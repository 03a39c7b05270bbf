"""Cut patches from products."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.landcover.extraction.options import ExtractOptions
from decametre.landcover.extraction.output_files import StoreFiles
from decametre.options import PathLike
from decametre.progress import Progress, silent
from decametre.sentinel2.source_check import check_source

if TYPE_CHECKING:
    from decametre.landcover.extraction.extraction_job import Extraction
    from decametre.sentinel2.grid import Window
    from decametre.sentinel2.product import Product
    from decametre.superres.sharpening.sharpening_job import Result


@takes(ExtractOptions)
def extract_patches(
    products: PathLike | Sequence[PathLike],
    output: PathLike,
    options: ExtractOptions,
    *,
    progress: Progress = silent,
) -> Extraction:
    """Cut patches of 1200 m from products, or resume an interrupted run for the same output.

    Args:
        products: One or several of what `open` accepts.
        output: The HDF5 file to write. With several workers it refers to the files of a folder
            `NAME.shards` next to it.
        progress: Called with the patches completed, all patches, and the patches cut by this run.

    Returns:
        How many patches the store holds, and how many were skipped for which reason.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """

    def sharpened(product: Product, tile: Path, window: Window) -> Result:
        from decametre.api.sharpening import sharpen
        from decametre.superres.sharpening.options import SharpenOptions

        how = SharpenOptions(window=window, model=options.model, device=options.device)
        return sharpen(product, tile, options=how)

    sources = [products] if isinstance(products, str | os.PathLike) else products
    StoreFiles(Path(output)).check(overwrite=options.overwrite)
    for source in sources:
        check_source(source)
    # Imported here: GDAL and pandas take seconds, which a wrong argument should not cost.
    from decametre.landcover.extraction.extraction_job import extract
    from decametre.landcover.extraction.planning import Request
    from decametre.sentinel2.gdal_settings import available_cores

    return extract(
        Request.of(sources, options),
        Path(output),
        options.workers or available_cores(),
        sharpened,
        overwrite=options.overwrite,
        progress=progress,
    )
