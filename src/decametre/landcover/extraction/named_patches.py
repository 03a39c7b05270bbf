"""Patches by BigEarthNet's names, which say where on which tile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from decametre.errors import PatchError
from decametre.landcover.bigearthnet.names import (
    Acquisition,
    column_of,
    parse_acquisition,
    split_name,
    tile_corner,
)
from decametre.landcover.extraction.placing import Placed, PlacedPatch, place
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, Nomenclature
from decametre.landcover.patches.patch import PATCH_METRES
from decametre.sentinel2.product import Product


class NamedPatches:
    """Patches by BigEarthNet's names.

    Args:
        source: Where they were read, for messages.
        names: Of v1 or v2.
        table: Columns `labels`, `split`, `s2v1_name`, `country`, as far as they are known.
        acquisitions: Of each, where the name does not tell all.
        nomenclature: Of the labels.

    Raises:
        PatchError: A name is none of BigEarthNet's, or there is none.
    """

    def __init__(
        self,
        source: str,
        names: Sequence[str],
        table: pa.Table | None = None,
        acquisitions: Sequence[Acquisition] = (),
        nomenclature: Nomenclature = BIGEARTHNET19,
    ) -> None:
        self.source, self.names, self.nomenclature = source, names, nomenclature
        self._table = table
        self._places: dict[Acquisition, list[tuple[int, int, int]]] = defaultdict(list)
        known: dict[str, Acquisition | None] = {}
        for index, name in enumerate(names):
            parts = split_name(name)
            stem, column, row = parts or ("", 0, 0)
            if stem not in known:
                known[stem] = parse_acquisition(stem)
            acquisition = acquisitions[index] if acquisitions else known[stem]
            if acquisition is None:
                raise PatchError(
                    f"{source}: '{name}' is no name of BigEarthNet; expected such as "
                    "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
                )
            self._places[acquisition].append((row, column, index))
        if not names:
            raise PatchError(f"{source}: lists no patch")

    def __len__(self) -> int:
        return len(self.names)

    def counts(self, excluded: frozenset[str] = frozenset()) -> dict[str, int]:
        """How many patches there are of each acquisition, those of some names left out."""
        aliases: Sequence[str] = ()
        if excluded and self._table is not None:
            aliases = column_of(self._table, "s2v1_name", "")

        def is_kept(index: int) -> bool:
            own = {self.names[index], aliases[index]} if aliases else {self.names[index]}
            return excluded.isdisjoint(own)

        counted = {
            str(key): sum(is_kept(index) for _, _, index in places) if excluded else len(places)
            for key, places in sorted(self._places.items())
        }
        return {key: count for key, count in counted.items() if count}

    def on(self, product: Product) -> Placed:
        """The patches that lie in a product.

        Raises:
            NotAProductError: The product is one of the list's, but does not state its tile.
        """
        found = [key for key in self._places if key.is_of(product)]
        if not found:
            return Placed([], {})
        left, top = tile_corner(product)
        places = sorted(each for key in found for each in self._places[key])
        described = self._described([index for _, _, index in places])
        patches, misfits = [], {}
        for (row, column, index), (labels, *texts) in zip(places, described, strict=True):
            name = self.names[index]
            window, reason = place(product, left + column * PATCH_METRES, top - row * PATCH_METRES)
            if reason:
                misfits[name] = reason
            else:
                at = window.col, window.row
                patches.append(PlacedPatch(name, name, *at, tuple(labels), *texts))
        return Placed(patches, misfits)

    def _described(self, rows: list[int]) -> Iterator[tuple[Any, str, str, str]]:
        """Labels, split, alias and country of these patches."""
        table = pa.table({"none": pa.nulls(len(rows))})
        if self._table is not None:
            table = self._table.take(pa.array(rows, pa.int64()))
        columns = {"labels": (), "split": "", "s2v1_name": "", "country": ""}
        return zip(*(column_of(table, *each) for each in columns.items()), strict=True)
