import math
import os
import signal
import subprocess
import sys
import threading

import pytest

from decametre import files
from decametre.errors import BusyError, InvalidPathError, OutputError
from decametre.files import check_parent, is_locked, locked, replacing, write_file

HOLD = """
import subprocess, sys
from pathlib import Path
from decametre.files import locked
with locked(Path(sys.argv[1]), Path("out")) as lock:
    if len(sys.argv) > 2:
        child = subprocess.Popen(
            ["sleep", "60"], pass_fds=[lock.fileno()], stdout=subprocess.DEVNULL
        )
        print(child.pid, flush=True)
    else:
        print("locked", flush=True)
    sys.stdin.read()
"""


def holder(path, *options):
    """A process that holds a lock, and the line that it printed once it did."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline()


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


def test_a_lock_excludes_other_processes_until_its_holder_is_killed(lock):
    process, _ = holder(lock)
    assert is_locked(lock)
    with (
        pytest.raises(BusyError, match=r"^out\.tif: another run is writing it"),
        locked(lock, "out.tif"),
    ):
        pass
    process.kill()
    process.communicate()
    assert not is_locked(lock)
    with locked(lock, "out.tif"):
        assert is_locked(lock)
    assert lock.exists()
    assert not is_locked(lock)


def test_a_child_keeps_the_lock_that_it_inherited(lock):
    process, line = holder(lock, "with child")
    process.kill()
    process.communicate()
    assert is_locked(lock)
    os.kill(int(line), signal.SIGKILL)
    with locked(lock, "out.tif", math.inf):
        pass


def test_a_lock_can_be_waited_for(lock, monkeypatch):
    polled, free = threading.Event(), threading.Event()

    def sleep(_):
        polled.set()
        free.wait()

    def release_when_polled():
        with locked(lock, "first"):
            started.set()
            polled.wait()
        free.set()

    monkeypatch.setattr(files.time, "sleep", sleep)
    started = threading.Event()
    thread = threading.Thread(target=release_when_polled)
    thread.start()
    started.wait()
    with locked(lock, "second", math.inf):
        assert polled.is_set()
    thread.join()


def test_a_lock_file_that_its_holder_removes_does_not_count(lock, monkeypatch):
    flock = files.fcntl.flock

    def remove_and_lock(file, mode):
        lock.unlink()
        flock(file, mode)

    monkeypatch.setattr(files.fcntl, "flock", remove_and_lock)
    with pytest.raises(BusyError), locked(lock, "out.tif"):
        pass


def test_a_file_system_without_locks(lock, monkeypatch):
    def flock(file, mode):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with pytest.raises(OutputError, match="does not support locks"), locked(lock, "out.tif"):
        pass
    with pytest.raises(OSError, match="not implemented"):
        is_locked(lock)


def test_a_lock_in_a_missing_folder(tmp_path):
    with (
        pytest.raises(OutputError, match=r"^out: cannot be written"),
        locked(tmp_path / "a/b", "out"),
    ):
        pass
    with pytest.raises(FileNotFoundError):
        is_locked(tmp_path / "lock")


def test_the_folder_of_an_output(tmp_path):
    check_parent(tmp_path / "out.tif", writable=True)
    with pytest.raises(OutputError, match=r"none does not exist; make it first$"):
        check_parent(tmp_path / "none" / "out.tif")


def test_a_folder_without_write_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    check_parent(tmp_path / "out.tif")
    with pytest.raises(OutputError, match=r"is not writable; choose another one$"):
        check_parent(tmp_path / "out.tif", writable=True)


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.json"
    write_file(path, "é")
    assert path.read_bytes() == "é".encode()
    with replacing(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == "é".encode()
    assert path.read_bytes() == b"new"
    with pytest.raises(UnicodeEncodeError), replacing(path) as partial:
        partial.write_text("half \ud800")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written \(No such file or directory\)$"):
        write_file(tmp_path / "none" / "a.json", b"")


def test_a_path_that_is_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"Gel\xe4nde")
    with pytest.raises(InvalidPathError, match=r"Gel\\udce4nde/x.tif: the path is not valid UTF-8"):
        check_parent(folder / "x.tif")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("x" * 300, r"cannot be accessed \(File name too long\)"), ("a\0b", "null character")],
)
def test_a_name_that_is_not_possible(tmp_path, name, problem):
    with pytest.raises(InvalidPathError, match=problem):
        check_parent(tmp_path / name)
