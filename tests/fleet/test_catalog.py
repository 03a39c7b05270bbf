"""The catalog of a fleet, read by pystac as by any reader."""

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pystac
import pytest

from decametre.errors import OutputError
from decametre.fleet import catalog as module
from decametre.fleet.catalog import PAGE, Catalog

TITLE = "Twelve bands"


def make_item(out, name):
    """What a worker leaves: a folder with an item, complete."""
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
    """The ids of all items, as a reader finds them from the root: every link is followed."""
    root = pystac.Catalog.from_file(str(out / "catalog.json"))
    return [item.id for item in root.get_items(recursive=True)]


def page(out, number):
    return out / "fleet" / "pages" / f"{number:05d}.json"


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(module, "PAGE", 3)


def test_it_is_a_catalog_from_the_start(tmp_path):
    assert len(Catalog(tmp_path, TITLE)) == 0
    assert linked(tmp_path) == []
    assert pystac.Catalog.from_file(str(tmp_path / "catalog.json")).title == TITLE


@pytest.mark.usefixtures("small_pages")
def test_items_come_in_the_order_in_which_they_were_done(tmp_path):
    catalog = Catalog(tmp_path, TITLE)
    names = [f"P{number}" for number in (5, 1, 4, 2, 3, 7, 6)]
    for done, name in enumerate(names, start=1):
        catalog.add(name, make_item(tmp_path, name))
        # Complete at every moment.
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
    # Nothing is left of what was written under another name.
    assert sorted((tmp_path / "fleet" / "pages").iterdir()) == [
        page(tmp_path, number) for number in (1, 2, 3)
    ]


@pytest.mark.usefixtures("small_pages")
def test_the_files_are_as_stac_has_them(tmp_path):
    catalog = Catalog(tmp_path, TITLE)
    for name in "abcd":
        catalog.add(name, make_item(tmp_path, name))
    schemas = Path(pystac.__file__).parent / "validation" / "jsonschemas" / "stac-spec"
    (schema,) = schemas.glob("*/catalog.json")
    said = json.loads(schema.read_text())["definitions"]["catalog"]
    for path in (tmp_path / "catalog.json", *(tmp_path / "fleet" / "pages").iterdir()):
        tree = json.loads(path.read_text())
        assert set(said["required"]) <= tree.keys()
        assert tree["type"] == said["properties"]["type"]["const"]
        assert tree["stac_version"] == said["properties"]["stac_version"]["const"]
        assert sum(link["rel"] == "root" for link in tree["links"]) == 1
        for link in tree["links"]:
            # Relative, so that the folder can be moved and served.
            assert (path.parent / link["href"]).is_file()
    pytest.importorskip("jsonschema")
    pystac.Catalog.from_file(str(tmp_path / "catalog.json")).validate_all()


def test_the_folder_can_be_moved(tmp_path):
    path = make_item(tmp_path / "a", "one")
    Catalog(tmp_path / "a", TITLE).add("one", path)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert linked(tmp_path / "b") == ["one"]
    assert "one" in Catalog(tmp_path / "b", TITLE)


@pytest.mark.usefixtures("small_pages")
def test_a_catalog_is_gone_on_with(tmp_path):
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
def test_wherever_it_is_cut_off_a_reader_finds_only_what_is_there(tmp_path, monkeypatch, fatal):
    """The disk is full, or the driver killed, at the n-th file that is renamed."""
    renamed = 0
    replace = Path.replace

    def cut_off(self, target):
        nonlocal renamed
        renamed += 1
        if renamed == fatal:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    catalog = Catalog(tmp_path, TITLE)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_off)
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
    assert ["No space left" in said for said in failed.values()] == [True]
    assert not list(tmp_path.rglob("*.partial"))
    # The next run adds again what it finds done.
    again = Catalog(tmp_path, TITLE)
    again.add_all({name: f"{name}/{name}.json" for name in "abcdefg"})
    assert sorted(linked(tmp_path)) == list("abcdefg")


def test_a_killed_driver_leaves_a_catalog_that_can_be_read(tmp_path):
    """SIGKILL amid writing; all links lead to items, and the next run mends the rest."""
    for number in range(400):
        make_item(tmp_path, f"P{number:03d}")
    code = (
        "import sys, time; from pathlib import Path; from decametre.fleet import catalog;"
        "catalog.PAGE = 20; made = catalog.Catalog(Path(sys.argv[1]), 'x');"
        "[(made.add(f'P{n:03d}', f'P{n:03d}/P{n:03d}.json'), time.sleep(1e-3)) for n in range(400)]"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path]) as driver:
        while not page(tmp_path, 3).exists():
            assert driver.poll() is None
            time.sleep(0.001)
        driver.kill()
    before = linked(tmp_path)
    assert 40 <= len(before) < 400  # a page stands before the root links to it
    assert before == [f"P{number:03d}" for number in range(len(before))]
    again = Catalog(tmp_path, TITLE)
    again.add_all({f"P{n:03d}": f"P{n:03d}/P{n:03d}.json" for n in range(400)})
    assert sorted(linked(tmp_path)) == [f"P{number:03d}" for number in range(400)]
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.usefixtures("small_pages")
def test_what_is_gone_is_dropped(tmp_path):
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
def test_a_damaged_page_is_emptied_and_filled_again(tmp_path, caplog, content):
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
def test_a_damaged_root_is_made_anew(tmp_path, content):
    Catalog(tmp_path, TITLE).add("a", make_item(tmp_path, "a"))
    (tmp_path / "catalog.json").unlink()
    if content is not None:
        (tmp_path / "catalog.json").write_bytes(content)
    Catalog(tmp_path, TITLE)
    assert linked(tmp_path) == ["a"]


def test_the_catalog_of_others_is_left_alone(tmp_path):
    pystac.Catalog("mine", "By hand").normalize_and_save(
        str(tmp_path), pystac.CatalogType.SELF_CONTAINED
    )
    content = (tmp_path / "catalog.json").read_bytes()
    with pytest.raises(OutputError, match="no fleet made it"):
        Catalog(tmp_path, TITLE)
    assert (tmp_path / "catalog.json").read_bytes() == content
    assert not (tmp_path / "fleet").exists()


def test_writing_is_linear(tmp_path, monkeypatch):
    """Twice the products are twice the bytes; were all links in one file, four times."""
    sizes = []
    # Counted, not written: a file system may take milliseconds to replace a file.
    monkeypatch.setattr(module, "_write", lambda _, tree: sizes.append(len(json.dumps(tree))))
    catalog, written = Catalog(tmp_path, TITLE), {}
    for index in range(8 * PAGE):
        catalog.add(f"P{index:06d}", f"P{index:06d}/P{index:06d}.json")
        written[index + 1] = sum(sizes) if (index + 1) % PAGE == 0 else 0
    assert len(sizes) == 1 + 8 * PAGE + 8  # the root at first, and with each page
    assert written[4 * PAGE] / written[2 * PAGE] == pytest.approx(2, rel=0.01)
    assert written[8 * PAGE] / written[4 * PAGE] == pytest.approx(2, rel=0.01)


def test_100_000_products_are_read_at_once(tmp_path):
    """In two seconds on an idle machine; ten are allowed, and what is quadratic takes longer."""
    items = {f"P{index:06d}": f"P{index:06d}/P{index:06d}.json" for index in range(100_000)}
    Catalog(tmp_path, TITLE).add_all(items)
    began = time.perf_counter()
    catalog = Catalog(tmp_path, TITLE)
    assert "P099999" in catalog
    assert len(catalog) == 100_000
    catalog.add_all(items)
    assert time.perf_counter() - began < 10
