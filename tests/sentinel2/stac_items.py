"""STAC items as their publishers write them, tiny GeoTIFFs, and a server that counts ranges."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES
from decametre.sentinel2.stac_metadata import EARTH_SEARCH_NAMES

SIDE = 600
"""Side of the little scene, in metres: 60, 30 and 10 pixels."""

CRS = "EPSG:32631"
LEFT, TOP = 300000, 4900020

Item = dict[str, Any]
Href = Callable[[str], str]
"""From a file's name to its href."""

PRODUCT = "S2A_MSIL2A_20230817T105031_{baseline}_R051_T31TCJ_20230817T170202"


def here(name: str) -> str:
    """An href beside the item."""
    return f"./{name}"


def write_band(path: Path, gsd: int, value: int = 1500, side: int = SIDE) -> Path:
    """A GeoTIFF of one band, every pixel with the same DN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((side // gsd, side // gsd), value, dtype=np.uint16)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=pixels.shape[1],
        height=pixels.shape[0],
        count=1,
        dtype="uint16",
        crs=CRS,
        transform=from_origin(LEFT, TOP, gsd, gsd),
        tiled=side // gsd > 512,
    ) as dataset:
        dataset.write(pixels, 1)
    return path


def write_bands(folder: Path, names: Sequence[str] = BAND_NAMES, suffix: str = ".tif") -> None:
    """`B01.tif` and so on; a band's DN is 1000 + its number in the metadata."""
    for name in names:
        write_band(folder / f"{name}{suffix}", ALL_BANDS[name].gsd, 1000 + ALL_BANDS[name].band_id)


def write_item(folder: Path, item: Item, name: str = "item.json") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(item), encoding="utf-8")
    return str(folder / name)


def _item(name: str, properties: Item, assets: Item, version: str, collection: str | None) -> Item:
    corner = [[0.0, 44.0], [0.1, 44.0], [0.1, 44.1], [0.0, 44.1], [0.0, 44.0]]
    item: Item = {
        "type": "Feature",
        "stac_version": version,
        "stac_extensions": [],
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [corner]},
        "bbox": [0.0, 44.0, 0.1, 44.1],
        "properties": properties,
        "links": [],
        "assets": assets,
    }
    if collection:
        # A root that is nowhere: opening an item must not follow its links.
        root = "https://catalogue.invalid"
        item["links"] = [
            {"rel": "root", "href": root, "type": "application/json"},
            {"rel": "collection", "href": f"{root}/collections/{collection}"},
        ]
        item["collection"] = collection
    return item


