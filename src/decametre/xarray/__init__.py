"""Datasets of xarray: `import decametre.xarray` adds `dataset.decametre.sharpen()`.

`decametre.sharpen(dataset)` does the same without this import. `import decametre` does not import
xarray, which is in the extra `[xarray]`.
"""

from __future__ import annotations

from typing import Any

import xarray

from decametre.superres.sharpening.options import SharpenOptions


@xarray.register_dataset_accessor("decametre")
@xarray.register_datatree_accessor("decametre")
class Accessor:
    """Methods of decametre on a Dataset or DataTree.

    Args:
        dataset: Bands on their native grids; see `decametre.sharpen`.
    """

    def __init__(self, dataset: xarray.Dataset | xarray.DataTree) -> None:
        self._dataset = dataset

    def sharpen(self, options: SharpenOptions | None = None, **keywords: Any) -> xarray.Dataset:
        """Bring the bands to a resolution of 10 m; as `decametre.sharpen(dataset, ...)`."""
        import decametre

        result = decametre.sharpen(self._dataset, options=options, **keywords)
        assert isinstance(result, xarray.Dataset)
        return result
