"""Locate patches in a product, and tell which of them cannot be cut from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from decametre.landcover.patches.patch import PATCH_PIXELS, POSITION_STEP
from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product

TOLERANCE = 1.0
"""Metres that a patch may be off the grid: coordinates in degrees are rounded."""


@dataclass(frozen=True, slots=True)
class LocatedPatch:
    """A patch to cut, with its position in a product.

    Attributes:
        name: Name in the store.
        listed: Name in the list.
        column: First column, in 10 m pixels of the product.
        row: First row, likewise.
        labels: Class names.
        split: `train`, `validation`, `test` or empty.
        alias: Another name that lists may use for the patch, or empty.
        country: Country of the patch; empty if unknown.
    """

    name: str
    listed: str
    column: int
    row: int
    labels: tuple[str, ...] = ()
    split: str = ""
    alias: str = ""
    country: str = ""

    @property
    def window(self) -> Window:
        """The patch's 10 m pixels."""
        return Window(self.column, self.row, PATCH_PIXELS, PATCH_PIXELS)


@dataclass(frozen=True)
class LocatedPatches:
    """The patches of a list that overlap a product.

    Attributes:
        patches: Those that can be cut, by row and column.
        misfits: By name in the list, the reason why a patch cannot be cut.
    """

    patches: list[LocatedPatch] = field(default_factory=list)
    misfits: Mapping[str, str] = field(default_factory=dict)


def locate(product: Product, x: float, y: float) -> tuple[Window, str]:
    """Locate a patch in a product.

    Args:
        product: The product.
        x: Easting of the patch's north-western corner in the product's CRS, in metres.
        y: Its northing.

    Returns:
        The patch's 10 m pixels, and the reason why it cannot be cut; empty if it can.
    """
    grid = product.grid
    steps = (x - grid.left) / POSITION_STEP, (grid.top - y) / POSITION_STEP
    column, row = (round(step) * POSITION_STEP // FINEST_GSD for step in steps)
    window = Window(column, row, PATCH_PIXELS, PATCH_PIXELS)
    off = max(abs(step - round(step)) for step in steps) * POSITION_STEP
    if off > TOLERANCE:
        return window, (
            f"begins at {x:.1f}, {y:.1f}, which is {off:.1f} m off the pixels of "
            f"{POSITION_STEP} m of {product.id}"
        )
    if not grid.window.contains(window):
        return window, f"at {x:.0f}, {y:.0f} is not completely inside {product.id}"
    return window, ""
