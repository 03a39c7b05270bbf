"""Lists of patches, and where they lie in a product."""

import json

import geopandas
import pytest
from shapely.affinity import rotate
from shapely.geometry import box

from decametre.errors import PatchError
from decametre.landcover.bigearthnet.names import read_names
from decametre.landcover.extraction.patch_lists import CompleteGrid, read_patch_list
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, CORINE43, nomenclature_of
from tests.landcover.bigearthnet.archives import DATA
from tests.landcover.extraction.scenes import product_of

STEM = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"


def square(x, y, edge=1200):
    return box(x, y - edge, x + edge, y)


def grid_file(path, squares, crs="EPSG:32633", **columns):
    frame = geopandas.GeoDataFrame(columns, geometry=squares, crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


def test_metadata_of_v2(tmp_path):
    wanted = read_patch_list(DATA / "v2" / "metadata.parquet")
    assert len(wanted) == 4
    assert wanted.nomenclature == BIGEARTHNET19
    placed = wanted.locate(product_of(width=10980, height=10980))
    assert [patch.name for patch in placed.patches] == [f"{STEM}_89_18", f"{STEM}_75_43"]
    first = placed.patches[0]
    assert (first.column, first.row) == (89 * 120, 18 * 120)
    assert first.split in ("train", "validation", "test")
    assert first.labels
    assert first.country == "Austria"
    assert first.alias == "S2A_MSIL2A_20170613T101031_89_18"
    assert not placed.misfits


def test_a_part_of_a_tile_counts_from_the_tiles_corner():
    part = product_of(width=600, height=600, left=300000 + 75 * 1200, top=5400000 - 42 * 1200)
    placed = read_patch_list(DATA / "v2" / "metadata.parquet").locate(part)
    assert [(patch.column, patch.row) for patch in placed.patches] == [(0, 120)]
    assert "not completely inside" in placed.misfits[f"{STEM}_89_18"]


def test_an_unpacked_v1(tmp_path):
    wanted = read_patch_list(DATA / "v1")
    names = sorted(path.name for path in (DATA / "v1").iterdir())
    assert len(wanted) == len(names)
    assert wanted.nomenclature == CORINE43
    placed = wanted.locate(
        product_of(
            width=10980,
            height=10980,
            left=600000,
            top=5900040,
            crs="EPSG:32629",
            datetime="2017-06-17T11:33:21Z",
            tile="29UPU",
        )
    )
    stated = json.loads(next(DATA.glob("v1/*_4_55/*.json")).read_text())
    (patch,) = [each for each in placed.patches if each.name.endswith("_4_55")]
    assert list(patch.labels) == stated["labels"]
    assert (patch.column, patch.row) == (480, 6600)


@pytest.mark.parametrize("name", ["names.txt", "names.csv"])
def test_names_in_text(tmp_path, name):
    path = tmp_path / name
    path.write_text(f"# mine\n{STEM}_00_01\n\n{STEM}_02_00,x\n")
    wanted = read_patch_list(path)
    assert [p.name for p in wanted.locate(product_of()).patches] == [
        f"{STEM}_02_00",
        f"{STEM}_00_01",
    ]
    assert wanted.counts() == {"S2A 2017-06-13 10:10 T33UUP": 2}
    assert wanted.counts(frozenset({f"{STEM}_00_01"})) == {"S2A 2017-06-13 10:10 T33UUP": 1}


def test_counts_leave_out_by_either_name():
    wanted = read_patch_list(DATA / "v2" / "metadata.parquet")
    total = sum(wanted.counts().values())
    assert sum(wanted.counts(frozenset({f"{STEM}_75_43"})).values()) == total - 1
    alias = frozenset({"S2A_MSIL2A_20170613T101031_75_43"})
    assert sum(wanted.counts(alias).values()) == total - 1


def test_other_products_have_none():
    other = product_of(tile="34VER")
    assert read_patch_list(DATA / "v2" / "metadata.parquet").locate(other).patches == []


@pytest.mark.parametrize("suffix", [".geojson", ".parquet", ".gpkg"])
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3035"])
def test_grids_in_any_crs(tmp_path, suffix, crs):
    squares = [square(300000 + 1200, 5400000 - 60), square(300000, 5400000 - 1260)]
    shapes = geopandas.GeoSeries(squares, crs="EPSG:32633").to_crs(crs)
    path = grid_file(
        tmp_path / f"grid{suffix}",
        list(shapes),
        crs,
        name=["b", "a"],
        labels=["Pastures; Mixed forest", "Mixed forest"],
        split=["train", None],
    )
    wanted = read_patch_list(path)
    product = product_of()
    placed = wanted.locate(product)
    assert [(p.listed, p.column, p.row) for p in placed.patches] == [("b", 120, 6), ("a", 0, 126)]
    assert placed.patches[0].name == f"{product.id}_b"
    assert placed.patches[0].labels == ("Pastures", "Mixed forest")
    assert [p.split for p in placed.patches] == ["train", ""]
    assert wanted.nomenclature == BIGEARTHNET19


def test_labels_as_lists(tmp_path):
    path = grid_file(tmp_path / "grid.parquet", [square(300000, 5400000)], what=[["water", "a; b"]])
    wanted = read_patch_list(path, "what")
    assert wanted.nomenclature.classes == ("a; b", "water")
    assert wanted.locate(product_of()).patches[0].labels == ("water", "a; b")
    feature = {
        "type": "Feature",
        "properties": {"what": ["water", "a; b"]},
        "geometry": square(300000, 5400000).__geo_interface__,
    }
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    document = {"type": "FeatureCollection", "crs": crs, "features": [feature]}
    (tmp_path / "grid.geojson").write_text(json.dumps(document))
    again = read_patch_list(tmp_path / "grid.geojson", "what")
    assert again.locate(product_of()).patches[0].labels == ("water", "a; b")


def test_a_column_names_the_product(tmp_path):
    product = product_of()
    squares = [square(300000 + 1200 * i, 5400000) for i in range(4)]
    path = grid_file(
        tmp_path / "grid.parquet",
        squares,
        name=list("abcd"),
        product=[product.id, f"{product.id}.SAFE", STEM, "another"],
    )
    wanted = read_patch_list(path)
    assert [p.name for p in wanted.locate(product).patches] == ["a", "b", "c"]
    assert wanted.locate(product_of(left=600000)).patches == []  # far from all of them
    assert sum(wanted.counts().values()) == 4
    assert wanted.counts(frozenset("d")).keys() == {product.id, f"{product.id}.SAFE", STEM}


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (square(300030, 5400000), "30.0 m off the pixels of 60 m"),
        (square(300000, 5400000 - 5400), "not completely inside"),
        (square(300000 - 60, 5400000), "not completely inside"),
        (square(300000, 5400000, 600), "is 600 x 600 m"),
        (rotate(square(301200, 5398800), 5), "not a square of 1200 m along its axes"),
    ],
)
def test_what_does_not_fit(tmp_path, shape, reason):
    path = grid_file(tmp_path / "grid.parquet", [shape], name=["odd"])
    placed = read_patch_list(path).locate(product_of())
    assert placed.patches == []
    assert reason in placed.misfits["odd"]


