"""Opening a folder with one image file for each band, without SAFE metadata.

| layout | files | offset |
|---|---|---|
| Theia / MAJA (Muscate) | `*_FRE_B2.tif`, `*_SRE_B2.tif`, int16, nodata -10000 | 0 |
| tiles on AWS | `B02.jp2`, or `R10m/B02.jp2`, with `tileInfo.json` | from the baseline |
| plain files | `ANYTHING_B02.tif`, `ANYTHING_B02_10m.jp2` | from a product name, or the user |

Theia's level-2A products have no 60 m bands. Their negative values are kept: DN are shifted by
1000, and the offset states it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
import rasterio.windows
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError, NotAProductError, RadiometryError
from decametre.files import read_json
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.gdal_settings import driver_of
from decametre.sentinel2.grid import Window
from decametre.sentinel2.masks import find_masks
from decametre.sentinel2.product import BandFile, Product
from decametre.sentinel2.radiometry import DN_MAX, DN_MIN, NODATA, Radiometry
from decametre.sentinel2.raster import common_grid, read_grid
from decametre.sentinel2.stac_metadata import (
    DEFAULT_SCALE,
    LOCAL_BASELINES,
    OFFSET_DN,
    DeclaredRadiometry,
    facts_of,
    find_baseline,
    radiometry_of,
    resolve_offsets,
)

log = logging.getLogger(__name__)

THEIA_NODATA = -10000
TILE_INFO = "tileInfo.json"

_BAND = re.compile(
    r"(?:.*?[_.-])?B(?P<band>0?[1-9]|1[12]|8A)(?:_(?P<gsd>10|20|60)m)?\.(?:tiff?|jp2)",
    re.IGNORECASE,
)
_THEIA = re.compile(r".*_(?P<kind>[SF]RE)_B(?P<band>[2-8]|8A|1[12])\.tif", re.IGNORECASE)
_THEIA_NAME = re.compile(
    r"(?P<platform>SENTINEL2[A-Z])_(?P<day>\d{8})-(?P<time>\d{6})-\d+_L2A_T(?P<tile>\w{5})_.*",
    re.IGNORECASE,
)
_SUBFOLDERS = ("", "R10m", "R20m", "R60m")


@dataclass(frozen=True)
class ShiftedImage:
    """A band of signed integers, as DN that are shifted to positive numbers; see `BandImage`.

    Attributes:
        name: Name of the band, for messages.
        path: The file.
        block_rows: Rows of its blocks.
    """

    name: str
    path: str
    block_rows: int

    def read(self, window: Window) -> np.ndarray:
        """The DN in a window in native pixels, uint16; 0 without data.

        Raises:
            CorruptDataError: The file is damaged.
        """
        at = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            with rasterio.open(self.path, driver=driver_of(self.path)) as dataset:
                values = dataset.read(1, window=at).astype(np.int32)
        except RasterioError as error:
            raise CorruptDataError(
                f"band {self.name}: cannot read {self.path} at pixels {window} "
                f"({error.__cause__ or error}); the file is damaged, download it again"
            ) from error
        shifted = np.clip(values - OFFSET_DN, DN_MIN, DN_MAX)
        return np.where(values == THEIA_NODATA, NODATA, shifted).astype(np.uint16)


def is_band_folder(path: Path) -> bool:
    """Whether a path is a folder of band files, or one of Theia's band files."""
    if path.is_dir():
        return bool(_theia_files(path, None) or _plain_files(path))
    return bool(_THEIA.fullmatch(path.name)) and path.is_file()


def open_band_folder(source: str, offset: float | None = None) -> Product:
    """Open a folder with one image file for each band; no pixel is read.

    Args:
        source: Path of the folder; for Theia, also of one of the files, which selects SRE or FRE.
        offset: Radiometric offset in DN for all bands; None: as the layout states.

    Raises:
        NotAProductError: A band has several files.
        CorruptDataError: A file is not a band image.
        GridError: The grids of the bands are inconsistent.
        RadiometryError: The offset is not stated, and the user gave none.
    """
    path = Path(source)
    if theia := _theia_files(path, None):
        return _open_theia(source, path, theia, offset)
    files = _plain_files(path)
    item = _described(path, files)
    baseline = find_baseline(item)
    if offset is None and (baseline is None or baseline.startswith(LOCAL_BASELINES)):
        raise RadiometryError(
            f"{source}: neither its names nor {TILE_INFO} state a processing baseline, so the "
            "offset is unknown; give --offset -1000 (DN of baseline 04.00 and later) or "
            "--offset none"
        )
    declared = {
        name: DeclaredRadiometry(str(file), DEFAULT_SCALE, None, NODATA)
        for name, file in files.items()
    }
    offsets, reason = resolve_offsets({}, declared, baseline, offset)
    bands = {
        name: BandFile(ALL_BANDS[name], str(file), radiometry_of(declared[name], offsets[name]))
        for name, file in files.items()
    }
    product = _product(source, item, bands, reason, offset)
    folders = (path / name for name in (*_SUBFOLDERS, "qi", "QI_DATA"))
    masks = find_masks(str(file) for folder in folders for file in _listing(folder))
    return dataclasses.replace(product, masks=masks)


