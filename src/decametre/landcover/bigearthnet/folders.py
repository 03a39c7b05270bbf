"""Read BigEarthNet as published: folders of GeoTIFFs, with labels as JSON (v1) or a table (v2).

v1  PATCH/PATCH_B01.tif ..., PATCH/PATCH_labels_metadata.json             43 classes
v2  BigEarthNet-S2/TILE/PATCH/PATCH_B01.tif ..., metadata.parquet         19 classes
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import rasterio
from rasterio.errors import RasterioError

from decametre.errors import (
    CorruptDataError,
    GridError,
    MissingBandError,
    PatchError,
    UnknownNameError,
)
from decametre.files import read_json
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, CORINE43, Nomenclature
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS, PATCH_METRES, SPLITS, Patch
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES
from decametre.sentinel2.raster import BandGrid, common_grid

LABELS = "_labels_metadata.json"
TABLE = "metadata.parquet"

NO_OFFSET = np.zeros(len(BAND_NAMES), np.int32)
"""BigEarthNet was sensed in 2017 and 2018, and has no radiometric offset."""


class Metadata:
    """BigEarthNet v2's tables: labels of the 19 classes, official split and country of each patch.

    Args:
        paths: `metadata.parquet`, and, to include snowy and cloudy patches, also
            `metadata_for_patches_with_snow_cloud_or_shadow.parquet`.
        key: Column of patch names: `patch_id`, or `s2v1_name` for patches of v1.

    Raises:
        PatchError: A table cannot be read, repeats a patch, or has an unknown class or split.
    """

    def __init__(self, paths: Sequence[Path], key: str = "patch_id") -> None:
        columns = [key, "labels", "split", "country"]
        self.paths = paths
        tables = [self._read(path, columns) for path in paths]
        self._table = pa.concat_tables(tables).combine_chunks()
        names = self._table[key].to_pylist()
        self._rows = {name: row for row, name in enumerate(names)}
        if len(self._rows) < len(names):
            raise PatchError(f"{self}: a patch appears twice; give each table once")

    @staticmethod
    def _read(path: Path, columns: list[str]) -> pa.Table:
        try:
            table = pq.read_table(path, columns=columns)
            missing = [column for column in columns if column not in table.column_names]
            labels = pc.unique(pc.list_flatten(table["labels"])).to_pylist() if not missing else []
        except (OSError, pa.ArrowException) as error:
            raise PatchError(
                f"{path}: cannot be read ({error}); give BigEarthNet's {TABLE}"
            ) from error
        if missing:
            raise PatchError(
                f"{path} has no column {', '.join(missing)}; give BigEarthNet's {TABLE}"
            )
        try:
            BIGEARTHNET19.row(labels)
        except UnknownNameError as error:
            raise PatchError(f"{path}: {error}") from error
        unknown = set(pc.unique(table["split"]).to_pylist()) - set(SPLITS)
        if unknown:
            raise PatchError(f"{path}: split '{unknown.pop()}' is not one of {', '.join(SPLITS)}")
        return table

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths))

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def labels(self, name: str) -> tuple[str, ...]:
        """Labels of a patch."""
        return tuple(self._table["labels"][self._rows[name]].as_py())

    def split(self, name: str) -> str:
        """Official split of a patch."""
        return str(self._table["split"][self._rows[name]].as_py())

    def country(self, name: str) -> str:
        """Country of a patch."""
        return str(self._table["country"][self._rows[name]].as_py())


class FolderV1:
    """An unpacked BigEarthNet v1.

    Args:
        root: The folder that holds a folder per patch.
        metadata: v2's tables by v1 name, for official splits and countries. Patches that are not in
            the tables have neither.
    """

    nomenclature: Nomenclature = CORINE43

    def __init__(self, root: Path, metadata: Metadata | None = None) -> None:
        self.root, self.metadata = root, metadata

    @cached_property
    def names(self) -> list[str]:
        """Names of all patches, sorted."""
        return sorted(folder.name for folder in _folders(self.root))

    def read(self, name: str) -> Patch:
        """Read one patch.

        Raises:
            CorruptDataError: A file cannot be decoded.
            MissingBandError: A band is missing.
            GridError: Bands do not fit each other, or do not cover 1200 m.
            UnknownNameError: A label is not one of the 43.
        """
        folder = self.root / name
        path = folder / f"{name}{LABELS}"
        try:
            content = read_json(path)
        except FileNotFoundError as error:
            raise CorruptDataError(f"{path}: no such file; unpack the archive again") from error
        except (OSError, ValueError) as error:
            raise CorruptDataError(f"{path}: not JSON ({error}); unpack it again") from error
        labels = content.get("labels") if isinstance(content, dict) else None
        if not isinstance(labels, list) or not labels:
            raise CorruptDataError(f"{path}: no list of labels; unpack the archive again")
        try:
            ordered = CORINE43.labels(CORINE43.row(map(str, labels)))
        except UnknownNameError as error:
            raise CorruptDataError(f"{path}: {error}") from error
        ground = read_folder(folder)
        metadata = self.metadata if self.metadata and name in self.metadata else None
        return Patch(
            name=name,
            product=str(content.get("tile_source", "")).removesuffix(".SAFE"),
            crs=ground.crs,
            origin=ground.origin,
            split=metadata.split(name) if metadata else "",
            labels=ordered,
            data=ground.data,
            offset=NO_OFFSET,
            country=metadata.country(name) if metadata else "",
        )


class FolderV2:
    """An unpacked BigEarthNet v2 (reBEN).

    Args:
        root: The folder that holds a folder per tile, `BigEarthNet-S2`.
        metadata: Its tables; patches that are not in them cannot be read.
    """

    nomenclature: Nomenclature = BIGEARTHNET19

    def __init__(self, root: Path, metadata: Metadata) -> None:
        self.root, self.metadata = root, metadata

    @cached_property
    def names(self) -> list[str]:
        """Names of all patches, sorted."""
        return sorted(patch.name for tile in _folders(self.root) for patch in _folders(tile))

    def read(self, name: str) -> Patch:
        """Read one patch; raises the errors of `FolderV1.read`."""
        product = name.rsplit("_", 2)[0]
        ground = read_folder(self.root / product / name)
        return Patch(
            name=name,
            product=product,
            crs=ground.crs,
            origin=ground.origin,
            split=self.metadata.split(name),
            labels=self.metadata.labels(name),
            data=ground.data,
            offset=NO_OFFSET,
            country=self.metadata.country(name),
        )


def _folders(root: Path) -> list[Path]:
    """The folders of Sentinel-2 patches or tiles in a folder."""
    return [entry for entry in root.iterdir() if entry.name.startswith("S2") and entry.is_dir()]


def open_folder(path: Path, tables: Sequence[Path]) -> FolderV1 | FolderV2 | None:
    """Open an unpacked BigEarthNet.

    Args:
        path: The folder of the patches or tiles, or its parent.
        tables: v2's tables; by default they are searched next to the folders of v2.

    Returns:
        The archive, or None if the folder holds neither version.

    Raises:
        PatchError: The tables cannot be used, or those of v2 are missing.
    """
    for root in (path, *sorted(path.glob("BigEarthNet*"))):
        first = next(iter(_folders(root)), None) if root.is_dir() else None
        if first is None:
            continue
        if _folders(first):
            return FolderV2(root, Metadata(tables or find_tables(path, root)))
        return FolderV1(root, Metadata(tables, "s2v1_name") if tables else None)
    return None


def find_tables(archive: Path, *folders: Path) -> list[Path]:
    """Find `metadata.parquet` in an archive, other folders, or next to the archive.

    Raises:
        PatchError: There is none.
    """
    for folder in (archive, *folders, archive.parent):
        if (folder / TABLE).is_file():
            return [folder / TABLE]
    raise PatchError(
        f"{archive}: no {TABLE} in it or next to it, which holds labels and splits; give it with "
        "--metadata"
    )


class Ground(NamedTuple):
    """Fields of `Patch` that a patch's GeoTIFFs hold."""

    crs: str
    origin: tuple[float, float]
    data: dict[str, np.ndarray]


