"""Reading JSON, and writing files safely: folder checks, file locks and atomic replacement."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from decametre.errors import BusyError, InvalidPathError, OutputError

if sys.platform == "win32":
    import msvcrt

    def take_lock(file: IO[Any], *, shared: bool = False) -> None:
        """Lock the first byte of a file; raises BlockingIOError if another process holds it."""
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error

else:
    import fcntl

    def take_lock(file: IO[Any], *, shared: bool = False) -> None:
        """Lock a file; raises BlockingIOError if another process holds an exclusive lock."""
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


MAX_JSON_BYTES = 1 << 28
"""Size limit of a JSON file, such as a list of products."""

LOCK_POLL_INTERVAL = 0.05
"""Seconds between attempts to take a lock that another process holds."""


def examples_folder() -> Path:
    """The example files: inside an installed package, or in the repository.

    Raises:
        InvalidPathError: This installation has none.
    """
    package = Path(__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if folder.is_dir():
            return folder
    raise InvalidPathError(f"{package / 'examples'}: no example files in this installation")


def check_parent(path: Path, *, writable: bool = False) -> None:
    """Check that the folder in which a file or folder is to be created exists.

    Args:
        path: The file or folder to create.
        writable: Check write permission, too.

    Raises:
        OutputError: The parent folder does not exist or is not writable.
        InvalidPathError: See `check_path`.
    """
    check_path(path)
    if not path.parent.is_dir():
        raise OutputError(f"{path}: folder {path.parent} does not exist; make it first")
    if writable and not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: folder {path.parent} is not writable; choose another one")


def check_path(path: Path) -> None:
    """Check that GDAL, JSON and the file system can represent a path.

    Raises:
        InvalidPathError: It is not valid UTF-8, contains a null character, or is too long.
    """
    try:
        str(path).encode()
        path.stat()
        return
    except (FileNotFoundError, NotADirectoryError):
        return
    except UnicodeEncodeError:
        problem = "the path is not valid UTF-8; rename it"
    except ValueError:
        problem = "the path contains a null character"
    except OSError as error:  # a long name, a folder without permission
        problem = f"cannot be accessed ({error.strerror or error})"
    text = str(path).encode(errors="backslashreplace").decode()
    raise InvalidPathError(f"{text}: {problem}")


def check_space(output: Path, needed: int) -> None:
    """Check that there is enough disk space for a file.

    Args:
        output: The file to create; its folder exists.
        needed: Bytes that it takes at most.

    Raises:
        OutputError: Less is free.
    """
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise OutputError(
            f"{output}: {free / 1e6:,.0f} MB free in {output.parent}, up to {needed / 1e6:,.0f} MB "
            "needed; free some space or write elsewhere"
        )


@contextmanager
def locked(lock_file: Path, output: Path, timeout: float = 0.0) -> Iterator[IO[str]]:
    """Hold an exclusive lock on a file, which is created if needed and stays there afterwards.

    This is flock(2), and `msvcrt.locking` on Windows, rather than the package filelock. The kernel
    releases the lock when the last process that holds the file descriptor ends, even after SIGKILL.
    A child process keeps the lock if it inherits the descriptor (`pass_fds`, not on Windows).
    filelock cannot pass the lock on to a child, and
    where a file system has no flock it falls back to a marker file that survives a killed process.

    Args:
        lock_file: The file to lock; its folder exists.
        output: What the lock protects, for error messages.
        timeout: Seconds to wait while another process holds the lock; `math.inf` waits forever.

    Yields:
        The open lock file.

    Raises:
        BusyError: Another process still holds the lock after `timeout`.
        OutputError: The lock file cannot be opened, or the file system does not support locks.
    """
    try:
        # NFS grants exclusive locks only on files that are open for writing.
        file = lock_file.open("a+")
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from error
    with file:
        deadline = time.monotonic() + timeout
        while True:
            try:
                take_lock(file)
                if not os.fstat(file.fileno()).st_nlink:
                    # The run that held it removed the file, and the next run locks another one.
                    raise BusyError(f"{output}: another run is writing it; wait for it")
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise BusyError(f"{output}: another run is writing it; wait for it") from error
                time.sleep(LOCK_POLL_INTERVAL)
            except OSError as error:
                raise OutputError(
                    f"{output}: its file system does not support locks ({error.strerror}); choose "
                    "another folder, or mount the file system with lock support"
                ) from error
        yield file


def is_locked(lock_file: Path) -> bool:
    """Whether a running process holds the lock; the check itself takes it for a moment.

    Args:
        lock_file: See `locked`.

    Raises:
        OSError: The file does not exist or is not readable, or its file system does not support
            locks.
    """
    with lock_file.open("rb") as file:
        try:
            # A shared lock, since NFS grants no exclusive one on a file open for reading.
            take_lock(file, shared=True)
        except BlockingIOError:
            return True
    return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file atomically: it has its old content or all of the new one at any time.

    Args:
        path: The file to create or replace.

    Yields:
        A hidden temporary path next to `path` to write to. It is renamed to `path` when the `with`
        block ends without an error, and removed otherwise.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is larger than `MAX_JSON_BYTES`, is not JSON, or is nested too deeply.
    """
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"larger than {MAX_JSON_BYTES >> 20} MB")
    return parse_json(content)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file atomically, see `replacing`.

    Args:
        path: The file to create or replace.
        content: Text is written as UTF-8.

    Raises:
        OutputError: The file cannot be written; an earlier file is unchanged.
    """
    try:
        with replacing(path) as partial:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
