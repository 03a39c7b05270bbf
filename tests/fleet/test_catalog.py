"""The catalog of a fleet, read by pystac."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pystac
import pytest

from decametre.errors import OutputError
from decametre.fleet import catalog as module
from decametre.fleet.catalog import Catalog

TITLE = "Twelve bands"


def make_item(out, name):
    """A folder with an item, as a worker writes it."""
    (out / name).mkdir(parents=True)
    ring = [[8.0, 50.0], [9.0, 50.0], [9.0, 51.0], [8.0, 51.0], [8.0, 50.0]]
    item = pystac.Item(
        name,
        {"type": "Polygon", "coordinates": [ring]},
        [8.0, 50.0, 9.0, 51.0],
        datetime(2024, 6, 1, tzinfo=UTC),
        {},
    )
    path = f"{name}/{name}.json"
    (out / path).write_text(json.dumps(item.to_dict(include_self_link=False)))
    return path


def linked(out):
    """Ids of all items that a reader finds by following the links from the root."""
    root = pystac.Catalog.from_file(str(out / "catalog.json"))
    return [item.id for item in root.get_items(recursive=True)]


def page(out, number):
    return out / "fleet" / "pages" / f"{number:05d}.json"


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(module, "PAGE", 3)


def test_empty_catalog_is_valid(tmp_path):
    assert len(Catalog(tmp_path, TITLE)) == 0
    assert linked(tmp_path) == []
    assert pystac.Catalog.from_file(str(tmp_path / "catalog.json")).title == TITLE


@pytest.mark.usefixtures("small_pages")
def test_items_are_linked_in_the_order_of_completion(tmp_path):
    catalog = Catalog(tmp_path, TITLE)
    names = [f"P{number}" for number in (5, 1, 4, 2, 3, 7, 6)]
    for done, name in enumerate(names, start=1):
        catalog.add(name, make_item(tmp_path, name))
        assert linked(tmp_path) == names[:done]
    root = pystac.Catalog.from_file(str(tmp_path / "catalog.json"))
    pages = list(root.get_children())
    assert [len(list(one.get_items())) for one in pages] == [3, 3, 1]
    assert [one.title for one in pages] == [
        "Products 1 to 3",
        "Products 4 to 6",
        "Products 7 to 9",
    ]
    assert len({one.id for one in pages} | {root.id}) == 4
    assert all(one.get_parent() is root for one in pages)
    assert list(catalog.names) == names
    assert "P4" in catalog
    assert "P8" not in catalog
    # There are no temporary files.
    assert sorted((tmp_path / "fleet" / "pages").iterdir()) == [
        page(tmp_path, number) for number in (1, 2, 3)
    ]


@pytest.mark.usefixtures("small_pages")
def test_files_follow_the_stac_specification(tmp_path):
    catalog = Catalog(tmp_path, TITLE)
    for name in "abcd":
        catalog.add(name, make_item(tmp_path, name))
    schemas = Path(pystac.__file__).parent / "validation" / "jsonschemas" / "stac-spec"
    (schema,) = schemas.glob("*/catalog.json")
    expected = json.loads(schema.read_text())["definitions"]["catalog"]
    for path in (tmp_path / "catalog.json", *(tmp_path / "fleet" / "pages").iterdir()):
        tree = json.loads(path.read_text())
        assert set(expected["required"]) <= tree.keys()
        assert tree["type"] == expected["properties"]["type"]["const"]
        assert tree["stac_version"] == expected["properties"]["stac_version"]["const"]
        assert sum(link["rel"] == "root" for link in tree["links"]) == 1
        for link in tree["links"]:
            # Relative, so that the folder can be moved or served.
            assert (path.parent / link["href"]).is_file()
    pytest.importorskip("jsonschema")
    pystac.Catalog.from_file(str(tmp_path / "catalog.json")).validate_all()


def test_moved_folder_is_still_a_catalog(tmp_path):
    path = make_item(tmp_path / "a", "one")
    Catalog(tmp_path / "a", TITLE).add("one", path)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert linked(tmp_path / "b") == ["one"]
    assert "one" in Catalog(tmp_path / "b", TITLE)


@pytest.mark.usefixtures("small_pages")
def test_catalog_is_extended_by_the_next_run(tmp_path):
    first = Catalog(tmp_path, TITLE)
    for name in "abcd":
        first.add(name, make_item(tmp_path, name))
    content = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    second = Catalog(tmp_path, TITLE)
    assert list(second.names) == ["a", "b", "c", "d"]
    second.add("b", "b/b.json")  # idempotent
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == content
    second.add_all({name: make_item(tmp_path, name) for name in "efghijk"} | {"a": "a/a.json"})
    assert linked(tmp_path) == list("abcdefghijk")
    assert len(list((tmp_path / "fleet" / "pages").iterdir())) == 4


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("fatal", range(1, 9))
def test_failed_write_leaves_a_valid_catalog(tmp_path, monkeypatch, fatal):
    """The n-th atomic replacement fails."""
    renamed = 0
    replace = Path.replace

    def fail_once(self, target):
        nonlocal renamed
        renamed += 1
        if renamed == fatal:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    catalog = Catalog(tmp_path, TITLE)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail_once)
        done, failed = [], {}
        for name in "abcdefg":
            path = make_item(tmp_path, name)
            try:
                catalog.add(name, path)
            except OutputError as error:
                failed[name] = str(error)
            else:
                done.append(name)
            assert linked(tmp_path) == [n for n in "abcdefg" if n in catalog]
    assert sorted([*done, *failed]) == list("abcdefg")
    assert ["No space left" in error for error in failed.values()] == [True]
    assert not list(tmp_path.rglob("*.partial"))
    # The next run adds all complete products again.
    again = Catalog(tmp_path, TITLE)
    again.add_all({name: f"{name}/{name}.json" for name in "abcdefg"})
    assert sorted(linked(tmp_path)) == list("abcdefg")


@pytest.mark.usefixtures("small_pages")
def test_links_to_deleted_items_are_removed(tmp_path):
    catalog = Catalog(tmp_path, TITLE)
    for name in "abcdefg":
        catalog.add(name, make_item(tmp_path, name))
    assert catalog.prune() == []
    for name in "bdefg":
        shutil.rmtree(tmp_path / name)
    catalog = Catalog(tmp_path, TITLE)
    assert catalog.prune() == list("bdefg")
    assert linked(tmp_path) == ["a", "c"] == list(catalog.names)
    catalog.add("b", make_item(tmp_path, "b"))
    assert linked(tmp_path) == ["a", "c", "b"]
    assert list(Catalog(tmp_path, TITLE).names) == ["a", "c", "b"]


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("content", [b"", b"{", b'{"links": [{}]}', b"[]", None])
def test_damaged_page_is_emptied_and_filled_again(tmp_path, caplog, content):
    catalog = Catalog(tmp_path, TITLE)
    items = {name: make_item(tmp_path, name) for name in "abcdefg"}
    catalog.add_all(items)
    if content is None:
        page(tmp_path, 2).unlink()
    else:
        page(tmp_path, 2).write_bytes(content)
    catalog = Catalog(tmp_path, TITLE)
    assert "00002.json" in caplog.text
    assert linked(tmp_path) == list("abcg")
    catalog.add_all(items)
    assert sorted(linked(tmp_path)) == list("abcdefg")


@pytest.mark.parametrize("content", [b"", None])
def test_damaged_root_is_rewritten(tmp_path, content):
    Catalog(tmp_path, TITLE).add("a", make_item(tmp_path, "a"))
    (tmp_path / "catalog.json").unlink()
    if content is not None:
        (tmp_path / "catalog.json").write_bytes(content)
    Catalog(tmp_path, TITLE)
    assert linked(tmp_path) == ["a"]


def test_catalog_of_another_program_is_not_changed(tmp_path):
    pystac.Catalog("other", "Another catalog").normalize_and_save(
        str(tmp_path), pystac.CatalogType.SELF_CONTAINED
    )
    content = (tmp_path / "catalog.json").read_bytes()
    with pytest.raises(OutputError, match="was not written by a fleet"):
        Catalog(tmp_path, TITLE)
    assert (tmp_path / "catalog.json").read_bytes() == content
    assert not (tmp_path / "fleet").exists()


def test_written_bytes_are_linear_in_the_number_of_products(tmp_path, monkeypatch):
    """With all links in one file, they would be quadratic."""
    sizes = []
    monkeypatch.setattr(module, "PAGE", 20)
    monkeypatch.setattr(module, "_write", lambda _, tree: sizes.append(len(json.dumps(tree))))
    catalog, written = Catalog(tmp_path, TITLE), {}
    for index in range(8 * 20):
        catalog.add(f"P{index:06d}", f"P{index:06d}/P{index:06d}.json")
        written[index + 1] = sum(sizes)
    assert len(sizes) == 1 + 8 * 20 + 8  # the root, each product, and the root for each page
    assert written[4 * 20] / written[2 * 20] == pytest.approx(2, rel=0.1)
    assert written[8 * 20] / written[4 * 20] == pytest.approx(2, rel=0.1)


@pytest.mark.usefixtures("small_pages")
def test_adding_linked_items_again_writes_nothing(tmp_path, monkeypatch):
    items = {f"P{index}": f"P{index}/P{index}.json" for index in range(100)}
    Catalog(tmp_path, TITLE).add_all(items)
    writes = []
    monkeypatch.setattr(module, "_write", lambda path, _: writes.append(path))
    catalog = Catalog(tmp_path, TITLE)
    catalog.add_all(items)
    assert len(catalog) == 100
    assert writes == []
