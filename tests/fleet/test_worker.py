"""One product in a worker: the same bytes as alone, or nothing, with a stage and a reason."""

import logging
import os
import shutil
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from decametre import api
from decametre.errors import CorruptDataError, OutputError
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import Sharpen
from decametre.fleet.worker import Clock, TaskRequest, run_task
from decametre.io import staging
from decametre.superres.sharpening import pipeline
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.sharpener import Sharpener
from decametre.version import __version__
from tests.fleet.light import Light, entry, marks_of
from tests.support.synthetic_products import make_products

BANDS = ("B01", "B02", "B05", "B8A", "B12")
WORK = Sharpen(SharpenOptions(bands=BANDS, device="cpu", precision="float32", quicklook=True))


@pytest.fixture(scope="module")
def products(sample, tmp_path_factory):
    return make_products([sample], tmp_path_factory.mktemp("products"), 2, 120)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As many as a worker has that is told nothing else."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(products, tmp_path_factory):
    """What `sharpen` writes: files by name."""
    folder = tmp_path_factory.mktemp("alone") / "out" / "X"
    folder.mkdir(parents=True)
    api.sharpen(
        products[0],
        folder / "X.tif",
        bands=BANDS,
        device="cpu",
        precision="float32",
        quicklook=True,
    )
    return folder


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def order(out, source, name="X", work=WORK, **fields):
    size = 1000
    given = TaskRequest(
        work=work,
        settings=work.settings(),
        version=__version__,
        entry=source if isinstance(source, ProductEntry) else ProductEntry(name, str(source), size),
        out=str(out),
        scratch=None,
        attempt=1,
    )
    return replace(given, **fields)


