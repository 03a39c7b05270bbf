"""Lists of products in all forms; real items where a test opens the products."""

import copy
import json
import shutil
import zipfile
from pathlib import Path

import pystac
import pytest

import decametre
from decametre.errors import DecametreError, DocumentError, FleetError, OutputError
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.inputs.product_list import read_listing
from tests.fleet.servers import derived_items, file_server, stac_api, unused_address

SAFE = "S2A_MSIL2A_20230817T105031_N0509_R051_T31TCJ_20230817T17041{}.SAFE"
PUBLISHED = "https://stac.example/collections/sentinel-2-l2a/items/{}"


def make_safe(folder: Path, number: int = 1) -> Path:
    """A SAFE folder with its metadata file and three images."""
    safe = folder / SAFE.format(number)
    images = safe / "GRANULE" / "L2A_T31TCJ_A042572_20230817T105031" / "IMG_DATA" / "R10m"
    masks = images.parents[1] / "QI_DATA"
    for place in (images, masks):
        place.mkdir(parents=True)
    (safe / "MTD_MSIL2A.xml").write_text("<xml/>")
    for name, size in (("B02", 100), ("B03", 200), ("TCI", 30)):
        (images / f"T31TCJ_20230817T105031_{name}_10m.jp2").write_bytes(bytes(size))
    (masks / "MSK_CLASSI_B00.jp2").write_bytes(bytes(5000))
    return safe


def make_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.SAFE/MTD_MSIL1C.xml", "<xml/>")
    return path


@pytest.fixture
def sample_folder(sample_item, tmp_path):
    """A copy of the sample: a folder with an item.json."""
    return Path(shutil.copytree(Path(sample_item).parent, tmp_path / "sample"))


def listed(source, tmp_path):
    return read_listing(str(source), tmp_path / "items")


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


# Text and CSV -----------------------------------------------------------------------------------


def test_text_file_lists_one_product_per_line(tmp_path, sample_folder):
    first, second = make_safe(tmp_path, 1), make_safe(tmp_path, 2)
    archive = make_zip(tmp_path / "S2B_MSIL1C_20230101.SAFE.zip")
    products = write(
        tmp_path / "products.txt",
        "# products of the summer",
        "",
        f"{first.name}   # the first",
        f"  {second}/  ",
        f"{second.name}/MTD_MSIL2A.xml",
        archive.name,
        "sample",
        "sample/item.json",
        (sample_folder / "item.json").as_uri(),
        "https://server.example/items/S2A_31TCJ_20230817_0_L2A?token=1",
        "https://server.example/S2A_31TCJ/S2A_31TCJ.json",
        "https://server.example/S2B%2031TCJ/item.json",
        "s3://bucket/some.SAFE\t# far away",
        "https://server.example/S2C_31TCJ#part",
    )
    entries = listed(products, tmp_path)
    size = sum(path.stat().st_size for path in sample_folder.glob("*.tif"))
    assert entries == [
        ProductEntry(first.stem, str(first), 330),
        ProductEntry(second.stem, str(second), 330),
        ProductEntry("S2B_MSIL1C_20230101", str(archive), archive.stat().st_size),
        ProductEntry("dsen2_T33UUB", str(sample_folder / "item.json"), size),
        ProductEntry(
            "S2A_31TCJ_20230817_0_L2A",
            "https://server.example/items/S2A_31TCJ_20230817_0_L2A?token=1",
        ),
        ProductEntry("S2A_31TCJ", "https://server.example/S2A_31TCJ/S2A_31TCJ.json"),
        ProductEntry("S2B_31TCJ", "https://server.example/S2B%2031TCJ/item.json"),
        ProductEntry("some", "s3://bucket/some.SAFE"),
        ProductEntry("S2C_31TCJ", "https://server.example/S2C_31TCJ#part"),
    ]


def test_missing_products_are_listed_with_a_warning(tmp_path, caplog):
    safe = make_safe(tmp_path)
    products = write(tmp_path / "products.txt", safe.name, "gone/S2A_GONE.SAFE", "bad\0path.zip")
    entries = listed(products, tmp_path)
    assert [(entry.name, entry.size) for entry in entries] == [
        (safe.stem, 330),
        ("S2A_GONE", None),
        ("bad_path", None),
    ]
    assert f"2 of 3 products do not exist on this machine; the first: {tmp_path}" in caplog.text


