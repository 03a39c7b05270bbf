"""Areas of interest: polygons from GeoJSON, GeoPackage or WKT, on the grid of a product.

Options hold an area as EWKT text, `SRID=4326;POLYGON ((...))`, so it can be sent to workers that do
not have the file.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import geometry_mask
from rasterio.warp import transform
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from decametre.errors import GridError
from decametre.sentinel2.grid import Grid, Window

LONLAT = 4326
"""EPSG code of longitude and latitude, the CRS of GeoJSON, and of WKT by default."""

ACCEPTED = "give polygons as GeoJSON, GeoPackage (.gpkg) or WKT"

MAX_EDGE_PARTS = 32
"""Edges are divided before they are projected: a straight edge in degrees is a curve in metres."""

_WKT = re.compile(r"\s*(SRID=(?P<srid>\d+);)?\s*(?P<wkt>(MULTI)?POLYGON\s*Z?\s*\(.*)", re.I | re.S)
_GPKG_ENVELOPES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}
"""Bytes of the envelope in a GeoPackage geometry, by its code."""


def area_text(source: str) -> str:
    """Read an area of interest as EWKT.

    Args:
        source: Path of a GeoJSON file, GeoPackage or text file with WKT; or WKT itself.

    Raises:
        GridError: It cannot be read, has another CRS than an EPSG code, or holds no polygon.
    """
    if match := _WKT.fullmatch(source):
        return _ewkt(_parsed(match["wkt"], "the area"), int(match["srid"] or LONLAT), "the area")
    path = Path(source)
    if not path.is_file():
        raise GridError(f"area {source[:100]}: no such file; {ACCEPTED}")
    try:
        if path.suffix.lower() == ".gpkg":
            geometries, srid = _read_geopackage(path)
        else:
            text = path.read_text(encoding="utf-8-sig")
            if _WKT.fullmatch(text):
                return area_text(text)
            geometries, srid = _read_geojson(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CRSError) as error:
        raise GridError(f"area {path}: cannot be read ({error}); {ACCEPTED}") from error
    except (sqlite3.Error, shapely.errors.ShapelyError) as error:
        raise GridError(f"area {path}: is damaged ({error}); {ACCEPTED}") from error
    return _ewkt(shapely.union_all(geometries), srid, f"area {path}")


def _parsed(wkt: str, where: str) -> BaseGeometry:
    try:
        return shapely.from_wkt(wkt)
    except shapely.errors.ShapelyError as error:
        raise GridError(f"{where}: is not valid WKT ({error}); {ACCEPTED}") from error


def _ewkt(geometry: BaseGeometry, srid: int, where: str) -> str:
    if geometry.is_empty or geometry.geom_type not in ("Polygon", "MultiPolygon"):
        raise GridError(f"{where}: holds {geometry.geom_type}, no polygon; {ACCEPTED}")
    return f"SRID={srid};{shapely.to_wkt(geometry, rounding_precision=9, trim=True)}"


def _read_geojson(document: dict[str, Any]) -> tuple[list[BaseGeometry], int]:
    """Geometries and EPSG code; a `crs` of earlier GeoJSON counts."""
    match document["type"]:
        case "FeatureCollection":
            found = [feature["geometry"] for feature in document["features"]]
        case "Feature":
            found = [document["geometry"]]
        case _:
            found = [document]
    srid = LONLAT
    if document.get("crs"):
        srid = _epsg(document["crs"]["properties"]["name"])
    return [shape(each) for each in found if each], srid


def _read_geopackage(path: Path) -> tuple[list[BaseGeometry], int]:
    """Geometries of the first layer of a file, and the EPSG code of their CRS."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        table, column, srs = database.execute(
            "SELECT table_name, column_name, srs_id FROM gpkg_geometry_columns"
        ).fetchone()
        organization, code = database.execute(
            "SELECT organization, organization_coordsys_id FROM gpkg_spatial_ref_sys "
            "WHERE srs_id = ?",
            (srs,),
        ).fetchone()
        quoted = ['"{}"'.format(name.replace('"', '""')) for name in (column, table)]
        rows = database.execute("SELECT {} FROM {}".format(*quoted)).fetchall()
    geometries = []
    for (blob,) in rows:
        if blob is not None:
            header = 8 + _GPKG_ENVELOPES[(blob[3] >> 1) & 7]
            geometries.append(shapely.from_wkb(blob[header:]))
    return geometries, _epsg(f"{organization}:{code}")


def _epsg(name: str) -> int:
    crs = CRS.from_user_input(name)
    code = LONLAT if name.upper().endswith("CRS84") else crs.to_epsg()
    if code is None:
        raise ValueError(f"its CRS {name} has no EPSG code")
    return int(code)


class Area:
    """An area of interest on the grid of a product.

    Args:
        text: EWKT, from `area_text`.
        grid: The 10 m grid of the product.

    Raises:
        GridError: The area and the product do not overlap.
    """

    def __init__(self, text: str, grid: Grid) -> None:
        self.grid = grid
        self.polygon = _projected(text, grid.crs)
        west, south, east, north = self.polygon.bounds
        bounds = (west, south, east, north)
        if np.isfinite(bounds).all():
            self.window = grid.window_of_bounds(bounds).intersection(grid.window)
        if not np.isfinite(bounds).all() or not self.window.width or not self.window.height:
            raise GridError(
                "the area is outside the product, which covers "
                f"{','.join(f'{value:.0f}' for value in grid.bounds)} in {grid.crs}"
            )

    def outside(self, window: Window) -> np.ndarray:
        """Which 10 m pixels of a window have their centre outside the area: bool, (rows, columns).

        Args:
            window: In 10 m pixels of the product.
        """
        part = self.grid.crop(window)
        return self.outside_of(part.shape(), part.transform())

    def outside_of(self, pixels: tuple[int, int], coefficients: tuple[float, ...]) -> np.ndarray:
        """As `outside`, for another grid in the CRS of the product.

        Args:
            pixels: Rows and columns.
            coefficients: The six affine coefficients (a, b, c, d, e, f).
        """
        affine = rasterio.Affine(*coefficients)
        found: np.ndarray = geometry_mask([self.polygon], pixels, affine)
        return found


@functools.lru_cache(maxsize=4)
def _projected(text: str, crs: str) -> BaseGeometry:
    """The polygons of EWKT in another CRS, with their edges divided."""
    srid, _, wkt = text.removeprefix("SRID=").partition(";")
    polygon = _parsed(wkt, "the area")
    west, south, east, north = polygon.bounds
    longest = max(east - west, north - south)
    polygon = shapely.segmentize(polygon, longest / MAX_EDGE_PARTS)

    def project(points: np.ndarray) -> np.ndarray:
        return np.stack(transform(f"EPSG:{srid}", crs, points[:, 0], points[:, 1]), axis=1)

    return shapely.make_valid(shapely.transform(shapely.force_2d(polygon), project))
