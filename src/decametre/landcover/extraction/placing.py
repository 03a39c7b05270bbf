"""Where wanted patches lie in a product, and which of them cannot be cut from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from decametre.errors import PatchError
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, CORINE43, Nomenclature
from decametre.landcover.patches.patch import PATCH_METRES
from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product

EDGE = PATCH_METRES // FINEST_GSD
"""Edge of a patch in 10 m pixels."""

TOLERANCE = 1.0
"""Metres by which a square may miss the grid: coordinates in degrees are rounded."""

COARSEST = 60
"""A patch begins on a whole pixel of this size, in metres; then it does so in every band."""


@dataclass(frozen=True, slots=True)
class PlacedPatch:
    """A patch and its place in a product.

    Attributes:
        name: In the store.
        listed: In the list.
        column: Of its first pixel, in 10 m pixels of the product.
        row: Likewise.
        labels: Names of its classes.
        split: `train`, `validation`, `test` or empty.
        alias: Another name that lists may know it by; empty where there is none.
        country: Where it is; empty where not known.
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
        """Its pixels of 10 m."""
        return Window(self.column, self.row, EDGE, EDGE)


@dataclass(frozen=True)
class Placed:
    """What of a list lies in a product.

    Attributes:
        patches: In reading order.
        misfits: By name in the list, why a patch that overlaps the product cannot be cut from it.
    """

    patches: list[PlacedPatch]
    misfits: Mapping[str, str]


class PatchList(Protocol):
    """Patches that somebody wants."""

    source: str
    nomenclature: Nomenclature

    def on(self, product: Product) -> Placed:
        """The patches that lie in a product."""

    def counts(self, excluded: frozenset[str] = frozenset()) -> dict[str, int]:
        """How many patches there are of each product, those of some names left out.

        Raises:
            PatchError: The list does not say of which products its patches are.
        """

    def __len__(self) -> int: ...


def nomenclature_of(labels: Iterable[str]) -> Nomenclature:
    """The smallest published nomenclature that has all labels, or else one of just these."""
    names = set(labels)
    for known in (BIGEARTHNET19, CORINE43):
        if names <= set(known.classes):
            return known
    return Nomenclature("other", tuple(sorted(names)))


class WholeGrid:
    """All patches of 1200 m that a product holds, counted from its north-western corner.

    Names are the product's, with column and row behind it as in BigEarthNet; where patches overlap,
    these count strides.

    Args:
        nomenclature: Of the labels that come from elsewhere.
        stride: Metres from one patch to the next: 1200, or less where they are to overlap.

    Raises:
        PatchError: The stride is no multiple of 60 m, or not from 60 to 1200.
    """

    source = "the whole grid"

    def __init__(
        self, nomenclature: Nomenclature = BIGEARTHNET19, stride: int = PATCH_METRES
    ) -> None:
        if not COARSEST <= stride <= PATCH_METRES or stride % COARSEST:
            raise PatchError(
                f"a stride of {stride} m; give a multiple of {COARSEST} m from {COARSEST} to "
                f"{PATCH_METRES}"
            )
        self.nomenclature, self.stride = nomenclature, stride

    def __len__(self) -> int:
        return 0

    def counts(self, excluded: frozenset[str] = frozenset()) -> dict[str, int]:
        """Unknown without products."""
        return {}

    def on(self, product: Product) -> Placed:
        """The patches that a product holds."""
        patches, step = [], self.stride // FINEST_GSD
        for row, top in enumerate(range(0, product.grid.height - EDGE + 1, step)):
            for column, left in enumerate(range(0, product.grid.width - EDGE + 1, step)):
                name = f"{product.id}_{column:02d}_{row:02d}"
                patches.append(PlacedPatch(name, name, left, top))
        return Placed(patches, {})


def place(product: Product, x: float, y: float) -> tuple[Window, str]:
    """Where a patch lies in a product.

    Args:
        product: The product.
        x: Easting of its north-western corner in the product's CRS, in metres.
        y: Northing.

    Returns:
        Its pixels of 10 m, and why it cannot be cut; nothing where it can.
    """
    grid = product.grid
    steps = (x - grid.left) / COARSEST, (grid.top - y) / COARSEST
    column, row = (round(step) * COARSEST // FINEST_GSD for step in steps)
    window = Window(column, row, EDGE, EDGE)
    off = max(abs(step - round(step)) for step in steps) * COARSEST
    if off > TOLERANCE:
        return window, (
            f"begins at {x:.1f}, {y:.1f}, which is {off:.1f} m off the pixels of {COARSEST} m of "
            f"{product.id}"
        )
    if not grid.window.contains(window):
        return window, f"at {x:.0f}, {y:.0f} is not wholly inside {product.id}"
    return window, ""
