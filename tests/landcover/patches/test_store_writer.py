"""Writing a store: reading returns what was written, and a killed run resumes."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from decametre.errors import OutputError, PatchError
from decametre.landcover.patches.nomenclature import CORINE43, Nomenclature
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.patches.store_writer import PatchWriter
from tests.landcover.patches.synthetic_patches import HEADER, assert_holds, synthetic_patch


def test_what_is_written_is_read(path, patches):
    store = PatchStore(path)
    assert len(store) == 10
    assert store.keys == NATIVE_KEYS
    assert store.header == HEADER
    assert_holds(store, patches)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("keys", [("data_super",), tuple(LAYOUTS)])
def test_sharpened_patches(tmp_path, keys):
    patches = [synthetic_patch(name, keys) for name in "abc"]
    header = replace(HEADER, keys=keys[::-1], model="native_2x sha256:1f")
    with PatchWriter(tmp_path / "a.h5", header, 3) as writer:
        writer.append(patches)
    store = PatchStore(tmp_path / "a.h5")
    assert store.keys == keys
    assert store.model == "native_2x sha256:1f"
    assert_holds(store, patches)


def test_fewer_patches_than_announced(tmp_path, patches):
    with PatchWriter(tmp_path / "a.h5", HEADER, 1000) as writer:
        writer.append(patches)
    assert_holds(PatchStore(tmp_path / "a.h5"), patches)
    with h5py.File(tmp_path / "a.h5") as file:
        assert {len(dataset) for dataset in file.values()} == {10}


def test_more_patches_than_announced(tmp_path, patches):
    with pytest.raises(OutputError, match="more than the 9"):
        _write(tmp_path / "a.h5", patches, 9)


def _write(path, patches, count):
    with PatchWriter(path, HEADER, count) as writer:
        for patch in patches:
            writer.append([patch])


def _fail_after(path, patches):
    with PatchWriter(path, HEADER, 10) as writer:
        writer.append(patches)
        raise ZeroDivisionError


def test_a_failed_run_is_resumed(tmp_path, patches):
    path = tmp_path / "a.h5"
    with pytest.raises(ZeroDivisionError):
        _fail_after(path, patches[:4])
    assert not path.exists()
    with PatchWriter(path, HEADER, 10) as writer:
        assert writer.names == {patch.name for patch in patches[:3]}  # the last is written again
        writer.append([patch for patch in patches if patch.name not in writer.names])
    assert_holds(PatchStore(path), patches)
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_failed_before_its_first_patch_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        _fail_after(tmp_path / "a.h5", [])
    assert not list(tmp_path.iterdir())


# Kills -------------------------------------------------------------------------------------------

CALLS = (
    (h5py.Dataset, "__setitem__"),
    (h5py.Dataset, "resize"),
    (h5py.File, "flush"),
    (h5py.File, "close"),
    (Path, "replace"),
)
"""The calls with which a writer changes a file."""


def kill_before(call, path, patches):
    """Write a store, and be killed before a given call that changes a file."""
    count = itertools.count()

    def counted(function):
        def run(*args, **kwargs):
            if next(count) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return run

    for owner, name in CALLS:
        setattr(owner, name, counted(getattr(owner, name)))
    write_all(path, patches)


def write_all(path, patches, batch=5):
    with PatchWriter(path, HEADER, len(patches)) as writer:
        missing = [patch for patch in patches if patch.name not in writer.names]
        for start in range(0, len(missing), batch):
            writer.append(missing[start : start + batch])


def test_a_kill_before_any_change_of_the_file_loses_and_doubles_nothing(tmp_path, patches):
    context = multiprocessing.get_context("fork")
    killed = 0
    for call in itertools.count():
        path = tmp_path / f"{call}.h5"
        process = context.Process(target=kill_before, args=(call, path, patches))
        process.start()
        process.join()
        if process.exitcode == 0:  # there are fewer calls
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        if not path.exists():
            write_all(path, patches)
        assert_holds(PatchStore(path), patches)
        assert not list(tmp_path.glob(".*"))
        path.unlink()
    assert killed > 20


STEPWISE = """
import itertools
import sys
from pathlib import Path
from decametre.landcover.patches.store_writer import PatchWriter
from tests.landcover.patches.synthetic_patches import HEADER, synthetic_patch
patches = [synthetic_patch(f"patch_{number}") for number in range(90)]
with PatchWriter(Path(sys.argv[1]), HEADER, 90) as writer:
    print(len(writer.names), flush=True)
    missing = [patch for patch in patches if patch.name not in writer.names]
    for start in range(0, len(missing), 3):
        sys.stdin.readline()
        writer.append(missing[start : start + 3])
        print("written", flush=True)
