"""Lists of patches to cut: names, squares on a map, or the complete grid of a product."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import geopandas
import pandas as pd
import pyarrow.parquet as pq
from rasterio.warp import transform_bounds

from decametre.errors import PatchError
from decametre.files import parse_json, read_json
from decametre.landcover.bigearthnet.names import (
    Acquisition,
    parse_acquisition,
    read_names,
    tile_corner,
)
from decametre.landcover.extraction.patch_location import (
    TOLERANCE,
    LocatedPatch,
    LocatedPatches,
    locate,
)
from decametre.landcover.patches.nomenclature import (
    BIGEARTHNET19,
    CORINE43,
    Nomenclature,
    match_labels,
    nomenclature_of,
)
from decametre.landcover.patches.patch import PATCH_METRES, PATCH_PIXELS, POSITION_STEP
from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.product import Product

V1_LABELS = "_labels_metadata.json"


class PatchList(Protocol):
    """A list of patches to cut."""

    source: str
    nomenclature: Nomenclature

    def locate(self, product: Product) -> LocatedPatches:
        """Locate the patches that overlap a product."""

    def counts(self, excluded: frozenset[str] = frozenset()) -> dict[str, int]:
        """Count the patches of each product, without those whose names are excluded.

        Raises:
            PatchError: The list does not state the products of its patches.
        """

    def __len__(self) -> int: ...


class CompleteGrid:
    """All patches of 1200 m of a product, counted from its north-western corner.

    A patch is named after the product, with column and row appended as in BigEarthNet. For patches
    that overlap, columns and rows count strides.

    Args:
        stride: Metres from one patch to the next: 1200, or less for patches that overlap.

    Raises:
        PatchError: The stride is not a multiple of 60 m from 60 to 1200.
    """

    source = "the complete grid"
    nomenclature = BIGEARTHNET19

    def __init__(self, stride: int = PATCH_METRES) -> None:
        if not POSITION_STEP <= stride <= PATCH_METRES or stride % POSITION_STEP:
            raise PatchError(
                f"a stride of {stride} m; give a multiple of {POSITION_STEP} m from "
                f"{POSITION_STEP} to {PATCH_METRES}"
            )
        self.stride = stride

    def __len__(self) -> int:
        return 0

    def counts(self, excluded: frozenset[str] = frozenset()) -> dict[str, int]:
        """Nothing, since the grid does not state any product."""
        return {}

    def locate(self, product: Product) -> LocatedPatches:
        """List the patches of a product."""
        patches, step = [], self.stride // FINEST_GSD
        for row, top in enumerate(range(0, product.grid.height - PATCH_PIXELS + 1, step)):
            for column, left in enumerate(range(0, product.grid.width - PATCH_PIXELS + 1, step)):
                name = f"{product.id}_{column:02d}_{row:02d}"
                patches.append(LocatedPatch(name, name, left, top))
        return LocatedPatches(patches)


class NamedPatches:
    """Patches by BigEarthNet's names, which state column and row on a tile.

    Args:
        source: File or folder of the list, for messages.
        table: A column `name`, and, as far as they are known, `labels`, `split`, `alias` and
            `country`.
        nomenclature: The nomenclature of the labels.
        acquisitions: The acquisition of each patch; by default the one stated in its name.

    Raises:
        PatchError: There is no patch, or a name is not one of BigEarthNet.
    """

    def __init__(
        self,
        source: str,
        table: pd.DataFrame,
        nomenclature: Nomenclature = BIGEARTHNET19,
        acquisitions: Sequence[Acquisition] = (),
    ) -> None:
        self.source, self.nomenclature = source, nomenclature
        if not len(table):
            raise PatchError(f"{source}: lists no patch")
        parts = table["name"].str.extract(r"^(?P<stem>.*)_(?P<column>\d+)_(?P<row>\d+)$")
        known = {stem: parse_acquisition(stem) for stem in parts["stem"].dropna().unique()}
        stated: list[Acquisition | None] = list(acquisitions) or [
            known.get(stem) for stem in parts["stem"]
        ]
        for name, stem, acquisition in zip(table["name"], parts["stem"], stated, strict=True):
            if acquisition is None or pd.isna(stem):
                raise PatchError(
                    f"{source}: '{name}' is not a patch name of BigEarthNet; expected a name like "
                    "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
                )
        self._table = pd.DataFrame(
            {
                "name": table["name"],
                "labels": table.get("labels", pd.Series([()] * len(table))).to_numpy(),
                **{key: _texts(table, key) for key in ("split", "alias", "country")},
                "column": parts["column"].astype(int),
                "row": parts["row"].astype(int),
                "acquisition": stated,
            }
        )
        self._acquisitions = sorted(self._table["acquisition"].unique())

    def __len__(self) -> int:
        return len(self._table)

    def counts(self, excluded: frozenset[str] = frozenset()) -> dict[str, int]:
        """Count the patches of each acquisition, without those whose names are excluded."""
        kept = ~self._table[["name", "alias"]].isin(excluded).any(axis=1)
        counted = self._table["acquisition"][kept].map(str).value_counts()
        return dict(sorted((key, int(count)) for key, count in counted.items()))

    def locate(self, product: Product) -> LocatedPatches:
        """Locate the patches that overlap a product.

        Raises:
            NotAProductError: The product is in the list, but does not state its tile.
        """
        acquisitions = [each for each in self._acquisitions if each.is_of(product)]
        if not acquisitions:
            return LocatedPatches()
        left, top = tile_corner(product)
        listed = self._table[self._table["acquisition"].isin(acquisitions)]
        patches, misfits = [], {}
        for each in listed.sort_values(["row", "column"], kind="stable").itertuples():
            x, y = left + each.column * PATCH_METRES, top - each.row * PATCH_METRES
            window, reason = locate(product, x, y)
            if reason:
                misfits[each.name] = reason
                continue
            labels = () if each.labels is None else tuple(each.labels)
            texts = labels, each.split, each.alias, each.country
            patches.append(LocatedPatch(each.name, each.name, window.col, window.row, *texts))
        return LocatedPatches(patches, misfits)


class MappedPatches:
    """Patches as squares of 1200 m in any CRS.

    Columns in addition to the geometry: `labels` (a list, or text separated by `;`), `name` (by
    default the number of the row), `split`, and `product`, the name of the product to cut from.
    Without `product`, a patch is cut from every product that holds it, and is named `PRODUCT_NAME`
    in the store, so that names remain unique.

    Args:
        path: File of the squares.
        frame: The squares.
        label_column: Name of the column of labels.

    Raises:
        PatchError: There is no CRS, no square, or no such column, or a name comes twice.
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
            known = ", ".join(name for name in frame.columns if name != frame.geometry.name)
            raise PatchError(f"{path}: has no column '{label_column}', only {known or 'none'}")
        labels = frame.get(label_column, pd.Series([()] * len(frame))).map(_parse_labels)
        matched = match_labels(labels.explode().dropna(), str(path))
        self._by_product = "product" in frame.columns
        self._frame = geopandas.GeoDataFrame(
            {
                "name": _texts(frame, "name") if "name" in frame else map(str, range(len(frame))),
                "labels": [
                    tuple(dict.fromkeys(matched[label] for label in each)) for each in labels
                ],
                "split": _texts(frame, "split"),
                "product": _texts(frame, "product"),
            },
            geometry=list(frame.geometry),
            crs=frame.crs,
        )
        names = self._frame["name"]
        if names.duplicated().any():
            repeated = names[names.duplicated()].iloc[0]
            raise PatchError(f"{path}: the name '{repeated}' comes twice; names must differ")
        self.nomenclature = nomenclature_of(self._frame["labels"].explode().dropna())

    def __len__(self) -> int:
        return len(self._frame)

    def counts(self, excluded: frozenset[str] = frozenset()) -> dict[str, int]:
        """Count the patches of each product, without those whose names are excluded.

        Raises:
            PatchError: There is no column `product`.
        """
        if not self._by_product:
            raise PatchError(
                f"{self.source}: has no column 'product', which is needed to count the patches of "
                "each product"
            )
        kept = ~self._frame["name"].isin(excluded)
        counted = self._frame["product"][kept].value_counts()
        return dict(sorted((str(key), int(count)) for key, count in counted.items()))

    def locate(self, product: Product) -> LocatedPatches:
        """Locate the patches that overlap a product."""
        west, south, east, north = product.grid.bounds
        own = transform_bounds(product.grid.crs, self._frame.crs, west, south, east, north)
        near = self._frame.cx[own[0] : own[2], own[1] : own[3]]
        if self._by_product:
            near = near.loc[[_is_name_of(str(name), product) for name in near["product"]]]
        near = near.to_crs(product.grid.crs)
        edges = near.bounds
        inside = (edges["maxx"].clip(upper=east) - edges["minx"].clip(lower=west) > TOLERANCE) & (
            edges["maxy"].clip(upper=north) - edges["miny"].clip(lower=south) > TOLERANCE
        )
        patches, misfits = [], {}
        for each in near[inside].itertuples():
            left, bottom, right, top = each.geometry.bounds
            window, reason = locate(product, left, top)
            width, height, area = right - left, top - bottom, each.geometry.area
            if (
                max(abs(width - PATCH_METRES), abs(height - PATCH_METRES)) > 2 * TOLERANCE
                or abs(area - PATCH_METRES**2) > 4 * TOLERANCE * PATCH_METRES
            ):
                reason = (
                    f"is {width:.0f} x {height:.0f} m in {product.grid.crs} (area "
                    f"{area / 1e6:.3f} km2), not a square of {PATCH_METRES} m along its axes"
                )
            if reason:
                misfits[each.name] = reason
                continue
            name = each.name if self._by_product else f"{product.id}_{each.name}"
            position = window.col, window.row
            patches.append(LocatedPatch(name, each.name, *position, each.labels, each.split))
        patches.sort(key=lambda patch: (patch.row, patch.column, patch.name))
        return LocatedPatches(patches, misfits)