def test_paths_that_are_no_products_are_listed_for_the_worker_to_report(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    names = ["empty", "broken.json", "list.json", "picture.png"]
    entries = listed(write(tmp_path / "products.txt", *names), tmp_path)
    assert [entry.name for entry in entries] == ["empty", "broken", "list", "picture.png"]
    assert [entry.source for entry in entries] == [str(tmp_path / name) for name in names]


def test_relative_paths_are_resolved_against_the_folder_of_the_list(tmp_path, monkeypatch):
    make_safe(tmp_path / "data")
    monkeypatch.chdir(make_safe(tmp_path / "elsewhere").parent)
    (tmp_path / "lists").mkdir()
    write(tmp_path / "lists" / "products.txt", f"../data/{SAFE.format(1)}")
    [entry] = listed("../lists/products.txt", tmp_path)
    assert Path(entry.source).is_absolute()
    assert Path(entry.source).samefile(tmp_path / "data" / SAFE.format(1))


@pytest.mark.parametrize("column", ["product", "source", "path", "href", "url", " Product "])
def test_csv_column_of_products(tmp_path, column):
    first, second = make_safe(tmp_path, 1), make_safe(tmp_path, 2)
    products = tmp_path / "products.csv"
    products.write_text(
        f'\ufeffcloud,{column},name\n3,"{first.name}",\n,,\n\n4,{second.name},"a field, in June"\n',
        encoding="utf-8",
    )
    assert listed(products, tmp_path) == [
        ProductEntry(first.stem, str(first), 330),
        ProductEntry("a_field_in_June", str(second), 330),
    ]


def test_csv_without_a_column_of_products(tmp_path):
    products = write(tmp_path / "products.csv", "scene,cloud", "a.SAFE,3")
    with pytest.raises(FleetError, match=r"names no column product, .*, but scene, cloud;"):
        listed(products, tmp_path)


@pytest.mark.parametrize(("sign", "name"), [(";", "';'"), ("\t", "a tab")])
def test_csv_with_other_separators(tmp_path, sign, name):
    products = write(tmp_path / "products.csv", f"product{sign}name", f"a.SAFE{sign}a")
    with pytest.raises(FleetError, match=f"separated by {name}; separate them by commas"):
        listed(products, tmp_path)


def test_csv_row_without_a_product(tmp_path):
    products = write(tmp_path / "products.csv", "name,path", "a,a.SAFE", "b,")
    with pytest.raises(FleetError, match=r"products\.csv, line 3: column path is empty"):
        listed(products, tmp_path)


def test_csv_with_an_unclosed_quote(tmp_path):
    products = write(tmp_path / "products.csv", "path", '"a.SAFE')
    with pytest.raises(FleetError, match="line 1: not valid CSV"):
        listed(products, tmp_path)


def test_long_list_opens_no_product_and_contacts_no_server(tmp_path, monkeypatch):
    """Each path costs two look-ups on the file system (state, existence), each URL none."""
    looked_up = []
    monkeypatch.setattr(Path, "stat", record_calls(Path.stat, looked_up))
    lines = [f"/archive/S2A_{number:06}.SAFE" for number in range(500)]
    lines += [f"https://server.example/items/S2A_{number:06}" for number in range(500)]
    entries = listed(write(tmp_path / "products.txt", *lines), tmp_path)
    assert len({entry.name for entry in entries}) == len(entries) == 1000
    in_archive = [path for path in looked_up if str(path).startswith("/archive")]
    assert len(in_archive) <= 2 * 500
    assert not [path for path in looked_up if "server.example" in str(path)]


def record_calls(method, calls):
    """A method that records the objects it is called on."""

    def recorded(self, *arguments, **options):
        calls.append(self)
        return method(self, *arguments, **options)

    return recorded


# Names ------------------------------------------------------------------------------------------


def test_products_with_the_same_name_get_names_that_depend_on_their_sources_only(tmp_path):
    def names(*lines):
        entries = listed(write(tmp_path / "products.txt", *lines), tmp_path)
        return {entry.source: entry.name for entry in entries}

    lines = ["/a/X.SAFE", "/b/X.SAFE", "/c/X.SAFE.zip"]
    before, after = names(*lines), names("/a/X.SAFE", "/d/Y.SAFE", "/d/X.SAFE", *lines[1:])
    assert before["/a/X.SAFE"] == "X"
    assert len(set(before.values())) == 3
    assert all(after[line] == before[line] for line in lines)
    assert all(name.startswith("X") for name in before.values())


def test_duplicate_sources_are_listed_once(tmp_path, caplog):
    caplog.set_level("INFO", logger="decametre")
    safe = make_safe(tmp_path)
    lines = f"./{safe.name}/", str(safe), f"{safe.name}/MTD_MSIL2A.xml"
    products = write(tmp_path / "products.txt", safe.name, *lines)
    assert listed(products, tmp_path) == [ProductEntry(safe.stem, str(safe), 330)]
    assert "3 of 4 products are listed twice" in caplog.text


def test_metadata_file_of_a_folder_with_several_products_is_its_own_source(tmp_path):
    safe = make_safe(tmp_path)
    (safe / "INSPIRE.xml").write_text("<xml/>")
    assert [entry.source for entry in listed(safe / "INSPIRE.xml", tmp_path)] == [
        str(safe / "INSPIRE.xml")
    ]
    (safe / "MTD_MSIL1C.xml").write_text("<xml/>")
    lines = f"{safe.name}/MTD_MSIL2A.xml", f"{safe.name}/MTD_MSIL1C.xml"
    entries = listed(write(tmp_path / "products.txt", *lines), tmp_path)
    assert [entry.source for entry in entries] == [str(tmp_path / line) for line in lines]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "product"),
        (".hidden", "hidden"),
        ("--overwrite", "overwrite"),
        ("S2A/31TCJ:2023", "S2A_31TCJ_2023"),
        ("Szene Köln", "Szene_K_ln"),
        ("a" * 300, "a" * 200),
    ],
)
def test_names_are_safe_folder_names(tmp_path, name, expected):
    write(tmp_path / "products.csv", "name,url", f"{name},https://server.example/1")
    [entry] = listed(tmp_path / "products.csv", tmp_path)
    assert entry.name == expected
    (tmp_path / entry.name).mkdir()
    assert (tmp_path / entry.name).resolve().parent == tmp_path.resolve()


