"""Synthetic SAFE products: arrays written in ESA's layout.

Tests and benchmarks need products of known content and any size. A synthetic product has ESA's
names, folders, metadata elements, JPEG 2000 tiling and georeference, and the given pixels. It lacks
what readers of the bands do not need: manifest, previews, masks, spectral responses, true-colour
image and B10. Sensing time, orbit, angles and cloud cover are invented.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from decametre.sentinel2.bands import ALL_BANDS

_TILE_PIXELS = {10: 1024, 20: 640, 60: 192}
"""Edge of the JPEG 2000 tiles, by ground sampling distance in metres."""

_START, _START_NAME, _CREATED_NAME = (
    "2023-08-17T10:50:31.024Z",
    "20230817T105031",
    "20230817T170411",
)


@dataclass(frozen=True)
class _Names:
    """Names of a product and its parts; paths are relative to the product's root."""

    product: str
    metadata: str
    granule_id: str
    granule: str
    granule_metadata: str
    image: str  # a band's file without `.jp2`, with fields for its name and resolution


def make_safe(
    folder: Path,
    bands: Mapping[str, np.ndarray],
    *,
    level: str = "L1C",
    baseline: str = "05.09",
    offset_dn: int | Mapping[str, int] | None = -1000,
    crs: str = "EPSG:32631",
    left: float = 300000,
    top: float = 4900020,
    platform: str = "Sentinel-2A",
    tile: str = "31TCJ",
    layout: str = "new",
    lossless: bool = True,
) -> Path:
    """Write arrays as a SAFE product in ESA's layout.

    Args:
        folder: Folder in which the product's folder is created.
        bands: DN by band name, uint16, (rows, columns) on the band's native grid. They are read
            and written one at a time. A missing band has no file, but is listed in the metadata.
        level: `L1C` or `L2A`.
        baseline: Processing baseline.
        offset_dn: Radiometric offset in DN: one for all bands; or by band name, without an element
            for other bands; or None for metadata without offsets.
        crs: Coordinate reference system.
        left: Easting of the western edge, in metres.
        top: Northing of the northern edge, in metres.
        platform: `Sentinel-2A`, `Sentinel-2B` or `Sentinel-2C`.
        tile: MGRS tile.
        layout: `new`, or `old` for the one before December 2016.
        lossless: Keep all DN; otherwise compress to two fifths, similar to ESA's files.

    Returns:
        The product's folder, whose name ends in `.SAFE`.
    """
    old = layout == "old"
    names = _names(level, old, baseline, f"S2{platform[-1]}", tile)
    safe = folder / f"{names.product}.SAFE"
    (safe / names.granule).mkdir(parents=True)
    for name in bands:
        gsd = ALL_BANDS[name].gsd
        path = safe / f"{names.image.format(band=name, gsd=gsd)}.jp2"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_jp2(path, bands[name], gsd, crs, left, top, lossless)
    if not isinstance(offset_dn, Mapping):
        offset_dn = {} if offset_dn is None else dict.fromkeys(ALL_BANDS, offset_dn)
    xml = _product_xml(names, level, old, baseline, offset_dn, platform)
    (safe / names.metadata).write_text(xml, encoding="utf-8")
    (safe / names.granule_metadata).write_text(_granule_xml(names, level), encoding="utf-8")
    return safe