def read_patch_list(path: Path, label_column: str = "labels") -> PatchList:
    """Read a list of patches.

    Args:
        path: BigEarthNet's metadata (`.parquet` with a column `patch_id`), an unpacked BigEarthNet
            v1, names of either version (`.txt`, `.csv`: the first entry of each line), or squares
            of 1200 m (GeoParquet, GeoJSON, or another format of GDAL).
        label_column: Column of the labels of squares.

    Raises:
        PatchError: It is none of these, or a value in it is invalid.
    """
    if not path.exists():
        raise PatchError(f"{path}: no such file or folder")
    try:
        if path.is_dir():
            return _read_v1(path)
        if path.suffix.lower() in (".txt", ".csv"):
            names = [name for name, _ in read_names(path)]
            return NamedPatches(str(path), pd.DataFrame({"name": names}, dtype=str))
        if path.suffix.lower() in (".parquet", ".geoparquet"):
            if "patch_id" in pq.read_schema(path).names:
                return _from_metadata(path)
            return MappedPatches(path, geopandas.read_parquet(path), label_column)
        return MappedPatches(path, geopandas.read_file(path), label_column)
    except (OSError, ValueError, RuntimeError) as error:  # of pyarrow, GDAL, JSON
        raise PatchError(
            f"{path}: no list of patches that can be read ({error}); give BigEarthNet's "
            "metadata.parquet, names in a .txt or .csv, or squares as GeoJSON or GeoParquet"
        ) from error


