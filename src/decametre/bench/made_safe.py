"""A SAFE product made from arrays, in ESA's layout: JPEG 2000 files and the metadata around them.

It has what the reader looks at, with realistic names, and nothing else: no masks, no auxiliary data,
no preview. It is made for benchmarks and tests, and says so in its product type.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio

from decametre.bands import ALL_BANDS
from decametre.grid import Grid

START = "2023-08-17T10:46:29.024Z"
STAMP = "20230817T104629"

JPEG2000_TILE = {10: 1024, 20: 640, 60: 192}
"""Edges of the tiles that ESA uses at each GSD, in pixels."""


def make_safe(
    folder: Path,
    bands: Mapping[str, np.ndarray],
    *,
    level: str = "L1C",
    baseline: str = "05.09",
    offset_dn: int | None = -1000,
    platform: str = "Sentinel-2A",
    tile: str = "31TCJ",
    crs: str = "EPSG:32631",
    left: float = 300000.0,
    top: float = 4900020.0,
) -> Path:
    """Write a SAFE folder.

    Args:
        folder: Where the SAFE folder is to stand.
        bands: DN of each band, uint16 (rows, columns) on its native grid; read one at a time.
        level: `L1C` or `L2A`.
        baseline: Processing baseline, such as `05.09`.
        offset_dn: Radiometric offset in DN for every band; None leaves it out, as before 04.00.
        platform: `Sentinel-2A`, `Sentinel-2B` or `Sentinel-2C`.
        tile: MGRS tile.
        crs: Of the grid.
        left: Easting of the western edge in metres.
        top: Northing of the northern edge in metres.

    Returns:
        The SAFE folder.
    """
    mission = f"S2{platform[-1]}"
    number = baseline.replace(".", "")
    name = f"{mission}_MSI{level}_{STAMP}_N{number}_R051_T{tile}_20230817T134917"
    granule = f"{level}_T{tile}_A042579_{STAMP}"
    safe = folder / f"{name}.SAFE"
    images = {}
    for band, dn in bands.items():
        gsd = ALL_BANDS[band].gsd
        image = f"T{tile}_{STAMP}_{band}"
        inside = f"GRANULE/{granule}/IMG_DATA/"
        inside += f"R{gsd}m/{image}_{gsd}m" if level == "L2A" else image
        path = safe / f"{inside}.jp2"
        path.parent.mkdir(parents=True, exist_ok=True)
        grid = Grid(crs, left, top, dn.shape[1] * gsd // 10, dn.shape[0] * gsd // 10)
        write_jp2(path, dn, grid, gsd)
        images[band] = inside
    product_xml = product_metadata(name, level, baseline, offset_dn, platform, granule, images)
    (safe / f"MTD_MSI{level}.xml").write_text(product_xml, encoding="utf-8")
    (safe / "GRANULE" / granule / "MTD_TL.xml").write_text(GRANULE_XML, encoding="utf-8")
    return safe


def write_jp2(path: Path, dn: np.ndarray, grid: Grid, gsd: int) -> None:
    """Write one band as lossless JPEG 2000, tiled as ESA does."""
    profile = {
        "driver": "JP2OpenJPEG",
        "height": dn.shape[0],
        "width": dn.shape[1],
        "count": 1,
        "dtype": "uint16",
        "crs": grid.crs,
        "transform": rasterio.Affine(*grid.transform(gsd)),
        "QUALITY": "100",
        "REVERSIBLE": "YES",
        "BLOCKXSIZE": min(JPEG2000_TILE[gsd], dn.shape[1]),
        "BLOCKYSIZE": min(JPEG2000_TILE[gsd], dn.shape[0]),
        "NUM_THREADS": "ALL_CPUS",
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(dn, 1)


def zip_safe(safe: Path) -> Path:
    """Zip a SAFE folder as it is downloaded: the folder at top level, deflated."""
    path = safe.with_suffix(".SAFE.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(safe.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(safe.parent))
    return path


def product_metadata(
    name: str,
    level: str,
    baseline: str,
    offset_dn: int | None,
    platform: str,
    granule: str,
    images: Mapping[str, str],
) -> str:
    """`MTD_MSIL1C.xml` or `MTD_MSIL2A.xml`."""
    if level == "L2A":
        quantification = (
            "<QUANTIFICATION_VALUES_LIST>"
            '<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
            "</QUANTIFICATION_VALUES_LIST>"
        )
        tag, listing = "BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST"
    else:
        quantification = '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
        tag, listing = "RADIO_ADD_OFFSET", "Radiometric_Offset_List"
    offsets = ""
    if offset_dn is not None:
        values = "".join(f'<{tag} band_id="{i}">{offset_dn}</{tag}>' for i in range(13))
        offsets = f"<{listing}>{values}</{listing}>"
    files = "".join(f"<IMAGE_FILE>{path}</IMAGE_FILE>" for path in images.values())
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{level[1:]}_User_Product xmlns:n1="https://psd-15.sentinel2.eo.esa.int/PSD/made.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{START}</PRODUCT_START_TIME>
      <PRODUCT_URI>{name}.SAFE</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{level[1:]}</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI{level[1:]}</PRODUCT_TYPE>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <Datatake>
        <SPACECRAFT_NAME>{platform}</SPACECRAFT_NAME>
        <SENSING_ORBIT_NUMBER>51</SENSING_ORBIT_NUMBER>
        <SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION>
      </Datatake>
      <Product_Organisation>
        <Granule_List>
          <Granule granuleIdentifier="{granule}" imageFormat="JPEG2000">{files}</Granule>
        </Granule_List>
      </Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
      {quantification}
      {offsets}
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{level[1:]}_User_Product>
"""


GRANULE_XML = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-1C_Tile_ID xmlns:n1="https://psd-15.sentinel2.eo.esa.int/PSD/made.xsd">
  <n1:Geometric_Info>
    <Tile_Angles>
      <Mean_Sun_Angle>
        <ZENITH_ANGLE unit="deg">33.5</ZENITH_ANGLE>
        <AZIMUTH_ANGLE unit="deg">151.2</AZIMUTH_ANGLE>
      </Mean_Sun_Angle>
    </Tile_Angles>
  </n1:Geometric_Info>
</n1:Level-1C_Tile_ID>
"""