def zip_safe(safe: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Pack a SAFE folder into `X.SAFE.zip` next to it, as products are downloaded.

    Args:
        safe: The folder.
        compression: One of `zipfile`'s constants.
    """
    packed = safe.with_name(f"{safe.name}.zip")
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for path in [safe, *sorted(safe.rglob("*"))]:
            archive.write(path, path.relative_to(safe.parent))
    return packed


def _names(level: str, old: bool, baseline: str, mission: str, tile: str) -> _Names:
    if old:
        # L1C came from ESA, L2A from the user's own Sen2Cor.
        origin = f"{mission}_{'OPER' if level == 'L1C' else 'USER'}"
        product = f"{origin}_PRD_MSI{level}_PDMC_{_CREATED_NAME}_R051_V{_START_NAME}_{_START_NAME}"
        metadata = product.replace(f"PRD_MSI{level}", f"MTD_SAF{level}") + ".xml"
        image = f"{origin}_MSI_{level}_TL_EPA__{_CREATED_NAME}_A042587_T{tile}"
        granule = granule_id = f"{image}_N{baseline}"
        granule_metadata = image.replace("_MSI_", "_MTD_") + ".xml"
    else:
        product = (
            f"{mission}_MSI{level}_{_START_NAME}_N{baseline.replace('.', '')}_R051_T{tile}"
            f"_{_CREATED_NAME}"
        )
        metadata, granule_metadata = f"MTD_MSI{level}.xml", "MTD_TL.xml"
        image = f"T{tile}_{_START_NAME}"
        granule = f"{level}_T{tile}_A042587_{_START_NAME}"
        granule_id = (
            f"{mission}_OPER_MSI_{level}_TL_2APS_{_CREATED_NAME}_A042587_T{tile}_N{baseline}"
        )
    image = f"{image}_{{band}}" if level == "L1C" else f"R{{gsd}}m/{image}_{{band}}_{{gsd}}m"
    return _Names(
        product=product,
        metadata=metadata,
        granule_id=granule_id,
        granule=f"GRANULE/{granule}",
        granule_metadata=f"GRANULE/{granule}/{granule_metadata}",
        image=f"GRANULE/{granule}/IMG_DATA/{image}",
    )


def _write_jp2(
    path: Path, image: np.ndarray, gsd: int, crs: str, left: float, top: float, lossless: bool
) -> None:
    lossy, exact = {"QUALITY": "40"}, {"QUALITY": "100", "REVERSIBLE": "YES"}  # percent of the size
    options = {
        "GDAL_NUM_THREADS": "ALL_CPUS",
        "GDAL_PAM_ENABLED": False,
        # Without `tiled`, rasterio ignores the block size; with it, GDAL warns about the option.
        "GDAL_VALIDATE_CREATION_OPTIONS": False,
    }
    profile = {
        "driver": "JP2OpenJPEG",
        "height": image.shape[0],
        "width": image.shape[1],
        "count": 1,
        "dtype": "uint16",
        "crs": crs,
        "transform": (gsd, 0, left, 0, -gsd, top),
        "tiled": True,
        "blockxsize": _TILE_PIXELS[gsd],
        "blockysize": _TILE_PIXELS[gsd],
        **(exact if lossless else lossy),
    }
    with rasterio.Env(**options), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(image, 1)


def _product_xml(
    names: _Names, level: str, old: bool, baseline: str, offsets: Mapping[str, int], platform: str
) -> str:
    kind = level[1:]
    prefix = "L2A_" if old and level == "L2A" else ""
    granule, image = ("Granules", "IMAGE_ID") if old else ("Granule", "IMAGE_FILE")
    image += "_2A" if prefix else ""
    # L2A has each band at its native resolution and at coarser ones.
    paths = (
        names.image.format(band=name, gsd=gsd)
        for gsd in (10, 20, 60)
        for name, band in ALL_BANDS.items()
        if band.gsd == gsd or (level == "L2A" and band.gsd < gsd)
    )
    listed = (path.rpartition("/")[2] if old else path for path in paths)
    images = "\n".join(f"          <{image}>{text}</{image}>" for text in listed)
    uri = "" if old else f"<PRODUCT_URI>{names.product}.SAFE</PRODUCT_URI>"
    quantity = f"{prefix}BOA_QUANTIFICATION_VALUE" if level == "L2A" else "QUANTIFICATION_VALUE"
    tag, parent = {
        "L1C": ("RADIO_ADD_OFFSET", "Radiometric_Offset_List"),
        "L2A": ("BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST"),
    }[level]
    elements = "".join(
        f'<{tag} band_id="{ALL_BANDS[name].band_id}">{offset}</{tag}>'
        for name, offset in offsets.items()
    )
    root = f"n1:Level-{kind}_User_Product"
    schema = f"https://psd-1{3 if old else 4}.sentinel2.eo.esa.int/PSD/User_Product_Level-{kind}"
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<{root} xmlns:n1="{schema}.xsd">
  <n1:General_Info>
    <{prefix}Product_Info>
      <PRODUCT_START_TIME>{_START}</PRODUCT_START_TIME>
      {uri}
      <PROCESSING_LEVEL>Level-{kind}</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <Datatake>
        <SPACECRAFT_NAME>{platform}</SPACECRAFT_NAME>
        <SENSING_ORBIT_NUMBER>51</SENSING_ORBIT_NUMBER>
        <SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION>
      </Datatake>
      <{prefix}Product_Organisation><Granule_List>
        <{granule} granuleIdentifier="{names.granule_id}" imageFormat="JPEG2000">
{images}
        </{granule}>
      </Granule_List></{prefix}Product_Organisation>
    </{prefix}Product_Info>
    <{prefix}Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <{quantity} unit="none">10000</{quantity}>
      {f"<{parent}>{elements}</{parent}>" if elements else ""}
    </{prefix}Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Quality_Indicators_Info>
    <Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment>
  </n1:Quality_Indicators_Info>
</{root}>
"""


def _granule_xml(names: _Names, level: str) -> str:
    root = f"n1:Level-{level[1:]}_Tile_ID"
    views = "".join(
        f'<Mean_Viewing_Incidence_Angle bandId="{band.band_id}">'
        f'<ZENITH_ANGLE unit="deg">{3 + band.band_id / 4}</ZENITH_ANGLE>'
        '<AZIMUTH_ANGLE unit="deg">200</AZIMUTH_ANGLE></Mean_Viewing_Incidence_Angle>'
        for band in ALL_BANDS.values()
    )
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<{root} xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{level[1:]}_Tile.xsd">
  <n1:General_Info><TILE_ID>{names.granule_id}</TILE_ID></n1:General_Info>
  <n1:Geometric_Info>
    <Tile_Angles>
      <Mean_Sun_Angle>
        <ZENITH_ANGLE unit="deg">31.5</ZENITH_ANGLE>
        <AZIMUTH_ANGLE unit="deg">152.25</AZIMUTH_ANGLE>
      </Mean_Sun_Angle>
      <Mean_Viewing_Incidence_Angle_List>{views}</Mean_Viewing_Incidence_Angle_List>
    </Tile_Angles>
  </n1:Geometric_Info>
</{root}>
"""