"""


@pytest.mark.slow
def test_a_kill_during_a_batch_loses_and_doubles_nothing(tmp_path):
    """The moment within the batch is left to chance; what must hold does not depend on it."""
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", STEPWISE, str(path)]
    root = Path(__file__).parents[3]
    written = 0
    for batches in (0, 1, 2, 0, 3):
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
        ) as run:
            found = int(run.stdout.readline())
            # Only the last patch is written again; the killed batch may be there or not.
            assert max(0, written - 1) <= found <= written + 3
            for _ in range(batches):
                run.stdin.write(b"\n")
                run.stdin.flush()
                assert run.stdout.readline() == b"written\n"
            run.stdin.write(b"\n")  # one more batch, during which it is killed
            run.stdin.flush()
            run.send_signal(signal.SIGKILL)
        assert run.returncode == -signal.SIGKILL
        written = found + 3 * batches
    everything = subprocess.run(command, input=b"\n" * 90, stdout=subprocess.PIPE, cwd=root)
    assert everything.returncode == 0
    assert_holds(PatchStore(path), [synthetic_patch(f"patch_{number}") for number in range(90)])


# Mistakes ----------------------------------------------------------------------------------------


@pytest.fixture
def partial(tmp_path, patches):
    path = tmp_path / "a.h5"
    with pytest.raises(ZeroDivisionError):
        _fail_after(path, patches[:4])
    return path


@pytest.mark.parametrize(
    ("changes", "count", "message"),
    [
        ({"job": "other"}, 10, "job '', not 'other'"),
        ({"model": "native_2x"}, 10, "model '', not 'native_2x'"),
        ({"nomenclature": CORINE43}, 10, "nomenclature 'bigearthnet19', not 'corine43'"),
        ({}, 11, "10 patches, not 11"),
    ],
)
def test_the_part_of_another_job_is_refused(partial, changes, count, message):
    with (
        pytest.raises(OutputError, match=f"{message}; delete"),
        PatchWriter(partial, replace(HEADER, **changes), count),
    ):
        pass
    assert (partial.parent / ".a.h5.partial").exists()


def test_a_damaged_part_is_refused(partial):
    with (partial.parent / ".a.h5.partial").open("r+b") as file:
        file.write(b"nonsense")
    with pytest.raises(OutputError, match="damaged, delete it"), PatchWriter(partial, HEADER, 10):
        pass


def test_two_writers_of_one_store(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from decametre.landcover.patches.store_writer import PatchWriter\n"
        "from tests.landcover.patches.synthetic_patches import HEADER\n"
        "from decametre.errors import OutputError\n"
        "try:\n  PatchWriter(Path(sys.argv[1]), HEADER, 10).__enter__()\n"
        "except OutputError as error: print(error)"
    )
    with PatchWriter(tmp_path / "a.h5", HEADER, 10) as writer:
        second = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "a.h5")],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
        )
        writer.append([synthetic_patch("a")])
    assert "another run is writing it" in second.stdout
    assert PatchStore(tmp_path / "a.h5").names == ["a"]


def test_doubled_patches_are_refused(tmp_path, patches):
    with pytest.raises(PatchError, match="patch_0 comes twice"):
        _write(tmp_path / "a.h5", [patches[0], patches[0]], 10)
    with (
        pytest.raises(PatchError, match="patch_1 comes twice"),
        PatchWriter(tmp_path / "b.h5", HEADER, 10) as writer,
    ):
        writer.append([patches[1], patches[1]])


def test_patches_that_do_not_fit_the_header(tmp_path):
    for patch, message in (
        (synthetic_patch("a", tuple(LAYOUTS)), "data_super, expected"),
        (synthetic_patch("a", labels=("Peatbogs",)), "patch a: unknown class"),
        (synthetic_patch("a" * 129), "name has 129 bytes"),
        (synthetic_patch(""), "name has 0 bytes"),
    ):
        with (
            pytest.raises(PatchError, match=message),
            PatchWriter(tmp_path / "a.h5", HEADER, 10) as writer,
        ):
            writer.append([patch])
        assert not list(tmp_path.iterdir())


def test_nothing_to_write(tmp_path):
    with (
        pytest.raises(PatchError, match="no patch to write"),
        PatchWriter(tmp_path / "a.h5", HEADER, 10),
    ):
        pass
    with pytest.raises(PatchError, match="no patch to write"):
        PatchWriter(tmp_path / "a.h5", HEADER, 0)
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be(path, tmp_path):
    with pytest.raises(OutputError, match="exists already"):
        PatchWriter(path, HEADER, 1)
    with pytest.raises(OutputError, match="is a folder"):
        PatchWriter(tmp_path, HEADER, 1)
    with pytest.raises(OutputError, match="does not exist"):
        PatchWriter(tmp_path / "none" / "a.h5", HEADER, 1)
    with (
        pytest.raises(OutputError, match="MB needed"),
        PatchWriter(tmp_path / "a.h5", HEADER, 10**9),
    ):
        pass


def test_the_old_file_remains_until_the_new_one_is_complete(path, patches):
    with PatchWriter(path, HEADER, 1, overwrite=True) as writer:
        writer.append([synthetic_patch("new")])
        assert_holds(PatchStore(path), patches)
    assert PatchStore(path).names == ["new"]


def test_an_own_nomenclature(tmp_path):
    header = replace(HEADER, nomenclature=Nomenclature("rules", ("water", "snow")))
    with PatchWriter(tmp_path / "a.h5", header, 1) as writer:
        writer.append([synthetic_patch("a", labels=("snow",))])
    store = PatchStore(tmp_path / "a.h5")
    assert store.nomenclature == header.nomenclature
    assert store.labels.tolist() == [[0, 1]]
