"""Reading lists of wanted patches: names, or squares on a map."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from decametre.errors import PatchError
from decametre.landcover.bigearthnet.names import parse_acquisition, read_names
from decametre.landcover.extraction.mapped_patches import MappedPatches
from decametre.landcover.extraction.named_patches import NamedPatches
from decametre.landcover.extraction.placing import PatchList, nomenclature_of
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, CORINE43

V1_LABELS = "_labels_metadata.json"


def read_patch_list(path: Path, label_column: str = "labels") -> PatchList:
    """Read a list of patches.

    Args:
        path: BigEarthNet's metadata (`.parquet` with a column `patch_id`), an unpacked BigEarthNet
            v1, names of either version (`.txt`, `.csv`: the first of each line), or a grid of
            squares of 1200 m (GeoParquet, GeoJSON, or what else GDAL reads).
        label_column: Of a grid: the column of labels.

    Raises:
        PatchError: It is none of these, or something in it makes no sense.
    """
    if not path.exists():
        raise PatchError(f"{path}: no such file or folder")
    try:
        if path.is_dir():
            return _read_v1(path)
        if path.suffix.lower() in (".txt", ".csv"):
            return NamedPatches(str(path), [name for name, _ in read_names(path)])
        if path.suffix.lower() in (".parquet", ".geoparquet"):
            if "patch_id" in pq.read_schema(path).names:
                return _read_metadata(path)
            return MappedPatches(path, geopandas.read_parquet(path), label_column)
        return MappedPatches(path, geopandas.read_file(path), label_column)
    except (OSError, ValueError, RuntimeError) as error:  # of pyarrow, GDAL, JSON
        raise PatchError(
            f"{path}: no list of patches that can be read ({error}); give BigEarthNet's "
            "metadata.parquet, names in a .txt or .csv, or a grid as GeoJSON or GeoParquet"
        ) from error


def _read_metadata(path: Path) -> NamedPatches:
    """BigEarthNet v2's `metadata.parquet`."""
    columns = {"patch_id", "labels", "split", "s2v1_name", "country"}
    table = pq.read_table(path, columns=sorted(columns & set(pq.read_schema(path).names)))
    nomenclature = BIGEARTHNET19
    if "labels" in table.column_names:
        nomenclature = nomenclature_of(pc.unique(pc.list_flatten(table["labels"])).to_pylist())
    return NamedPatches(str(path), table["patch_id"].to_pylist(), table, nomenclature=nomenclature)


def _read_v1(folder: Path) -> NamedPatches:
    """An unpacked BigEarthNet v1: a folder a patch, with a JSON of its labels and its tile.

    Raises:
        PatchError: There is no such JSON in it, or one cannot be used.
    """
    names, labels, acquisitions = [], [], []
    for path in sorted(folder.glob(f"*/*{V1_LABELS}")):
        name = path.name.removesuffix(V1_LABELS)
        content = json.loads(path.read_text(encoding="utf-8"))
        tile_source = str(content.get("tile_source", ""))
        acquisition = parse_acquisition(tile_source.removesuffix(".SAFE"))
        if acquisition is None or not isinstance(content.get("labels"), list):
            raise PatchError(
                f"{path}: tile_source is '{tile_source}', labels {content.get('labels')!r}; "
                "expected a product's name and a list; unpack the archive again"
            )
        names.append(name)
        labels.append(content["labels"])
        acquisitions.append(acquisition)
    if not names:
        raise PatchError(
            f"{folder}: no folder in it has a *{V1_LABELS}; give an unpacked BigEarthNet v1, or "
            "the metadata.parquet of v2"
        )
    table = pa.table({"labels": pa.array(labels, pa.list_(pa.string()))})
    return NamedPatches(str(folder), names, table, acquisitions, CORINE43)