def _grid_of(gsd: int) -> Item:
    return {
        "proj:shape": [SIDE // gsd, SIDE // gsd],
        "proj:transform": [gsd, 0, LEFT, 0, -gsd, TOP],
    }


def own_item(href: Href = here, offset: float = 0, level: str = "L1C") -> Item:
    """As in the scenes on which decametre's networks are trained."""
    assets = {
        name: {
            "href": href(f"{name}.tif"),
            "type": "image/tiff; application=geotiff",
            "roles": ["data", "reflectance"],
            "gsd": band.gsd,
            **_grid_of(band.gsd),
            "bands": [
                {
                    "name": name,
                    "eo:common_name": band.common_name,
                    "eo:center_wavelength": band.wavelength,
                    "nodata": 0,
                    "data_type": "uint16",
                    "raster:scale": 0.0001,
                    "raster:offset": offset,
                }
            ],
        }
        for name, band in ALL_BANDS.items()
    }
    properties = {
        "datetime": "2017-05-27T00:00:00Z",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "processing:level": level,
        "proj:code": CRS,
        "s2:mgrs_tile": "33UUB",
        "s2:granule_id": "S2A_MSIL1C_20170527_T33UUB",
    }
    return _item("dsen2_T33UUB", properties, assets, "1.1.0", None)


def earth_search_item(
    href: Href = here,
    applied: bool | None = True,
    baseline: str | None = "05.09",
    stated: float | None = -0.1,
) -> Item:
    """Earth Search v1, `sentinel-2-l2a`; without `applied`, `sentinel-2-c1-l2a`."""
    assets: Item = {}
    for name, key in EARTH_SEARCH_NAMES.items():
        gsd = ALL_BANDS[name].gsd
        raster: Item = {
            "nodata": 0,
            "data_type": "uint16",
            "bits_per_sample": 15,
            "spatial_resolution": gsd,
            "scale": 0.0001,
        }
        if stated is not None:
            raster["offset"] = stated
        common: Item = {
            "title": f"{key} - {gsd}m",
            "eo:bands": [{"name": key, "common_name": key, "center_wavelength": 0.5}],
            "gsd": gsd,
            **_grid_of(gsd),
            "raster:bands": [raster],
        }
        assets[f"{key}-jp2"] = {
            "href": f"s3://sentinel-s2-l2a/tiles/31/T/CJ/2023/8/17/0/{name}.jp2",
            "type": "image/jp2",
            "roles": ["data", "reflectance"],
            **common,
        }
        assets[key] = {
            "href": href(f"{name}.tif"),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data", "reflectance"],
            **common,
        }
    for key, file in (("aot", "AOT"), ("scl", "SCL"), ("visual", "TCI"), ("wvp", "WVP")):
        assets[key] = {"href": href(f"{file}.tif"), "type": "image/tiff", "roles": ["data"]}
    assets["granule_metadata"] = {"href": href("granule_metadata.xml"), "roles": ["metadata"]}
    properties: Item = {
        "created": "2023-08-17T22:42:10.537Z",
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": 0,
        "proj:epsg": 32631,
        "mgrs:utm_zone": 31,
        "mgrs:latitude_band": "T",
        "mgrs:grid_square": "CJ",
        "grid:code": "MGRS-31TCJ",
        "view:sun_azimuth": 145.6,
        "view:sun_elevation": 55.9,
        "s2:product_type": "S2MSI2A",
        "s2:granule_id": "S2A_OPER_MSI_L2A_TL_2APS_20230817T170202_A042574_T31TCJ_N05.09",
        "s2:sequence": "0",
        "datetime": "2023-08-17T10:57:09.024000Z",
        "processing:software": {"sentinel2-to-stac": "0.1.1"},
    }
    if baseline is not None:
        properties["s2:processing_baseline"] = baseline
    if applied is not None:
        properties["earthsearch:boa_offset_applied"] = applied
    collection = "sentinel-2-l2a" if applied is not None else "sentinel-2-c1-l2a"
    return _item("S2A_31TCJ_20230817_0_L2A", properties, assets, "1.0.0", collection)


def earth_search_v0_item(href: Href = here, applied: bool | None = True) -> Item:
    """Earth Search v0, `sentinel-s2-l2a-cogs`, which has no statement about the bands' DN."""
    assets = {
        name: {
            "title": f"Band {name}",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "gsd": band.gsd,
            "eo:bands": [{"name": name}],
            "href": href(f"{name}.tif"),
            **_grid_of(band.gsd),
        }
        for name, band in ALL_BANDS.items()
    }
    properties = {
        "datetime": "2022-03-02T14:02:27Z",
        "platform": "sentinel-2b",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": 81.59,
        "proj:epsg": 32631,
        "sentinel:utm_zone": 5,
        "sentinel:latitude_band": "V",
        "sentinel:grid_square": "NK",
        "sentinel:product_id": "S2B_MSIL2A_20220302T221939_N0400_R029_T05VNK_20220302T234135",
        "sentinel:processing_baseline": "04.00",
        "sentinel:data_coverage": 88.44,
    }
    if applied is not None:
        properties["sentinel:boa_offset_applied"] = applied
    return _item("S2B_5VNK_20220302_0_L2A", properties, assets, "1.0.0", "sentinel-s2-l2a-cogs")


def planetary_computer_item(href: Href = here, baseline: str = "05.09") -> Item:
    """Planetary Computer, `sentinel-2-l2a`."""
    assets: Item = {
        name: {
            "href": href(f"{name}.tif"),
            "proj:bbox": [LEFT, TOP - SIDE, LEFT + SIDE, TOP],
            **_grid_of(band.gsd),
            "gsd": float(band.gsd),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "title": f"Band {name} - {band.gsd}m",
            "eo:bands": [{"name": name, "description": f"Band {name}"}],
        }
        for name, band in ALL_BANDS.items()
    }
    for key in ("AOT", "SCL", "WVP", "visual"):
        assets[key] = {"href": href(f"{key}.tif"), "type": "image/tiff", "roles": ["data"]}
    properties = {
        "datetime": "2023-08-17T10:50:31.024000Z",
        "platform": "Sentinel-2A",
        "proj:epsg": 32631,
        "instruments": ["msi"],
        "s2:mgrs_tile": "31TCJ",
        "constellation": "Sentinel 2",
        "s2:granule_id": "S2A_OPER_MSI_L2A_TL_MSFT_20230817T170202_A042574_T31TCJ_N05.09",
        "eo:cloud_cover": 3.1,
        "s2:datatake_id": "GS2A_20230817T105031_042574_N05.09",
        "s2:product_uri": PRODUCT.format(baseline="N" + baseline.replace(".", "")) + ".SAFE",
        "s2:product_type": "S2MSI2A",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 51,
        "s2:processing_baseline": baseline,
        "s2:mean_solar_zenith": 34.1,
    }
    name = "S2A_MSIL2A_20230817T105031_R051_T31TCJ_20230817T170202"
    return _item(name, properties, assets, "1.0.0", "sentinel-2-l2a")


CDSE_GSDS = {
    10: ("B02", "B03", "B04", "B08"),
    20: tuple(name for name in BAND_NAMES if name not in ("B08", "B09")),
    60: tuple(name for name in BAND_NAMES if name != "B08"),
}
"""In which of the folders R10m, R20m, R60m of a Level-2A product each band lies."""


def cdse_item(
    s3: Href = here,
    https: Href | None = None,
    version: str = "05.09",
    offset: float | None = -0.1,
) -> Item:
    """Copernicus Data Space, `sentinel-2-l2a`: all bands at all resolutions."""
    assets: Item = {}
    for gsd, names in CDSE_GSDS.items():
        for name in names:
            file = f"{name}_{gsd}m.tif"
            assets[f"{name}_{gsd}m"] = {
                "href": s3(file),
                "bands": [
                    {
                        "name": name,
                        "eo:common_name": ALL_BANDS[name].common_name,
                        "eo:center_wavelength": ALL_BANDS[name].wavelength,
                    }
                ],
                "gsd": gsd,
                "type": "image/jp2",
                "roles": ["data", "reflectance"],
                "title": f"{name} - {gsd}m",
                "nodata": 0,
                "data_type": "uint16",
                "proj:code": CRS,
                **_grid_of(gsd),
                "raster:scale": 0.0001,
                "auth:refs": ["s3"],
                "storage:refs": ["cdse-s3", "creodias-s3"],
                "alternate:name": "S3",
            }
            if offset is not None:
                assets[f"{name}_{gsd}m"]["raster:offset"] = offset
            if https:
                assets[f"{name}_{gsd}m"]["alternate"] = {
                    "https": {"href": https(file), "auth:refs": ["oidc"], "alternate:name": "HTTPS"}
                }
    for key in ("AOT_10m", "SCL_20m", "TCI_10m", "WVP_10m"):
        assets[key] = {"href": s3(f"{key}.jp2"), "type": "image/jp2", "nodata": 0}
    assets["product_metadata"] = {"href": s3("MTD_MSIL2A.xml"), "type": "application/xml"}
    name = PRODUCT.format(baseline="N" + version.replace(".", ""))
    properties = {
        "gsd": 10,
        "datetime": "2023-08-17T10:50:31.024Z",
        "start_datetime": "2023-08-17T10:50:31.024Z",
        "end_datetime": "2023-08-17T10:50:31.024Z",
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "grid:code": "MGRS-31TCJ",
        "product:type": "S2MSI2A",
        "processing:level": "L2",
        "processing:version": version,
        "eo:cloud_cover": 0.0,
        "eo:snow_cover": 0.0,
        "sat:orbit_state": "descending",
        "sat:absolute_orbit": 42574,
        "sat:relative_orbit": 51,
        "view:azimuth": 138.1,
        "view:incidence_angle": 3.1,
        "view:sun_azimuth": 145.6,
        "view:sun_elevation": 55.9,
        "eopf:datatake_id": "GS2A_20230817T105031_042574_N05.09",
    }
    return _item(name, properties, assets, "1.1.0", "sentinel-2-l2a")


def write_cdse_bands(folder: Path) -> None:
    """All bands at all resolutions, with DN of 10000 where the resolution is not the native one."""
    for gsd, names in CDSE_GSDS.items():
        for name in names:
            native = ALL_BANDS[name].gsd == gsd
            value = 1000 + ALL_BANDS[name].band_id if native else 10000
            write_band(folder / f"{name}_{gsd}m.tif", gsd, value)


@dataclass
class Server:
    """A running server and what it was asked for.

    Attributes:
        url: Its address, without a slash at the end.
        log: Method, path and `Range` header of each request.
        sent: Bytes of content that it sent.
        status: Paths that it answers with an error, and which.
        pages: Functions, from the query to the content, for paths that are no files.
    """

    url: str = ""
    log: list[tuple[str, str, str | None]] = field(default_factory=list)
    sent: int = 0
    status: dict[str, int] = field(default_factory=dict)
    pages: dict[str, Callable[[str], bytes]] = field(default_factory=dict)

    def ranges(self, path: str) -> list[str | None]:
        """The `Range` headers of all GET requests for a path."""
        return [ranges for method, asked, ranges in self.log if (method, asked) == ("GET", path)]


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Serve a folder on the loopback interface, with range requests as real servers have them."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            asked = self.headers.get("Range")
            state.log.append((self.command, path, asked))
            file = folder / path.lstrip("/")
            if path in state.status:
                return self.answer(state.status[path], b"refused")
            if path in state.pages:
                return self.answer(200, state.pages[path](query))
            if not file.is_file():
                return self.answer(404, b"not found")
            content = file.read_bytes()
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
            if not match:
                return self.answer(200, content)
            start, end = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
            if start >= len(content):
                return self.answer(416, b"")
            place = f"bytes {start}-{end}/{len(content)}"
            return self.answer(206, content[start : end + 1], {"Content-Range": place})

        do_HEAD = do_GET  # noqa: N815

        def answer(self, status: int, content: bytes, headers: Item | None = None) -> None:
            self.send_response(status)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                state.sent += len(content)
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Silence."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