def spoiled(safe, folder, band="B05"):
    """A copy of a product and its file of a band."""
    copy = Path(shutil.copytree(safe, folder / safe.name))
    return copy, next(copy.rglob(f"*{band}*.jp2"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def with_links_of(found, folder, to):
    """Files as they would be in another folder: only the item says where its source lies."""
    item = f"{folder.name}.json"
    before, after = (os.path.relpath(to[0], each).encode() for each in (folder, to[1]))
    return found | {item: found[item].replace(before, after)}


def test_the_same_bytes_as_alone(products, alone, out):
    outcome = run_task(order(out, products[0]))
    assert not outcome.failed, outcome.fields
    there = out / "X"
    expected = with_links_of(contents(alone), alone, (products[0], there))
    assert contents(there) == expected
    assert set(expected) == {"X.tif", "X.json", "X.quality.json", "X.quicklook.png"}
    fields = outcome.fields
    assert (fields["name"], fields["source"], fields["attempt"]) == ("X", str(products[0]), 1)
    assert fields["item"] == "X/X.json"
    assert fields["quicklook"] == "X/X.quicklook.png"
    assert (fields["already"], fields["device"], fields["pixels"]) == (False, "cpu", 14400)
    assert fields["bytes_in"] == 1000
    assert fields["bytes_out"] == sum(len(content) for content in expected.values())
    assert set(fields["consistency"]) == {"B05", "B8A", "B12", "B01"}
    assert fields["consistency"]["B05"]["rmse_dn"] > 0
    assert {"open", "read", "compute", "encode", "write"} <= set(fields["stages"])
    assert sum(fields["stages"].values()) == pytest.approx(fields["end"] - fields["start"], abs=0.1)


def test_what_stands_is_not_done_again(out, tmp_path):
    work = Light(str(tmp_path))
    given = order(out, entry("X"), work=work)
    assert not run_task(given).failed
    again = run_task(replace(given, attempt=2))
    assert (again.failed, again.fields["already"], again.fields["item"]) == (
        False,
        True,
        "X/X.json",
    )
    assert len(marks_of(tmp_path, "X", "begun")) == 1
    # What does not count as done is made again in its place.
    (out / "X" / "X.tif").unlink()
    assert run_task(given).fields["already"] is False
    assert len(marks_of(tmp_path, "X", "begun")) == 2


def test_a_corrupt_file(products, out, tmp_path):
    safe, file = spoiled(products[0], tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    outcome = run_task(order(out, safe))
    assert outcome.failed
    assert outcome.fields["stage"] == "read"
    assert "band B05" in outcome.fields["reason"]
    assert "truncated or corrupt" in outcome.fields["reason"]
    assert outcome.fields["traceback"] is None
    assert list(out.iterdir()) == []


def test_a_file_that_turns_out_corrupt_while_others_are_computed(products, out, monkeypatch):
    """The network has the first windows when a later one cannot be decoded."""
    read, windows = pipeline.read_stack, []

    def read_stack(reader, product, names, window, reach):
        windows.append(window)
        if len(windows) > 1:
            raise CorruptDataError("band B05: cannot read on")
        return read(reader, product, names, window, reach)

    monkeypatch.setattr(pipeline, "read_stack", read_stack)
    work = Sharpen(WORK.options.replaced(model="bicubic", tile=60))
    outcome = run_task(order(out, products[0], work=work))
    assert len(windows) == 2
    assert (outcome.failed, outcome.fields["stage"]) == (True, "read")
    assert list(out.iterdir()) == []
    # Its turn is over: another can be computed.
    monkeypatch.undo()
    assert not run_task(order(out, products[0], work=work)).failed


def test_a_missing_band(products, out, tmp_path):
    safe, file = spoiled(products[0], tmp_path)
    file.unlink()
    outcome = run_task(order(out, safe))
    assert outcome.failed
    assert "band B05 is missing" in outcome.fields["reason"]
    assert list(out.iterdir()) == []


def test_no_product(out):
    outcome = run_task(order(out, "/nowhere/X.SAFE"))
    assert (outcome.failed, outcome.fields["stage"]) == (True, "open")
    assert "no such file or folder" in outcome.fields["reason"]
    assert list(out.iterdir()) == []


def test_a_full_disk(products, out, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: usage(1000, 999, 1))
    outcome = run_task(order(out, products[0]))
    assert (outcome.failed, outcome.fields["stage"]) == (True, "write")
    assert "free some space" in outcome.fields["reason"]
    assert "compute" not in outcome.fields["stages"]
    assert list(out.iterdir()) == []


def test_a_folder_that_cannot_be_made(out, tmp_path):
    (out / "X").write_text("in the way")
    outcome = run_task(order(out, entry("X"), work=Light(str(tmp_path))))
    assert (outcome.failed, outcome.fields["stage"]) == (True, "write")
    assert "X: cannot be made" in outcome.fields["reason"]
    assert (out / "X").read_text() == "in the way"


def test_a_failure_leaves_an_earlier_result_alone(products, out, tmp_path):
    work = Sharpen(WORK.options.replaced(model="bicubic"))
    safe, file = spoiled(products[0], tmp_path)
    assert not run_task(order(out, safe, work=work)).failed
    before = contents(out / "X")
    file.unlink()
    assert run_task(order(out, safe, work=Sharpen(work.options.replaced(bands=("B05",))))).failed
    assert contents(out / "X") == before


def test_another_version_or_other_settings_are_refused(out, tmp_path):
    work = Light(str(tmp_path))
    outcome = run_task(order(out, entry("X"), work=work, version="0.0"))
    assert outcome.failed
    assert outcome.fields["reason"] == (
        f"the worker has version {__version__}, the fleet 0.0; install the same"
    )
    outcome = run_task(order(out, entry("X"), work=work, settings={"kind": "heavy"}))
    assert "the worker has other kind than where the fleet was started" in outcome.fields["reason"]
    outcome = run_task(order(out, entry("X"), work=work, settings={}))
    assert "the worker has other kind" in outcome.fields["reason"]
    assert list(out.iterdir()) == []
    assert marks_of(tmp_path, "X", "begun") == []


def test_the_unforeseen_has_a_reason_and_a_traceback(out, tmp_path):
    outcome = run_task(order(out, entry("X", **{"raise": 1}), work=Light(str(tmp_path))))
    assert outcome.failed
    assert outcome.fields["reason"] == "ZeroDivisionError: X"
    assert "in do" in outcome.fields["traceback"]
    assert list(out.iterdir()) == []


def test_staged_input_is_read_from_copies_which_go(products, alone, out, tmp_path, monkeypatch):
    seen = []
    read = pipeline.read_stack

    def read_stack(reader, product, *rest):
        seen.extend(Path(file.path) for file in product.bands.values())
        assert all(path.is_file() for path in seen)
        return read(reader, product, *rest)

    monkeypatch.setattr(pipeline, "read_stack", read_stack)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    outcome = run_task(order(out, products[0], scratch=str(scratch)))
    assert not outcome.failed, outcome.fields
    assert seen
    assert all(scratch in path.parents for path in seen)
    assert list(scratch.iterdir()) == []
    expected = with_links_of(contents(alone), alone, (products[0], out / "X"))
    assert contents(out / "X") == expected
    assert outcome.fields["stages"]["stage_in"] > 0


def test_copies_go_after_a_failure_too(products, out, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    safe, file = spoiled(products[0], tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    outcome = run_task(order(out, safe, scratch=str(scratch)))
    assert (outcome.failed, outcome.fields["stage"]) == (True, "read")
    assert list(scratch.iterdir()) == []
    assert list(out.iterdir()) == []
    outcome = run_task(order(out, products[0], scratch=str(tmp_path / "gone")))
    assert "gone: no copy can be made there" in outcome.fields["reason"]
    assert list(out.iterdir()) == []


def test_warnings_are_told_those_of_its_own_thread(out, tmp_path):
    log = logging.getLogger("decametre.made")
    folder = out / "X" / ".X.tif.partial"
    folder.mkdir(parents=True)  # as a killed worker leaves it
    (folder / "lock").touch()
    (folder / "X.tif").touch()
    given = order(out, entry("X", sleep=0.3), work=Light(str(tmp_path)))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_task, given)
        log.warning("of another product")
        fields = running.result().fields
    [warning] = fields["warnings"]
    assert "was killed before it ended; its partial files are removed" in warning
    assert {path.name for path in (out / "X").iterdir()} == {"X.tif", "X.json"}
    handlers = logging.getLogger("decametre").handlers
    assert not [handler for handler in handlers if type(handler).__name__ == "Listener"]


def test_two_products_one_is_computed_while_the_other_is_read(products, out, monkeypatch):
    """As in a worker with two threads."""
    lock, told = threading.Lock(), []
    read, compute = pipeline.read_stack, Sharpener.__call__
    both_read = threading.Barrier(2, timeout=20)

    def tell(what):
        with lock:
            told.append((what, time.monotonic()))

    def read_stack(*arguments):
        stack = read(*arguments)
        both_read.wait()  # only passes if neither has to wait for the other's computing
        return stack

    def call(self, *arguments):
        tell("begin")
        time.sleep(0.3)
        found = compute(self, *arguments)
        tell("end")
        return found

    monkeypatch.setattr(pipeline, "read_stack", read_stack)
    monkeypatch.setattr(Sharpener, "__call__", call)
    work = Sharpen(WORK.options.replaced(model="bicubic"))
    with ThreadPoolExecutor(2) as pool:
        orders = [order(out, safe, f"{n}", work) for n, safe in enumerate(products)]
        outcomes = list(pool.map(run_task, orders))
    assert not [outcome.fields for outcome in outcomes if outcome.failed]
    assert [what for what, _ in told] == ["begin", "end", "begin", "end"]
    waits = sorted(outcome.fields["stages"]["wait"] for outcome in outcomes)
    assert waits[0] < 0.25 < waits[1]


def test_stages_between_stages():
    clock = Clock()
    with clock("open"):
        assert clock.stage == "open"
    assert clock.stage == "read"
    with clock("compute"):
        assert clock.stage == "compute"
    assert clock.stage == "write"
    with pytest.raises(OutputError), clock("encode"):
        raise OutputError("full")
    assert clock.stage == "encode"  # where it happened
