"""One product on a worker: the same bytes as from `sharpen`, or no files, a stage and a reason."""

import logging
import os
import shutil
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from decametre import api
from decametre.errors import CorruptDataError, DocumentError, NotAProductError, OutputError
from decametre.fleet import worker
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import Sharpen
from decametre.fleet.worker import Clock, TaskRequest, is_permanent, run_task
from decametre.io import staging
from decametre.superres.sharpening import pipeline
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.sharpener import Sharpener
from decametre.version import __version__
from tests.fleet.light import Light, entry, marks_of, open_gate, wait_until
from tests.support.synthetic_products import make_products

BANDS = ("B01", "B02", "B05", "B8A", "B12")
WORK = Sharpen(SharpenOptions(bands=BANDS, device="cpu", precision="float32", quicklook=True))


@pytest.fixture(scope="module")
def products(sample, tmp_path_factory):
    return make_products([sample], tmp_path_factory.mktemp("products"), 2, 120)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The default of a worker."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(products, tmp_path_factory):
    """The folder that `sharpen` writes to."""
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


def request(out, source, name="X", work=WORK, **fields):
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


def copied(safe, folder, band="B05"):
    """A copy of a product, and the path of one band in it."""
    copy = Path(shutil.copytree(safe, folder / safe.name))
    return copy, next(copy.rglob(f"*{band}*.jp2"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def with_links_of(found, folder, to):
    """The files as they are in another folder: the item has a relative link to its source."""
    item = f"{folder.name}.json"
    before, after = (os.path.relpath(to[0], each).encode() for each in (folder, to[1]))
    return found | {item: found[item].replace(before, after)}


def test_same_bytes_as_sharpen(products, alone, out):
    result = run_task(request(out, products[0]))
    assert not result.failed, result.fields
    there = out / "X"
    expected = with_links_of(contents(alone), alone, (products[0], there))
    assert contents(there) == expected
    assert set(expected) == {
        *("X.tif", "X.json", "X.quality.json", "X.quicklook.png", "X.thumbnail.jpg")
    }
    fields = result.fields
    assert (fields["name"], fields["source"], fields["attempt"]) == ("X", str(products[0]), 1)
    assert fields["item"] == "X/X.json"
    assert fields["quicklook"] == "X/X.quicklook.png"
    assert (fields["already"], fields["device"], fields["pixels"]) == (False, "cpu", 14400)
    assert fields["bytes_in"] == 1000
    assert fields["bytes_out"] == sum(len(content) for content in expected.values())
    assert set(fields["consistency"]) == {"B05", "B8A", "B12", "B01"}
    assert fields["consistency"]["B05"]["rmse_dn"] > 0
    assert {"open", "read", "compute", "encode", "write"} <= set(fields["stages"])


def test_completed_product_is_not_repeated(out, tmp_path):
    work = Light(str(tmp_path))
    given = request(out, entry("X"), work=work)
    assert not run_task(given).failed
    again = run_task(replace(given, attempt=2))
    assert (again.failed, again.fields["already"], again.fields["item"]) == (
        False,
        True,
        "X/X.json",
    )
    assert len(marks_of(tmp_path, "X", "begun")) == 1
    # An incomplete result is replaced.
    (out / "X" / "X.tif").unlink()
    assert run_task(given).fields["already"] is False
    assert len(marks_of(tmp_path, "X", "begun")) == 2


def test_corrupt_band(products, out, tmp_path):
    safe, file = copied(products[0], tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    result = run_task(request(out, safe))
    assert result.failed
    assert result.fields["stage"] == "read"
    assert "band B05" in result.fields["reason"]
    assert "truncated; download it again" in result.fields["reason"]
    assert result.fields["traceback"] is None
    assert list(out.iterdir()) == []


def test_band_found_corrupt_during_computation(products, out, monkeypatch):
    """The first windows are computed when a later one cannot be decoded."""
    read, windows = pipeline.read_stack, []

    def read_stack(reader, product, names, window, reach):
        windows.append(window)
        if len(windows) > 1:
            raise CorruptDataError("band B05: cannot read on")
        return read(reader, product, names, window, reach)

    monkeypatch.setattr(pipeline, "read_stack", read_stack)
    work = Sharpen(WORK.options.replaced(model="bicubic", tile=60))
    result = run_task(request(out, products[0], work=work))
    assert len(windows) == 2
    assert (result.failed, result.fields["stage"]) == (True, "read")
    assert list(out.iterdir()) == []
    # The lock is released: another product can be computed.
    monkeypatch.undo()
    assert not run_task(request(out, products[0], work=work)).failed


def test_missing_band(products, out, tmp_path):
    safe, file = copied(products[0], tmp_path)
    file.unlink()
    result = run_task(request(out, safe))
    assert result.failed
    assert "band B05 is missing" in result.fields["reason"]
    assert list(out.iterdir()) == []


def test_missing_product(out):
    result = run_task(request(out, "/nowhere/X.SAFE"))
    assert (result.failed, result.fields["stage"]) == (True, "open")
    assert "no such file or folder" in result.fields["reason"]
    assert list(out.iterdir()) == []


def test_full_disk(products, out, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: usage(1000, 999, 1))
    result = run_task(request(out, products[0]))
    assert (result.failed, result.fields["stage"]) == (True, "write")
    assert "free some space" in result.fields["reason"]
    assert "compute" not in result.fields["stages"]
    assert list(out.iterdir()) == []


def test_folder_that_cannot_be_created(out, tmp_path):
    (out / "X").write_text("in the way")
    result = run_task(request(out, entry("X"), work=Light(str(tmp_path))))
    assert (result.failed, result.fields["stage"]) == (True, "write")
    assert "X: cannot create the folder" in result.fields["reason"]
    assert (out / "X").read_text() == "in the way"


def test_failure_keeps_an_earlier_result(products, out, tmp_path):
    work = Sharpen(WORK.options.replaced(model="bicubic"))
    safe, file = copied(products[0], tmp_path)
    assert not run_task(request(out, safe, work=work)).failed
    before = contents(out / "X")
    file.unlink()
    assert run_task(request(out, safe, work=Sharpen(work.options.replaced(bands=("B05",))))).failed
    assert contents(out / "X") == before


def test_other_version_or_settings_are_an_error(out, tmp_path):
    work = Light(str(tmp_path))
    result = run_task(request(out, entry("X"), work=work, version="0.0"))
    assert result.failed
    assert result.fields["reason"] == (
        f"the worker has version {__version__}, the fleet 0.0; install the same version"
    )
    result = run_task(request(out, entry("X"), work=work, settings={"kind": "heavy"}))
    assert "the worker's kind differs from where the fleet was started" in result.fields["reason"]
    result = run_task(request(out, entry("X"), work=work, settings={}))
    assert "the worker's kind differs" in result.fields["reason"]
    assert list(out.iterdir()) == []
    assert marks_of(tmp_path, "X", "begun") == []


def test_unexpected_error_has_a_reason_and_a_traceback(out, tmp_path):
    result = run_task(request(out, entry("X", **{"raise": 1}), work=Light(str(tmp_path))))
    assert result.failed
    assert result.fields["reason"] == "ZeroDivisionError: X"
    assert "in do" in result.fields["traceback"]
    assert list(out.iterdir()) == []


def test_input_is_read_from_copies_that_are_removed(products, alone, out, tmp_path, monkeypatch):
    seen = []
    read = pipeline.read_stack

    def read_stack(reader, product, *rest):
        seen.extend(Path(file.path) for file in product.bands.values())
        assert all(path.is_file() for path in seen)
        return read(reader, product, *rest)

    monkeypatch.setattr(pipeline, "read_stack", read_stack)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    result = run_task(request(out, products[0], scratch=str(scratch)))
    assert not result.failed, result.fields
    assert seen
    assert all(scratch in path.parents for path in seen)
    assert list(scratch.iterdir()) == []
    expected = with_links_of(contents(alone), alone, (products[0], out / "X"))
    assert contents(out / "X") == expected
    assert result.fields["stages"]["stage_in"] > 0


def test_copies_are_removed_after_a_failure(products, out, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    safe, file = copied(products[0], tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    result = run_task(request(out, safe, scratch=str(scratch)))
    assert (result.failed, result.fields["stage"]) == (True, "stage_in")
    assert list(scratch.iterdir()) == []
    assert list(out.iterdir()) == []
    result = run_task(request(out, products[0], scratch=str(tmp_path / "gone")))
    assert "gone: cannot create a folder for copies" in result.fields["reason"]
    assert list(out.iterdir()) == []


def test_warnings_of_its_own_thread_are_reported(out, tmp_path):
    log = logging.getLogger("decametre.made")
    folder = out / "X" / ".X.tif.partial"
    folder.mkdir(parents=True)  # as a killed worker leaves it
    (folder / "lock").touch()
    (folder / "X.tif").touch()
    marks = tmp_path / "marks"
    marks.mkdir()
    given = request(out, entry("X", gate=1), work=Light(str(marks)))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_task, given)
        wait_until(lambda: marks_of(marks, "X", "begun"))
        log.warning("of another product")
        open_gate(marks)
        fields = running.result().fields
    [warning] = fields["warnings"]
    assert "was killed before it ended; its partial files are removed" in warning
    assert {path.name for path in (out / "X").iterdir()} == {"X.tif", "X.json"}
    handlers = logging.getLogger("decametre").handlers
    assert not [handler for handler in handlers if type(handler).__name__ == "Listener"]


def test_two_products_are_read_at_once_and_computed_in_turn(products, out, monkeypatch):
    """As on a worker with two slots."""
    read, compute, enter = pipeline.read_stack, Sharpener.__call__, Clock.enter
    both_read, both_wait = threading.Barrier(2, timeout=300), threading.Barrier(2, timeout=300)
    events = []

    def read_stack(*arguments):
        stack = read(*arguments)
        both_read.wait()  # never passes if reading has to wait for the other's computation
        return stack

    def record(self, stage):
        enter(self, stage)
        if stage == "wait":
            both_wait.wait()

    def call(self, *arguments):
        events.append("begin")
        found = compute(self, *arguments)
        events.append("end")
        return found

    monkeypatch.setattr(pipeline, "read_stack", read_stack)
    monkeypatch.setattr(Clock, "enter", record)
    monkeypatch.setattr(Sharpener, "__call__", call)
    work = Sharpen(WORK.options.replaced(model="bicubic"))
    with ThreadPoolExecutor(2) as pool:
        requests = [request(out, safe, f"{n}", work) for n, safe in enumerate(products)]
        results = list(pool.map(run_task, requests))
    assert not [result.fields for result in results if result.failed]
    assert events == ["begin", "end", "begin", "end"]
    assert all("wait" in result.fields["stages"] for result in results)


def test_seconds_of_stages(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: next(now)))
    clock = Clock()
    with clock("open"):
        assert clock.stage == "open"
    assert clock.stage == "read"
    with clock("compute"):
        assert clock.stage == "compute"
    assert clock.stage == "write"
    with pytest.raises(OutputError), clock("encode"):
        raise OutputError("full")
    assert clock.stage == "encode"  # where the error occurred
    clock.enter("")
    # Each change of stage takes a second on this clock.
    assert clock.seconds == {"open": 2, "read": 1, "wait": 1, "compute": 1, "write": 1, "encode": 1}
    assert sum(clock.seconds.values()) == next(now) - 1


def test_errors_of_reading_may_heal_and_others_do_not():
    unreadable = NotAProductError("cannot read X: Input/output error")
    unreadable.__cause__ = OSError("Input/output error")
    assert is_permanent(NotAProductError("X: no such file or folder"))
    assert is_permanent(CorruptDataError("X is truncated"))
    assert is_permanent(DocumentError("HTTP 404"))
    busy = DocumentError("HTTP 503", transient=True)
    for error in (unreadable, busy, CorruptDataError("connection reset", transient=True)):
        assert not is_permanent(error)
    assert not is_permanent(OutputError("the disk is full"))