def test_long_names_stay_unique_at_the_same_length(tmp_path):
    urls = [f"{'a' * 200},https://server.example/{number}" for number in range(3)]
    entries = listed(write(tmp_path / "products.csv", "name,url", *urls), tmp_path)
    assert len({entry.name for entry in entries}) == 3
    assert {len(entry.name) for entry in entries} == {200}


def test_names_of_the_fleets_own_files_are_reserved(tmp_path):
    products = write(tmp_path / "products.txt", "/a/fleet", "/a/catalog.json", "/a/report.html")
    names = [entry.name for entry in listed(products, tmp_path)]
    assert names[0].startswith("fleet_")
    assert names[1] == "catalog"
    assert names[2].startswith("report.html_")


# Folders and single products --------------------------------------------------------------------


def test_folder_of_products(tmp_path, sample_item, sample_folder):
    folder = tmp_path / "folder"
    first, second = make_safe(folder, 1), make_safe(folder, 2)
    renamed = second.rename(folder / "renamed")
    archive = make_zip(folder / "S2B.zip")
    shutil.move(sample_folder, folder / "T33UUB")
    item = derived_items(sample_item)[1]
    write(folder / "scene.json", json.dumps(item))
    write(folder / "quality.json", json.dumps({"bands": {}}))
    write(folder / "notes.txt", "nothing")
    make_safe(folder / "deeper", 3)
    entries = listed(folder, tmp_path)
    size = sum(path.stat().st_size for path in Path(sample_item).parent.glob("*.tif"))
    assert entries == [
        ProductEntry(first.stem, str(first), 330),
        ProductEntry("S2B", str(archive), archive.stat().st_size),
        ProductEntry("dsen2_T33UUB", str(folder / "T33UUB" / "item.json"), size),
        ProductEntry("renamed", str(renamed), 330),
        ProductEntry("T33UUB_1", str(folder / "scene.json"), size),
    ]


