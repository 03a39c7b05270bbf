"""`decametre fleet` from the command line to the catalog."""

import json
import logging
import os
import subprocess
import sys

import pystac
import pytest

from decametre import api
from decametre.cli import main
from tests.support.synthetic_products import make_products

BANDS = "B02,B05"
OPTIONS = ("--bands", BANDS, "--device", "cpu", "--precision", "float32")


@pytest.fixture
def decametre(monkeypatch, capsys):
    """Runs a command in this process; returns status, standard output and standard error."""
    logger = logging.getLogger("decametre")
    handlers, level, own = logging.root.handlers[:], logging.root.level, logger.level

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["decametre", *map(str, words)])
        capsys.readouterr()
        status = main.run(main.cli)
        return status, *capsys.readouterr()

    yield run
    logging.root.handlers[:], logging.root.level = handlers, level
    logger.setLevel(own)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="module")
def products(sample, folder):
    """Four small products; a band file of the second is truncated."""
    products = make_products([sample], folder / "products", 4, 60)
    band = next(products[1].rglob("*B05*"))
    band.write_bytes(band.read_bytes()[:-200])
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in products))
    return products


@pytest.fixture(scope="module")
def first(products, folder):
    """A fleet for all four products, in a separate process."""
    words = ["-m", "decametre", "fleet", "sharpen", folder / "list.txt", folder / "out"]
    return subprocess.run(
        [sys.executable, *map(str, words), *OPTIONS, "--workers", "1", "--retries", "1"],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )


def failures(out):
    return [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]


def in_catalog(out):
    root = pystac.Catalog.from_file(out / "catalog.json")
    return sorted(item.id for item in root.get_items(recursive=True))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_as_sharpen(products, out, folder):
    """Compare all files with those that `sharpen` writes."""
    for safe in products:
        result, expected = out / safe.stem, folder / safe.stem
        expected.mkdir(parents=True)
        api.sharpen(
            safe,
            expected / f"{safe.stem}.tif",
            bands=BANDS.split(","),
            device="cpu",
            precision="float32",
        )
        assert contents(result) == contents(expected)


@pytest.mark.slow
def test_corrupt_product_fails_and_the_others_are_completed(first, products, folder):
    out = folder / "out"
    assert first.returncode == 2, first.stderr
    assert first.stdout == ""
    [line] = [line for line in first.stderr.splitlines() if line.startswith("decametre: error")]
    assert "1 of 4 products failed" in line
    assert str(out / "failures.jsonl") in line
    assert "Traceback" not in first.stderr
    good = [products[0], products[2], products[3]]
    assert in_catalog(out) == sorted(path.stem for path in good)
    [failure] = failures(out)
    assert (failure["name"], failure["stage"]) == (products[1].stem, "read")
    assert failure["attempt"] == 1  # another one would fail, too
    assert "truncated; download it again" in failure["reason"]
    assert not (out / products[1].stem).exists()
    # In a folder of the same depth, so that links to the sources are the same.
    assert_same_as_sharpen(good, out, folder / "alone")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("alone", "list.txt", "out", "products")
    ]


@pytest.mark.slow
def test_status_report_and_plan(first, products, folder, decametre):
    out = folder / "out"
    status, output, _ = decametre("fleet", "status", out)
    assert status == 0
    assert "3 of 4 completed, 1 failed, 0 running, 0 left" in output
    assert f"decametre fleet sharpen {folder / 'list.txt'}" in output
    assert "1 local worker" in output
    found = json.loads(decametre("fleet", "status", out, "--json")[1])
    assert (found["state"], found["attempts_repeated"]) == ("failures", 0)
    assert found["products"]["failed"] == 1
    assert decametre("fleet", "report", out)[0] == 0
    page = (out / "report.html").read_text()
    assert all(path.stem in page for path in products[1:2])
    status, output, _ = decametre("fleet", "plan", 1000, "--measured", out)
    assert status == 0
    assert "workers" in output
    [plan] = json.loads(decametre("fleet", "plan", 1000, "--measured", out, "--json")[1])
    assert plan


@pytest.mark.slow
def test_other_options_are_an_error_and_change_nothing(first, products, folder, decametre):
    out = folder / "out"
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    command = ["fleet", "sharpen", folder / "list.txt", out, *OPTIONS, "--encoding", "reflectance"]
    status, _, errors = decametre(*command)
    assert status == 2
    assert "made with encoding dn, not reflectance; 3 of 4 products have other results" in errors
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*")} == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["OUT"], "give INPUT or --search URL, one of the two"),
        (["LIST", "OUT", "--search", "http://localhost", "--datetime", "2023"], "one of the two"),
        (["LIST", "OUT", "--cluster", "c.yaml", "--scheduler", "tcp://x:1"], "one of the three"),
        (["LIST", "OUT", "--workers", "2", "--scheduler", "tcp://x:1"], "one of the three"),
        (["LIST", "OUT", "--workers", "0"], "--workers"),
        (["LIST", "OUT", "--retries", "-1"], "--retries"),
        (["LIST", "OUT", "--interval", "nan"], "not a finite number"),
        (["LIST", "NOWHERE"], "does not exist; make it first"),
        (["LIST", "OUT", "--cluster", "nowhere.yaml"], "nowhere.yaml"),
        (["nowhere.txt", "OUT"], "nowhere.txt: no such file or folder"),
        (["EMPTY", "OUT"], "it lists no product"),
        (["LIST", "OUT", "--stage-to", "nowhere"], "nowhere: no such folder"),
        (["LIST", "OUT", "--bands", "B99"], "unknown band 'B99'"),
        (["LIST", "OUT", "--model", "nativ"], "did you mean native"),
        (["LIST", "OUT", "--offset", "lots"], "lots"),
        (["LIST", "OUT", "--encoding", "jpeg"], "--encoding"),
        (["LIST", "OUT", "--device", "cuda:7"], "cuda:7"),
    ],
)
def test_usage_errors_are_one_line_with_status_2(words, expected, decametre, tmp_path):
    places = {
        "LIST": tmp_path / "list.txt",
        "EMPTY": tmp_path / "empty.txt",
        "OUT": tmp_path / "out",
        "NOWHERE": tmp_path / "deep" / "out",
    }
    places["LIST"].write_text("/nowhere/X.SAFE\n")
    places["EMPTY"].write_text("# nothing\n")
    arguments = [places.get(word, word) for word in words]
    status, output, errors = decametre("-q", "fleet", "sharpen", *arguments)
    assert (status, output) == (2, ""), errors
    lines = [line for line in errors.splitlines() if "error" in line]
    assert len(lines) == 1
    assert expected in lines[0]
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt", "list.txt"]


def test_folders_without_a_fleet_are_errors(decametre, tmp_path):
    for word in ("status", "report"):
        status, _, errors = decametre("fleet", word, tmp_path)
        assert status == 2
        assert "no fleet has run there" in errors
    status, _, errors = decametre("fleet", "plan", 10)
    assert status == 2
    assert list(tmp_path.iterdir()) == []
