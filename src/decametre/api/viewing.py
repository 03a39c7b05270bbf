"""Show results on a local map."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.options import PathLike
from decametre.viewer.options import ViewOptions

if TYPE_CHECKING:
    from decametre.viewer.viewer import Viewer


@takes(ViewOptions)
def view(
    result: PathLike,
    before: PathLike | None = None,
    *,
    options: ViewOptions,
) -> Viewer:
    """Show a result on a local map: before and after, bands, indices, classes, quality card.

    The map is a page at `Viewer.url`, which only this machine can open. In a notebook, the returned
    object is shown as the map. The server runs in a thread until `Viewer.close`.

    Args:
        result: A GeoTIFF, the STAC item of a result, a product, or the folder of a fleet.
        before: The image before: a product or a GeoTIFF. By default the product that the item of
            the result names, if it is a local file.

    Returns:
        The running viewer.

    Raises:
        ViewError: The images cannot be shown, or the port cannot be used.
        DecametreError: A file or product cannot be opened.
    """
    # Imported here: rasterio takes a second, which a wrong argument should not cost.
    from decametre.viewer.viewer import open_viewer

    return open_viewer(os.fspath(result), None if before is None else os.fspath(before), options)