def read_folder(folder: Path) -> Ground:
    """Read a patch's GeoTIFFs.

    Raises:
        CorruptDataError: A file cannot be decoded.
        MissingBandError: A band is missing.
        GridError: Bands do not fit each other, or do not cover 1200 m.
    """
    bands = {name: _read_band(folder / f"{folder.name}_{name}.tif", name) for name in BAND_NAMES}
    grid = common_grid(str(folder), {name: grid for name, (grid, _) in bands.items()})
    if (grid.width * 10, grid.height * 10) != (PATCH_METRES, PATCH_METRES):
        raise GridError(
            f"{folder}: covers {grid.width * 10} x {grid.height * 10} m, expected "
            f"{PATCH_METRES} x {PATCH_METRES} m"
        )
    data = stacked({name: image for name, (_, image) in bands.items()})
    return Ground(grid.crs, (grid.left, grid.top), data)


def stacked(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stack images by band, in any order, to the native images of a patch."""
    return {key: np.stack([images[name] for name in LAYOUTS[key].bands]) for key in NATIVE_KEYS}


def _read_band(path: Path, name: str) -> tuple[BandGrid, np.ndarray]:
    if not path.is_file():
        raise MissingBandError(f"{path}: no such file; the patch has no band {name}")
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            image = dataset.read(1)
            epsg = dataset.crs.to_epsg() if dataset.crs else None
            transform = tuple(dataset.transform)[:6]
    except RasterioError as error:
        raise CorruptDataError(
            f"{path}: cannot be decoded ({error.__cause__ or error}); unpack it again"
        ) from error
    size = PATCH_METRES // ALL_BANDS[name].gsd
    if image.shape != (size, size) or image.dtype != np.uint16:
        raise GridError(
            f"{path}: {image.dtype} of {image.shape[0]} x {image.shape[1]} pixels, expected "
            f"uint16 of {size} x {size}"
        )
    if epsg is None:
        raise CorruptDataError(f"{path}: no coordinate system; unpack the archive again")
    return BandGrid(f"EPSG:{epsg}", transform, size, size), image
