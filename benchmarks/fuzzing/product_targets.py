"""Targets that are products, lists of products, and results; see `targets.py`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.fuzzing.file_targets import Attempt
from benchmarks.fuzzing.mutations import mutate_bytes, mutate_tree, mutate_xml
from decametre.bench.synthetic_eopf import make_eopf
from decametre.bench.synthetic_safe import make_safe
from decametre.fleet.completion import result_state
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.inputs.product_list import read_listing
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.raster import BandReader
from decametre.sentinel2.safe_metadata import (
    parse_granule_metadata,
    parse_manifest,
    parse_product_metadata,
)

EDGE = 60
"""Edge of the products in 10 m pixels."""


def _pixels() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.integers(1, 4000, (EDGE * 10 // band.gsd,) * 2, dtype=np.uint16)
        for name, band in ALL_BANDS.items()
    }


def _read_pixels(source: Path) -> None:
    """Open a product and read all its pixels."""
    product = open_product(source)
    window = product.grid.window
    if window.width * window.height > 4 * EDGE * EDGE:  # a valid larger grid: its first pixels
        window = type(window)(0, 0, 6, 6)
    with BandReader(product, product.bands) as reader:
        reader.read_all(product.bands, window)


def _safe(folder: Path) -> Path:
    return make_safe(folder, _pixels(), level="L2A")


# Products ---------------------------------------------------------------------------------------


def mtd_target(folder: Path) -> Attempt:
    """Mutate `MTD_MSIL2A.xml`."""
    content = (_safe(folder) / "MTD_MSIL2A.xml").read_bytes()
    return lambda random: parse_product_metadata(mutate_xml(content, random), "MTD") and None


def mtd_tl_target(folder: Path) -> Attempt:
    """Mutate `MTD_TL.xml`."""
    content = next(_safe(folder).glob("GRANULE/*/MTD_TL.xml")).read_bytes()
    return lambda random: parse_granule_metadata(mutate_xml(content, random), "MTD_TL") and None


def safe_manifest_target(folder: Path) -> Attempt:
    """Mutate `manifest.safe`."""
    content = (
        b'<xfdu><dataObject><byteStream mimeType="x"><fileLocation href="./GRANULE/a.jp2"/>'
        b'<checksum checksumName="MD5">5d41402abc4b2a76b9719d911017c592</checksum></byteStream>'
        b"</dataObject></xfdu>"
    )
    return lambda random: parse_manifest(mutate_xml(content, random), "manifest") and None


def safe_folder_target(folder: Path) -> Attempt:
    """Mutate the metadata of a SAFE folder."""
    safe = _safe(folder)
    files = [safe / "MTD_MSIL2A.xml", *safe.glob("GRANULE/*/MTD_TL.xml")]
    contents = {path: path.read_bytes() for path in files}

    def attempt(random: Random) -> None:
        for path, content in contents.items():
            path.write_bytes(mutate_xml(content, random) if random.random() < 0.7 else content)
        _read_pixels(safe)

    return attempt


def safe_zip_target(folder: Path) -> Attempt:
    """Mutate the bytes of a SAFE zip."""
    safe = _safe(folder / "unpacked")
    path = folder / "product.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(safe.rglob("*")):
            archive.write(file, file.relative_to(safe.parent))
    return _bytes_of(path, _read_pixels, tail=0.5)


def _bytes_of(path: Path, read: Callable[[Path], Any], tail: float = 0.0) -> Attempt:
    """Mutate the bytes of a file; a share of the mutations only in its last 4096 bytes."""
    content = path.read_bytes()

    def attempt(random: Random) -> None:
        at = max(0, len(content) - 4096) if random.random() < tail else 0
        path.write_bytes(content[:at] + mutate_bytes(content[at:], random))
        read(path)

    return attempt


def stac_item_target(folder: Path) -> Attempt:
    """Mutate a STAC item."""
    item = _with_item(folder)
    path = folder / "item.json"

    def attempt(random: Random) -> None:
        path.write_text(json.dumps(mutate_tree(item, random)))
        _read_pixels(path)

    return attempt


def _with_item(folder: Path) -> dict[str, Any]:
    """A STAC item of a product whose files lie next to it."""
    safe = _safe(folder)
    assets = {}
    for path in safe.rglob("*.jp2"):
        ends = {name: f"_{name}_{band.gsd}m.jp2" for name, band in ALL_BANDS.items()}
        for name in [name for name, end in ends.items() if path.name.endswith(end)]:
            assets[name] = {
                "href": str(path.relative_to(folder)),
                "type": "image/jp2",
                "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}],
            }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2A_MSIL2A_20230817T105031_N0509_R051_T31TCJ_20230817T170411",
        "geometry": None,
        "links": [],
        "properties": {
            "datetime": "2023-08-17T10:50:31Z",
            "platform": "sentinel-2a",
            "s2:processing_baseline": "05.09",
            "proj:epsg": 32631,
        },
        "assets": assets,
    }


def stac_catalog_target(folder: Path) -> Attempt:
    """Mutate a catalog or an ItemCollection, and its items."""
    item = _with_item(folder)
    catalog = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "c",
        "links": [{"rel": "item", "href": "item.json"}, {"rel": "child", "href": "child.json"}],
    }
    collection = {"type": "FeatureCollection", "features": [item, item | {"id": "b"}]}

    def attempt(random: Random) -> None:
        document = random.choice((catalog, collection))
        (folder / "list.json").write_text(json.dumps(mutate_tree(document, random)))
        (folder / "item.json").write_text(json.dumps(mutate_tree(item, random)))
        (folder / "child.json").write_text(json.dumps(mutate_tree(catalog, random)))
        read_listing(str(folder / "list.json"), folder / "items")

    return attempt


def eopf_target(zarr_format: int) -> Callable[[Path], Attempt]:
    """Mutate metadata or chunks of an EOPF product."""

    def prepare(folder: Path) -> Attempt:
        root = make_eopf(folder, _pixels(), zarr_format=zarr_format, level="L2A")
        contents = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        names = (".zmetadata", ".zattrs", ".zarray", ".zgroup", "zarr.json")
        metadata = [path for path in contents if path.name in names]
        roots = [path for path in metadata if path.parent == root]
        chunks = [path for path in contents if path not in metadata]

        def attempt(random: Random) -> None:
            paths = random.choice((roots, metadata, chunks))
            path = random.choice(paths)
            if path in metadata and random.random() < 0.8:
                tree = mutate_tree(json.loads(contents[path]), random)
                path.write_text(json.dumps(tree))
            else:
                path.write_bytes(mutate_bytes(contents[path], random))
            try:
                _read_pixels(root)
            finally:
                path.write_bytes(contents[path])

        return attempt

    return prepare


def image_target(suffix: str) -> Callable[[Path], Attempt]:
    """One band file, whose bytes are mutated; most mutations in its header."""

    def prepare(folder: Path) -> Attempt:
        item = _with_item(folder)
        path = folder / item["assets"]["B02"]["href"]
        if suffix == ".tif":
            import rasterio.shutil

            rasterio.shutil.copy(path, folder / "B02.tif", driver="COG", compress="DEFLATE")
            path = folder / "B02.tif"
        item["assets"] = {"B02": item["assets"]["B02"] | {"href": str(path)}}
        (folder / "item.json").write_text(json.dumps(item))
        content = path.read_bytes()

        def attempt(random: Random) -> None:
            end = 600 if random.random() < 0.7 else len(content)
            path.write_bytes(mutate_bytes(content[:end], random) + content[end:])
            _read_pixels(folder / "item.json")

        return attempt

    return prepare


def result_target(folder: Path) -> Attempt:
    """Mutate the STAC item of a fleet's result."""
    item = _with_item(folder)
    entry = ProductEntry("p", str(folder / "p.SAFE"))
    (folder / "p").mkdir()

    def attempt(random: Random) -> None:
        (folder / "p" / "p.json").write_text(json.dumps(mutate_tree(item, random)))
        result_state(folder, entry, {"a": 1})

    return attempt