def test_safe_folder_and_its_zip_are_one_product_and_hidden_files_none(tmp_path):
    folder = tmp_path / "folder"
    safe = make_safe(folder, 1)
    make_zip(folder / f"{safe.name}.zip")
    make_zip(folder / f"{safe.stem}.zip")
    (folder / f"._{safe.name}.zip").write_bytes(b"\0\5\26\7")
    assert [entry.source for entry in listed(folder, tmp_path)] == [str(safe)]


def test_single_product_is_a_list_of_one(tmp_path, sample_folder):
    safe, archive = make_safe(tmp_path), make_zip(tmp_path / "S2B.zip")
    [granule] = (safe / "GRANULE").iterdir()
    for source in (safe, archive, granule):
        [entry] = listed(source, tmp_path)
        assert entry.source == str(source)
    assert entry == ProductEntry("L2A_T31TCJ_A042572_20230817T105031", str(granule), 330)
    assert listed(safe / "MTD_MSIL2A.xml", tmp_path) == [ProductEntry(safe.stem, str(safe), 330)]
    [folder] = listed(sample_folder, tmp_path)
    [item] = listed(sample_folder / "item.json", tmp_path)
    [url] = listed((sample_folder / "item.json").as_uri(), tmp_path)
    assert folder == item == url
    assert folder.name == "dsen2_T33UUB"


# ItemCollections --------------------------------------------------------------------------------


def collection(path: Path, items, **others) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, json.dumps({"type": "FeatureCollection", "features": items, **others}))


def remote(items):
    """The items as an API sends them: with absolute hrefs, `self` links and sizes."""
    items = copy.deepcopy(items)
    for item in items:
        item["links"] = [{"rel": "self", "href": PUBLISHED.format(item["id"])}]
        for key, asset in item["assets"].items():
            asset |= {"href": f"https://data.example/{item['id']}/{key}.tif", "file:size": 1000}
    return items


def test_items_of_a_saved_search_are_read_from_their_self_links(tmp_path, sample_item):
    items = remote(derived_items(sample_item))
    entries = listed(collection(tmp_path / "found.json", items), tmp_path)
    assert entries == [
        ProductEntry(f"T33UUB_{number}", PUBLISHED.format(f"T33UUB_{number}"), 12_000)
        for number in range(5)
    ]
    assert not (tmp_path / "items").exists()


def test_size_is_unknown_if_that_of_a_band_is_missing(tmp_path, sample_item):
    [item] = remote(derived_items(sample_item)[:1])
    del item["assets"]["B8A"]["file:size"]
    [entry] = listed(collection(tmp_path / "found.json", [item]), tmp_path)
    assert entry.size is None


@pytest.mark.parametrize("how", ["relative", "absolute", "file URL"])
def test_items_with_downloaded_bands_are_saved_in_files(tmp_path, sample_item, sample, how):
    [item] = remote(derived_items(sample_item)[:1])
    folder = Path(shutil.copytree(Path(sample_item).parent, tmp_path / "down#loaded"))
    for key, asset in item["assets"].items():
        path = folder / f"{key}.tif"
        hrefs = {"relative": f"./{key}.tif", "absolute": str(path), "file URL": path.as_uri()}
        asset["href"] = hrefs[how]
        del asset["file:size"]
    products = collection(folder / "items.json", [item])
    entries = listed(products, tmp_path)
    assert entries == listed(products, tmp_path)
    [entry] = entries
    assert entry.source == str(tmp_path / "items" / "T33UUB_0.json")
    assert entry.size == sum(path.stat().st_size for path in folder.glob("*.tif"))
    product = decametre.open(entry.source)
    assert product.grid == sample.grid
    assert product.bands["B02"].path == str(folder / "B02.tif")
    assert [path.name for path in (tmp_path / "items").iterdir()] == ["T33UUB_0.json"]