def _from_metadata(path: Path) -> NamedPatches:
    """BigEarthNet v2's `metadata.parquet`."""
    table = pd.read_parquet(path).rename(columns={"patch_id": "name", "s2v1_name": "alias"})
    labels = table["labels"].explode().dropna() if "labels" in table else ()
    return NamedPatches(str(path), table, nomenclature_of(labels))


def _read_v1(folder: Path) -> NamedPatches:
    """An unpacked BigEarthNet v1: one folder per patch, with its labels and tile as JSON.

    Raises:
        PatchError: There is no such JSON, or one cannot be used.
    """
    rows, acquisitions = [], []
    for path in sorted(folder.glob(f"*/*{V1_LABELS}")):
        content = read_json(path)
        tile_source = str(content.get("tile_source", ""))
        acquisition = parse_acquisition(tile_source.removesuffix(".SAFE"))
        if acquisition is None or not isinstance(content.get("labels"), list):
            raise PatchError(
                f"{path}: tile_source is '{tile_source}', labels {content.get('labels')!r}; "
                "expected a product's name and a list; unpack the archive again"
            )
        rows.append({"name": path.name.removesuffix(V1_LABELS), "labels": content["labels"]})
        acquisitions.append(acquisition)
    if not rows:
        raise PatchError(
            f"{folder}: no folder in it has a *{V1_LABELS}; give an unpacked BigEarthNet v1, or "
            "the metadata.parquet of v2"
        )
    return NamedPatches(str(folder), pd.DataFrame(rows), CORINE43, acquisitions)


def _is_name_of(text: str, product: Product) -> bool:
    name = text.removesuffix(".SAFE")
    acquisition = parse_acquisition(name)
    return name == product.id or bool(acquisition and acquisition.is_of(product))


def _texts(table: pd.DataFrame, key: str) -> list[str]:
    """A column as text; missing values as empty text."""
    if key not in table:
        return [""] * len(table)
    return ["" if pd.isna(value) else str(value) for value in table[key]]


def _parse_labels(value: Any) -> tuple[str, ...]:
    """Labels from a column: a list, JSON, or text separated by semicolons."""
    if value is None or isinstance(value, float):  # missing
        return ()
    if isinstance(value, str):
        text = value.strip()
        value = parse_json(text) if text.startswith("[") else text.split(";")
    return tuple(str(label).strip() for label in value if str(label).strip())
