"""Patches as squares on a map, in any CRS."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import geopandas
from rasterio.warp import transform_bounds

from decametre.errors import PatchError
from decametre.landcover.bigearthnet.names import parse_acquisition
from decametre.landcover.extraction.placing import (
    TOLERANCE,
    Placed,
    PlacedPatch,
    nomenclature_of,
    place,
)
from decametre.landcover.patches.patch import PATCH_METRES
from decametre.sentinel2.product import Product


class MappedPatches:
    """Squares of 1200 m in any CRS.

    Columns besides the geometry: `labels` (a list, or text with `;` between), `name` (else their
    number), `split`, and `product`: the name of the product to cut from; without it, a patch is
    cut from every product that holds it. As names must differ, those of a grid without `product`
    become `PRODUCT_NAME` in the store.

    Args:
        path: Where they were read.
        frame: The squares.
        label_column: The column of labels.

    Raises:
        PatchError: No CRS, no square, names that come twice, or no such column of labels.
    """

    def __init__(
        self, path: Path, frame: geopandas.GeoDataFrame, label_column: str = "labels"
    ) -> None:
        self.source = str(path)
        if frame.crs is None:
            raise PatchError(f"{path}: states no coordinate reference system; add one")
        if not len(frame):
            raise PatchError(f"{path}: lists no patch")
        if label_column not in frame.columns and label_column != "labels":
            there = ", ".join(name for name in frame.columns if name != frame.geometry.name)
            raise PatchError(f"{path}: has no column '{label_column}', only {there or 'none'}")
        numbers = [str(number) for number in range(len(frame))]
        blank = [""] * len(frame)
        own: dict[str, list[Any]] = {
            "name": [_text(name) for name in frame.get("name", numbers)],
            "labels": [_labels(value) for value in frame.get(label_column, blank)],
            "split": [_text(split) for split in frame.get("split", blank)],
            "product": [_text(product) for product in frame.get("product", blank)],
        }
        self._by_product = "product" in frame.columns
        double = next((name for name, n in Counter(own["name"]).items() if n > 1), None)
        if double is not None:
            raise PatchError(f"{path}: the name '{double}' comes twice; names must differ")
        self._frame = geopandas.GeoDataFrame(own, geometry=list(frame.geometry), crs=frame.crs)
        self.nomenclature = nomenclature_of(label for labels in own["labels"] for label in labels)

    def __len__(self) -> int:
        return len(self._frame)

    def counts(self, excluded: frozenset[str] = frozenset()) -> dict[str, int]:
        """How many patches there are of each product, those of some names left out.

        Raises:
            PatchError: There is no column `product`.
        """
        if not self._by_product:
            raise PatchError(
                f"{self.source}: has no column 'product', so it does not say how many patches "
                "there are of each"
            )
        kept = ~self._frame["name"].isin(excluded)
        counted = Counter(str(product) for product in self._frame["product"][kept])
        return dict(sorted(counted.items()))

    def on(self, product: Product) -> Placed:
        """The patches that lie in a product."""
        own = transform_bounds(product.grid.crs, self._frame.crs, *product.grid.bounds)
        near = self._frame.cx[own[0] : own[2], own[1] : own[3]]
        if self._by_product:
            near = near.loc[[_names(str(text), product) for text in near["product"]]]
        near = near.to_crs(product.grid.crs)
        west, south, east, north = product.grid.bounds
        patches, misfits = [], {}
        for shape, name, labels, split in zip(
            near.geometry, near["name"], near["labels"], near["split"], strict=True
        ):
            x, low, right, y = shape.bounds
            if min(right, east) - max(x, west) <= TOLERANCE or (
                min(y, north) - max(low, south) <= TOLERANCE
            ):
                continue  # beside the product
            window, reason = place(product, x, y)
            if (
                abs(right - x - PATCH_METRES) > 2 * TOLERANCE
                or abs(y - low - PATCH_METRES) > 2 * TOLERANCE
                or abs(shape.area - PATCH_METRES**2) > 4 * TOLERANCE * PATCH_METRES
            ):
                reason = (
                    f"is {right - x:.0f} x {y - low:.0f} m in {product.grid.crs} (area "
                    f"{shape.area / 1e6:.3f} km2), no square of {PATCH_METRES} m along its axes"
                )
            if reason:
                misfits[name] = reason
                continue
            stored = name if self._by_product else f"{product.id}_{name}"
            patches.append(PlacedPatch(stored, name, window.col, window.row, labels, split))
        patches.sort(key=lambda patch: (patch.row, patch.column, patch.name))
        return Placed(patches, misfits)


def _names(text: str, product: Product) -> bool:
    """Whether a text names this product."""
    acquisition = parse_acquisition(text.removesuffix(".SAFE"))
    return text.removesuffix(".SAFE") == product.id or bool(
        acquisition and acquisition.is_of(product)
    )


def _text(value: Any) -> str:
    """A value as text; a missing one, None or NaN, as nothing."""
    return "" if value is None or value != value else str(value)


def _labels(value: Any) -> tuple[str, ...]:
    """Labels as they come in a column: a list, JSON, or text with semicolons between."""
    if value is None or isinstance(value, float):  # missing
        return ()
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text.startswith("[") else text.split(";")
    return tuple(str(label).strip() for label in value if str(label).strip())
