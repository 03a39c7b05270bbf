"""Opening a product in any of the supported formats."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from decametre.errors import NotAProductError
from decametre.sentinel2.band_folder import is_band_folder, open_band_folder
from decametre.sentinel2.eopf import open_eopf
from decametre.sentinel2.hrefs import is_remote, is_web, local_path
from decametre.sentinel2.options import parse_offset
from decametre.sentinel2.product import Product
from decametre.sentinel2.safe import open_safe
from decametre.sentinel2.source_check import check_source, names_in
from decametre.sentinel2.stac import open_stac
from decametre.sentinel2.zarr_store import is_zarr, zarr_root

ACCEPTED = (
    "a SAFE folder, a SAFE .zip, its MTD_MSI*.xml, an EOPF .zarr, a STAC item, or a folder of band "
    "files such as X_B02.tif"
)


def open_product(source: str | os.PathLike[str], offset: str | float = "auto") -> Product:
    """Open a Sentinel-2 product; no pixel is read.

    Args:
        source: A SAFE folder, a SAFE .zip, the path of its MTD_MSI*.xml, or the folder of one of
            its granules; an EOPF Zarr folder, zip or URL; a folder with one image file for each
            band; or a STAC item: its path, its http(s):// or file:// URL, or a folder that
            contains an `item.json`.
        offset: `auto` (as stated in the metadata), `none`, or a number of DN such as -1000.

    Raises:
        NotAProductError: It is none of these.
        MissingBandError: None of the band files exists.
        CorruptDataError: A file is damaged.
        GridError: The grids of the bands are inconsistent.
        RadiometryError: The offset, or a scale or offset in the metadata, is not usable.
    """
    text, offset_dn = os.fspath(source), parse_offset(offset)
    if is_remote(text) and (root := zarr_root(text)):
        return open_eopf(root, offset_dn)
    if is_web(text):
        return open_stac(text, offset_dn)
    text = local_path(text)
    if is_remote(text):
        raise NotAProductError(f"{text}: only file, http and https URLs can be opened")
    check_source(text)
    path = Path(text)
    if is_zarr(path):
        return open_eopf(text, offset_dn)
    if path.is_dir():
        if not is_safe(path) and (path / "item.json").is_file():
            return open_stac(str(path / "item.json"), offset_dn)
        if not is_safe(path) and is_band_folder(path):
            return open_band_folder(text, offset_dn)
        if not is_safe(path):
            raise NotAProductError(
                f"{text}: not a Sentinel-2 product; give {_inside(path) or ACCEPTED}"
            )
        return open_safe(text, offset_dn)
    if path.suffix.lower() in (".json", ".geojson"):
        return open_stac(text, offset_dn)
    if path.suffix.lower() == ".zip" or _is_metadata(path.name) or zipfile.is_zipfile(path):
        return open_safe(text, offset_dn)
    if is_band_folder(path):
        return open_band_folder(text, offset_dn)
    unpack = "unpack it, and " if path.suffix.lower() in (".tar", ".tgz", ".gz") else ""
    raise NotAProductError(f"{text}: not a Sentinel-2 product; {unpack}give {ACCEPTED}")


def is_safe(folder: Path) -> bool:
    """Whether a folder is a SAFE product (complete or incomplete) or one of its granules."""
    return (
        folder.suffix.upper() == ".SAFE"
        or folder.absolute().parent.name == "GRANULE"
        or any(_is_metadata(name) for name in names_in(folder))
    )


def _is_metadata(name: str) -> bool:
    """Whether a name is that of SAFE metadata: `MTD_...` or `S2A_OPER_MTD_...`."""
    name = name.upper()
    return name.endswith(".XML") and name.startswith(("MTD_", "S2")) and "MTD_" in name


def _inside(folder: Path) -> str:
    """Path of the first product inside a folder, or an empty text."""
    return next((str(folder / name) for name in names_in(folder) if ".SAFE" in name.upper()), "")