def test_self_link_that_is_an_existing_path_is_used(tmp_path, sample_folder):
    item = json.loads((sample_folder / "item.json").read_text())
    for link, expected in (
        (str(sample_folder / "item.json"), sample_folder / "item.json"),
        ((sample_folder / "item.json").as_uri(), sample_folder / "item.json"),
        ("/another/machine/item.json", tmp_path / "items" / "dsen2_T33UUB.json"),
        ("./item.json", tmp_path / "items" / "dsen2_T33UUB.json"),
    ):
        item["links"] = [{"rel": "self", "href": link}]
        [entry] = listed(collection(sample_folder / "all.json", [item]), tmp_path)
        assert entry.source == str(expected)
        assert len(decametre.open(entry.source).bands) == 12


def test_items_with_the_same_id_are_duplicates_if_their_bands_are_the_same(tmp_path, sample_item):
    items = [remote(derived_items(sample_item)[:1])[0] for _ in range(3)]
    for item in items:
        item["links"] = []
    items[1]["assets"]["B02"]["href"] += "?signature=1"
    items[2]["assets"]["B02"]["href"] = "https://data.example/reprocessed/B02.tif"
    first, second = listed(collection(tmp_path / "found.json", items), tmp_path)
    assert first.name == "T33UUB_0"
    assert second.name.startswith("T33UUB_0_")
    kept = json.loads(Path(second.source).read_text())
    assert kept["assets"]["B02"]["href"] == "https://data.example/reprocessed/B02.tif"


def test_invalid_items_are_listed_for_the_worker_to_report(tmp_path):
    features = [{"type": "Feature"}, {"id": "x", "assets": 3, "links": [1, {"rel": "self"}]}]
    entries = listed(collection(tmp_path / "found.json", features), tmp_path)
    assert [entry.name for entry in entries] == ["item", "x"]
    for entry in entries:
        with pytest.raises(DecametreError):
            decametre.open(entry.source)


def test_incomplete_response_of_an_api_gets_a_warning(tmp_path, sample_item, caplog):
    items = remote(derived_items(sample_item))
    page = collection(tmp_path / "page.json", items, links=[{"rel": "next", "href": "..."}])
    assert len(listed(page, tmp_path)) == 5
    assert "is one of several pages of an API's response" in caplog.text


def test_item_that_cannot_be_saved_is_an_error(tmp_path, sample_item):
    item = derived_items(sample_item)[0]
    products = collection(tmp_path / "found.json", [item])
    (tmp_path / "items").write_text("a file")
    with pytest.raises(OutputError, match=r"T33UUB_0\.json: cannot be written"):
        listed(products, tmp_path)


# Static catalogs --------------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path, sample_item):
    """A root with one item and two collections of two items each, written by pystac."""
    root = pystac.Catalog("root", "all")
    items = [pystac.Item.from_dict(each) for each in derived_items(sample_item)]
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]])
    )
    for item in items:
        item.collection_id = None
    root.add_item(items[0])
    for number in (1, 2):
        collection = pystac.Collection(f"year{number}", "items of a year", extent)
        root.add_child(collection)
        collection.add_items(items[2 * number - 1 : 2 * number + 1])
    folder = tmp_path / "static"
    root.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder


IN_ORDER = ["T33UUB_0", "T33UUB_1", "T33UUB_2", "T33UUB_3", "T33UUB_4"]


def test_static_catalog_on_disk(catalog, tmp_path, sample):
    entries = listed(catalog / "catalog.json", tmp_path)
    assert [entry.name for entry in entries] == IN_ORDER
    assert entries[1].source == str(catalog / "year1" / "T33UUB_1" / "T33UUB_1.json")
    assert all(entry.size for entry in entries)
    assert decametre.open(entries[1].source).grid == sample.grid
    assert not (tmp_path / "items").exists()


def test_collection_of_a_static_catalog(catalog, tmp_path):
    entries = listed(catalog / "year2" / "collection.json", tmp_path)
    assert [entry.name for entry in entries] == ["T33UUB_3", "T33UUB_4"]


def test_static_catalog_on_a_server(catalog, tmp_path, sample):
    with file_server(catalog) as url:
        entries = listed(f"{url}/catalog.json", tmp_path)
        assert [entry.name for entry in entries] == IN_ORDER
        assert entries[4].source == f"{url}/year2/T33UUB_4/T33UUB_4.json"
        assert decametre.open(entries[4].source).grid == sample.grid


