"""Read BigEarthNet v2 as encoded by rico-hdl: an LMDB of safetensors, one value per patch.

Keys are patch names; a value holds the bands by name. The database may also hold values of
Sentinel-1 patches and of reference maps. Labels and splits are in BigEarthNet's metadata.parquet.
The georeference of a patch is derived from its name, which states tile, column and row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import lmdb
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from decametre.errors import CorruptDataError, GridError, MissingBandError, PatchError
from decametre.landcover.bigearthnet.folders import NO_OFFSET, Metadata, find_tables, stacked
from decametre.landcover.bigearthnet.names import corner_of, parse_acquisition, split_name
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, Nomenclature
from decametre.landcover.patches.patch import PATCH_METRES, Patch
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES


class LmdbArchive:
    """A BigEarthNet v2 in an LMDB.

    Args:
        path: The folder of the database, or its file.
        metadata: BigEarthNet v2's tables.

    Raises:
        PatchError: It is not an LMDB, or an LMDB of pickles.
    """

    nomenclature: Nomenclature = BIGEARTHNET19

    def __init__(self, path: Path, metadata: Metadata) -> None:
        self.path, self.metadata = path, metadata
        try:
            self._database = lmdb.open(
                str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
            )
        except lmdb.Error as error:
            raise PatchError(f"{path}: no LMDB that can be read ({error})") from error
        # The JSON header of a safetensors value starts at byte 8.
        if self.names and self._value(self.names[0])[8:9] != b"{":
            raise PatchError(
                f"{path} does not hold safetensors; pickled Python objects, as of "
                "bigearthnet_encoder, could run any code and are not read: encode the archive with "
                "rico-hdl, or import its folders"
            )

    def _value(self, name: str) -> bytes:
        with self._database.begin() as view:
            return bytes(view.get(name.encode(), b""))

    @cached_property
    def names(self) -> list[str]:
        """Names of all Sentinel-2 patches, sorted."""
        with self._database.begin() as view:
            keys = [
                bytes(key).decode("utf-8", "replace")
                for key in view.cursor().iternext(values=False)
            ]
        found = []
        for key in keys:
            parts = split_name(key)
            if parts and parse_acquisition(parts[0]):
                found.append(key)
        return sorted(found)

    def read(self, name: str) -> Patch:
        """Read one patch.

        Raises:
            CorruptDataError: A value is not safetensors, or the name is not one of BigEarthNet v2.
            MissingBandError: A band is missing.
            GridError: A band has another size.
        """
        where = f"{self.path}: patch {name}"
        try:
            images = load(self._value(name))
        except (SafetensorError, KeyError) as error:
            raise CorruptDataError(f"{where} is not safetensors ({error})") from error
        for band in BAND_NAMES:
            if band not in images:
                raise MissingBandError(f"{where} lacks band {band}; it has {', '.join(images)}")
            size = PATCH_METRES // ALL_BANDS[band].gsd
            if images[band].shape != (size, size) or images[band].dtype != np.uint16:
                raise GridError(
                    f"{where}: band {band} is {images[band].dtype} of shape {images[band].shape}, "
                    f"expected uint16 of {size} x {size}"
                )
        parts = split_name(name)
        acquisition = parse_acquisition(parts[0]) if parts else None
        if parts is None or acquisition is None or not acquisition.tile:
            raise CorruptDataError(f"{where}: not a name of BigEarthNet v2, which states the tile")
        product, column, row = parts
        left, top = corner_of(acquisition.tile)
        return Patch(
            name=name,
            product=product,
            crs=f"EPSG:{32600 + int(acquisition.tile[:2])}",
            origin=(left + PATCH_METRES * column, top - PATCH_METRES * row),
            split=self.metadata.split(name),
            labels=self.metadata.labels(name),
            data=stacked(images),
            offset=NO_OFFSET,
            country=self.metadata.country(name),
        )


def open_lmdb(path: Path, tables: Sequence[Path]) -> LmdbArchive | None:
    """Open a BigEarthNet v2 in an LMDB.

    Args:
        path: The folder of the database, with `data.mdb` in it, or the database file.
        tables: BigEarthNet v2's tables; by default they are searched in and next to the folder.

    Returns:
        The archive, or None if the path is not an LMDB.

    Raises:
        PatchError: The database or the tables cannot be used.
    """
    if not (path.suffix in (".mdb", ".lmdb") if path.is_file() else (path / "data.mdb").is_file()):
        return None
    return LmdbArchive(path, Metadata(tables or find_tables(path)))
