"""Areas of interest, whatever their format and CRS."""

import json

import geopandas
import numpy as np
import pytest
import shapely

from decametre.errors import GridError
from decametre.sentinel2.area import Area, area_text
from decametre.sentinel2.grid import Grid, Window

GRID = Grid("EPSG:32631", 300000, 4900020, 600, 600)
TRIANGLE = shapely.Polygon([(301003, 4898997), (302997, 4898997), (301003, 4897003)])


def lonlat(polygon):
    return geopandas.GeoSeries([polygon], crs="EPSG:32631").to_crs(4326).iloc[0]


@pytest.fixture(params=["geojson", "gpkg", "gpkg in metres", "wkt file", "wkt", "ewkt", "old crs"])
def source(request, tmp_path):
    """The triangle in every form."""
    degrees, feature = lonlat(TRIANGLE), {"type": "Feature", "properties": {}}
    match request.param:
        case "geojson":
            content = {"type": "FeatureCollection"}
            content["features"] = [feature | {"geometry": degrees.__geo_interface__}]
        case "old crs":
            content = feature | {"geometry": TRIANGLE.__geo_interface__}
            content["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
        case "gpkg":
            geopandas.GeoDataFrame(geometry=[degrees], crs=4326).to_file(tmp_path / "a.gpkg")
            return str(tmp_path / "a.gpkg")
        case "gpkg in metres":
            geopandas.GeoDataFrame(geometry=[TRIANGLE], crs=32631).to_file(tmp_path / "a.gpkg")
            return str(tmp_path / "a.gpkg")
        case "wkt file":
            (tmp_path / "a.wkt").write_text(f"{degrees.wkt}\n")
            return str(tmp_path / "a.wkt")
        case "wkt":
            return degrees.wkt
        case "ewkt":
            return f"SRID=32631;{TRIANGLE.wkt}"
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    return str(tmp_path / "a.geojson")


def test_every_form_is_the_same_area(source):
    area = Area(area_text(source), GRID)
    assert area.window == Window(100, 102, 200, 200)
    assert area.polygon.symmetric_difference(TRIANGLE).area < 1000  # m2, of 2,000,000
    outside = area.outside(area.window)
    rows, columns = np.mgrid[:200, :200]
    certain = np.abs(rows + columns - 199) > 1  # the diagonal edge passes through pixel centres
    np.testing.assert_array_equal(outside[certain], (rows + columns >= 200)[certain])


def test_the_text_of_an_area_is_an_area():
    text = area_text(f"SRID=32631;{TRIANGLE.wkt}")
    assert area_text(text) == text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.geojson", None, "no such file; give polygons as GeoJSON"),
        ("a.geojson", "{", "cannot be read"),
        ("a.geojson", '{"type": "Point", "coordinates": [1, 2]}', "holds Point, no polygon"),
        ("a.geojson", '{"type": "FeatureCollection", "features": []}', "no polygon"),
        ("a.gpkg", "text", "is damaged"),
        ("a.wkt", "POLYGON ((1 2, 3", "not valid WKT"),
    ],
)
def test_what_is_no_area_is_refused_in_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(GridError, match=message):
        area_text(str(tmp_path / name))


def test_an_area_elsewhere_is_refused():
    with pytest.raises(GridError, match=r"outside the product, which covers 300000,4894020"):
        Area(area_text("POLYGON ((100 10, 101 10, 101 11, 100 10))"), GRID)