def test_what_lies_beside_is_no_misfit(tmp_path):
    path = grid_file(tmp_path / "grid.parquet", [square(300000 - 1200, 5400000)])
    placed = read_patch_list(path).locate(product_of())
    assert (placed.patches, placed.misfits) == ([], {})


def test_the_complete_grid():
    placed = CompleteGrid().locate(product_of(width=600, height=366))
    assert len(placed.patches) == 5 * 3
    assert placed.patches[6].name.endswith("_01_01")
    assert (placed.patches[6].column, placed.patches[6].row) == (120, 120)


def test_nomenclatures():
    assert nomenclature_of([]) == BIGEARTHNET19
    assert nomenclature_of(["Airports", "Pastures"]) == CORINE43
    assert nomenclature_of(["b", "a"]).classes == ("a", "b")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.txt", None, "no such file"),
        ("names.txt", "hello\n", "'hello' is not a patch name of BigEarthNet"),
        ("names.txt", "", "lists no patch"),
        ("grid.geojson", "{}", "no list of patches that can be read"),
        ("grid.parquet", "no parquet", "no list of patches that can be read"),
        ("empty", "folder", "no folder in it has a"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, name, text, message):
    path = tmp_path / name
    if text == "folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    with pytest.raises(PatchError, match=message) as caught:
        read_patch_list(path)
    assert "\n" not in str(caught.value)


def test_grids_that_cannot_be_used(tmp_path):
    shapes = [square(0, 0), square(1200, 0)]
    with pytest.raises(PatchError, match="the name 'a' comes twice"):
        read_patch_list(grid_file(tmp_path / "a.parquet", shapes, name=["a", "a"]))
    with pytest.raises(PatchError, match="states no coordinate reference system"):
        read_patch_list(grid_file(tmp_path / "b.parquet", shapes, None))
    with pytest.raises(PatchError, match="has no column 'classes', only name"):
        read_patch_list(grid_file(tmp_path / "c.parquet", shapes, name=["a", "b"]), "classes")
    with pytest.raises(PatchError, match="has no column 'product'"):
        read_patch_list(grid_file(tmp_path / "d.parquet", shapes)).counts()


def test_a_damaged_label_file_of_v1(tmp_path):
    folder = tmp_path / "S2A_MSIL2A_20170617T113321_4_55"
    folder.mkdir()
    (folder / f"{folder.name}_labels_metadata.json").write_text('{"labels": ["Pastures"]}')
    with pytest.raises(PatchError, match="tile_source is ''"):
        read_patch_list(tmp_path)


def test_lists_of_names(tmp_path):
    (tmp_path / "snow.csv").write_text("a_1_2\nb_3_4\n")
    assert list(read_names(tmp_path / "snow.csv")) == [("a_1_2", ""), ("b_3_4", "")]
    table = DATA / "v2" / "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    assert all(len(pair) == 2 and all(pair) for pair in read_names(table))