def _product(
    source: str,
    item: pystac.Item,
    bands: Mapping[str, BandFile],
    reason: str,
    offset: float | None,
    dtype: str = "uint16",
) -> Product:
    grids = {name: read_grid(name, file.path, dtype) for name, file in bands.items()}
    return Product(
        **facts_of(item),
        source=source,
        datetime=item.properties.get("start_datetime"),
        grid=common_grid(source, grids),
        bands=bands,
        missing={
            name: f"no file named ..._{name}.tif or {name}.jp2 in {source}"
            for name in ALL_BANDS
            if name not in bands
        },
        offset_reason=reason,
        user_offset_dn=offset,
    )


# Theia ------------------------------------------------------------------------------------------


def _theia_files(path: Path, kind: str | None) -> dict[str, Path]:
    """Theia's files by band: of the kind of the given file, or else FRE if there are any."""
    if not path.is_dir():
        match = _THEIA.fullmatch(path.name)
        return _theia_files(path.parent, match["kind"].upper()) if match else {}
    found: dict[str, dict[str, Path]] = {}
    for file in _listing(path):
        if match := _THEIA.fullmatch(file.name):
            found.setdefault(match["kind"].upper(), {})[_band_name(match["band"])] = file
    return found.get(kind or ("FRE" if "FRE" in found else "SRE"), {})


def _open_theia(
    source: str, path: Path, files: Mapping[str, Path], offset: float | None
) -> Product:
    if offset is not None and offset != 0:
        raise RadiometryError(
            f"{source}: Theia's products have no offset, but --offset is {offset:g} DN; omit it"
        )
    folder = (path if path.is_dir() else path.parent).absolute()
    name = _THEIA_NAME.fullmatch(folder.name)
    properties = {"processing:level": "L2A"}
    if name:
        time = datetime.strptime(name["day"] + name["time"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        properties |= {
            "platform": name["platform"].lower().replace("sentinel", "sentinel-"),
            "s2:mgrs_tile": name["tile"].upper(),
            "start_datetime": time.isoformat().replace("+00:00", "Z"),
        }
    radiometry = Radiometry(DEFAULT_SCALE, OFFSET_DN * DEFAULT_SCALE, NODATA)
    bands = {}
    for band, file in files.items():
        image = ShiftedImage(band, str(file), _block_rows(file))
        bands[band] = BandFile(ALL_BANDS[band], str(file), radiometry, image=image)
    kind = "FRE" if "_FRE_" in next(iter(files.values())).name.upper() else "SRE"
    reason = f"none in Theia's {kind} files; DN are shifted by {-OFFSET_DN} to keep negative values"
    item = _item(folder.name, properties)
    return _product(source, item, bands, reason, None, dtype="int16")


def _block_rows(file: Path) -> int:
    try:
        with rasterio.open(file, driver=driver_of(str(file))) as dataset:
            return int(dataset.block_shapes[0][0])
    except RasterioError as error:
        raise CorruptDataError(f"cannot open {file} ({error}); download it again") from error


# Plain files ------------------------------------------------------------------------------------


def _plain_files(folder: Path) -> dict[str, Path]:
    """The file of each band on its native grid, in order of wavelength."""
    found: dict[str, list[Path]] = {}
    for subfolder in _SUBFOLDERS:
        for file in _listing(folder / subfolder):
            match = _BAND.fullmatch(file.name)
            name = _band_name(match["band"]) if match else ""
            gsd = (match and match["gsd"]) or subfolder[1:-1]
            if name in ALL_BANDS and gsd in ("", str(ALL_BANDS[name].gsd)):
                found.setdefault(name, []).append(file)
    for name, files in found.items():
        if len(files) > 1:
            raise NotAProductError(
                f"{folder}: band {name} has several files, {files[0].name} and {files[1].name}; "
                "keep the files of one product in a folder"
            )
    return {name: found[name][0] for name in ALL_BANDS if name in found}


def _described(folder: Path, files: Mapping[str, Path]) -> pystac.Item:
    """What names and `tileInfo.json` state, as an item."""
    properties: dict[str, str] = {}
    try:
        info = read_json(folder / TILE_INFO)
        product = str(info["productName"])
        zone = f"{int(info['utmZone']):02d}{info['latitudeBand']}{info['gridSquare']}"
        properties = {
            "s2:product_uri": product,
            "s2:mgrs_tile": zone,
            "start_datetime": str(info["timestamp"]),
        }
        return _item(product.removesuffix(".SAFE"), properties)
    except OSError:
        names = [folder.absolute().name, *(file.stem for file in files.values())]
        product = next((name for name in names if re.search(r"_N\d{4}_", name)), names[0])
        return _item(product, properties)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s: %s is not usable (%s)", folder, TILE_INFO, error)
        return _item(folder.absolute().name, properties)


def _item(name: str, properties: dict[str, str]) -> pystac.Item:
    return pystac.Item(name, None, None, datetime.min.replace(tzinfo=UTC), properties)


def _band_name(text: str) -> str:
    return f"B{text.upper().zfill(2)}"


def _listing(folder: Path) -> Iterator[Path]:
    """Files in a folder by name, without hidden ones; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(each.name for each in entries if each.is_file())
    except OSError:
        return
    yield from (folder / name for name in names if not name.startswith("."))