def test_moved_catalog_is_read_from_its_new_folder(catalog, tmp_path):
    for path in catalog.rglob("*.json"):
        document = json.loads(path.read_text())
        document["links"].append({"rel": "self", "href": f"https://old.example/{path.name}"})
        path.write_text(json.dumps(document))
    moved = catalog.rename(tmp_path / "mo#ved to")
    entries = listed(moved / "catalog.json", tmp_path)
    assert [entry.name for entry in entries] == IN_ORDER
    assert all(Path(entry.source).is_relative_to(moved) for entry in entries)


def test_catalog_with_circular_links(catalog, tmp_path):
    path = catalog / "year1" / "collection.json"
    document = json.loads(path.read_text())
    document["links"] += [
        {"rel": "child", "href": "../catalog.json"},
        {"rel": "child", "href": "../year2/collection.json"},
    ]
    path.write_text(json.dumps(document))
    entries = listed(catalog / "catalog.json", tmp_path)
    assert sorted(entry.name for entry in entries) == IN_ORDER


def test_unreadable_item_of_a_catalog_is_listed(catalog, tmp_path):
    (catalog / "year1" / "T33UUB_1" / "T33UUB_1.json").write_text("{")
    (catalog / "year1" / "T33UUB_2" / "T33UUB_2.json").unlink()
    entries = listed(catalog / "catalog.json", tmp_path)
    assert [entry.name for entry in entries] == IN_ORDER
    assert [entry.size is None for entry in entries] == [False, True, True, False, False]


def test_unreadable_child_catalog_is_an_error(catalog, tmp_path):
    (catalog / "year2" / "collection.json").unlink()
    with pytest.raises(DocumentError, match=r"year2/collection\.json: cannot be read"):
        listed(catalog / "catalog.json", tmp_path)


# Invalid lists -----------------------------------------------------------------------------------


def test_empty_lists_are_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    catalog = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "",
        "links": [],
    }
    for source in (
        write(tmp_path / "comments.txt", "# none", ""),
        write(tmp_path / "header.csv", "path"),
        tmp_path / "empty",
        collection(tmp_path / "found.json", []),
        write(tmp_path / "catalog.json", json.dumps(catalog | {"links": []})),
    ):
        with pytest.raises(FleetError, match=f"{source.name}: it lists no product"):
            listed(source, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("list.txt", b"\xff\xfe\x00product", "neither a product nor a list .* UTF-8"),
        ("empty.csv", b"", r"first line names no column product, .*, but nothing"),
        ("list.json", b"{", r"not JSON \(.*\); give a STAC document"),
        ("list.json", b"[]", "JSON, but not an object"),
        ("list.json", b'{"type": "Polygon"}', "JSON of type Polygon, not STAC"),
        ("list.json", b'{"type": "FeatureCollection"}', "a FeatureCollection without features"),
        ("list.json", b'{"type": "FeatureCollection", "features": [3]}', "feature 0 is not a STAC"),
        ("list.json", b'{"type": "Catalog"}', "not a STAC catalog"),
    ],
)
def test_invalid_lists_are_errors(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DocumentError, FleetError), match=expected):
        listed(tmp_path / name, tmp_path)


def test_missing_lists_are_errors(tmp_path, caplog):
    with pytest.raises(FleetError, match=r"gone\.txt: no such file or folder"):
        listed(tmp_path / "gone.txt", tmp_path)
    with pytest.raises(FleetError, match="only file, http and https"):
        listed("s3://bucket/catalog.json", tmp_path)
    with pytest.raises(DocumentError, match=r"cannot be reached .*Connection refused"):
        listed(f"{unused_address()}/catalog.json", tmp_path)
    assert "Retry" not in caplog.text  # the error is enough
    with file_server(tmp_path) as url, pytest.raises(DocumentError, match="HTTP 404"):
        listed(f"{url}/gone.json", tmp_path)


def test_api_needs_a_search(tmp_path):
    with stac_api([], []) as (url, _), pytest.raises(FleetError, match=f"--search {url}"):
        listed(url, tmp_path)
